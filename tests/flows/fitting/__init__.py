"""Tests of `flows/fitting`."""
