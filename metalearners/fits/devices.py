"""Base models that fit on a device, such as a GPU, and whether this machine has it."""

import json
import re
from typing import Any

import numpy as np

from metalearners.base_models.nesting import is_estimator, package_of, parts

# Parameters that name a device. LightGBM has two names for one.
_NAMES = {
    "xgboost": ("device",),
    "lightgbm": ("device_type", "device"),
    "catboost": ("task_type",),
}
_BUILDS = {
    "xgboost": "XGBoost's package with GPU code (xgboost, not xgboost-cpu)",
    "lightgbm": "a LightGBM that is built with GPU code",
    "catboost": "CatBoost's package for Linux or Windows",
    "cuml": "cuML",
}
_X, _Y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
_working: set[str] = set()  # what this process found to work


def on_device(estimator: Any) -> bool:
    """Whether a base model, or a model nested in it, fits on a device other than the CPU."""
    return any(_package_on_device(part) for part in parts(estimator))


def check_device(estimator: Any, who: str = "") -> None:
    """Refuse a base model whose device this machine or its libraries lack.

    XGBoost would fit on the CPU instead, and only warn.

    Parameters
    ----------
    estimator : estimator
        The base model, unfitted. Models nested in it are checked too.
    who : str
        What the model is for, in the message.

    Raises
    ------
    ValueError
        If a device is missing.
    """
    for part in parts(estimator):
        package = _package_on_device(part)
        if package:
            _check(package, _device_of(part, package), who or type(part).__name__)


def _package_on_device(part: Any) -> str:
    """The package of a model that fits on a device; empty for others."""
    if not is_estimator(part):
        return ""
    # The user's subclasses fit as their base class does.
    packages = {base.__module__.partition(".")[0] for base in type(part).__mro__}
    named = (name for name in packages & _NAMES.keys() if _device_of(part, name))
    return next(named, package_of(part) if "cuml" in packages else "")


def _device_of(part: Any, package: str) -> dict[str, Any]:
    """Parameters by which a model of a package fits on a device; none if it fits on the CPU."""
    names = _NAMES.get(package, ())
    given = part.get_params(deep=False) if names else {}
    chosen = {name: given[name] for name in names if given.get(name) is not None}
    return {name: v for name, v in chosen.items() if not str(v).lower().startswith("cpu")}


def _check(package: str, device: dict[str, Any], who: str) -> None:
    asked = ", ".join(f"{name}={value!r}" for name, value in device.items())
    if f"{package} {asked}" in _working:
        return
    problem = _problem(package, device)
    if problem:
        instead = f", or leave out {' and '.join(device)}" if device else ""
        raise ValueError(
            f"Expected a device{f' for {asked}' if asked else ''} on the machine that fits {who}; "
            f"{problem}. Use {_BUILDS[package]} on a machine with a GPU and its driver{instead}."
        )
    _working.add(f"{package} {asked}")


def _problem(package: str, device: dict[str, Any]) -> str:
    """Why a package can't fit on a device here; empty if it can, as one round on it shows."""
    try:
        return _TRIALS[package](device)
    except Exception as error:  # whatever a library raises without its device
        # XGBoost's begins with the time and the line of its source.
        said = re.sub(r"^\[[\d:]+\] \S+: ", "", str(error).strip())
        return f"{package} says: {said.partition(chr(10))[0].rstrip('.:')}"


def _xgboost(device: dict[str, Any]) -> str:
    import xgboost

    with xgboost.config_context(verbosity=0):  # a parameter would change it for all fits
        fitted = xgboost.train(device, xgboost.DMatrix(_X, _Y), 1)
    used = json.loads(fitted.save_config())["learner"]["generic_param"]["device"]
    if not used.startswith("cpu"):
        return ""
    if not xgboost.build_info().get("USE_CUDA"):
        return f"XGBoost {xgboost.__version__} is installed in a build without GPU code"
    return "XGBoost finds no GPU"


def _lightgbm(device: dict[str, Any]) -> str:
    from lightgbm import LGBMRegressor

    LGBMRegressor(n_estimators=1, min_child_samples=2, verbosity=-1, **device).fit(_X, _Y)
    return ""


def _catboost(device: dict[str, Any]) -> str:
    from catboost import CatBoostRegressor

    quiet = {"allow_writing_files": False, "logging_level": "Silent"}
    CatBoostRegressor(iterations=1, **quiet, **device).fit(_X, _Y)
    return ""


def _cuml(device: dict[str, Any]) -> str:
    from cupy.cuda.runtime import getDeviceCount  # cuML depends on CuPy

    return "" if getDeviceCount() else "CuPy finds no GPU"


_TRIALS = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost, "cuml": _cuml}
