"""The reference of the command, made by typer from the command itself."""

from typing import Any

import typer.main
from typer.cli import get_docs_for_click

from flows.cli.commands import app


def command_page() -> str:
    """Return the page: each command with its arguments and options, as ``--help`` has them."""
    command = typer.main.get_command(app)
    tell_all(command)
    context = typer.Context(command, info_name="uplift")
    return get_docs_for_click(obj=command, ctx=context, name="uplift", title="The command `uplift`")


def tell_all(command: Any) -> None:
    """Have lists of commands show the first line of each one's help in full."""
    for inner in getattr(command, "commands", {}).values():
        inner.short_help = (inner.help or "").partition("\n")[0]
        tell_all(inner)
