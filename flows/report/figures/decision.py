"""What a decision goes by whose treatments cost nothing: the best arms, and a policy's gain."""

from dataclasses import dataclass

import numpy as np

from flows.inputs.study import Study
from flows.report.figures.scored import Scored
from metalearners._typing import Floats
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.verdict.policies import PolicyGain, best_arms, policy_gain


@dataclass(frozen=True, eq=False)
class Decision:
    """What a decision goes by; it is that of the run's own draw of the folds."""

    learner: str  # whose estimates decide, chosen before they are judged; empty without any
    policy: PolicyGain | None  # None where no held-out rows judge it
    best: tuple[
        int, ...
    ]  # codes of the arm of the highest average effect, and of its rivals; or none


def decided(
    study: Study,
    rows: Scored,
    held_out: Scored | None,
    comparison: Comparison | None,
    n_better: int,
) -> Decision:
    """By the chosen learner, else by the first one.

    A policy is judged by held-out rows that had no say in the choice. `n_better` is the number of
    arms that raise the outcome on average: only several of them are to be told apart.
    """
    learner = comparison.chosen if comparison else next(iter(study.learners), "")
    policy = None
    if learner and held_out is not None:
        cate = study.learners[learner].in_sample_[:, :, -1][study.judged]
        among = np.ones(len(cate), bool) if comparison is None else comparison.judged
        policy = _judged(cate, held_out, among)
    given = (rows.scores, rows.weight, rows.groups)
    best = best_arms(*given, arms=rows.w) if n_better > 1 else ()
    return Decision(learner, policy, best)


def _judged(cate: Floats, rows: Scored, among: Floats) -> PolicyGain:
    weight, groups = (None if one is None else one[among] for one in (rows.weight, rows.groups))
    scores, arms = rows.scores[among], rows.w[among]
    return policy_gain(cate[among], scores, weight, groups, arms=arms)
