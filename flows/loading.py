"""A run's beginning: its config, data and surroundings are proved before anything is fitted."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joblib import cpu_count

from flows.config.files import check_folder
from flows.config.sections import Config
from flows.fitting.cache import check_cache
from flows.fitting.cluster import check_cluster
from flows.fitting.parallelism import cut_down
from flows.inputs.places import check_allowed
from flows.inputs.study import Study, load_study

if TYPE_CHECKING:
    from prefect import Flow  # which reads its settings when it is imported: not yet


def load(config: Config, frame: Any = None) -> Study:
    """Read a config's data, which may be a data frame in memory, and prove that it can be run here.

    Raises InputError if the data, the config, the two together, or what the config names here are
    wrong.
    """
    if config.parallelism != "auto" and config.parallelism.runner == "dask":
        check_cluster(config.parallelism)
    study = load_study(config, frame)
    study.warnings.extend(cut_down(config.parallelism, cpu_count()))
    # Last, so that refused input leaves no folders behind.
    study.warnings.extend(check_folders(config))
    return study


def check_folders(config: Config) -> list[str]:
    """Refuse folders to write to that the process may not, or can't, write to.

    Returns
    -------
    Warnings of others who may put fits into the cache

    Raises InputError if there is one.
    """
    check_allowed(config.output)
    check_folder(config.output, "output")
    if not config.cache.enabled:
        return []
    check_allowed(config.cache.storage)
    return list(filter(None, [check_cache(config.cache)]))


@dataclass
class Prepared:
    """A study that was loaded for a run."""

    study: Study
    begun: float  # when loading began, by the performance counter
    waited: float = 0.0  # seconds since then in which the run waited for a server

    @property
    def seconds(self) -> float:
        """What the run has taken so far, without waiting."""
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
