"""Rows: containers, conversion, checks, the data set and its folds."""
