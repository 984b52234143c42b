"""Formats of data whose values need rules of their own."""
