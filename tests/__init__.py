"""Tests: folders as in the packages, and whole programs in `acceptance`."""
