"""Which rows are fitted on and which judge: draws of the hold-out, and folds in time."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from flows.config.sections import Config
from flows.errors import InputError, continued
from flows.inputs.rows import Rows
from metalearners._typing import Array
from metalearners.data.dataset import Dataset
from metalearners.data.folds import Splits, draw_holdout, forward_chaining, hold_out_last

_JUDGING_FOLDS = 4  # held-out groups of each arm and class, for each fold


def draw_held_out(rows: Rows, config: Config) -> Array | None:
    """(n,) rows that no learner is fitted on; None where none is held out."""
    if rows.groups is not None:
        _check_enough_groups(rows.groups, config)
    share = config.evaluation.holdout
    if not share:
        return None
    if rows.time is not None:
        with _of_time():
            held_out = hold_out_last(rows.time, share, rows.groups)
    else:
        strata = rows.w * 2 + rows.y if config.data.is_binary else rows.w
        strata = strata if rows.balance is None else rows.balance
        held_out = draw_holdout(strata, share, config.folds.seed, rows.groups)
    _check_held_out(rows, held_out & _with_weight(rows))
    return held_out


def balance_of(rows: Rows, configs: Mapping[str, Config]) -> Array:
    """(n,) codes of arm and classes of several outcomes, which so have the same folds."""
    codes = rows.w
    for name, config in configs.items():
        if config.data.is_binary:
            codes = pd.factorize(codes * 2 + rows.outcomes[name], sort=True)[0]
    return codes


def _check_enough_groups(groups: Array, config: Config) -> None:
    n_groups = len(pd.unique(groups))
    if n_groups < config.folds.n_folds:
        raise InputError(
            f"data.group: expected at least as many groups as folds, {config.folds.n_folds}; "
            f"found {n_groups} in {config.data.group!r}. Use fewer folds or another column."
        )


def chained_folds(rows: Rows, held_out: Array | None, config: Config) -> Splits | None:
    """The folds of the training rows that follow time; None where folds are drawn."""
    if rows.time is None:
        return None
    train = np.ones(len(rows.w), bool) if held_out is None else ~held_out
    with _of_time():
        cv = _chained(rows.time, rows.groups, train, config)
    first, second = (_mask(own, len(rows.w)) for own in cv[0])
    classes = {"": first}
    if config.data.is_binary:  # outcome models learn each of them
        classes = {f" of class {k}": first & (rows.y == k) for k in (0, 1)}
    _check_block(rows, classes, f"first of {len(cv) + 1}", config)
    _check_block(rows, {"": second}, f"second of {len(cv) + 1}", config)
    return cv


def _check_block(rows: Rows, parts: dict[str, Array], block: str, config: Config) -> None:
    """Refuse a block that models learn from alone, with less than shuffled folds would leave."""
    least, what = config.folds.n_folds - 1, ""
    few: list[str] = []
    for part, own in parts.items():
        what, counts = _counts_by_arm(rows, own & _with_weight(rows))
        found = zip(rows.arms, counts, strict=True)
        few += [f"{n}{part} in arm {arm!r}" for arm, n in found if n < least]
    if few:
        each_class = ", and of each class in it," if len(parts) > 1 else ""
        raise InputError(
            f"data.time: expected {least} {what} or more of each arm{each_class} in the {block} "
            f"blocks of time, as models learn from it alone; found {', '.join(few)}. Use fewer "
            "folds, leave that arm out, or begin with later rows."
        )


def _chained(time: Array, groups: Array | None, among: Array, config: Config) -> Splits:
    """Folds that follow time, among some of the rows."""
    own = np.flatnonzero(among)
    members = None if groups is None else groups[own]
    chained = forward_chaining(time[own], config.folds.n_folds, members)
    return [(own[train], own[test]) for train, test in chained]


@contextlib.contextmanager
def _of_time() -> Iterator[None]:
    """Refuse what the library refuses in times."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"data.time: {continued(error)}") from None


def check_weighted(rows: Rows, cv: Splits | None) -> None:
    """Refuse arms without a standard error, before anything is fitted."""
    present = _with_weight(rows)
    where = ""
    if cv is not None:  # the first block has no scores
        present[cv[0][0]] = False
        where = " after the first block of time"
    what, counts = _counts_by_arm(rows, present)
    for arm, found in zip(rows.arms, counts, strict=True):
        if found < 2:
            raise InputError(
                f"Expected two {what} or more of each arm with a weight above 0{where}, for a "
                f"standard error; found {found} of {arm!r}. Leave that arm out."
            )


def _with_weight(rows: Rows) -> Array:
    """(n,) rows that models learn from: those with a weight above 0."""
    return np.ones(len(rows.w), bool) if rows.weight is None else rows.weight > 0


def _check_held_out(rows: Rows, held_out: Array) -> None:
    what, counts = _counts_by_arm(rows, held_out)
    for code, found in enumerate(counts):
        if found < 2:
            raise InputError(
                f"evaluation.holdout: expected two held-out {what} or more of each arm with a "
                f"weight, where there are weights, above 0; found {found} of {rows.arms[code]!r}, "
                f"which has {(rows.w == code).sum()} rows. Hold out more, leave that arm out, or "
                "say 0 for no evaluation on held-out rows."
            )


def _counts_by_arm(rows: Rows, mask: Array) -> tuple[str, list[int]]:
    """What a standard error counts, rows or groups, and how many of them each arm has."""
    of_arms = [mask & (rows.w == code) for code in range(len(rows.arms))]
    if rows.groups is None:
        return "rows", [int(own.sum()) for own in of_arms]
    return "groups", [len(pd.unique(rows.groups[own])) for own in of_arms]


def judging_rows(rows: Rows, d: Dataset, config: Config) -> Dataset | None:
    """The rows seen from the hold-out: those to fit on are the held-out ones."""
    if d.held_out is None:
        return None
    cv, n_folds = None, config.folds.n_folds
    try:
        if rows.time is not None:
            cv = _chained(rows.time, d.groups, d.held_out, config)
        turned = dataclasses.replace(d, held_out=~d.held_out, cv=cv)
    except ValueError:  # too few times, or none of an arm in the first of them
        return None
    learnt, parts = turned.train, n_folds
    if cv is not None:  # the first fit has one block, where shuffled folds leave all but one
        learnt, parts = _mask(cv[0][0], len(d)), n_folds - 1
    enough = _fewest(d, learnt & _with_weight(rows)) >= _JUDGING_FOLDS * parts
    return turned if enough else None


def _fewest(d: Dataset, mask: Array) -> int:
    """How many rows, or groups, the rarest arm or class of an arm has among some rows."""
    strata = d.strata[mask]
    units = pd.Series(strata if d.groups is None else d.groups[mask]).groupby(strata)
    counts = units.size() if d.groups is None else units.nunique()
    return 0 if len(counts) < len(np.unique(d.strata)) else int(counts.min())


def _mask(positions: Array, n_rows: int) -> Array:
    """(n,) whether a row is among these."""
    found = np.zeros(n_rows, bool)
    found[positions] = True
    return found


def few_held_out(rows: Rows, d: Dataset, judging: Dataset | None) -> list[str]:
    """A warning of held-out rows that are too few for nuisance models of their own."""
    if d.held_out is None or judging is not None:
        return []
    few, remedy = "is too small", "Hold out more rows."
    if rows.time is not None:
        few, remedy = "has too few rows or times", "Hold out more, or use fewer folds."
    return [
        f"The hold-out {few} for nuisance models of its own: ranking and calibration are judged by "
        f"those of the training rows, which learners share. {remedy}"
    ]
