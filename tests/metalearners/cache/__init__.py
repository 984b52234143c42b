"""Tests of `metalearners/cache`."""
