"""Tests of how a config is read."""
