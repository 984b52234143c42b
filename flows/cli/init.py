"""Writes a config to start from, with guesses at the roles of the columns."""

from pathlib import Path
from typing import Any

import pandas as pd

from flows.config.yaml_text import to_yaml
from flows.errors import InputError
from flows.inputs.source import open_source
from metalearners.bundle import arm_name
from metalearners.registry import REGISTRY

_TREATMENTS = ("treatment", "treated", "arm", "variant", "segment", "plan", "group", "w", "t")
_OUTCOMES = ("outcome", "y", "target", "visit", "conversion", "converted", "spend", "revenue")
_IDS = ("id", "row_id", "customer_id", "user_id", "client_id")
_GROUPS = ("family", "household", "cluster", "group_id", "account")
_CONTROLS = ("control", "none", "no", "free", "placebo", "0", "false")
_MOST_ARMS = 10

_TEMPLATE = """\
# Written by `uplift init`: roles are guesses from names and values. Check each before a run.
data:
  source: {source}
  outcome: {outcome}
  outcome_type: {outcome_type}    # regression: numbers; binary: 0/1 or true/false
  treatment: {treatment}
  control: {control}    # found: {labels}
  # Only what was known before the treatment belongs here.
  features:
{features}
  row_id: {row_id}    # column carried through to the estimates
  weight: null    # column of sampling weights
  group: {group}    # column of clusters that were treated together, such as families
  propensity: null    # known probabilities: of the treated arm, or a map from arm to one
learners: [DRLearner]    # also {others}
folds: {{n_folds: 5, seed: 0}}
evaluation: {{holdout: 0.2, bootstrap: 200}}    # share of rows kept to judge the estimates by
output: runs
"""


def write_config(source: str, output: Path) -> None:
    """Write a commented config for a data source; never overwrites a file.

    Raises InputError if the data can't be read, no treatment or outcome can be guessed, or the file
    exists.
    """
    rows = open_source(source)
    frame = rows.read(rows.data_names).frame
    text = _TEMPLATE.format(**_guess(frame, source))
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(
            f"Expected no file at {output}, as nothing is overwritten; there is one. Choose "
            "another with --output."
        ) from None
    except OSError as error:
        raise InputError(f"--output: {output} can't be written: {error.strerror}.") from None


def _guess(frame: pd.DataFrame, source: str) -> dict[str, str]:
    columns = [str(name) for name in frame.columns]
    treatment = _named(columns, _TREATMENTS) or _few_valued(frame)
    rest = [name for name in columns if name != treatment]
    outcome = _named(rest, _OUTCOMES) or _numeric(frame[rest])
    if treatment is None or outcome is None:
        wanted = "treatment (2 to 10 values)" if treatment is None else "outcome (numbers)"
        raise InputError(f"Expected a column that could be the {wanted} in {source}; found none.")
    row_id = _named(rest, _IDS)
    labels = sorted(frame[treatment].dropna().unique().tolist(), key=arm_name)
    control = next((lb for lb in labels if _is_control(lb)), labels[0])
    group = _named(rest, _GROUPS)
    features = [name for name in rest if name not in (outcome, row_id, group)]
    binary = set(frame[outcome].dropna().unique()) <= {0, 1}
    return {
        "source": _yaml(source),
        "outcome": _yaml(outcome),
        "outcome_type": "binary" if binary else "regression",
        "treatment": _yaml(treatment),
        "control": _yaml(control),
        "labels": ", ".join(_yaml(label) for label in labels[:_MOST_ARMS]),
        "features": "\n".join(map(_feature, features)),
        "row_id": _yaml(row_id),
        "group": _yaml(group),
        "others": ", ".join(name for name in REGISTRY if name != "DRLearner"),
    }


def _feature(name: str) -> str:
    if name.lower() in _OUTCOMES:
        return f"    # - {_yaml(name)}    # left out: looks like another outcome"
    return f"    - {_yaml(name)}"


def _named(columns: list[str], wanted: tuple[str, ...]) -> str | None:
    by_name = {name.lower(): name for name in reversed(columns)}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _few_valued(frame: pd.DataFrame) -> str | None:
    counts = {name: _distinct(frame[name]) for name in frame}
    return next((str(n) for n in frame if 2 <= counts[n] <= _MOST_ARMS), None)


def _distinct(column: pd.Series) -> int:
    try:
        return int(column.nunique())
    except TypeError:  # values such as lists, which are no arms
        return 0


def _numeric(frame: pd.DataFrame) -> str | None:
    return next((str(n) for n in reversed(frame.columns) if frame[n].dtype.kind in "biuf"), None)


def _is_control(label: Any) -> bool:
    name = arm_name(label).lower()
    return name in _CONTROLS or name.startswith(("no ", "no_", "control"))


def _yaml(value: Any) -> str:
    """A value as YAML in one line."""
    return to_yaml(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
