"""Tests of `flows/registry`."""
