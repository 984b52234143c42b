"""From a config to rows and learners."""
