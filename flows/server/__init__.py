"""The embedded Prefect server: its life, and how its clients bear its absence."""
