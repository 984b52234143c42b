"""A backfill in this process, for the command."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.config.sections import Config
from flows.launch.display import progress_display
from flows.launch.start import launch
from flows.messages.output import say
from flows.runs.backfill import Dated
from flows.runs.backfill import backfill as at_each


def backfill(config: Config, dates: Sequence[str], quiet: bool = False) -> Iterator[Dated]:
    """Launch a config at each date that has no finished run yet, and show the progress."""

    def make(dated: Config) -> Path:
        with progress_display(quiet):
            return launch(dated, refresh=False, quiet=quiet)

    return at_each(config, dates, make, say)
