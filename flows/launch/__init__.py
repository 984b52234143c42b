"""Starts runs in this process, for the command and for Python code, and shows their progress."""
