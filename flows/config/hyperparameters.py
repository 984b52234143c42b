"""Checks of base models' hyperparameters: which names and values a config may give them."""

import inspect
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from sklearn.base import clone
from sklearn.utils.metadata_routing import get_routing_for_object

from flows.config.problems import nearest
from flows.errors import InputError
from metalearners.base_models.nesting import is_estimator, is_splitter
from metalearners.declaration.trial import check_parameters

# By these parameters a base model would read or write files, or open connections. The last four are
# catboost's.
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
# The documented parameters of XGBoost that its classes don't name as arguments. XGBoost takes any
# other keyword with a warning at the fit.
_XGBOOST = {
    *("alpha", "eta", "lambda", "nthread", "num_class", "seed", "seed_per_iteration"),
    *("aft_loss_distribution", "aft_loss_distribution_scale", "expectile_alpha", "huber_slope"),
    *("quantile_alpha", "tweedie_variance_power", "disable_default_eval_metric"),
    *("max_cached_hist_node", "process_type", "refresh_leaf", "updater"),
    *("normalize_type", "one_drop", "rate_drop", "sample_type", "skip_drop"),
    *("feature_selector", "top_k"),
}

# LightGBM gets all of its parameters as one text, in which these characters end a value. None of
# LightGBM's own values holds one.
_SEVERAL = re.compile(r"[\s=#\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
# These packages take each value as it is. But some values hold parameters themselves, such as the
# map that is the one parameter of catboost.CatBoost. Others are maps from names of features.
_NESTING = {"catboost", "xgboost"}
_NAMED = re.compile(r"(\w+)[\"']?\s*[:=]")
_BY_FEATURE = re.compile("constraints|weight|penalt|features|quantization")


def check_params(factory: type, params: Mapping[str, Any], where: str) -> None:
    """Refuse parameters that a class lacks, or by which it would use files."""
    parameters = inspect.signature(factory).parameters.values()
    named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    if factory.__module__.startswith("xgboost."):  # a subclass takes its parent's by keywords
        named = sorted({*named, *factory().get_params(deep=False)})
    valid = set(named)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        # The class takes any keyword and judges it at the fit, some with a warning only.
        valid |= _more_parameters(factory.__module__.partition(".")[0]) or set(params)
    for name, value in params.items():
        _check_safe(factory, name, value, where)
        if name not in valid:
            raise InputError(
                f"{where}: {factory.__name__} has no parameter {name!r}. "
                f"{nearest(name, sorted(valid))}It has: {', '.join(named)}."
            )


def _check_safe(owner: type, name: str, value: Any, where: str) -> None:
    """Refuse a parameter by which a base model would use files: by its name, or in its value."""
    _refuse_files(name, where)
    packages = {base.__module__.partition(".")[0] for base in owner.__mro__}
    where = f"{where}.params.{name}"
    if packages & _NESTING and not _BY_FEATURE.search(name):
        for nested in _names(value):
            _refuse_files(nested, where)
    odd = [text for text in (*_texts([name, value]), *_written(value)) if _SEVERAL.search(text)]
    if odd and "lightgbm" in packages:
        raise InputError(
            f"{where}: expected text without spaces, line ends, '=' and '#', from which "
            f"{owner.__name__} would read other parameters; found {odd[0]!r}. Write each "
            "parameter under its own name, and several values as a list."
        )


def is_spec(value: Mapping[str, Any]) -> bool:
    """Whether a map names a nested estimator."""
    # In a grid, `estimator` may be the name of a parameter, with a list of values to try.
    return "estimator" in value and not isinstance(value["estimator"], (list, tuple))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, also the keys of maps."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and not is_spec(value):  # it has its own check
        yield from _texts([*value, *value.values()])
    elif isinstance(value, (list, tuple, Set)):
        for item in value:
            yield from _texts(item)


def _written(value: Any) -> Iterator[str]:
    """What LightGBM writes for a list and the lists in it; deeper lists get spaces."""
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from map(str, item if isinstance(item, (list, tuple)) else [item])


def _names(value: Any) -> Iterator[str]:
    """Names of parameters in a value: the keys of maps, and names that texts give a value."""
    for text in _texts(value):
        yield from _NAMED.findall(text)
    if isinstance(value, Mapping):
        yield from map(str, value)
        value = list(value.values())
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from _names(item)


def _refuse_files(name: str, where: str) -> None:
    if _FILES.search(name):
        raise InputError(
            f"{where}: expected no parameter such as {name!r}, as base models use no files of "
            "their own. Leave it out."
        )


def _more_parameters(package: str) -> Set[str]:
    """Parameters that a package's classes take as keywords and don't name."""
    if package != "lightgbm":
        return _XGBOOST if package == "xgboost" else set()
    from lightgbm.basic import _ConfigAliases  # private: its table of parameters and aliases

    table = _ConfigAliases._get_all_param_aliases()
    return {alias for name in set(table) - _LIGHTGBM_FILES for alias in (name, *table[name])}


def check_values(built: Any, where: str) -> None:
    """Refuse what an estimator or a splitter would refuse at the fit, if it says so before."""
    if is_estimator(built):
        check_parameters(built)
    elif hasattr(built, "_parameter_constraints"):
        built._validate_params()
    if is_splitter(built) and get_routing_for_object(built).split.requests.get("groups"):
        raise InputError(
            f"{where}: expected a splitter that needs no groups; {type(built).__name__} does, and "
            "base models are fitted without. Name another, such as sklearn.model_selection.KFold."
        )
    for name in ("param_grid", "param_distributions"):
        _check_grid(built, getattr(built, name, {}), f"{where}.params.{name}")


def _check_grid(search: Any, grids: Any, where: str) -> None:
    """Refuse a grid whose values the model of the search wouldn't take as parameters."""
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
    if is_estimator(owner):
        _check_safe(type(owner), name, value, where)
    if is_estimator(owner) and path not in parts:  # neither a listed parameter nor a step's name
        check_params(type(owner), {name: value}, where)
    candidate.set_params(**{path: value})
    if is_estimator(owner):
        check_values(owner, where)
