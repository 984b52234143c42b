"""What people are told, and what may not be in it."""
