"""What commands do with models: show them, and change the champion."""

from pathlib import Path
from typing import Any

from flows.config.files import undone_if_refused
from flows.config.names import is_name
from flows.dates.logical import moment_of
from flows.errors import InputError
from flows.messages.limits import shown
from flows.registry.models import Models, Verdict, load_bundle
from flows.registry.records import Event
from flows.registry.registry import Registry, made_registry, open_registry, split
from flows.report.past_runs import read_summary
from flows.runs.records import find_run

_DONE = "done"  # status of a run whose learners all have a model


def listed(location: str) -> list[dict[str, Any]]:
    """Each model's entry and alias, by name, the oldest first."""
    registry = open_registry(location, "--storage")
    by_name = {name: registry.of(name) for name in registry.names()}
    last = {name: models.history.last() for name, models in by_name.items()}
    found = [_facts(by_name[name], run, last[name]) for name, run in registry.runs()]
    return sorted(found, key=lambda own: (own["name"], moment_of(own["date"], "UTC"), own["run"]))


def told(reference: str, location: str) -> dict[str, Any]:
    """A name's aliases with its history, or a model's entry and alias with what happened to it.

    Raises InputError if there is neither.
    """
    registry = open_registry(location, "--storage")
    if reference not in registry.names():
        models, run = registry.find(reference)
        events = models.history.events()
        own = [event for event in events if event.model == run]
        facts = _facts(models, run, events[-1] if events else None)
        return {**facts, "history": [_plain(event) for event in own]}
    events = registry.of(reference).history.events()
    aliases: dict[str, Any] = {"champion": None, "challenger": None, "earlier": []}
    if events:
        aliases = events[-1].model_dump(include=set(aliases))
    return {"name": reference, **aliases, "history": [_plain(event) for event in events]}


def promote(reference: str, why: str, output: Path, location: str) -> str:
    """Make a model of the registry, or of a finished run, the champion of its name; a sentence.

    Raises InputError if there is no such model, or it can't be loaded here.
    """
    with undone_if_refused(location):
        registry = made_registry(location, "--storage")
        models, run = _registered(registry, reference, output)
        event = models.promote(run, why) or models.history.last()  # which says that it is
    before = f", after {event.earlier[-1]}" if event and event.earlier else ""
    return f"{run} is the champion of {models.name}{before}."


def roll_back(name: str, why: str, location: str) -> str:
    """Make the champion before this one the champion of a name again; a sentence.

    Raises InputError if the name has no models or no earlier champion.
    """
    registry = open_registry(location, "--storage")
    names = registry.names()
    if name not in names:
        raise InputError(
            f"Expected a name that has models; found none of {shown(repr(name))} in the registry "
            f"{location}. Names there: {', '.join(names) or 'none'}."
        )
    event = registry.of(name).roll_back(why)
    return f"{event.model} is the champion of {name} again."


def sign(reference: str, location: str) -> str:
    """Sign a model of the registry with this process's secret; a sentence with its digest.

    Raises InputError as `Models.sign`, and if there is no such model.
    """
    models, run = open_registry(location, "--storage").find(reference)
    digest = models.sign(run)
    return (
        f"{run} of {models.name} is signed: its digest is {digest}, as it was registered. `uplift "
        "score` with this key takes it."
    )


def _registered(registry: Registry, reference: str, output: Path) -> tuple[Models, str]:
    """A model of the registry; that of a finished run which isn't there is registered first."""
    try:
        return registry.find(reference)
    except InputError as unknown:
        if registry.matching(reference) or split(reference)[1]:
            raise
        try:
            folder = find_run(reference, output)
        except InputError:
            raise unknown from None
    return _register(registry, folder)


def _register(registry: Registry, folder: Path) -> tuple[Models, str]:
    try:
        summary = read_summary(folder / "summary.json")
    except ValueError as error:
        raise InputError(f"Expected a run's summary in {folder}; found another: {error}.") from None
    name, run = summary.get("name", ""), summary["run_name"]
    if summary["status"] != _DONE or not is_name(name):
        raise InputError(
            f"Expected a run that is done and has a name; found {folder} with the status "
            f"{shown(summary['status'])} and the name {shown(repr(name))}. Run its config again."
        )
    models = registry.of(name)
    if (name, run) not in registry.runs():
        load_bundle(folder / "model")
        date = summary.get("logical_date") or summary["started"]
        models.register(run, date, folder / "model", summary, _beside)
    return models, run


def _beside(last: Event) -> Verdict:
    """A model that is to be champion takes no challenger's place."""
    return Verdict("manual", "registered to be promoted")


def _facts(models: Models, run: str, last: Event | None) -> dict[str, Any]:
    entry = models.entry(run).model_dump(mode="json", exclude={"format_version"})
    return {**entry, "alias": None if last is None else last.alias_of(run)}


def _plain(event: Event) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude={"format_version", "mark"})
