"""The registry of models: every run's model by name, and which of them is champion."""
