"""Whom to treat with what for a budget, and what that brings on rows that had no say in it."""
