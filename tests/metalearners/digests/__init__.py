"""Tests of `metalearners/digests`."""
