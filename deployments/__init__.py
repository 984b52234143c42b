"""What `uplift serve` brings up, and the ready configs."""
