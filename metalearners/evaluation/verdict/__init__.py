"""The verdict of a run in plain words, and lights of what may be wrong with it."""
