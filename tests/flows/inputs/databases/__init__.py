"""Tests of databases as sources."""
