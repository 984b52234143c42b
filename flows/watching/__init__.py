"""Watching: what differs from the last run of the same name."""
