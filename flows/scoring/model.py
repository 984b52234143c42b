"""A stored model that scores rows: which columns it needs, and what it makes of them."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from flows.config.data import DataConfig
from flows.config.names import TREAT
from flows.config.reading import parse
from flows.errors import InputError
from flows.fitting.cache import signing_key
from flows.inputs.batches.columns import LABEL
from flows.inputs.batches.source import RowBatch
from flows.inputs.formats.text_files import Asked, Habits
from flows.inputs.places import is_limited
from flows.inputs.roles.columns import known_propensity, read_strata
from flows.inputs.roles.costs import cost_columns, read_costs
from flows.report.figures.targeting import treated
from flows.scoring.outputs import schema_of
from flows.scoring.seen import Seen, unseen_strata
from metalearners._typing import Array, Floats
from metalearners.bundle import Bundle
from metalearners.data.estimate_columns import arm_name
from metalearners.data.schema import DATE, Feature, Schema
from metalearners.evaluation.design import ArmShares
from metalearners.evaluation.recurring.policies import policy_arms
from metalearners.evaluation.targeting.paths import TargetingRule
from metalearners.files.ownership import UntrustedWarning
from metalearners.metalearner import PROPENSITY_MODEL


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows as learners take them.

    Parameters
    ----------
    features : DataFrame
        With the types and levels that the model was fitted with.
    propensity : (n, K) array, optional
        Known probabilities of the arms.
    identity : Series
        What tells the rows apart; its name is that of a column.
    id_type : DataType
        Type of the identities.
    seen : Seen
        What was seen in the rows.
    where : str
        Which rows they are, as the beginning of a message.
    costs : (n, K-1) array, optional
        What the arms cost, for the rule that says whom to treat with what.
    """

    features: pd.DataFrame
    propensity: Floats | None
    identity: pd.Series
    id_type: pa.DataType
    seen: Seen
    where: str
    costs: Floats | None = None


@dataclass(frozen=True)
class Options:
    """What is asked of a scoring beside estimates.

    Parameters
    ----------
    strict : bool
        Whether levels and strata that the model hasn't seen are refused.
    recommend : bool
        Whether the arm to give follows the estimates.
    intervals : float
        Level of the intervals that follow them; 0 for none.
    """

    strict: bool = False
    recommend: bool = False
    intervals: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.intervals < 1:
            raise InputError(
                f"intervals: expected a level below 1, or 0 for none; found {self.intervals}. Say "
                "0.95 for 95 %."
            )

    @property
    def level(self) -> float | None:
        """Level of the intervals, if there are to be any."""
        return self.intervals or None


@dataclass(frozen=True)
class Scorer:
    """A model of a run, and what its config says of the rows.

    Parameters
    ----------
    bundle : Bundle
        The model.
    schema : Schema
        Its features.
    data : DataConfig
        The config's section.
    options : Options
        What is asked of it.
    """

    bundle: Bundle
    schema: Schema
    data: DataConfig
    options: Options

    @classmethod
    def load(cls, model: Path, options: Options) -> "Scorer":
        """Read a stored model; an InputError or BundleError if it can't score rows."""
        bundle = _load(model, options)
        if bundle.schema is None or "config" not in bundle.about:
            raise InputError(
                "Expected the model of a run, which knows its features; found another."
            )
        where = "Expected the model of a run: "
        data = parse(DataConfig, bundle.about["config"]["data"], where, "data.")
        return cls(bundle, bundle.schema, data, options)

    def share_cores(self, calls: int) -> None:
        """Have all cores used where `score` is called so many times at once, in threads."""
        self.bundle.use_all_cores(calls)

    @property
    def asked(self) -> Asked:
        """How rows are read: as those that the model was trained on."""
        usual = Habits.from_json(self.bundle.about.get("habits", {}))
        return Asked(**self.data.read.model_dump(), usual=usual)

    def kinds(self, names: Collection[str], source: str) -> dict[str, str]:
        """The columns to read among those of a source, each with what it is read as.

        Raises InputError or SchemaError if a column is absent.
        """
        absent = [name for name in self._design if name not in names]
        if absent:
            kind = "strata" if absent == [self.data.strata] else "propensity"
            raise InputError(f"Expected the {kind} columns {absent} in {source}; add them.")
        self._check_costs(names, source)
        self.schema.check_names(names)

        def label(name: str) -> str:
            return self.asked.of_columns.get(name, LABEL)

        kinds = {feature.name: _kind_of(feature) for feature in self.schema.features}
        for name in self._design:
            kinds.setdefault(name, label(name) if name == self.data.strata else "number")
        for name in self._costs:
            kinds.setdefault(name, "number")
        if self.data.row_id in names:
            kinds[str(self.data.row_id)] = label(str(self.data.row_id))
        return kinds

    @property
    def _targets(self) -> dict[str, Any]:
        """The rule that says whom to treat with what; empty for none."""
        return dict(self.bundle.about.get("targeting", {}))

    @property
    def _costs(self) -> list[str]:
        """Columns of costs that the rule needs."""
        return cost_columns(self._targets.get("cost", {}))

    def _check_costs(self, names: Collection[str], source: str) -> None:
        absent = [name for name in self._costs if name not in names]
        if absent:
            raise InputError(
                f"Expected the cost columns {absent} in {source}, by which the run's rule of "
                "targeting gives arms. Add them."
            )

    @property
    def _is_designed(self) -> bool:
        """Whether a learner asks for the probabilities of the arms, which may be known."""
        return any(PROPENSITY_MODEL in one.SERVED for one in self.bundle.learners.values())

    @property
    def _design(self) -> list[str]:
        """Columns that say with which probability a new row would receive each arm."""
        if not self._is_designed:
            return []
        data = self.data
        strata = [data.strata] if data.design == "randomised" and data.strata else []
        return [c for role, c in data.roles.items() if role.startswith("propensity.")] + strata

    def prepare(self, batch: RowBatch, source: str) -> "Prepared":
        """A batch of rows as the learners take them.

        Raises InputError or another ValueError if the model can't score them.
        """
        frame = batch.frame(self.data.labels, source)
        propensity, strata = self._propensity(frame) if self._is_designed else (None, 0)
        features, levels = self.schema.match(frame, unseen_missing=not self.options.strict)
        identity = pd.Series(range(batch.begin, batch.begin + batch.rows), name="row")
        id_type = pa.int64()
        if self.data.row_id in batch.columns:
            identity = frame[self.data.row_id]
            id_type = batch.columns[str(self.data.row_id)].values.type
        seen = Seen.of(batch, levels, strata)
        costs = None
        if targets := self._targets:
            costs = read_costs(frame, targets["cost"], self.bundle.arms)
        return Prepared(features, propensity, identity, id_type, seen, batch.where, costs)

    def score(self, rows: "Prepared") -> pd.DataFrame:
        """The estimates for rows, after their identity; a ValueError of a learner that can't."""
        return self._estimates(rows)

    def _estimates(self, rows: "Prepared") -> pd.DataFrame:
        estimates = self.bundle.predict(
            rows.features,
            rows.propensity,
            details=True,
            conformed=True,
            level=self.options.level,
        )
        if rows.costs is not None:
            estimates = estimates.assign(**{TREAT: self._treated(estimates, rows.costs)})
        if self.options.recommend:
            estimates = estimates.assign(**self._recommended(estimates))
        estimates.insert(0, str(rows.identity.name), rows.identity)
        return estimates

    def columns(self, rows: "Prepared") -> pa.Schema:
        """The columns of the estimates for rows, by those for the first row."""
        first = replace(
            rows,
            features=rows.features.iloc[:1],
            propensity=None if rows.propensity is None else rows.propensity[:1],
            identity=rows.identity.iloc[:1],
            costs=None if rows.costs is None else rows.costs[:1],
        )
        return schema_of(self._estimates(first), rows.id_type)

    def _treated(self, estimates: pd.DataFrame, costs: Floats) -> Array:
        """(n,) names of the arms that the run's rule gives; missing where an effect is."""
        targets = self._targets
        name = targets["learner"]
        columns = [f"cate.{name}.{arm_name(arm)}" for arm in self.bundle.arms[1:]]
        rule = TargetingRule(targets["cut_off"], targets["value"])
        effects = estimates[columns].to_numpy()
        return treated(effects, costs, self.bundle.arms, rule, targets["tolerance"])[0]

    def _recommended(self, estimates: pd.DataFrame) -> dict[str, Array]:
        """(n,) names of the arms that each learner would give; missing where an effect is."""
        arms = np.array(list(map(arm_name, self.bundle.arms)), dtype=object)
        found = {}
        for name in self.bundle.learners:
            of_learner = [column for column in estimates if column.startswith(f"cate.{name}.")]
            effects = estimates[of_learner].to_numpy()
            known = np.isfinite(effects).all(axis=1)
            found[f"treat.{name}"] = given = np.full(len(effects), None, dtype=object)
            given[known] = arms[policy_arms(effects[known])]
        return found

    def _propensity(self, frame: pd.DataFrame) -> tuple[Floats | None, int]:
        """(n, K) known probabilities of the arms, and the number of rows of unseen strata.

        Raises InputError if there are such and the model is strict.
        """
        if "shares" not in self.bundle.about:
            return known_propensity(frame, self.data, self.bundle.arms), 0
        shares = ArmShares.from_json(self.bundle.about["shares"])
        strata = read_strata(frame, self.data)
        unseen = 0 if strata is None else int((~strata.isin(list(shares.by_stratum))).sum())
        if unseen and self.options.strict:
            raise InputError(
                f"Expected strata that the model has seen; {unseen_strata(unseen, len(frame))}. "
                "Leave them out, or score without strict: they get the arms' shares over all rows "
                "then."
            )
        return shares.of(len(frame), strata), unseen


def _load(model: Path, options: Options) -> Bundle:
    """A bundle, which runs as code: not one that others may have made, if others name it."""
    with warnings.catch_warnings():
        if is_limited():
            warnings.simplefilter("error", UntrustedWarning)
        try:
            bundle = Bundle.load(model, signing_key(), refits=options.level is not None)
        except UntrustedWarning as untrusted:
            raise InputError(f"{untrusted}") from None
    if options.level is not None:
        bundle.check_intervals(options.level)
    return bundle


def _kind_of(feature: Feature) -> str:
    """What a feature's values are read as, whatever those of new rows look like."""
    if feature.dtype == DATE:
        return "date"
    texts = feature.levels is not None and isinstance(next(iter(feature.levels), None), str)
    return "text" if texts else "number"
