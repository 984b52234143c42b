"""The model that scores: one of the registry by its alias, or that of a run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from flows.config.names import DEFAULT_REGISTRY
from flows.inputs.places import check_allowed
from flows.registry.registry import open_registry, split
from flows.runs.records import find_run


@contextlib.contextmanager
def opened_model(reference: str, output: Path, location: str) -> Iterator[tuple[str, Path]]:
    """A model by an alias or a run: its run's name, and its folder for the time of the context.

    Raises InputError if there is none, or the process may not read there: a model is code.
    """
    if not split(reference)[1]:
        run = find_run(reference, output).resolve()  # a link may lead to another run soon
        check_allowed(str(run))
        yield run.name, run / "model"
        return
    if location != DEFAULT_REGISTRY:  # which lies in the state folder, where every run writes
        check_allowed(location)
    models, run_name = open_registry(location, "--registry").find(reference)
    with models.folder(run_name) as folder:
        yield run_name, folder
