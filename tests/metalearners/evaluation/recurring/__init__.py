"""Tests of `metalearners/evaluation/recurring`."""
