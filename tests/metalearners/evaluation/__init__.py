"""Tests of `metalearners/evaluation`."""
