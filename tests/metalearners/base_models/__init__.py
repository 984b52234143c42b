"""Tests of `metalearners/base_models`."""
