"""The commands on models: `uplift models`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.exits import exit_status
from flows.config.names import DEFAULT_OUTPUT, DEFAULT_REGISTRY
from flows.messages.output import show

models_app = typer.Typer(
    no_args_is_help=True,
    help="List, show, sign and export registered models, and change the champion.",
)

Storage = Annotated[str, typer.Option("--storage", help="Folder or fsspec URL of the registry.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option("--why", help="A reason, which the history keeps.")]
_BY_HAND = "by hand"


@models_app.command("list")
def models_list(storage: Storage = DEFAULT_REGISTRY, as_json: AsJson = False) -> None:
    """List the models by name, oldest first, with their figures."""
    with exit_status(prints=True):
        from flows.launch.display import models_table
        from flows.launch.models import listed

        models = listed(storage)
        if as_json:
            print(json.dumps(models, indent=2))
        else:
            models_table(models)


@models_app.command("show")
def models_show(
    model: Annotated[
        str, typer.Argument(metavar="NAME|RUN", help="A name, a run, or NAME@champion.")
    ],
    storage: Storage = DEFAULT_REGISTRY,
    as_json: AsJson = False,
) -> None:
    """Show a name's champion, challenger and history, or a model's figures and history."""
    with exit_status(prints=True):
        from flows.launch.display import model_shown
        from flows.launch.models import told

        found = told(model, storage)
        if as_json:
            print(json.dumps(found, indent=2))
        else:
            model_shown(found)


@models_app.command("export")
def models_export(
    to: Annotated[
        str,
        typer.Option(
            "--to", help="Address of MLflow, such as http://host:5000, without credentials."
        ),
    ],
    model: Annotated[
        str,
        typer.Argument(metavar="[NAME|RUN]", help="A name, whose champion goes, or a run."),
    ] = "champion",
    storage: Storage = DEFAULT_REGISTRY,
) -> None:
    """Send a model to MLflow's registry, unless it is there, and set the aliases there."""
    with exit_status():
        from flows.launch.export import export

        show(export(model, to, storage))


@models_app.command("promote")
def models_promote(
    model: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, or a part of its name, or NAME@challenger.")
    ],
    why: Why = _BY_HAND,
    storage: Storage = DEFAULT_REGISTRY,
    output: Annotated[
        Path, typer.Option(help="Folder of all runs: one that isn't registered yet is first.")
    ] = Path(DEFAULT_OUTPUT),
) -> None:
    """Make a model the champion of its name. The champion before stays, for a rollback."""
    with exit_status():
        from flows.launch.models import promote

        show(promote(model, why, output, storage))


@models_app.command("rollback")
def models_rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that has models.")],
    why: Why = _BY_HAND,
    storage: Storage = DEFAULT_REGISTRY,
) -> None:
    """Make the champion before this one the champion of its name again."""
    with exit_status():
        from flows.launch.models import roll_back

        show(roll_back(name, why, storage))


@models_app.command("sign")
def models_sign(
    model: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, or a part of its name, or NAME@champion.")
    ],
    storage: Storage = DEFAULT_REGISTRY,
) -> None:
    """Sign a registered model with UPLIFT_CACHE_KEY. Models are code: know who made it."""
    with exit_status():
        from flows.launch.models import sign

        show(sign(model, storage))
