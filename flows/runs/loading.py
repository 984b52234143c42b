"""A run's beginning: its config, data and surroundings are proved before anything is fitted."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from joblib import cpu_count

from flows.config.files import check_folder, undone_if_refused
from flows.config.reading import ConfigError
from flows.config.sections import Config
from flows.config.sound_parts import sound_parts
from flows.errors import Faults, InputError
from flows.fitting.cache import check_cache
from flows.fitting.dask_cluster import check_cluster
from flows.fitting.parallelism import cut_down
from flows.inputs.places import check_allowed
from flows.inputs.study import Study, load_study
from flows.registry.registry import check_registry

if TYPE_CHECKING:
    from prefect import Flow  # which reads its settings when it is imported: not yet


def load(config: Config, frame: Any = None, faults: Faults | None = None) -> Study:
    """Read a config's data, which may be a data frame in memory, and prove that it can be run here.

    `faults` are those of the config itself.

    Raises InputError if the data, the config, the two together, or what the config names here are
    wrong: in one message.
    """
    faults = Faults() if faults is None else faults
    if config.parallelism != "auto" and config.parallelism.runner == "dask":
        faults.judge("parallelism", partial(check_cluster, config.parallelism))
    try:
        study = load_study(config.at(datetime.now(UTC)), faults, frame)
    except InputError as error:
        if not faults:  # then it wasn't noted, and no folder may be made
            faults.note(str(error))
        _judge_folders(config, faults)  # which raises it, with theirs
        raise
    study.warnings.extend(cut_down(config.parallelism, cpu_count()))
    # Last, so that refused input leaves no folders behind.
    study.warnings.extend(check_folders(config))
    return study


def told_with_data(refused: ConfigError, frame: Any = None) -> InputError:
    """The refusal of a config, with what is wrong with its data as far as it can be judged."""
    found = sound_parts(refused)
    if found is None:
        return refused
    config, faults = found
    try:
        load(config, frame, faults)
    except InputError as error:
        return InputError(f"{refused.where}{error}")
    return refused


def check_folders(config: Config) -> list[str]:
    """Refuse folders to write to that the process may not, or can't, write to.

    Returns
    -------
    Warnings of others who may put fits into the cache, or models into the registry

    Raises InputError if there is one.
    """
    return _judge_folders(config, Faults())


def _judge_folders(config: Config, faults: Faults) -> list[str]:
    """Warnings of the folders; an InputError if there are faults, those of the folders added."""
    with undone_if_refused(config.output, config.cache.storage, config.registry.storage):
        faults.judge("output", partial(_check_output, config))
        warnings = [
            faults.judge("cache", partial(_check_cache, config)),
            faults.judge("registry", partial(_check_registry, config)),
        ]
        faults.refuse()
    return list(filter(None, warnings))


def _check_output(config: Config) -> None:
    check_allowed(config.output)
    check_folder(config.output, "output")


def _check_cache(config: Config) -> str:
    if not config.cache.enabled:
        return ""
    check_allowed(config.cache.storage)
    return check_cache(config.cache)


def _check_registry(config: Config) -> str:
    if not config.registry.enabled:
        return ""
    for place in config.registry.limited:
        check_allowed(place)
    return check_registry(config.registry)


@dataclass
class Prepared:
    """A study that was loaded for a run."""

    study: Study
    begun: float  # when loading began, by the performance counter
    waited: float = 0.0  # seconds since then in which it imported Prefect or waited for a server

    @property
    def seconds(self) -> float:
        """What the run has taken so far, without imports and waiting."""
        return time.perf_counter() - self.begun - self.waited


def prepare(config: Config, frame: Any = None) -> Prepared:
    """Load a run's study, from a data frame in memory where there is one."""
    begun = time.perf_counter()
    return Prepared(load(config, frame), begun)


def with_body(flow: "Flow[..., str]", body: Callable[[], str]) -> "Flow[..., str]":
    """A flow with the name, parameters and hooks of another, for a study that is loaded already."""
    bound = flow.with_options()
    bound.fn = functools.wraps(flow.fn)(lambda *arguments, **more: body())
    return bound
