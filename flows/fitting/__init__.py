"""From regressions to fits: workspace, result storage, settings of parallelism."""
