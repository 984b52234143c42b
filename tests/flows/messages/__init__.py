"""Tests of `flows/messages`."""
