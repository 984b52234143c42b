"""Hidden confounding: how strong it must be to explain an average effect away."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count, number
from metalearners.evaluation.average_effects import aipw_scores
from metalearners.evaluation.averages.nuisances import Nuisances
from metalearners.evaluation.means import Estimate, Means, check_level
from metalearners.showing.results import Shown


@dataclass(frozen=True)
class Confounder(Shown):
    """How strong a hidden confounder is.

    Parameters
    ----------
    cf_y : float
        Share of the outcome's residual variance that it explains, from 0 up to, but not, 1.
    cf_d : float
        By which share inverse-propensity weights would vary more with it than without: 1 less the
        ratio of their second moments. From 0 up to, but not, 1.
    rho : float
        Correlation, from -1 to 1, of what it adds to the outcome and to the weights. 1 is the
        worst case; the sign doesn't matter.
    """

    cf_y: float = 0.03
    cf_d: float = 0.03
    rho: float = 1.0

    def __post_init__(self) -> None:
        share = pd.Interval(0, 1, closed="left")
        for name in ("cf_y", "cf_d"):
            expected = f"Expected {name} of at least 0 and below 1"
            number(getattr(self, name), share, expected, "Pass a share.")
        both = pd.Interval(-1, 1, closed="both")
        number(self.rho, both, "Expected rho from -1 to 1", "Pass a correlation.")

    @property
    def strength(self) -> float:
        """The bias that it may cause, in units of `Sensitivity.scale`."""
        return float(abs(self.rho) * np.sqrt(self.cf_y * self.cf_d / (1 - self.cf_d)))


@dataclass(frozen=True)
class Bounds(Shown):
    """What the effect may be, given a hidden confounder of some strength.

    Parameters
    ----------
    low, high : float
        Least and largest effect, in units of the outcome.
    ci_low, ci_high : float
        One-sided confidence bounds of these two, each at the level.
    """

    low: float
    high: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Sensitivity(Shown):
    """How an average effect depends on confounding that isn't seen.

    Parameters
    ----------
    effect : Estimate
        Without hidden confounding, as that of `average_effects`.
    scale : float
        The bias by a confounder of strength 1, in units of the outcome.
    bounds : Bounds
        Given the confounder.
    robustness : float
        The robustness value: the strength of a confounder, as cf_y and cf_d alike, from which on
        the bounds contain the null. 0 is fragile; near 1, nothing explains the effect away.
    robustness_ci : float
        The same for the confidence bounds; 0 where the effect isn't distinguishable from the null
        even without confounding.
    """

    effect: Estimate
    scale: float
    bounds: Bounds
    robustness: float
    robustness_ci: float


def sensitivity(
    y: Array,
    w: Array,
    mu: Floats,
    e: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arm: int = 1,
    confounder: Confounder | None = None,
    null: float = 0.0,
    level: float = 0.95,
) -> Sensitivity:
    r"""How strong hidden confounding must be to explain an arm's average effect away.

    With all confounders, the effect would lie within

    .. math:: \hat\theta \pm |\rho| \sqrt{cf_y \frac{cf_d}{1 - cf_d}} \, \hat\sigma \hat\nu,
        \quad \hat\sigma^2 = E(Y - \mu_W)^2,
        \quad \hat\nu^2 = E\big[2 (1 / e_k + 1 / e_0) - \alpha^2\big],

    where :math:`\alpha = 1[W = k] / e_k - 1[W = 0] / e_0`; the last is a debiased
    :math:`E \alpha^2`, which takes its place where it isn't positive. Errors come from the
    influence functions. It assumes nothing of the hidden confounder but its strength.

    Where chance drew the arms, there is no hidden confounding, and nothing to ask.

    Parameters
    ----------
    y, w : (n,) array
        Outcome and arm codes.
    mu, e : (n, K) array
        Outcome expectations and propensities by arm, the control first, out-of-fold.
    weight, groups
        As for `mean_with_error`.
    arm : int
        The arm's code.
    confounder : Confounder, optional
        Of the bounds, and its rho of the robustness values; by default cf_y and cf_d of 0.03 and
        rho of 1. `feature_as_confounder` gives those of features.
    null : float
        The effect that would be no effect.
    level : float
        Of each one-sided confidence bound, and of the two-sided interval of `effect`.

    Raises
    ------
    ValueError
        As for `target_effects`, or if there is no such arm.

    References
    ----------
    Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis (2022), "Long story short: omitted variable
    bias in causal machine learning", arXiv 2112.13398. The package DoubleML has the same.
    """
    check_level(level)
    found = _Elements.of(Nuisances.of(y, w, mu, e, weight, groups), arm)
    confounder = confounder or Confounder()
    rho = abs(confounder.rho)
    return Sensitivity(
        effect=found.means.estimates(level)[0],
        scale=found.scale,
        bounds=found.bounds(confounder.strength, level),
        robustness=_robustness(found.least_strength(null), rho),
        robustness_ci=_robustness(found.least_strength_ci(null, level), rho),
    )


@dataclass(frozen=True)
class FeatureStrength(Shown):
    """How strong features would be as hidden confounders, and what would follow.

    Parameters
    ----------
    confounder : Confounder
        Their strength.
    change : float
        The effect without the features, less that with them.
    bounds : Bounds
        Of the effect, if a hidden confounder were as strong.
    """

    confounder: Confounder
    change: float
    bounds: Bounds


def feature_as_confounder(
    y: Array,
    w: Array,
    mu: Floats,
    e: Floats,
    mu_without: Floats,
    e_without: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arm: int = 1,
    level: float = 0.95,
) -> FeatureStrength:
    r"""How strong observed features are, as a yardstick for confounders that aren't seen.

    What is lost without the features says how strong they are:

    .. math:: cf_y = \frac{\sigma_-^2 - \sigma^2}{\sigma^2}, \quad
        cf_d = \frac{\nu^2 - \nu_-^2}{\nu_-^2}, \quad
        \rho = \frac{\theta_- - \theta}{\sqrt{(\sigma_-^2 - \sigma^2) (\nu^2 - \nu_-^2)}},

    with :math:`\sigma, \nu, \theta` as for `sensitivity`, and the minus sign for the nuisances
    without the features. Each is kept inside its range; rho is 1, with the sign of the change,
    where the features explain nothing.

    Parameters
    ----------
    y, w : (n,) array
        Outcome and arm codes.
    mu, e : (n, K) array
        Outcome expectations and propensities by arm.
    mu_without, e_without : (n, K) array
        The same from models that were fitted without the features, on the same folds.
    weight, groups, arm, level
        As for `sensitivity`.

    Raises
    ------
    ValueError
        As for `sensitivity`.

    References
    ----------
    As for `sensitivity`; `gain_statistics` of the package DoubleML has the same.
    """
    check_level(level)
    long = _Elements.of(Nuisances.of(y, w, mu, e, weight, groups), arm)
    short = _Elements.of(Nuisances.of(y, w, mu_without, e_without, weight, groups), arm)
    outcome, riesz = short.sigma2 - long.sigma2, long.nu2 - short.nu2
    change = float(short.means.mean[0] - long.means.mean[0])
    both = np.sqrt(outcome * riesz) if outcome > 0 and riesz > 0 else 0.0
    size = min(abs(change) / both, 1.0) if both else 1.0
    below = np.nextafter(1.0, 0.0)
    confounder = Confounder(
        cf_y=float(np.clip(outcome / long.sigma2, 0, below)) if long.sigma2 else 0.0,
        cf_d=float(np.clip(riesz / short.nu2, 0, below)),
        rho=float(np.sign(change) * size),
    )
    return FeatureStrength(confounder, change, long.bounds(confounder.strength, level))


@dataclass(frozen=True, eq=False)
class _Elements:
    """Effect and scale of the bias, as two means of influences."""

    sigma2: float
    nu2: float
    means: Means

    @classmethod
    def of(cls, rows: Nuisances, arm: int) -> "_Elements":
        count("arm", arm, most=rows.n_variants - 1)
        at = np.arange(len(rows.w))
        squared = (rows.y - rows.mu[at, rows.w]) ** 2
        sides = ((rows.w == arm) / rows.e[:, arm] - (rows.w == 0) / rows.e[:, 0]) ** 2
        debiased = 2 * (1 / rows.e[:, arm] + 1 / rows.e[:, 0]) - sides
        sigma2 = float(np.average(squared, weights=rows.weight))
        nu2 = float(np.average(debiased, weights=rows.weight))
        if nu2 <= 0:
            debiased, nu2 = sides, float(np.average(sides, weights=rows.weight))
        scale = np.sqrt(sigma2 * nu2)
        moves = sigma2 * (debiased - nu2) + nu2 * (squared - sigma2)
        of_scale = scale + (moves / (2 * scale) if scale else 0 * moves)
        scores = aipw_scores(rows.y, rows.w, rows.mu, rows.e)
        columns = np.column_stack([scores[:, arm] - scores[:, 0], of_scale])
        return cls(sigma2, nu2, Means.of(columns, rows.weight, rows.groups, rows.w))

    @property
    def scale(self) -> float:
        return float(np.sqrt(self.sigma2 * self.nu2))

    def bounds(self, strength: float, level: float) -> Bounds:
        """The effect less and plus the bias, with confidence bounds."""
        effect, bias = float(self.means.mean[0]), strength * self.scale
        below, above = (self._half(sign * strength, level) for sign in (-1, 1))
        low, high = effect - bias, effect + bias
        return Bounds(low, high, low - below, high + above)

    def _half(self, strength: float, level: float) -> float:
        """How far a one-sided confidence bound is from the effect plus so much bias."""
        direction = np.array([1.0, strength])
        variance = max(float(direction @ self.means.covariance @ direction), 0.0)
        return float(stats.t.ppf(level, self.means.degrees[0]) * np.sqrt(variance))

    def least_strength(self, null: float) -> float:
        """The strength from which on the bounds contain the null."""
        gap = abs(float(self.means.mean[0]) - null)
        return gap / self.scale if self.scale else (np.inf if gap else 0.0)

    def least_strength_ci(self, null: float, level: float) -> float:
        """The strength from which on the confidence bounds contain the null."""
        most = self.least_strength(null)
        gap = float(self.means.mean[0]) - null
        side = -float(np.sign(gap))

        def beyond(strength: float) -> float:
            return abs(gap) - strength * self.scale - self._half(side * strength, level)

        if beyond(0.0) <= 0:
            return 0.0
        return most if np.isinf(most) else float(optimize.brentq(beyond, 0.0, most, xtol=1e-12))


def _robustness(strength: float, rho: float) -> float:
    """The r at which rho sqrt(r r / (1 - r)) is a strength."""
    if not strength:
        return 0.0
    if not rho or np.isinf(strength):
        return 1.0
    c = strength / rho
    return float(2 / (1 + np.sqrt(1 + 4 / c**2)))
