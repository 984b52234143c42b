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

_TREATMENTS = ("treatment", "treated", "arm", "variant", "w", "t")
# Words in names of treatments, of what units are, and of both.
_OF_TREATMENTS = {
    *("treatment", "treated", "treat", "arm", "variant", "group", "assignment", "assigned", "ab"),
    *("campaign", "mail", "mailed", "email", "emailed", "sent", "contacted", "called", "exposed"),
    *("voucher", "coupon", "offer", "discount", "promo", "promotion", "intervention", "program"),
    *("drug", "dose", "therapy", "condition", "experiment", "test", "bucket", "cell"),
    *("training", "nudge", "banner", "traitement", "behandlung", "gruppe"),
}
_OF_BOTH = {"plan", "segment"}
_OF_UNITS = {
    *("region", "country", "state", "city", "town", "area", "site", "store", "branch", "school"),
    *("sex", "gender", "age", "race", "married", "education", "year", "quarter", "month", "week"),
    *("weekday", "day", "wave", "round", "period", "device", "channel", "browser", "os", "tier"),
    *("orders", "visits", "children", "size", "count", "type", "status", "smoker", "owner"),
}
_OUTCOMES = (
    *("outcome", "y", "target", "visit", "conversion", "converted", "spend", "revenue"),
    *("purchase", "purchased", "bought", "sales", "churn", "churned", "click", "clicks"),
    *("clicked", "open", "opens", "opened", "unsubscribed"),
    *("response", "responded", "renewed", "cured", "recovered", "survived"),
)
_GROUPS = ("family", "household", "household_id", "cluster", "cluster_id", "group_id", "account")
_IDS = ("id", "row_id", "customer_id", "user_id", "client_id", "patient_id", "member_id", "uuid")
_WEIGHTS = (
    *("weight", "weights", "sample_weight", "sampling_weight", "survey_weight"),
    *("svy_weight", "design_weight", "pweight"),
)
_PROPENSITIES = ("propensity", "p_treat", "p_treated", "prob_treated", "treatment_probability")
# Labels of controls; those that units may have as well come second.
_OF_CONTROLS = {
    *("control", "none", "placebo", "holdout", "hold-out", "baseline", "usual care"),
    *("untreated", "nothing"),
}
_CONTROLS = ("no", "free", "0", "false", "n", "off", "nein", "non")
_POSITIVES = ("yes", "true", "y", "1", "converted", "success", "positive")
_AFTER = re.compile(
    r"(^|[_ .-])(post|after|since_treatment|followup|follow_up|outcome|response|responded)"
    r"($|[_ .-])"
)
_IDENTITY = re.compile(
    r"(^|[_ .-])(id|uuid|guid|key|email|phone|no|nr|number|customer|client|user"
    r"|member|shopper|patient|person|subject|pupil|student)$"
)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_WRITTEN_DATE = re.compile(r"(\d{1,2}[./-]\d{1,2}[./-]\d{4}|\d{4}[./]\d{1,2}[./]\d{1,2})($|[ T])")
_AMOUNT = re.compile(r"\s*-?([$€£¥%]\s*-?[\d.,' ]+|[\d.,' ]+\s*([$€£¥%]|EUR|USD))\s*$")
_MOST_ARMS = 10
_REPEATED = 20  # pairs that chance would make alike in a column that has none
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
    others: list[str] = field(default_factory=list)  # columns that may be the treatment as well


def guess_roles(source: Source) -> Roles:
    """Roles of a source's columns, from their names and values."""
    table = source.read(source.data_names)
    frame = table.frame
    names = [str(name) for name in frame]
    treatment, others = _treatment(frame)
    rest = [name for name in names if name != treatment]
    outcome = _named(rest, _OUTCOMES, lambda c: _is_outcome(frame[c]))
    outcome = outcome or (treatment and _measured(frame, treatment))
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
        next((x for kind in (_names_control, _is_off) for x in labels if kind(x)), labels[0]),
        labels,
        binary,
        positive,
        **roles,
        features=[name for name in free if name not in left_out],
        left_out=left_out,
        others=others,
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
        "dates: data.read.dates reads them": texts and _fits(column, _WRITTEN_DATE),
        "amounts with a unit: write plain numbers": texts and _fits(column, _AMOUNT),
        "a date": types.is_datetime64_any_dtype(column.dtype) or (texts and _is_date(column)),
        "it looks like another outcome": lower in _OUTCOMES,
        "it looks like a probability of the treatment": lower in _PROPENSITIES,
        "its name says that it comes after the treatment": bool(_AFTER.search(lower)),
        "it looks like an identity": named and distinct > rows * _TEXTS,
        "most of its texts stand in one row only": texts and distinct > max(20, rows * _TEXTS),
        "it numbers the rows": distinct == rows > 20 and _numbers_rows(column),
    }
    return next((reason for reason, holds in reasons.items() if holds), "") or _refusal(column)


def _refusal(column: pd.Series) -> str:
    """Why a run would refuse a column as a feature; empty if it wouldn't."""
    try:
        as_features(column.to_frame(), [column.name])
    except InputError as error:
        return str(error).removeprefix("data.features: ").partition(". ")[0]
    return ""


def _numbers_rows(column: pd.Series) -> bool:
    """Whether different whole numbers are so near each other that chance would repeat some."""
    if not types.is_integer_dtype(column.dtype):
        return False
    # Of n draws among r numbers, n^2 / 2 r pairs are expected to be alike.
    return bool(len(column) ** 2 > 2 * _REPEATED * (int(column.max()) - int(column.min()) + 1))


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


def _treatment(frame: pd.DataFrame) -> tuple[str | None, list[str]]:
    """The column that looks most like a treatment, and others that look no less like one."""
    names = [str(name) for name in frame]
    named = _named(names, _TREATMENTS, lambda name: _distinct(frame[name]) >= 2)
    if named is not None:
        return named, []
    few = [name for name in names if 2 <= _distinct(frame[name]) <= _MOST_ARMS]
    likeness = {name: _likeness(name, frame[name]) for name in few}
    if not few:
        return None, []
    first = max(few, key=likeness.__getitem__)  # the first of those that are alike
    unsure = [name for name in few if likeness[name] == likeness[first] or likeness[first] <= 0]
    return first, [name for name in unsure if name != first]


def _likeness(name: str, column: pd.Series) -> int:
    """How much a column of few values looks like a treatment, by its name and its values."""
    lower, values = name.lower(), column.dropna().unique().tolist()
    words = set(re.split("[^a-z0-9]+", lower))
    other = lower in (*_OUTCOMES, *_PROPENSITIES, *_WEIGHTS, *_GROUPS)
    return (
        3 * bool(words & _OF_TREATMENTS)
        + 2 * bool(words & _OF_BOTH)
        + 2 * any(map(_names_control, values))
        + (len(values) == 2)
        - 3 * bool(words & _OF_UNITS)
        - 2 * bool(_AFTER.search(lower))
        - 9 * (other or types.is_float_dtype(column.dtype))
    )


def _measured(frame: pd.DataFrame, treatment: str) -> str | None:
    """A column of numbers that says something else than the arm, and more than a name.

    It is the last of those whose name says that they come after the treatment, else of all.
    """
    known = frame[frame[treatment].notna()].head(_MOST_ROWS)
    names = [str(name) for name in reversed(frame.columns) if name != treatment]
    for name in sorted(names, key=lambda name: not _AFTER.search(name.lower())):
        after = bool(_AFTER.search(name.lower()))
        alone = "" if after else _alone(name, frame[name])
        if (
            types.is_numeric_dtype(frame[name].dtype)
            and not alone
            and not (len(known) >= _LEAST_ROWS and tells_arm(known[name], known[treatment]))
        ):
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
    return _fits(column, _ISO_DATE)


def _fits(column: pd.Series, pattern: "re.Pattern[str]") -> bool:
    """Whether the first texts of a column are of a pattern."""
    some = column.dropna().head(100)
    return len(some) > 0 and all(isinstance(v, str) and bool(pattern.match(v)) for v in some)


def _names_control(label: Any) -> bool:
    name = arm_name(label).lower()
    return name in _OF_CONTROLS or name.startswith(("no ", "no_", "control"))


def _is_off(label: Any) -> bool:
    return arm_name(label).lower() in _CONTROLS
