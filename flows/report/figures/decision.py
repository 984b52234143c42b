"""What a decision goes by whose treatments cost nothing: a learner, and its policy's gain."""

from dataclasses import dataclass

import numpy as np

from flows.inputs.study import Study
from flows.report.figures.scored import Scored
from metalearners._typing import Floats
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.recurring.policies import policy_arms
from metalearners.evaluation.verdict.policies import PolicyGain, policy_gain


@dataclass(frozen=True, eq=False)
class Decision:
    """What a decision goes by; it is that of the run's own draw of the folds."""

    learner: str  # whose estimates decide, chosen before they are judged; empty without any
    policy: PolicyGain | None  # None where no held-out rows judge it
    counts: tuple[
        int, ...
    ]  # numbers of rows by arm that the policy gives it; none without a learner


def decided(study: Study, held_out: Scored | None, comparison: Comparison | None) -> Decision:
    """By the chosen learner, else by the first one.

    A policy is judged by held-out rows that had no say in the choice.
    """
    learner = comparison.chosen if comparison else next(iter(study.learners), "")
    if not learner:
        return Decision("", None, ())
    cate = study.learners[learner].in_sample_[:, :, -1]
    known = cate[np.isfinite(cate).all(axis=1)]
    counts = np.bincount(policy_arms(known), minlength=len(study.arms))
    policy = None
    if held_out is not None:
        own = cate[study.judged]
        among = np.ones(len(own), bool) if comparison is None else comparison.judged
        policy = _judged(own, held_out, among)
    return Decision(learner, policy, tuple(counts.tolist()))


def _judged(cate: Floats, rows: Scored, among: Floats) -> PolicyGain:
    weight, groups = (None if one is None else one[among] for one in (rows.weight, rows.groups))
    scores, arms = rows.scores[among], rows.w[among]
    return policy_gain(cate[among], scores, weight, groups, arms=arms)
