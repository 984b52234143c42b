"""Measures which setting of runner, workers and threads fits a run best."""
