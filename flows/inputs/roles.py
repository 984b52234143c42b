"""Guesses at what the columns of new data mean: their roles, and why one should be no feature."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pandas.api import types

from flows.errors import InputError
from flows.inputs.features import as_features
from flows.inputs.model_checks import odd_names
from flows.inputs.source import Source, Table
from flows.messages.progress import Steps
from metalearners.data.estimate_columns import arm_name
from metalearners.data.leaks import as_codes, explains, out_of_balance, still_in_an_arm, tells_arm

_TREATMENTS = ("treatment", "treated", "arm", "variant", "segment", "plan", "group", "w", "t")
_OUTCOMES = (
    *("outcome", "y", "target", "visit", "conversion", "converted", "spend", "revenue"),
    *("purchase", "purchased", "bought", "sales", "churn", "churned", "click", "clicks"),
    *("clicked", "open", "opens", "opened", "unsubscribed"),
    *("response", "responded", "renewed", "cured", "recovered", "survived"),
)
_GROUPS = ("family", "household", "household_id", "cluster", "cluster_id", "group_id", "account")
_IDS = ("id", "row_id", "customer_id", "user_id", "client_id", "patient_id", "member_id", "uuid")
_WEIGHTS = ("weight", "weights", "sample_weight", "sampling_weight", "survey_weight")
_PROPENSITIES = ("propensity", "p_treat", "p_treated", "prob_treated", "treatment_probability")
_CONTROLS = ("control", "none", "no", "free", "placebo", "0", "false", "untreated", "n", "off")
_POSITIVES = ("yes", "true", "y", "1", "converted", "success", "positive")
_AFTER = re.compile(
    r"(^|[_ .-])(post|after|followup|follow_up|outcome|response|responded)($|[_ .-])"
)
_IDENTITY = re.compile(r"(^|[_ .-])(id|uuid|guid|key|email|phone)$")
_MOST_ARMS = 10
_MOST_ROWS = 5_000  # that relations between columns are looked for in
_LEAST_ROWS = 50
_TEXTS = 0.5  # distinct texts by row


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


def guess_roles(source: Source) -> Roles:
    """Roles of a source's columns, from their names and values."""
    table = source.read(source.data_names)
    frame = table.frame
    names = [str(name) for name in frame]
    treatment = _named(names, _TREATMENTS, lambda c: _distinct(frame[c]) >= 2) or _few(frame)
    rest = [name for name in names if name != treatment]
    outcome = _named(rest, _OUTCOMES, lambda c: _is_outcome(frame[c]))
    outcome = outcome or (treatment and _last_number(frame, treatment))
    if treatment is None or outcome is None:
        return Roles(treatment, outcome)
    rest = [name for name in rest if name != outcome]
    arms = source.read([treatment], [treatment]).frame[treatment]  # labels as they are written
    labels = sorted(arms.dropna().unique().tolist(), key=arm_name)
    binary, positive = _binary(frame[outcome])
    roles = {
        "row_id": _named(rest, _IDS, lambda c: _distinct(frame[c]) == len(frame))
        or next((c for c in rest if _is_identity(c) and _distinct(frame[c]) == len(frame)), None),
        "weight": _named(rest, _WEIGHTS, lambda c: _are_weights(frame[c])),
        "group": _named(rest, _GROUPS, lambda c: _distinct(frame[c]) > 1),
        "propensity": _named(rest, _PROPENSITIES, lambda c: _between(frame[c], 0, 1))
        if len(labels) == 2
        else None,
    }
    free = [name for name in rest if name not in roles.values()]
    y = (frame[outcome] if positive is None else frame[outcome] == positive).astype(float)
    # Clusters and known propensities move columns between arms that are assigned before.
    independent = roles["group"] is None and roles["propensity"] is None
    left_out = _reasons(table, free, arms, y.where(frame[outcome].notna()), independent)
    return Roles(
        treatment,
        outcome,
        len(frame),
        next((label for label in labels if _is_control(label)), labels[0]),
        labels,
        binary,
        positive,
        **roles,
        features=[name for name in free if name not in left_out],
        left_out=left_out,
    )


def _reasons(
    table: Table, names: list[str], arms: pd.Series, y: pd.Series, independent: bool
) -> dict[str, str]:
    """Why columns should be no features, by name."""
    frame, alone, steps = table.frame, {}, Steps("init", 2 * len(names))
    for name in names:
        alone[name] = table.faults.get(name) or _alone(name, frame[name])
        steps.count()
    reasons = {name: why for name, why in alone.items() if why}
    odd = odd_names([name for name in names if name not in reasons])
    reasons |= dict.fromkeys(odd, "LightGBM, the default base model, takes no such name")
    left = frame[[name for name in names if name not in reasons]]
    return reasons | _relations(left, arms, y, independent, steps)


def _relations(
    frame: pd.DataFrame, arms: pd.Series, y: pd.Series, independent: bool, steps: Steps
) -> dict[str, str]:
    """Why columns should be no features, from what they say of arm and outcome."""
    known = frame.index[arms.notna() & y.notna()]
    if len(known) < _LEAST_ROWS:
        return {}
    rows = known.to_series().sample(min(len(known), _MOST_ROWS), random_state=0).index
    arms, y = arms[rows], y[rows]
    codes = pd.DataFrame({name: as_codes(frame.loc[rows, name]) for name in frame}, index=rows)
    reasons = {}
    for name in codes:
        if tells_arm(codes[name], arms):
            reasons[name] = "it tells the arm"
        elif explains(codes[name], y):
            reasons[name] = "it tells the outcome, so it may come after the treatment"
        steps.count()
    left = codes.drop(columns=list(reasons))
    if not independent:
        return reasons
    still = "it has one value in an arm and others in another, as if it came after them"
    moved = "it differs between the arms and other columns don't, as if it came after them"
    found = dict.fromkeys(out_of_balance(left, arms), moved)
    return reasons | dict.fromkeys(still_in_an_arm(left, arms), still) | found


def _alone(name: str, column: pd.Series) -> str:
    """Why a column should be no feature, from its name and its own values; empty if it may be."""
    distinct, rows, lower = _distinct(column), int(column.notna().sum()), name.lower()
    texts = not types.is_numeric_dtype(column.dtype)
    named = not types.is_float_dtype(column.dtype) and _is_identity(name)
    reasons = {
        "its values are no numbers and no texts": distinct == 0 < rows,
        "it has one value": distinct < 2,
        "a date": types.is_datetime64_any_dtype(column.dtype) or (texts and _is_date(column)),
        "it looks like another outcome": lower in _OUTCOMES,
        "it looks like a probability of the treatment": lower in _PROPENSITIES,
        "its name says that it comes after the treatment": bool(_AFTER.search(lower)),
        "it looks like an identity": named and distinct > rows * _TEXTS,
        "most of its texts stand in one row only": texts and distinct > max(20, rows * _TEXTS),
        "it numbers the rows": distinct == rows > 20 and _counts_up(column),
    }
    return next((reason for reason, holds in reasons.items() if holds), "") or _refusal(column)


def _refusal(column: pd.Series) -> str:
    """Why a run would refuse a column as a feature; empty if it wouldn't."""
    try:
        as_features(column.to_frame(), [column.name])
    except InputError as error:
        return str(error).removeprefix("data.features: ").partition(". ")[0]
    return ""


def _counts_up(column: pd.Series) -> bool:
    whole = types.is_integer_dtype(column.dtype) and column.is_monotonic_increasing
    return bool(whole and column.max() - column.min() < 2 * len(column))


def _binary(outcome: pd.Series) -> tuple[bool, Any]:
    """Whether an outcome has two values, and, of two labels, the one that counts as 1."""
    values = outcome.dropna().unique().tolist()
    if set(values) <= {0, 1}:
        return True, None
    if len(values) != 2 or types.is_numeric_dtype(outcome.dtype):
        return False, None
    return True, next((v for v in values if str(v).lower() in _POSITIVES), sorted(values)[-1])


def _is_outcome(column: pd.Series) -> bool:
    numbers = types.is_numeric_dtype(column.dtype)
    return _distinct(column) >= 2 if numbers else _distinct(column) == 2


def _named(
    columns: Sequence[str], wanted: Sequence[str], fits: Callable[[str], bool]
) -> str | None:
    by_name = {name.lower(): name for name in reversed(columns)}
    found = (by_name[name] for name in wanted if name in by_name)
    return next((name for name in found if fits(name)), None)


def _few(frame: pd.DataFrame) -> str | None:
    """The first column with as many values as a treatment has arms."""
    return next((str(n) for n in frame if 2 <= _distinct(frame[n]) <= _MOST_ARMS), None)


def _last_number(frame: pd.DataFrame, treatment: str) -> str | None:
    """The last column of numbers that says something else than the arm, and more than a name."""
    known = frame[frame[treatment].notna()].head(_MOST_ROWS)
    for name in reversed([str(name) for name in frame if name != treatment]):
        numbers = types.is_numeric_dtype(frame[name].dtype) and not _alone(name, frame[name])
        if numbers and not (len(known) >= _LEAST_ROWS and tells_arm(known[name], known[treatment])):
            return name
    return None


def _distinct(column: pd.Series) -> int:
    try:
        return int(column.nunique())
    except TypeError:  # values such as lists, which are no arms
        return 0


def _between(column: pd.Series, least: float, most: float) -> bool:
    return types.is_numeric_dtype(column.dtype) and bool(((column > least) & (column < most)).all())


def _are_weights(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column.dtype) and bool((column >= 0).all() and column.any())


def _is_identity(name: str) -> bool:
    return name.lower() in _IDS or bool(_IDENTITY.search(name.lower()))


def _is_date(column: pd.Series) -> bool:
    """Whether a column of objects or texts holds dates."""
    if types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
        return False
    some = column.dropna().head(100)
    if types.infer_dtype(some) in ("date", "datetime"):
        return True
    texts = some.map(lambda v: isinstance(v, str) and bool(re.match(r"\d{4}-\d\d-\d\d", v)))
    return bool(texts.all())


def _is_control(label: Any) -> bool:
    name = arm_name(label).lower()
    return name in _CONTROLS or name.startswith(("no ", "no_", "control"))
