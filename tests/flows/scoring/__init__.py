"""Tests of scoring: batches, parts and outputs."""
