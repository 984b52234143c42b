"""The `uplift` command."""
