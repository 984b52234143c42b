"""Tests of `metalearners`."""
