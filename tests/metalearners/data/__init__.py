"""Tests of `metalearners/data`."""
