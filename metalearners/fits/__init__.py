"""What is to be fitted, and the one way to have it fitted."""
