"""What the rows of a run say of models that weren't fitted on them."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from flows.dates.partitions import Window, begin_of
from flows.errors import Faults, InputError
from flows.inputs.formats.text_files import Asked
from flows.inputs.roles.columns import read_outcome, read_row_ids
from flows.inputs.rows import read_columns
from flows.inputs.source import open_source
from flows.inputs.study import Study
from flows.messages.limits import shown
from metalearners._typing import Array, Floats
from metalearners.bundle import Bundle
from metalearners.data.estimate_columns import arm_name
from metalearners.data.schema import DATE, Schema
from metalearners.evaluation.recurring.looks import Look, compare_policies
from metalearners.evaluation.recurring.policies import keep_arms, policy_arms

_TICK = timedelta(microseconds=1)
_EVER = "9999 years"  # as far back as dates go


@dataclass(frozen=True, eq=False)
class Evidence:
    """Rows of a run, with what its models expect of them.

    Parameters
    ----------
    study : Study
        The n rows that take part, and how their arms were drawn.
    outcomes : (n, K) array
        Expected outcomes by arm, of models that weren't fitted on the row.
    """

    study: Study
    outcomes: Floats

    def since(self, moment: datetime) -> Array:
        """(n,) whether rows are of partitions that begin at a moment or later.

        Rows of the first block of folds in time, of which nothing is expected, aren't among them.

        Raises InputError if there are none.
        """
        begins, used = self.study.begins, self.study.used
        rows = self._asked(moment) if begins is None else (begins >= np.datetime64(moment))[used]
        rows = rows & np.isfinite(self.outcomes).all(axis=1)
        if not rows.any():
            raise InputError(f"No rows are new: none are of {moment:%Y-%m-%d} or later.")
        return np.asarray(rows)

    def independent(self, rows: Array, first_end: datetime, moment: datetime) -> Array:
        """(n,) those rows whose groups didn't come before, if groups keep their arms; else all.

        Earlier rows are those before a moment, back to the beginning of the window that ended at
        `first_end`. The source is asked for their groups again: no registry names any.

        Raises InputError if it can't be, or no rows are left.
        """
        groups, chances = self.study.groups, self._chances(rows)
        if groups is None or chances is None:
            return rows
        w, before = self._groups_between(first_end, moment)
        again = keep_arms(self.study.w[rows], _names(groups[rows]), chances, w, before)
        left = rows.copy()
        left[rows] = ~again
        if not left.any():
            raise InputError("No rows are new: all groups came before, and keep their arms.")
        return left

    def _chances(self, rows: Array) -> Floats | None:
        try:
            return self.study.chances(rows)
        except ValueError:  # a stratum has no row of an arm: the look says so
            return None

    def _groups_between(self, first_end: datetime, moment: datetime) -> tuple[Array, Array]:
        """Arm codes and groups of the rows before a moment, as far back as a model was fitted."""
        data, window = self.study.config.data, self.study.config.window
        assert window is not None  # as rows have dates
        assert data.group is not None
        first = replace(window, date=first_end - _TICK)
        since = begin_of(data.source or "", first)
        asked = Window(moment - _TICK, _EVER, "warn", since)
        read = Asked(**data.read.model_dump())
        source = open_source(data.place, read, window=asked, query=data.query)
        table = source.read([data.treatment, data.group], data.labels).frame
        arms = pd.Index(list(map(arm_name, self.study.arms)))
        w = arms.get_indexer(pd.Index(_names(table[data.treatment].to_numpy())))
        used = (w >= 0) & table[data.group].notna().to_numpy()
        return w[used], _names(table[data.group].to_numpy()[used])

    def check_dated(self) -> None:
        """Raise an InputError if no row is known to be new."""
        data = self.study.config.data
        if self.study.begins is None and (not data.reads_from or data.row_id is None):
            raise InputError(
                "No row is known to be new: expected a source that names dates, such as "
                "data/{date:%Y-%m}/*.csv, or a query with :begin and data.row_id; found "
                f"{shown(data.sql or data.place)}."
            )

    def _asked(self, moment: datetime) -> Array:
        """(n,) whether the query gives a row again when it is asked for later days alone.

        Raises InputError if that doesn't tell which rows are new: if identities repeat, or a row
        comes again as another, as one does that sums up days.
        """
        study, data = self.study, self.study.whole.data
        window, faults = study.config.window, Faults()
        assert window is not None  # as the query names days
        found = read_columns(data, faults, window=replace(window, since=moment))
        faults.refuse()
        assert found is not None  # else there was a fault
        y, ids = (
            read_outcome(found.table[data.first_outcome], data),
            read_row_ids(found.table, data),
        )
        own, used = study.row_ids[study.used], study.features[study.used]
        if own.duplicated().any():
            raise InputError(
                f"No row is known to be new: expected another {data.row_id} in each row; found "
                f"{shown(repr(own[own.duplicated()].iloc[0]))} again. Name a column that tells "
                "rows apart as data.row_id."
            )
        came = own.isin(ids).to_numpy()
        same = np.isin(_hashes(used, own, study.y), _hashes(found.X, ids, y))
        if (came & ~same).any():
            raise InputError(
                "No row is known to be new: expected a query that gives a row of "
                f"{moment:%Y-%m-%d} or later as it is, whatever :begin says; found that "
                f"{data.row_id} {shown(repr(own[came & ~same].iloc[0]))} is another without the "
                "days before. Sum up in the source, or by day."
            )
        return np.asarray(came)

    def arms_of(self, bundle: Bundle, rows: Array) -> Array:
        """(m,) arms that the policy of a model gives to some rows: of the first listed learner.

        Raises InputError, or what a learner raises, if the model can't estimate their effects.
        """
        study, schema = self.study, bundle.schema
        names = [arm_name(arm) for arm in study.arms]
        own = [arm_name(arm) for arm in bundle.arms]
        if own[0] != names[0] or {*own} != {*names} or schema is None:
            raise InputError(f"Expected a model of the arms {names}; found one of {own}.")
        codes = np.array([names.index(name) for name in own])
        X, _ = self._in_days(schema).match(study.features[study.used][rows], unseen_missing=True)
        known = study.dataset.propensity
        name, learner = next(iter(bundle.learners.items()))
        effects = replace(bundle, learners={name: learner}).predict(
            X, None if known is None else known[rows][:, codes], conformed=True
        )
        return codes[policy_arms(effects.to_numpy())]

    def compare(self, rows: Array, champion: Array, challenger: Array) -> Look:
        """A look at some rows, given the arms that two policies give them."""
        d = self.study.dataset
        try:
            propensity = self.study.chances(rows)
        except ValueError as error:  # a stratum has no row of an arm
            return Look(0, 0.0, None, f"{error}", waits=True)
        look = compare_policies(
            y=d.y[rows],
            w=d.w[rows],
            mu=self.outcomes[rows],
            propensity=propensity,
            champion=champion,
            challenger=challenger,
            weight=None if d.weight is None else d.weight[rows],
            groups=None if d.groups is None else d.groups[rows],
        )
        return replace(look, doubt=self._in_labels(look.doubt))

    def _in_days(self, schema: Schema) -> Schema:
        """A model's schema for features of the study, whose dates are days already."""
        dates = self.study.dates
        return Schema(
            tuple(
                replace(one, dtype="float64") if one.dtype == DATE and one.name in dates else one
                for one in schema.features
            )
        )

    def _in_labels(self, text: str) -> str:
        arms = self.study.arms
        return re.sub(r"\barm (\d+)\b", lambda found: f"arm {arms[int(found[1])]!r}", text)


def _names(labels: Array) -> Array:
    """(n,) labels as texts, whatever type they were read as."""
    codes, found = pd.factorize(labels, use_na_sentinel=False)
    return np.array(list(map(arm_name, found)), dtype=object)[codes]


def _hashes(features: pd.DataFrame, row_ids: pd.Series, y: Array) -> Array:
    """(n,) hashes of rows; numbers are the same whatever their type."""
    rows = features.assign(**{"row id": row_ids.to_numpy(), "outcome": y})
    numbers = rows.select_dtypes(["number", "bool"]).columns
    hashes = hash_pandas_object(rows.astype(dict.fromkeys(numbers, float)), index=False)
    return np.asarray(hashes)
