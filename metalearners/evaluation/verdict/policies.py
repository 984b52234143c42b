"""What treating by estimates brings where treatment costs nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.recurring.policies import policy_arms
from metalearners.evaluation.targeting.values import (
    policy_difference,
    policy_value,
    single_arm_value,
)
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class PolicyGain(Shown):
    """What the policy brings that gives each row the arm of its highest estimate above 0.

    Parameters
    ----------
    shares : tuple of float
        Shares of the rows that it gives each arm, the control first.
    over_nobody : Estimate
        Its mean outcome less that of the control for all, in units of the outcome.
    over_arms : tuple of Estimate
        The same less that of each arm for all.
    """

    shares: tuple[float, ...]
    over_nobody: Estimate
    over_arms: tuple[Estimate, ...]


def policy_gain(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    level: float = 0.95,
) -> PolicyGain:
    r"""What treating by estimates brings, with treatments that cost nothing.

    .. math:: \hat\pi(x) = \arg\max_k \hat\tau_k(x), \quad \hat\tau_0 = 0

    Its value is that of `policy_value`, and what it has over an arm that of `policy_difference`.
    The policy is taken as given, so the truth is that of the fitted one. Fit it on other rows.

    Parameters
    ----------
    predicted : (n, K-1) array
        Estimated effects of the arms other than the control.
    scores : (n, K) array
        Doubly robust scores by arm, the control first, from nuisances that no estimate has a part
        in.
    weight, groups, arms, level
        As for `policy_value`.

    Raises
    ------
    ValueError
        As for `policy_value`, or if shapes don't fit.

    References
    ----------
    Athey and Wager (2021), Econometrica 89(1), pp. 133-161: values of policies by doubly robust
    scores.
    """
    check_same_rows(predicted=predicted, scores=scores, arms=arms)
    given, scores = policy_arms(predicted), _by_arm(scores)
    fitting = scores.shape[1] == np.shape(predicted)[1] + 1
    check_shape("scores", fitting, "a column more than predicted has", scores.shape)
    rows: dict[str, Any] = {"weight": weight, "groups": groups, "arms": arms, "level": level}
    own = policy_value(given, scores, **rows)
    others = [single_arm_value(k, scores, **rows) for k in range(1, scores.shape[1])]
    over = tuple(policy_difference(own, other, **rows) for other in others)
    return PolicyGain(own.shares, own.gain, over)


def _by_arm(scores: Floats) -> Floats:
    """(n, K) scores of two arms or more."""
    found = numbers("scores", as_array(scores), "Leave those rows out.")
    check_shape("scores", found.ndim == 2 and found.shape[1] > 1, "(n, K)", found.shape)
    return found
