"""What columns mean: each role's values read from a table, or one clear refusal."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from flows.config.data import DataConfig
from flows.config.problems import nearest
from flows.errors import Faults, InputError, within
from flows.inputs.features import PLAIN, kind_of
from flows.messages.limits import shown
from metalearners._typing import Array, Floats
from metalearners.data.dataset import are_propensities
from metalearners.data.estimate_columns import arm_name
from metalearners.data.schema import is_date

ROLES = tuple(
    f"data.{role}"
    for role in (
        *("outcome", "treatment", "row_id", "weight", "group", "strata", "drawn", "time"),
        "propensity",
    )
)
_ARM = ("an arm", "Remove those rows.")
_LARGEST = 1e100  # squares of larger numbers come near the end of floats


def known_propensity(
    frame: pd.DataFrame, data: DataConfig, arms: Sequence[Any], left_out: Collection[str] = ()
) -> Floats | None:
    """(n, K) known probabilities of the arms, or None where they are to be estimated.

    `left_out` are arms that take no part.

    Raises InputError if arms are unknown or missing, or a probability isn't inside (0, 1).
    """
    rule = data.propensity
    if rule is None:
        return None
    _check_design(data, arms, left_out)
    if not isinstance(rule, dict):
        if len(arms) != 2:
            raise InputError(
                f"data.propensity: expected a map from arm to probability for {len(arms)} arms; "
                f"found the number {rule}."
            )
        rule = {arms[1]: rule}
    given = [label_among(arm, list(arms), "data.propensity") for arm in rule]
    if len(set(given)) < len(given) or not set(arms[1:]) <= set(given):
        raise InputError(
            f"data.propensity: expected one probability for each of {arms[1:]} (the control may be "
            f"left out); found those of {given}."
        )
    values = (_probability(frame, value) for value in rule.values())
    parts = dict(zip(given, values, strict=True))
    parts.setdefault(arms[0], 1 - sum(parts.values()))  # type: ignore[arg-type]
    columns = np.column_stack([np.broadcast_to(parts[arm], len(frame)) for arm in arms])
    if not are_propensities(columns):
        raise InputError(
            "data.propensity: expected probabilities inside (0, 1) that sum to 1 over the arms; "
            f"found from {columns.min():.4g} to {columns.max():.4g}, sums from "
            f"{columns.sum(axis=1).min():.4g} to {columns.sum(axis=1).max():.4g}."
        )
    return columns


def read_strata(frame: pd.DataFrame, data: DataConfig) -> pd.Series | None:
    """Labels of the strata within which arms were drawn; None for one stratum.

    Raises InputError if a row has none, or they are neither texts, numbers nor true/false.
    """
    if data.strata is None:
        return None
    remedy = "Give those rows a stratum of their own."
    return _labels(frame[data.strata], "data.strata", "a stratum", remedy)


def _check_design(data: DataConfig, arms: Sequence[Any], left_out: Collection[str]) -> None:
    """Refuse a known design whose control would be given what belongs to arms left out."""
    if not left_out:
        return
    given = data.propensity if isinstance(data.propensity, dict) else {}
    if arm_name(arms[0]) not in map(arm_name, given):
        raise InputError(
            f"data.propensity: expected a probability for each of {list(arms)}, the control too, "
            f"among the rows of these arms, as {', '.join(left_out)} are left out; found none for "
            f"{arms[0]!r}. Divide the design's probabilities by their sum over the arms in use."
        )


def _probability(frame: pd.DataFrame, value: float | str) -> Floats:
    if not isinstance(value, str):
        return np.asarray(float(value))
    return as_numbers(frame[value], "data.propensity")


def choose_columns(
    data: DataConfig,
    names: list[str],
    data_names: list[str],
    faults: Faults,
    beside: Collection[str] = (),
) -> tuple[list[str], list[str], list[str]]:
    """Columns to read, the features among them, and what to warn of.

    `names` are all columns; `data_names` are those that no program wrote for itself. Those `beside`
    have a role in another section, and are features only where these are listed.
    """
    for role, column in data.roles.items():
        faults.judge(place_of(role), partial(check_name, data, role, column, names))
    given = data.features or []
    for column in given:
        check = partial(check_name, data, "features", column, names)
        faults.judge(within("data.features", column), check)
    roles = list(dict.fromkeys(c for c in data.roles.values() if c in names))
    features = [column for column in given if column in names]
    # A column whose role is unknown may be any of the others.
    if data.features is None and faults.knows("data.features", *ROLES):
        features = [name for name in data_names if name not in (*roles, *beside)]
        if not features:
            message = f"Expected feature columns in {data.place}; every column has a role."
            faults.note(message, "data.features")
    warnings = []
    if data.features is None:
        warnings.append(
            f"data.features isn't set: every column without another role is used, "
            f"{shown(', '.join(features), 300)}. A column that the treatment changes doesn't "
            "belong there."
        )
    return list(dict.fromkeys(roles + features)), features, warnings


def place_of(role: str) -> str:
    """The place in a config of a role, such as ``propensity.mail``."""
    return within("data", *role.split(".", 1))


def check_name(data: DataConfig, role: str, column: str, names: list[str]) -> None:
    """Refuse the name of a column of a role that the source doesn't have."""
    check_column(f"data.{role}", data, column, names)


def check_column(place: str, data: DataConfig, column: str, names: list[str]) -> None:
    """Refuse the name of a column that the source doesn't have."""
    if column not in names:
        raise InputError(
            f"{place}: expected a column of {data.place}; {column!r} is none. "
            f"{nearest(column, names)}It has: {shown(', '.join(names), 300)}."
        )


def read_arms(
    column: pd.Series, data: DataConfig, faults: Faults
) -> tuple[list[Any], Array, dict[str, int]] | None:
    """Labels of the arms, each row's code (-1: takes no part), rows left out by label."""
    where = "data.treatment"
    faults.judge(f"{where}.each", lambda: _check_complete(column, where, *_ARM))
    if column.isna().all():
        return None
    faults.judge(f"{where}.kind", lambda: check_kind(column, where))
    if not faults.knows(f"{where}.kind"):
        return None
    codes, found = pd.factorize(column, sort=True)
    labels = [_plain(label) for label in found.tolist()]
    faults.judge("data.control", lambda: label_among(data.control, labels, "data.control"))
    for i, arm in enumerate(data.arms or []):
        faults.judge(f"data.arms.{i}", partial(label_among, arm, labels, "data.arms"))
    if not faults.knows(where, "data.control", "data.arms"):
        return None
    return faults.judge("data.arms", lambda: _arms_among(labels, codes, column, data))


def _arms_among(
    labels: list[Any], codes: Array, column: pd.Series, data: DataConfig
) -> tuple[list[Any], Array, dict[str, int]]:
    control = label_among(data.control, labels, "data.control")
    chosen = [label_among(arm, labels, "data.arms") for arm in data.arms or labels]
    if control not in chosen:
        raise InputError(f"data.arms: expected the control {control!r} among them; found {chosen}.")
    arms = [control, *(arm for arm in chosen if arm != control)]
    if len(set(arms)) < len(chosen):
        raise InputError(f"data.arms: expected each arm once; found {chosen}.")
    if len(arms) < 2:
        raise InputError(
            f"data.treatment: expected two or more arms in {column.name!r}; found {arms}."
        )
    position = np.array([arms.index(label) if label in arms else -1 for label in labels])
    own = position[codes]
    counts = {
        arm_name(lb): int((codes == i).sum()) for i, lb in enumerate(labels) if lb not in arms
    }
    return arms, own, counts


def taking_part(frame: pd.DataFrame, data: DataConfig) -> Array | None:
    """(n,) 0 for rows of the arms to use, else -1, where arms are at fault; None if not known."""
    if data.treatment not in frame:
        return np.zeros(len(frame), int) if data.arms is None else None
    column = frame[data.treatment]
    part = column.notna()
    if data.arms is not None:
        names = [arm_name(arm) for arm in data.arms]
        part &= column.astype(object).map(arm_name, "ignore").isin(names)
    return np.where(part, 0, -1) if part.any() else None


def _labels(column: pd.Series, where: str, what: str, remedy: str) -> pd.Series:
    """A column of labels, one in each row, or a refusal."""
    _check_complete(column, where, what, remedy)
    return check_kind(column, where)


def _check_complete(column: pd.Series, where: str, what: str, remedy: str) -> None:
    missing = int(column.isna().sum())
    if missing:
        raise InputError(
            f"{where}: expected {what} in each row of {column.name!r}; {missing} of {len(column)} "
            f"have none. {remedy}"
        )


def check_kind(column: pd.Series, where: str) -> pd.Series:
    """A column of labels that every file can hold, or a refusal."""
    kind = kind_of(column)
    if kind == "floating" and np.isinf(column.astype(float)).any():
        kind = "infinite values"  # no JSON
    if kind not in PLAIN:
        raise InputError(
            f"{where}: expected texts, numbers or true/false in {column.name!r}; found {kind}. "
            "Convert it to text."
        )
    return column


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def label_among(wanted: Any, labels: list[Any], where: str) -> Any:
    """The label of the data that a config means: equal, or written the same."""
    for label in labels:
        if type(label) is type(wanted) and label == wanted:
            return label
    if isinstance(wanted, bool):
        hint = "no, yes, on and off are booleans in YAML: put a text in quotes"
    else:
        same = [label for label in labels if arm_name(label) == arm_name(wanted)]
        if len(same) == 1:
            return same[0]
        hint = "use one of these"
    shown = ", ".join(repr(label) for label in labels[:20])
    raise InputError(f"{where}: expected a label among {shown}; found {wanted!r}: {hint}.")


def read_outcome(column: pd.Series, data: DataConfig) -> Array:
    """(n,) outcomes: floats, or integers 0 and 1 for a binary one."""
    if data.positive is not None:
        return _is_positive(column, data.positive)
    if data.outcome_type == "binary" and kind_of(column) == "string":
        raise InputError(
            f"data.outcome: expected 0/1 or true/false in {column.name!r} for a binary outcome; "
            f"found string, such as {', '.join(map(repr, column.unique()[:5]))}. Of two labels, "
            "name the one that counts as 1 as data.positive, in quotes."
        )
    values = as_numbers(column, "data.outcome")
    if np.abs(values).max() > _LARGEST:
        raise InputError(
            f"data.outcome: expected numbers up to {_LARGEST:g} in {column.name!r}; found "
            f"{np.abs(values).max():g}. Does it stand for a missing value?"
        )
    if data.outcome_type == "regression":
        return values
    found = np.unique(values)
    if not np.isin(found, (0, 1)).all():
        shown = ", ".join(f"{v:g}" for v in found[:5])
        raise InputError(
            f"data.outcome_type: expected 0/1 or true/false in {column.name!r} for a binary "
            f"outcome; found {len(found)} values such as {shown}. Say regression, or recode it; "
            "of two numbers, name the one that counts as 1 as data.positive."
        )
    if len(found) < 2:
        raise InputError(
            f"data.outcome: expected both classes in {column.name!r}; found only {found[0]:g}. "
            "There is no effect to estimate."
        )
    return values.astype(np.int64)


def _is_positive(column: pd.Series, positive: Any) -> Array:
    """(n,) 1 for the label of two that is named, 0 for the other."""
    remedy = "Remove those rows, knowing what that assumes."
    _labels(column, "data.outcome", "a label", remedy)
    codes, found = pd.factorize(column, sort=True)
    labels = [_plain(label) for label in found.tolist()]
    one = label_among(positive, labels, "data.positive")
    if len(labels) != 2:
        raise InputError(
            f"data.positive: expected two labels in {column.name!r}; found {len(labels)}, such as "
            f"{', '.join(map(repr, labels[:5]))}. Join or leave out the others."
        )
    return (codes == labels.index(one)).astype(np.int64)


def read_weight(
    frame: pd.DataFrame, codes: Array, arms: Sequence[Any], data: DataConfig
) -> Floats | None:
    """(n,) sampling weights, some of each arm above 0; None where rows have none."""
    if data.weight is None:
        return None
    values = as_numbers(frame[data.weight], "data.weight")
    negative = int((values < 0).sum())
    empty = [arm for code, arm in enumerate(arms) if not values[codes == code].any()]
    if negative or empty:
        found = f"{negative} negative ones" if negative else f"only zeros in {empty}"
        raise InputError(
            f"data.weight: expected weights of 0 and above in {data.weight!r}, some above 0 in "
            f"each arm; found {found}. Weights say how many units a row stands for."
        )
    return values


def read_groups(frame: pd.DataFrame, data: DataConfig) -> Array | None:
    """(n,) labels of clusters; None where rows are none of any."""
    if data.group is None:
        return None
    remedy = "Give each such row a group of its own."
    return _labels(frame[data.group], "data.group", "a group", remedy).to_numpy()


def read_drawn(frame: pd.DataFrame, data: DataConfig) -> Array | None:
    """(n,) whether chance drew a row's arm; None where the config doesn't say of which.

    Raises InputError if a row has another value than 0, 1, true or false.
    """
    if data.drawn is None:
        return None
    values = as_numbers(frame[data.drawn], "data.drawn")
    others = values[~np.isin(values, (0, 1))]
    if len(others):
        raise InputError(
            f"data.drawn: expected 0/1 or true/false in {data.drawn!r}; found {others[0]:g}. Write "
            "1 where chance drew the arm, and 0 elsewhere."
        )
    return np.asarray(values == 1)


def read_time(frame: pd.DataFrame, data: DataConfig) -> Array | None:
    """(n,) whole numbers in the order of the rows' times, equal where these are; None without.

    Raises InputError if a row has none, or they are neither dates, times nor numbers.
    """
    if data.time is None:
        return None
    column = frame[data.time]
    _check_complete(column, "data.time", "a time", "Leave those rows out.")
    kind = kind_of(column)
    if not is_date(kind) and kind not in ("integer", "floating"):
        raise InputError(
            f"data.time: expected dates, times or numbers in {column.name!r}; found {kind}. Where "
            "texts are dates, name the column in data.read.dates too."
        )
    if isinstance(column.dtype, pd.CategoricalDtype):  # it may have an order of its own
        column = column.astype(column.cat.categories.dtype)
    return pd.factorize(column, sort=True)[0]


def as_numbers(
    column: pd.Series,
    where: str,
    remedy: str = "Remove those rows, knowing what that assumes.",
) -> Floats:
    """A column as finite floats, or a refusal."""
    kind = kind_of(column)
    if kind not in ("integer", "floating", "boolean"):
        raise InputError(f"{where}: expected numbers in {column.name!r}; found {kind}. Convert it.")
    values = column.to_numpy(dtype=float, na_value=np.nan)
    missing, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if missing or infinite:
        raise InputError(
            f"{where}: expected a finite number in each row of {column.name!r}; found {missing} "
            f"missing and {infinite} infinite of {len(values)}. {remedy}"
        )
    return values


def read_row_ids(frame: pd.DataFrame, data: DataConfig) -> pd.Series:
    """Identities of the rows: the column that is named, else their numbers from 0."""
    if data.row_id is None:
        return pd.Series(np.arange(len(frame)), name="row")
    return frame[data.row_id]
