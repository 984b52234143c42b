"""Tests of `flows/server`."""
