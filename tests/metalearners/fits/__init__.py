"""Tests of `metalearners/fits`."""
