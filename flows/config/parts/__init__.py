"""Sections of a config that others hold."""
