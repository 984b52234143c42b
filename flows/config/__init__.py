"""The config of a run: sections, checks, YAML in and out."""
