"""The embedded Prefect server, the end of runs, and changes to Prefect's own behaviour."""
