"""Tests of `uplift doctor`."""
