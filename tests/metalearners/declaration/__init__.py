"""Tests of `metalearners/declaration`."""
