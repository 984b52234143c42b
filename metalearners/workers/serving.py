"""How many cores stored models predict with."""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import ceil
from typing import Any

from joblib import cpu_count
from sklearn.pipeline import Pipeline

from metalearners.base_models.nesting import package_of


def use_all_cores(models: Mapping[str, Sequence[Any]], calls: int = 1) -> None:
    """Have LightGBM's models, by kind, predict with all cores: nothing else is fitted beside them.

    Calls that are made at once, in threads, share the cores. Without this, models would keep the
    number of threads that they were fitted with, often one. Each row's prediction is a sum by one
    thread, so its bits stay.
    """
    threads = ceil(cpu_count() / calls)
    for model in chain(*models.values()):
        last = model.steps[-1][1] if isinstance(model, Pipeline) else model
        if package_of(last) == "lightgbm":
            last.set_params(n_jobs=threads)
