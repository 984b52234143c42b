"""Tests of the notebooks in `docs/notebooks/`."""
