"""Tests of `metalearners.resampling`."""
