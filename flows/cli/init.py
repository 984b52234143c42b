"""Writes a config to start from, with guesses at the roles of the columns."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from flows.config.yaml_text import to_yaml
from flows.errors import InputError
from flows.inputs.guesses.roles import Roles, guess_roles
from flows.inputs.models import default_model
from flows.inputs.source import open_source
from flows.messages.limits import shown
from metalearners.data.estimate_columns import arm_name
from metalearners.declaration.defaults import Role
from metalearners.registry import REGISTRY

_MOST_LABELS = 10
_HOLDOUT = 0.2
_WRITTEN = ("outcome", "treatment", "control", "positive", "row_id", "weight", "group")

# No guess decides it: a date of signup would change the folds, and say nothing of when.
_TIME = "  # time: {}    # if it says when a row was treated: folds then follow time\n"

_TEMPLATE = """\
# Written by `uplift init`: roles are guesses from names and values. Check each before a run.
data:
  source: {source}{read}
  outcome: {outcome}{unnamed}
  outcome_type: {outcome_type}    # regression: numbers; binary: 0/1, true/false or two labels
  positive: {positive}    # of a binary outcome given as two labels, the one that counts as 1
  treatment: {treatment}{others}
  control: {control}    # {untold}found: {labels}
  # Only what was known before the treatment belongs here.
  features:
{features}
  row_id: {row_id}    # column carried through to the estimates
  weight: {weight}    # column of sampling weights
  group: {group}    # column of clusters that were treated together, such as families
  propensity: {propensity}    # known probabilities: of the treated arm, or a map from arm to one
  # randomised: chance drew the arms, and their shares are the propensities.
  design: auto    # auto, randomised or observational
{time}learners: [DRLearner]    # also {learners}
# Any estimator of scikit-learn's interface. These are the defaults for these rows and arms; null
# chooses them anew at each run.
models:
{models}
folds: {{n_folds: 5, seed: 0}}
evaluation: {{holdout: {holdout}, bootstrap: 200}}    # share of rows kept to judge the estimates by
output: runs
"""


def write_config(
    source: str,
    output: Path,
    given: Mapping[str, str | None] | None = None,
    sure: bool = False,
) -> Roles:
    """Write a commented config for a data source, with these roles; never overwrites a file.

    `given` are the treatment, the outcome and the control that are known. Raises InputError if the
    data can't be read, no treatment or outcome can be guessed, the file exists, or treatment and
    control must be `sure` and aren't.
    """
    roles = guess_roles(open_source(source), **(given or {}))
    if sure:
        known: dict[str, Any] = {"--output": output}
        known |= {f"--{name}": (given or {}).get(name) for name in ("outcome", "control")}
        options = [str(part) for name, value in known.items() if value for part in (name, value)]
        _check_sure(roles, ["uplift", "init", source, *options, "--run", "--treatment"])
    text = _filled(source, roles)
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
    return roles


def _check_sure(roles: Roles, again: list[str]) -> None:
    """Refuse a treatment that is a guess among several, and a control that no label tells.

    `again` is the command up to the treatment's name.
    """
    if roles.others:
        raise InputError(
            "Expected one column that looks like the treatment; found "
            f"{', '.join([str(roles.treatment), *roles.others])}. "
            f"Name it: {shlex.join([*again, 'COLUMN'])}"
        )
    if not roles.control_told:
        labels = shown(", ".join(map(arm_name, roles.labels)), 300)
        raise InputError(
            f"Expected a label of {roles.treatment!r} that tells that it is the control, as it "
            f"decides the sign of effects; found {labels}. Name it: "
            f"{shlex.join([*again, str(roles.treatment), '--control', 'LABEL'])}"
        )


def told(roles: Roles) -> str:
    """The roles in a line."""
    others = f"; or is it {', '.join(roles.others)}?" if roles.others else ""
    unnamed = "" if roles.outcome_named else " (a guess: no name tells it)"
    untold = "" if roles.control_told else ": a guess, as no label tells it"
    given = {name: getattr(roles, name) for name in ("row_id", "weight", "group", "propensity")}
    n_left_out, n_features = len(roles.left_out), len(roles.features)
    parts = [
        f"treatment {roles.treatment} (control {arm_name(roles.control)}{untold}{others})",
        f"outcome {roles.outcome}{unnamed}",
        *(f"{name} {column}" for name, column in given.items() if column),
        f"{n_features} feature{'s' * (n_features > 1)}",
        f"{n_left_out} column{'s' * (n_left_out > 1)} left out",
    ]
    return ", ".join(parts if n_left_out else parts[:-1])


def _filled(source: str, roles: Roles) -> str:
    """The config's text for a source."""
    if roles.treatment is None or roles.outcome is None:
        missing = "treatment (2 to 10 values)" if roles.treatment is None else "outcome (numbers)"
        raise InputError(f"Expected a column that could be the {missing} in {source}; found none.")
    if not roles.features:
        why = "; ".join(f"{name}: {reason}" for name, reason in roles.left_out.items())
        raise InputError(
            f"Expected a column that could be a feature in {source}; found none. "
            f"{why and f'Left out are {why}. '}Add columns that were known before the treatment."
        )
    propensity = roles.propensity and {_treated(roles): roles.propensity}
    of_role = {name: _yaml(getattr(roles, name)) for name in _WRITTEN}
    others = ", ".join(map(_yaml, roles.others))
    return _TEMPLATE.format(
        source=_yaml(source),
        outcome_type="binary" if roles.binary else "regression",
        labels=", ".join(map(_yaml, roles.labels[:_MOST_LABELS])),
        features=_features(roles),
        propensity=_yaml(propensity or None),
        read=f"\n  read: {{dates: {_yaml(roles.dates)}}}" if roles.dates else "",
        time="" if roles.time is None else _TIME.format(_yaml(roles.time)),
        untold="" if roles.control_told else "a guess: no label tells it; ",
        unnamed="" if roles.outcome_named else "    # a guess: no name tells it",
        others=others and f"    # a guess; it may be {others}",
        learners=", ".join(name for name in REGISTRY if name != "DRLearner"),
        models=_models(roles),
        holdout=_HOLDOUT,
        **of_role,
    )


def _treated(roles: Roles) -> Any:
    return next(label for label in roles.labels if label != roles.control)


def _features(roles: Roles) -> str:
    lines = [f"    - {_yaml(name)}" for name in roles.features]
    lines += [f"    # - {_yaml(n)}    # left out: {why}" for n, why in roles.left_out.items()]
    return "\n".join(lines)


def _models(roles: Roles) -> str:
    n_rows = int((1 - _HOLDOUT) * roles.n_rows)
    made = {
        role: default_model(role, roles.binary, n_rows, len(roles.labels))
        for role in get_args(Role)
    }
    return "\n".join(f"  {role}: {_yaml(model.model_dump())}" for role, model in made.items())


def _yaml(value: Any) -> str:
    """A value as YAML in one line."""
    return to_yaml(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
