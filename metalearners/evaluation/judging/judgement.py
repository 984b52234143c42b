"""All figures about one learner's estimates of one arm's effect, on rows that no fit has seen."""

from dataclasses import dataclass
from typing import Any

from metalearners._typing import Array, Floats
from metalearners.evaluation.judging.calibration import Blp, Gates, Group, blp, gates
from metalearners.evaluation.judging.curves import Gain, gain_curve
from metalearners.evaluation.judging.losses import dr_loss, r_loss
from metalearners.evaluation.judging.rate import AUTOC, QINI, Rate, rate
from metalearners.evaluation.means import Estimate
from metalearners.showing.results import Several, Shown


@dataclass(frozen=True, eq=False)
class Judgement(Shown):
    """What held-out rows say of estimates.

    Parameters
    ----------
    qini, autoc : Rate
        How well estimates order rows.
    gain : Gain
        Curves of treating rows by estimate.
    blp : Blp, optional
        The line of effects on estimates; None where there is none to fit.
    gates : Gates, optional
        Estimates beside the effects found, by fifths of the rows, and tests of their order; None
        where no fifth has two rows or clusters.
    dr_loss : Estimate
        Mean squared distance of estimates from scores.
    r_loss : Estimate, optional
        The R-loss; None without nuisances.
    """

    qini: Rate
    autoc: Rate
    gain: Gain
    blp: Blp | None
    gates: Gates | None
    dr_loss: Estimate
    r_loss: Estimate | None

    @property
    def groups(self) -> list[Group]:
        """The groups of `gates`; none without them."""
        return Several(() if self.gates is None else self.gates.groups)


def judge(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    tolerance: float | None = None,
    draws: int = 10_000,
    arm: int = 1,
    nuisances: tuple[Array, Floats, Floats] | None = None,
) -> Judgement:
    """All figures about estimates of one arm's effect.

    Parameters
    ----------
    predicted : (n,) array
        CATE estimates.
    scores : (n,) array
        Doubly robust scores of the effect, from nuisances that no estimate has a part in.
    weight, groups, arms, tolerance
        As for `rate`.
    draws : int
        As for `gates`.
    arm : int
        The arm's code, for the R-loss.
    nuisances : tuple of (n,) array, (n, K) array and (n, K) array, optional
        Outcomes, their expectations and propensities by arm, for the R-loss; it needs `arms` too.

    Raises
    ------
    ValueError
        As for `rate` and `r_loss`, or if there are nuisances without arms.
    """
    given = (predicted, scores, weight, groups)
    return Judgement(
        qini=rate(*given, kind=QINI, arms=arms, tolerance=tolerance),
        autoc=rate(*given, kind=AUTOC, arms=arms, tolerance=tolerance),
        gain=gain_curve(*given, arms=arms, tolerance=tolerance),
        blp=blp(*given, arms=arms, tolerance=tolerance),
        gates=_gates(*given, arms=arms, tolerance=tolerance, draws=draws),
        dr_loss=dr_loss(*given, arms=arms),
        r_loss=_r_loss(predicted, arms, nuisances, arm, weight, groups),
    )


def _gates(predicted: Floats, scores: Floats, *of_rows: Array | None, **how: Any) -> Gates | None:
    try:
        return gates(predicted, scores, *of_rows, **how)
    except ValueError:  # the rows are right, as RATE took them: each group has a single one
        return None


def _r_loss(
    predicted: Floats,
    w: Array | None,
    nuisances: tuple[Array, Floats, Floats] | None,
    arm: int,
    *of_rows: Array | None,
) -> Estimate | None:
    if nuisances is None:
        return None
    if w is None:
        raise ValueError("Expected arms beside nuisances, for the R-loss; found None. Pass both.")
    y, mu, e = nuisances
    return r_loss(predicted, y, w, mu, e, arm, *of_rows)
