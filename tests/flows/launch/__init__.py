"""Tests of `flows/launch`."""
