"""Tests of `metalearners/evaluation/averages`."""
