"""Parameters of base models: which names and values a config may give them."""

import inspect
import re
from collections.abc import Mapping, Set
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from flows.config import nearest
from flows.errors import InputError
from metalearners.nesting import is_estimator, is_splitter

# Parameters by which a base model would read or write files, or open connections; the last four
# are catboost's.
_FILES = re.compile(
    r"^(memory|input)$|(file|filename|dir|path)$"
    r"|^(input_borders|output_borders|save_snapshot|allow_writing_files)$"
)
_LIGHTGBM_FILES = {
    *("config", "task", "data", "valid", "input_model", "output_model", "output_result"),
    *("convert_model", "save_binary", "snapshot_freq", "parser_config_file"),
    *("forcedsplits_filename", "forcedbins_filename", "machine_list_filename"),
    *("machines", "num_machines", "local_listen_port"),
}
# XGBoost takes any other keyword with a warning at the fit. Those of its documentation that are no
# arguments of its classes:
_XGBOOST = {
    *("alpha", "eta", "lambda", "nthread", "num_class", "seed", "seed_per_iteration"),
    *("aft_loss_distribution", "aft_loss_distribution_scale", "expectile_alpha", "huber_slope"),
    *("quantile_alpha", "tweedie_variance_power", "disable_default_eval_metric"),
    *("max_cached_hist_node", "process_type", "refresh_leaf", "updater"),
    *("normalize_type", "one_drop", "rate_drop", "sample_type", "skip_drop"),
    *("feature_selector", "top_k"),
}


def check_params(factory: type, params: Mapping[str, Any], where: str) -> None:
    """Refuse parameters that a class hasn't, or by which it would use files."""
    parameters = inspect.signature(factory).parameters.values()
    named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    if factory.__module__.startswith("xgboost."):  # a subclass takes its parent's as keywords
        named = sorted({*named, *factory().get_params(deep=False)})
    valid = set(named)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        # It takes any keyword, and says at the fit what it makes of it; some only warn.
        valid |= _more_parameters(factory.__module__.partition(".")[0]) or set(params)
    for name in params:
        _refuse_files(name, where)
        if name not in valid:
            raise InputError(
                f"{where}: {factory.__name__} has no parameter {name!r}. "
                f"{nearest(name, sorted(valid))}It has: {', '.join(named)}."
            )


def _refuse_files(name: str, where: str) -> None:
    if _FILES.search(name):
        raise InputError(
            f"{where}: expected no parameter such as {name!r}, as base models use no files of "
            "their own. Leave it out."
        )


def _more_parameters(package: str) -> Set[str]:
    if package == "xgboost":
        return _XGBOOST
    return _lightgbm_parameters() if package == "lightgbm" else set()


def _lightgbm_parameters() -> set[str]:
    # LightGBM's own table of parameters and aliases has no public name.
    from lightgbm.basic import _ConfigAliases

    table = _ConfigAliases._get_all_param_aliases()
    return {alias for name in set(table) - _LIGHTGBM_FILES for alias in (name, *table[name])}


def check_values(built: Any, where: str) -> None:
    """Refuse what an estimator or a splitter would refuse when it is fitted, as far as it says."""
    # Private in scikit-learn, which calls them first thing in `fit`.
    if hasattr(built, "_parameter_constraints"):
        built._validate_params()
    if isinstance(built, Pipeline):
        built._validate_steps()
    if is_splitter(built) and get_routing_for_object(built).split.requests.get("groups"):
        raise InputError(
            f"{where}: expected a splitter that needs no groups; {type(built).__name__} does, and "
            "base models are fitted without. Name another, such as sklearn.model_selection.KFold."
        )
    for name in ("param_grid", "param_distributions"):
        _check_grid(built, getattr(built, name, {}), f"{where}.params.{name}")


def _check_grid(search: Any, grids: Any, where: str) -> None:
    """Refuse a grid whose values the searched model wouldn't take as its parameters."""
    for grid in grids if isinstance(grids, list) else [grids]:
        if not isinstance(grid, Mapping):
            raise InputError(f"{where}: expected a map from parameters to lists; found {grid!r}.")
        for path, values in grid.items():
            if not isinstance(values, (list, tuple)) or not values:
                raise InputError(
                    f"{where}.{path}: expected a list of values; found {values!r}. "
                    "Write the values to try in brackets."
                )
            for value in values:
                _check_candidate(search.estimator, path, value, where)


def _check_candidate(estimator: Any, path: str, value: Any, where: str) -> None:
    *owners, name = path.split("__")
    candidate = clone(estimator)
    parts = candidate.get_params()
    owner = parts.get("__".join(owners)) if owners else candidate
    _refuse_files(name, where)
    if is_estimator(owner) and path not in parts:  # neither a parameter it lists nor a step's name
        check_params(type(owner), {name: value}, where)
    candidate.set_params(**{path: value})
    if is_estimator(owner):
        check_values(owner, where)
