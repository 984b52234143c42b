"""The config of a run: sections, checks, YAML in and out."""

from flows.config.reading import load_config, parse_config
from flows.config.sections import Config

__all__ = ["Config", "load_config", "parse_config"]
