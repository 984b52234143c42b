"""Guesses at the roles of the columns of new data, from their names and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from pandas.api import types

from flows.config.problems import nearest
from flows.errors import InputError
from flows.inputs.guesses import words
from flows.inputs.guesses.reasons import (
    DATE,
    LEAST_ROWS,
    MOVED,
    Design,
    alone,
    distinct,
    reasons,
    sample,
    treated_as_a_whole,
    written_dates,
)
from flows.inputs.source import Source, Table
from flows.messages.limits import shown
from metalearners.data.estimate_columns import arm_name
from metalearners.data.leaks import (
    are_probabilities_of,
    as_codes,
    p_of_equal_means,
    still_in_an_arm,
    tells_arm,
)

_MOST_ARMS = 10
_MOST_LABELS = 100  # of a treatment that is named
_LEAST_PEOPLE = 50
_MOVED = 2.5  # more than a name of units takes away
_SAY_CONTROL = (words.names_control, words.says_no, words.is_free, words.is_first)


@dataclass(frozen=True)
class Roles:
    """Guessed roles of columns, by name; None where no column looks like one."""

    treatment: str | None
    outcome: str | None
    n_rows: int = 0
    control: Any = None
    labels: list[Any] = field(default_factory=list)
    binary: bool = False
    positive: Any = None
    row_id: str | None = None
    weight: str | None = None
    group: str | None = None
    propensity: str | None = None
    features: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # why, by column
    dates: list[str] = field(default_factory=list)  # texts such as 24.12.2024
    time: str | None = None  # the sole column of dates, which may say when rows were treated
    others: list[str] = field(default_factory=list)  # columns that may be the treatment as well
    outcome_named: bool = True  # whether its name says that it is one
    control_told: bool = True  # whether its label says that it is one


def guess_roles(
    source: Source,
    treatment: str | None = None,
    outcome: str | None = None,
    control: str | None = None,
) -> Roles:
    """Roles of a source's columns, from their names and values, given those that are known.

    Raises InputError if a given column is none of the source, or the control no label.
    """
    for role, name in {"treatment": treatment, "outcome": outcome}.items():
        _check_known(role, name, source.data_names)
    if treatment is not None and treatment == outcome:
        raise InputError(f"Expected two columns; --treatment and --outcome are both {outcome!r}.")
    table = source.read(source.data_names)
    frame = table.frame
    roles = Roles(treatment, outcome, len(frame))
    if treatment is None:
        treatment, others = _treatment(frame.drop(columns=[outcome] if outcome else []))
        roles = replace(roles, treatment=treatment, others=others)
    if treatment is None:
        return roles
    arms = source.read([treatment], [treatment]).frame[treatment]  # labels as they are written
    roles = _with_outcome(_with_control(roles, arms, control), frame, arms)
    if roles.outcome is None:
        return roles
    return _with_features(_with_units(roles, frame, arms), table, arms)


def _with_control(roles: Roles, arms: pd.Series, control: str | None) -> Roles:
    labels = sorted(arms.dropna().unique().tolist(), key=arm_name)
    if len(labels) < 2:
        raise InputError(
            f"--treatment: expected a column of two labels or more; {arms.name!r} has "
            f"{len(labels)}."
        )
    if len(labels) > _MOST_LABELS:
        raise InputError(
            f"--treatment: expected a column of few labels; {arms.name!r} has {len(labels)}."
        )
    found, told = _control(labels) if control is None else (_known_label(control, labels), True)
    return replace(roles, labels=labels, control=found, control_told=told)


def _with_outcome(roles: Roles, frame: pd.DataFrame, arms: pd.Series) -> Roles:
    name, named = roles.outcome, True
    if name is None:
        name, named = _outcome(frame.drop(columns=roles.treatment), arms)
    if name is None:
        return roles
    if not _is_outcome(frame[name]):
        raise InputError(f"--outcome: expected numbers or two labels; {name!r} has neither.")
    binary, positive = _binary(frame[name])
    return replace(roles, outcome=name, outcome_named=named, binary=binary, positive=positive)


def _with_units(roles: Roles, frame: pd.DataFrame, arms: pd.Series) -> Roles:
    """The roles with those of columns that say what rows are and how they were drawn."""
    rest = frame.drop(columns=[roles.treatment, roles.outcome])
    names = [str(name) for name in rest]
    row_id = _row_id(rest)
    weight = _named(names, words.WEIGHTS, lambda c: _are_weights(rest[c]))
    propensity = _propensity(rest, arms, roles)
    taken = [name for name in (row_id, weight, propensity) if name is not None]
    group = _group(rest.drop(columns=taken), arms)
    return replace(roles, row_id=row_id, weight=weight, propensity=propensity, group=group)


def _with_features(roles: Roles, table: Table, arms: pd.Series) -> Roles:
    frame = table.frame
    taken = (roles.treatment, roles.outcome, roles.row_id, roles.weight, roles.group)
    free = [str(name) for name in frame if name not in (*taken, roles.propensity)]
    outcome = frame[roles.outcome]
    y = as_codes(outcome if roles.positive is None else outcome == roles.positive)
    groups = None if roles.group is None else frame[roles.group]
    design = Design(arms, y.where(outcome.notna()), groups, roles.propensity is not None)
    left_out = reasons(table, free, design)
    times = [name for name, why in left_out.items() if why == DATE]
    return replace(
        roles,
        features=[name for name in free if name not in left_out],
        left_out=left_out,
        dates=[name for name in left_out if _has_written_dates(frame[name])],
        time=times[0] if len(times) == 1 else None,
    )


def _has_written_dates(column: pd.Series) -> bool:
    return not types.is_numeric_dtype(column.dtype) and written_dates(column) == ""


def _binary(outcome: pd.Series) -> tuple[bool, Any]:
    """Whether an outcome has two values, and, of two labels, the one that counts as 1."""
    values = outcome.dropna().unique().tolist()
    if set(values) <= {0, 1}:
        return True, None
    if len(values) != 2 or types.is_numeric_dtype(outcome.dtype):
        return False, None
    return True, next((v for v in values if str(v).lower() in words.POSITIVES), sorted(values)[-1])


def _named(
    columns: Sequence[str], wanted: Sequence[str], fits: Callable[[str], bool]
) -> str | None:
    by_name = {words.plain(name): name for name in reversed(columns)}
    found = (by_name[name] for name in wanted if name in by_name)
    return next((name for name in found if fits(name)), None)


def _row_id(frame: pd.DataFrame) -> str | None:
    """A column whose name is an identity's, and whose values differ between all rows."""
    names = [str(name) for name in frame]
    of_ids = [name for name in names if words.is_identity(name)]
    ranked = sorted(of_ids, key=lambda n: (*words.IDS, words.plain(n)).index(words.plain(n)))
    return next((name for name in ranked if distinct(frame[name]) == len(frame)), None)


def _propensity(frame: pd.DataFrame, arms: pd.Series, roles: Roles) -> str | None:
    """A column of the treated arm's probabilities, of two arms, by its name or its values."""
    if len(roles.labels) != 2:
        return None
    names = [str(name) for name in frame]
    named = _named(names, words.PROPENSITIES, lambda name: _between(frame[name], 0, 1))
    treated = [label for label in roles.labels if label != roles.control]
    return named or _drawn_by(frame[_inside(frame)], arms, treated)


def _inside(frame: pd.DataFrame) -> list[str]:
    """Columns whose values may be probabilities."""
    return [str(name) for name in frame if _between(frame[name], 0, 1)]


def _drawn_by(frame: pd.DataFrame, arms: pd.Series, labels: list[Any]) -> str | None:
    """A column whose values are the probabilities with which a label was drawn."""
    known = arms.notna()
    for name in map(str, frame):
        values = frame.loc[known, name]
        if any(are_probabilities_of(values, arms[known] == label) for label in labels):
            return name
    return None


def _group(frame: pd.DataFrame, arms: pd.Series) -> str | None:
    """The largest clusters that share an arm, else what is named so, else people that repeat."""
    names = [str(name) for name in frame]
    labels = [name for name in names if not types.is_float_dtype(frame[name].dtype)]
    labels = [name for name in labels if 1 < distinct(frame[name]) < len(frame)]
    together = [name for name in labels if treated_as_a_whole(frame[name], arms)]
    if together:
        return min(together, key=lambda name: distinct(frame[name]))
    people = (c for c in labels if words.is_person(c) and distinct(frame[c]) >= _LEAST_PEOPLE)
    return _named(labels, words.GROUPS, lambda _: True) or next(people, None)


def _treatment(frame: pd.DataFrame) -> tuple[str | None, list[str]]:
    """The column that looks most like a treatment, and others that look no less like one."""
    names = [str(name) for name in frame]
    named = _named(names, words.TREATMENTS, lambda name: distinct(frame[name]) >= 2)
    if named is not None:
        return named, []
    few = [name for name in names if 2 <= distinct(frame[name]) <= _MOST_ARMS]
    if not few:
        return None, []
    rows = sample(frame.index)
    chances = frame.loc[rows, _inside(frame)]
    likeness = {name: _likeness(name, frame.loc[rows, name], chances) for name in few}
    first = max(few, key=likeness.__getitem__)  # the first of those that are alike
    unsure = [name for name in few if likeness[name] == likeness[first] or likeness[first] <= 0]
    return first, [name for name in unsure if name != first]


def _likeness(name: str, column: pd.Series, chances: pd.DataFrame) -> int:
    """How much a column of few values looks like a treatment, by its name and its values.

    `chances` are columns of what may be probabilities.
    """
    values = column.dropna().unique().tolist()
    other = (*words.OUTCOMES, *words.PROPENSITIES, *words.WEIGHTS, *words.GROUPS)
    texts = not types.is_numeric_dtype(column.dtype)
    return (
        words.like_treatment(name)
        + 2 * any(map(words.names_control, values))
        + (len(values) == 2)
        + (texts and any(map(words.says_no, values)))
        + 3 * (len(values) == 2 and _drawn_by(chances, column, values) is not None)
        - 9 * (words.plain(name) in other or types.is_float_dtype(column.dtype))
    )


def _control(labels: list[Any]) -> tuple[Any, bool]:
    """The label that names a control, or says no, and whether it alone does; else the least."""
    for says in _SAY_CONTROL:
        found = [label for label in labels if says(label)]
        if found:
            return found[0], len(found) == 1
    numbers = not any(isinstance(label, str) for label in labels)
    return (min(labels), True) if numbers else (labels[0], False)


def _known_label(control: str, labels: list[Any]) -> Any:
    """The label that is written so; else the one that is but for capital letters."""
    same = [label for label in labels if arm_name(label) == control]
    alike = [label for label in labels if arm_name(label).casefold() == control.casefold()]
    if not same and len(alike) != 1:
        told = shown(", ".join(map(arm_name, labels)), 300)
        raise InputError(f"--control: expected a label among {told}; found {control!r}.")
    return (same or alike)[0]


def _check_known(role: str, name: str | None, names: list[str]) -> None:
    if name is not None and name not in names:
        raise InputError(
            f"--{role}: expected a column; {name!r} is none. {nearest(name, names)}"
            f"It has: {shown(', '.join(names), 300)}."
        )


def _outcome(frame: pd.DataFrame, arms: pd.Series) -> tuple[str | None, bool]:
    """The column that looks most like an outcome, and whether its name says that it is one.

    Names speak first, then whether the arms' means differ. A column that tells the arm, or has one
    value in an arm as clicks on a mail do, is none. Of those alike, it is the last.
    """
    rows = sample(frame.index[arms.notna()])
    likeness = {}
    for name in map(str, reversed(frame.columns)):
        named = words.like_outcome(name) >= words.NAMED
        if _is_outcome(frame[name]) and (named or not alone(name, frame[name])):
            likeness[name] = _outcome_likeness(name, frame.loc[rows, name], arms[rows])
    for name in sorted(likeness, key=likeness.__getitem__, reverse=True):
        if _is_measured(frame.loc[rows, name], arms[rows]):
            return name, words.like_outcome(name) >= words.NAMED
    return None, False


def _outcome_likeness(name: str, column: pd.Series, arms: pd.Series) -> tuple[float, float, bool]:
    """How much a column looks like an outcome: by its name, its place among such, the arms."""
    named = words.like_outcome(name)
    codes = as_codes(column).to_frame()
    moved = len(column) >= LEAST_ROWS and bool(p_of_equal_means(codes, arms)[0] < MOVED)
    if named >= words.NAMED:
        plain = words.plain(name)
        place = words.OUTCOMES.index(plain) if plain in words.OUTCOMES else len(words.OUTCOMES)
        return named, -place, moved
    texts = not types.is_numeric_dtype(column.dtype)
    return min(named + _MOVED * moved - texts, words.NAMED - 0.1), 0, moved


def _is_outcome(column: pd.Series) -> bool:
    numbers = types.is_numeric_dtype(column.dtype)
    return distinct(column) >= 2 if numbers else distinct(column) == 2


def _is_measured(column: pd.Series, arms: pd.Series) -> bool:
    """Whether a column says something else than the arm, in every arm."""
    codes = as_codes(column)
    if len(column) < LEAST_ROWS:
        return True
    return not tells_arm(codes, arms) and not still_in_an_arm(codes.to_frame(), arms)


def _between(column: pd.Series, least: float, most: float) -> bool:
    return types.is_numeric_dtype(column.dtype) and bool(((column > least) & (column < most)).all())


def _are_weights(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column.dtype) and bool((column >= 0).all() and column.any())
