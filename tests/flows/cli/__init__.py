"""Tests of `flows/cli`."""
