"""Logical dates: what they are, and which partitions of a source they read."""
