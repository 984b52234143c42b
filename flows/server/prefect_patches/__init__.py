"""Changes to Prefect's own behaviour, each in a file of its own."""
