"""Tests of `metalearners/plots`."""
