"""`uplift runs`: past runs."""

import json
from pathlib import Path

import typer

from flows.cli.exits import exit_status
from flows.cli.options import RunName, RunsFolder
from flows.config.names import DEFAULT_OUTPUT
from flows.runs.records import find_run, find_summary, list_runs

runs_app = typer.Typer(no_args_is_help=True, help="List and show past runs, and sign their models.")


@runs_app.command("list")
def runs_list(output: RunsFolder = Path(DEFAULT_OUTPUT)) -> None:
    """List past runs, oldest first."""
    with exit_status(prints=True):
        from flows.launch.display import runs_table

        runs_table(list_runs(output))


@runs_app.command("show")
def runs_show(name: RunName, output: RunsFolder = Path(DEFAULT_OUTPUT)) -> None:
    """Show a run's figures as JSON."""
    with exit_status(prints=True):
        print(json.dumps(find_summary(name, output), indent=2))


@runs_app.command("sign")
def runs_sign(name: RunName, output: RunsFolder = Path(DEFAULT_OUTPUT)) -> None:
    """Sign a run's model with UPLIFT_CACHE_KEY. Models are code: know who made it."""
    with exit_status():
        from flows.scoring import sign_model

        folder = find_run(name, output) / "model"
        digest = sign_model(folder)
        print(f"{folder} is signed: its digest is {digest}. `uplift score` with this key takes it.")
