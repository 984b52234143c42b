"""Arguments and options that several commands take."""

import json
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(help="A config, or a finished run's config.yaml.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key: key.path=value, with a value in YAML; repeatable."),
]
DATE = "Logical date, such as 2026-11-01: which rows a source that names dates has; default: now."
LogicalDate = Annotated[str | None, typer.Option("--date", help=DATE)]
AllRuns = Annotated[str | None, typer.Option("--output", help="Folder of all runs.")]
SummaryFile = Annotated[
    Path | None, typer.Option("--json", help="Write summary.json to this file too.")
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Ignore cached fits.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors alone.")]
WHICH_RUN = "A run's name or a part of it, a config's name, a folder, or latest."
WHICH_MODEL = "NAME@champion, a run's name or a part of it, a config's name, a folder, or latest."
RunName = Annotated[str, typer.Argument(metavar="RUN", help=WHICH_RUN)]
RunsFolder = Annotated[Path, typer.Option("--output", help="Folder of all runs.")]
CachePlace = Annotated[str, typer.Option("--storage", help="Folder or fsspec URL of the fits.")]


def dated(changes: list[str] | None, date: str | None) -> list[str]:
    """Changes of a config, with that of its logical date."""
    return [*(changes or []), *([] if date is None else [f"date={json.dumps(date)}"])]
