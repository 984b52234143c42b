"""Tests of `metalearners/evaluation/verdict`."""
