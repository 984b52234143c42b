"""Tests of `metalearners/workers`."""
