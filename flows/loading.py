"""A run's beginning: its config, data and surroundings are proved before anything is fitted."""

import time
from dataclasses import dataclass

from joblib import cpu_count

from flows.config.files import check_folder
from flows.config.sections import Config
from flows.fitting.cache import check_cache
from flows.fitting.cluster import check_cluster
from flows.fitting.parallelism import cut_down
from flows.inputs.source import check_allowed
from flows.inputs.study import Study, load_study


def load(config: Config) -> Study:
    """Read a config's data, and prove that it can be run here.

    Raises
    ------
    InputError
        If the data, the config, the two together, or what the config names here are wrong.
    """
    if config.parallelism != "auto" and config.parallelism.runner == "dask":
        check_cluster(config.parallelism)
    study = load_study(config)
    study.warnings.extend(cut_down(config.parallelism, cpu_count()))
    # Last, so that refused input leaves no folders behind.
    study.warnings.extend(check_folders(config))
    return study


def check_folders(config: Config) -> list[str]:
    """Refuse folders to write to that the process may not, or can't, write to.

    Returns
    -------
    Warnings of others who may put fits into the cache

    Raises
    ------
    InputError
        If there is one.
    """
    check_allowed(config.output)
    check_folder(config.output, "output")
    if not config.cache.enabled:
        return []
    check_allowed(config.cache.storage)
    return list(filter(None, [check_cache(config.cache)]))


@dataclass
class Prepared:
    """A study loaded ahead of its run.

    Parameters
    ----------
    begun : on the performance counter, when loading began
    waited : seconds since then that were spent on waiting for a server
    """

    study: Study
    begun: float
    waited: float = 0.0


# By the configs they were loaded for.
_prepared: dict[str, Prepared] = {}


def prepare(config: Config) -> Prepared:
    """Load a run's study ahead of it, so that wrong input is refused before a server is needed."""
    begun = time.perf_counter()
    _prepared[config.to_yaml()] = Prepared(load(config), begun)
    return _prepared[config.to_yaml()]


def take_study(config: Config) -> tuple[Study, float]:
    """The study of a config: the one loaded ahead for it, once, else loaded now.

    Returns
    -------
    The study, and the seconds that its run had taken before this call, waiting left out
    """
    prepared = _prepared.pop(config.to_yaml(), None)
    if prepared is None:
        return load(config), 0.0
    return prepared.study, time.perf_counter() - prepared.begun - prepared.waited
