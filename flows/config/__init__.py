"""The config of a run: its sections, their checks, and its form as YAML."""

from flows.config.reading import load_config, parse_config
from flows.config.sections import Config

__all__ = ["Config", "load_config", "parse_config"]
