"""Tests of `metalearners/evaluation/judging`."""
