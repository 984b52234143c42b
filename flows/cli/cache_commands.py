"""`uplift cache`: the kept fits."""

import json
from typing import Annotated

import typer

from flows.cli.exits import exit_status
from flows.cli.options import CachePlace
from flows.config.names import DEFAULT_CACHE

cache_app = typer.Typer(no_args_is_help=True, help="List, verify and prune the kept fits.")


@cache_app.command("list")
def cache_list(
    storage: CachePlace = DEFAULT_CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the kept fits, oldest first, and how often runs reused them."""
    with exit_status(prints=True):
        from flows.fitting.cache import entry_facts, list_entries, open_existing
        from flows.launch.display import cache_table

        entries = list_entries(open_existing(storage))
        if as_json:
            print(json.dumps([entry_facts(entry) for entry in entries], indent=2))
        else:
            cache_table(entries)


@cache_app.command("verify")
def cache_verify(storage: CachePlace = DEFAULT_CACHE) -> None:
    """Check that every kept fit is whole; if one isn't, the exit status is 1."""
    with exit_status(prints=True):
        from flows.fitting.cache import damaged_entries, open_existing
        from flows.launch.display import cache_table

        damaged = damaged_entries(open_existing(storage))
        if not damaged:
            print("Every fit is whole.")
            return
        print("Damaged, or not signed with this key; runs fit these again:")
        cache_table(damaged)
        raise typer.Exit(1)


@cache_app.command("prune")
def cache_prune(
    storage: CachePlace = DEFAULT_CACHE,
    older_than: Annotated[
        float | None, typer.Option(help="Delete fits older than so many days.", min=0)
    ] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Delete damaged fits.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Delete all fits.")] = False,
) -> None:
    """Delete what killed runs left, and the fits that an option names."""
    with exit_status():
        from flows.fitting.cache import open_existing, prune

        print(prune(open_existing(storage), older_than, damaged, everything))
