"""Whose average effect it is, and what could make it wrong."""
