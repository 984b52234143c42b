"""Tests of `metalearners.showing`."""
