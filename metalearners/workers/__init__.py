"""Who fits: threads, processes or Dask, and the rule for `auto`."""
