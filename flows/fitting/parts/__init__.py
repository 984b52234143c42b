"""Learners fitted again on parts of the rows: which parts, and what comes of it."""
