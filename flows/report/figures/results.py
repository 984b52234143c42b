"""The results of a run in numbers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from flows.report.figures.averages import Averages
from flows.report.figures.decision import Decision
from flows.report.figures.features import Described
from flows.report.figures.judging import Adjusted, Definition
from flows.report.figures.targeting import Targeted
from metalearners._typing import Floats
from metalearners.bundle import Bundle
from metalearners.evaluation.balance import Balance
from metalearners.evaluation.design import DesignFit
from metalearners.evaluation.findings import claims_effect
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.evaluation.judging.sequential import Sequential
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.overlap import Clip, Overlap
from metalearners.evaluation.repeats import Stability


@dataclass(frozen=True, eq=False)
class ArmResult:
    """The average effect of one arm against the control."""

    label: Any  # as in the data
    ate: Estimate  # doubly robust, over the rows that take part, but those before the first fold
    joint: tuple[float, float]  # its 95 % interval that holds for all arms at once
    difference: Estimate  # of plain means
    doubt: str = ""  # why no effect is claimed, whatever the interval

    @property
    def claimed(self) -> bool:
        """Whether the run claims an average effect of this arm."""
        return claims_effect(self.joint, self.doubt)


@dataclass(frozen=True, eq=False)
class LearnerResult:
    """One learner's estimates; lists and columns follow the arms other than the control."""

    cate: Floats  # (n, K-1) estimates of the rows that take part; NaN for those that have none
    mean_cate: list[float]
    judged: list[Judgement]  # on held-out rows; empty without such
    definitions: list[Definition]  # Qini by the definition that was asked for; empty for none
    qini_adjusted: list[float]  # p-values, adjusted for the number of learners and arms
    autoc_adjusted: list[float]
    gates_adjusted: list[Adjusted]
    blp_adjusted: list[Adjusted]
    drivers: Floats  # (p, K-1) share of the estimates' variance that goes through each feature

    @property
    def known(self) -> Floats:
        """(m, K-1) estimates of the rows that have such."""
        rows = np.isfinite(self.cate).all(axis=1)
        return self.cate if rows.all() else self.cate[rows]


@dataclass(frozen=True)
class Move:
    """How much a figure moves over repeats."""

    figure: str
    learner: str | None  # whose; None for a figure that all share
    arm: Any  # label
    stability: Stability


@dataclass(frozen=True, eq=False)
class Results:
    """All results of a run."""

    arms: list[ArmResult]  # other than the control
    caveats: list[str]  # warnings of what was found; the study has them too
    changed: list[str]  # names of the arms that caveats are of
    learners: dict[str, LearnerResult]
    sequential: dict[str, list[Sequential]]  # tests by learner and arm; empty where none was asked
    propensity: Floats  # (n, K) probabilities of the arms, before clipping, of averaged rows
    clip: Clip  # bounds of the propensities
    overlap: Overlap  # of the propensities, within these bounds
    averages: Averages  # beside those of `arms`, over the same rows
    design: DesignFit | None  # how well features predict the arm; None for known propensities
    balance: Balance  # standardized differences of feature means against the control
    outcomes: Floats  # (n, K) expected outcomes, of models that weren't fitted on the row
    losses: list[float]  # root mean squared out-of-fold errors of the shared outcome models, by arm
    estimates: pd.DataFrame  # a row for each of the source, as in the run's folder
    bundle: Bundle  # for scoring
    looks_randomised: bool  # whether features predict the arm no better than the arms' shares
    decision: Decision  # what a decision without costs goes by
    comparison: Comparison | None = None  # of all candidates, where the run is a comparison
    described: Described | None = None  # features; None without held-out rows
    targeting: Targeted | None = None  # whom to treat with what; None where nobody asks
    moves: list[Move] = field(default_factory=list)  # of figures, over repeats; empty for none
    # Of each outcome, where the config lists them: estimates and bundle above are those of all.
    by_outcome: "dict[str, Results]" = field(default_factory=dict)
