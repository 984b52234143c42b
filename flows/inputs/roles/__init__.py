"""What the columns of a source mean for a run."""
