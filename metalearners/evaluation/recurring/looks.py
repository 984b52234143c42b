"""Looks: whether a challenger's policy is better than the champion's, asked again and again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count, number
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import arm_codes, as_array, as_groups, as_vector, as_weight
from metalearners.data.dataset import check_propensity
from metalearners.evaluation.average_effects import aipw_scores
from metalearners.evaluation.design import sample_ratio
from metalearners.evaluation.means import Estimate, effective_clusters, mean_with_error
from metalearners.evaluation.recurring.policies import are_identified
from metalearners.showing.results import Shown

_FEWEST_CLUSTERS = 20  # of an arm, among the rows that two policies treat differently
_TIGHTEST = 4  # looks after which the sequence's lower end is closest to the estimate


@dataclass(frozen=True)
class Look(Shown):
    """What new rows say of a challenger's policy against the champion's.

    Parameters
    ----------
    rows : int
        Number of rows that count.
    mass : float
        The sum of their weights.
    difference : Estimate or None
        The challenger's value less the champion's, per row; None if the look doesn't count.
    doubt : str
        Why it doesn't; empty if it does.
    waits : bool
        Whether it doesn't because its rows are too few: they may then be rows of a later look too,
        together with more. No other rows may be of two looks.
    """

    rows: int
    mass: float
    difference: Estimate | None
    doubt: str = ""
    waits: bool = False


def compare_policies(
    y: Array,
    w: Array,
    mu: Floats,
    propensity: Floats | None,
    champion: Array,
    challenger: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
) -> Look:
    r"""The difference of two policies' values on rows that neither was fitted on.

    .. math:: \hat\Delta = \frac1n \sum_i \Gamma_{i, \pi'(X_i)} - \Gamma_{i, \pi(X_i)}

    with doubly robust scores Γ (`aipw_scores`), the champion's policy π and the challenger's π'.
    Only rows count whose arm was drawn with a known probability above .02 of every arm: the
    difference is that of these rows. The look doesn't count if

    - there are no such rows: nothing identifies the difference;
    - the policies give all of them the same arms;
    - an arm that a policy gives has fewer than 20 effective clusters (`effective_clusters`) among
      the rows on which the policies differ;
    - the arms don't look drawn with these probabilities, among the rows to which the champion
      gives one arm (`sample_ratio`; rows with sampling weights aren't tested).

    Parameters
    ----------
    y, w : (n,) array
        Outcome and arm codes.
    mu : (n, K) array
        Outcome expectations by arm, from models that were fitted on other rows. The better they
        are, the smaller the error; the difference is right for any.
    propensity : (n, K) array or None
        Logged probabilities of the arms, or `drawn_shares`; missing in a row whose arm nobody drew.
    champion, challenger : (n,) array of int
        Arms that the policies give (`policy_arms`).
    weight, groups
        As for `mean_with_error`.

    Raises
    ------
    ValueError
        If columns aren't of the same rows, or what counts isn't numbers, arms or probabilities.

    References
    ----------
    Dudík, Erhan, Langford and Li (2014), Statistical Science 29(4), pp. 485-511: values of
    policies by doubly robust scores.
    """
    given = {"y": y, "mu": mu, "propensity": propensity, "weight": weight, "groups": groups}
    check_same_rows(w=w, champion=champion, challenger=challenger, **given)
    if propensity is None or not (counts := are_identified(propensity)).any():
        return Look(0, 0.0, None, _NOT_IDENTIFIED)
    policies = {"champion": champion, "challenger": challenger}
    rows = _Rows.of(counts, y, w, as_array(mu), as_array(propensity), policies, weight, groups)
    odd = rows.mismatch()
    doubt = odd or rows.likeness()
    difference = None if doubt else rows.difference()
    return Look(len(rows.y), rows.mass, difference, doubt, waits=bool(doubt) and not odd)


_NOT_IDENTIFIED = (
    "Not identified: no row's arm was drawn with a logged probability above 0.02 of every arm. "
    "Treat a share of the rows at random."
)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows that count; arguments as in `compare_policies`."""

    y: Array
    w: Array
    mu: Floats
    e: Floats
    old: Array  # the champion's arms
    new: Array  # the challenger's
    weight: Floats | None
    groups: Array | None

    @classmethod
    def of(
        cls,
        counts: Array,
        y: Any,
        w: Any,
        mu: Floats,
        e: Floats,
        policies: Mapping[str, Any],
        weight: Any,
        groups: Any,
    ) -> "_Rows":
        n, n_variants = e.shape
        check_propensity(e[counts], int(counts.sum()), n_variants)
        check_shape("mu", mu.shape == e.shape, f"{e.shape}", mu.shape)
        arms = (
            arm_codes(as_vector(name, values, n)[counts], n_variants, judged=True)
            for name, values in {"w": w, **policies}.items()
        )
        w, old, new = arms
        beside = (as_weight(weight, n), as_groups(groups, n))
        weight, groups = (None if one is None else one[counts] for one in beside)
        y = as_vector("y", y, n)[counts]
        return cls(y, w, mu[counts], e[counts], old, new, weight, groups)

    @property
    def mass(self) -> float:
        """The sum of the weights."""
        return float(len(self.y) if self.weight is None else self.weight.sum())

    @property
    def arms(self) -> Array:
        """(n,) arm codes; K, an arm of their own, for rows on which the policies agree."""
        return np.where(self.old == self.new, self.e.shape[1], self.w)

    def difference(self) -> Estimate:
        """The mean of the rows' differences in scores."""
        scores, row = aipw_scores(self.y, self.w, self.mu, self.e), np.arange(len(self.y))
        gains = scores[row, self.new] - scores[row, self.old]
        return mean_with_error(gains, self.weight, self.groups, arms=self.arms)

    # Doubts look at arms and policies, never at outcomes: so the choice of looks adds no bias.

    def likeness(self) -> str:
        """Says so if the policies are too much alike."""
        differ = self.old != self.new
        if not differ.any():
            return "Both policies give all rows the same arms."
        worth = effective_clusters(self.arms, self.groups, self.weight)
        for arm in np.union1d(self.old[differ], self.new[differ]):
            found = worth[arm] if arm < len(worth) else 0.0
            if found < _FEWEST_CLUSTERS:
                return (
                    f"Expected {_FEWEST_CLUSTERS} rows or clusters of arm {arm} or more among "
                    f"those that the policies treat differently; found {found:.3g}. Wait for "
                    "looks of more rows."
                )
        return ""

    def mismatch(self) -> str:
        """Says so if the champion's choice, rather than chance, seems to have decided the arms."""
        for arm in np.unique(self.old) if self.weight is None else ():
            own = self.old == arm
            groups = None if self.groups is None else self.groups[own]
            ratio = sample_ratio(self.w[own], self.e[own], groups)
            if ratio.is_mismatch:
                return (
                    "Expected arms as drawn with the logged probabilities: "
                    f"{ratio.expected.round(1).tolist()} rows or clusters by arm where the "
                    f"champion gives arm {arm}; found {ratio.found.round(1).tolist()}. Log the "
                    "probabilities that rows were treated with."
                )
        return ""


def alpha_of_challenger(number: int, alpha: float = 0.05) -> float:
    r"""What the j-th challenger of a name within a year may spend on all its looks.

    .. math:: \alpha_j = \frac{\alpha}{j (j + 1)}

    These sum to alpha over any number of challengers, which nobody knows when the first one comes.
    So alpha bounds the probability that any challenger that starts within a year is promoted
    without being better, however they depend on each other. Early challengers have the most power.
    A challenger that is fitted again is a new one.

    Parameters
    ----------
    number : int
        j, from 1.
    alpha : float
        For all challengers of the year.

    Examples
    --------
    >>> [alpha_of_challenger(j) for j in (1, 2, 4)]
    [0.025, 0.008333333333333333, 0.0025]
    """
    count("number", number)
    return _checked_alpha(alpha) / (number * (number + 1))


@dataclass(frozen=True)
class Looks(Shown):
    r"""All looks at one challenger and one champion.

    The lower end of the confidence sequence for the mean difference over all rows that counted so
    far, each look's own true difference weighed by its mass:

    .. math:: L_k = \frac{1}{N_k} \left( S_k - \sqrt{2 (V_k + \rho^{-2})
        \log\left(1 + \frac{\sqrt{1 + \rho^2 V_k}}{2 \alpha} \right)} \right)

    with the sums over k looks of mass n_t, difference d_t and standard error s_t: N of n_t, S of
    n_t d_t and V of (n_t s_t)². An error of few degrees of freedom counts as wide as Student's t
    makes it at alpha. ρ makes the sequence tightest after four looks like the first one.

    With probability 1 - alpha, asymptotically in the rows of a look, the lower end stays below the
    mean difference at all looks. So one may look as often as one likes, and stop at any time.

    Parameters
    ----------
    alpha : float
        Probability that the challenger is promoted at any look without being better, below .5:
        `alpha_of_challenger`.
    looks : dict
        The looks by name, such as their date, in their order.

    References
    ----------
    Robbins (1970), Annals of Mathematical Statistics 41(5), pp. 1397-1409: the normal mixture.
    Howard, Ramdas, McAuliffe and Sekhon (2021), Annals of Statistics 49(2), pp. 1055-1080: the
    one-sided mixture. Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Annals of Statistics
    52(6), pp. 2613-2640: estimated variances, and means that change over time.

    Examples
    --------
    >>> look = Look(1000, 1000.0, Estimate(0.3, 0.1, 0.1, 0.5, 998.0))
    >>> looks = Looks(alpha_of_challenger(1)).after("2026-01", look).after("2026-02", look)
    >>> looks.promotes, looks.after("2026-03", look).promotes
    (True, True)
    """

    alpha: float
    looks: Mapping[str, Look] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _checked_alpha(self.alpha)

    def after(self, name: str, look: Look) -> "Looks":
        """With one look more.

        Its rows must be new: none of them of an earlier look, or of those that a policy was fitted
        on. A look that counts stays as it is when its name comes again, so that retries change
        nothing; one that doesn't count is replaced.
        """
        if name in self.looks and not self.looks[name].doubt:
            return self
        return replace(self, looks={**self.looks, name: look})

    @property
    def mean(self) -> float | None:
        """The mean difference over all rows that counted; None where there are none."""
        counted = self._counted()
        return float(counted[1].sum() / counted[0].sum()) if counted.size else None

    @property
    def lower(self) -> float | None:
        """The lower end of the confidence sequence; None where nothing varies or counts."""
        mass, moved, variance = self._counted()
        first = variance[variance > 0][:1]
        if not first.size:
            return None
        total = variance.sum() + first[0] / _mixture(self.alpha)
        growth = np.sqrt(total / (total - variance.sum()))
        margin = np.sqrt(2 * total * np.log1p(growth / (2 * self.alpha)))
        return float((moved.sum() - margin) / mass.sum())

    @property
    def difference(self) -> Estimate | None:
        """The mean difference so far; None where `lower` is None.

        Its interval is the confidence sequence, with an upper end that is as far from the mean as
        the lower one. Each of the two holds at all looks, with probability 1 - alpha.
        """
        mass, _, variance = self._counted()
        if (mean := self.mean) is None or (lower := self.lower) is None:
            return None
        error = float(np.sqrt(variance.sum()) / mass.sum())
        return Estimate(mean, error, lower, 2 * mean - lower, np.inf)

    @property
    def leads(self) -> bool:
        """Whether the challenger is a standard error ahead, or no look has counted yet.

        One that isn't may be replaced at any look: alpha holds whenever its looks end.
        """
        found = self.difference
        return found is None or found.estimate >= found.std_error

    @property
    def promotes(self) -> bool:
        """Whether the challenger is better: the lower end is above 0 now."""
        return self.lower is not None and self.lower > 0

    def _counted(self) -> Floats:
        """(3, k) mass, mass times difference, and variance of that, of the looks that count."""
        found = [(o.mass, o.difference) for o in self.looks.values() if o.difference is not None]
        mass = np.array([m for m, _ in found])
        errors = [d.std_error * _widening(self.alpha, d.degrees) for _, d in found]
        return np.stack([mass, mass * [d.estimate for _, d in found], (mass * errors) ** 2])

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {"alpha": self.alpha, "looks": [[k, asdict(v)] for k, v in self.looks.items()]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Looks":
        """The looks that `to_json` gave."""
        return cls(content["alpha"], {name: _read(look) for name, look in content["looks"]})


def _read(look: Mapping[str, Any]) -> Look:
    found = look["difference"]
    return Look(**{**look, "difference": None if found is None else Estimate(**found)})


def _mixture(alpha: float) -> float:
    """rho² times the variance of a first look: the one that is best after four such looks.

    By the approximation of Waudby-Smith et al. for two-sided sequences, at twice alpha.
    """
    rate = -2 * np.log(2 * alpha)
    return float((rate + np.log1p(rate)) / _TIGHTEST)


def _widening(alpha: float, degrees: float) -> float:
    """How much wider Student's t is than the normal distribution, at a level."""
    return float(special.stdtrit(degrees, alpha) / special.ndtri(alpha))


def _checked_alpha(alpha: Any) -> float:
    allowed = pd.Interval(0, 0.5, closed="neither")
    return number(alpha, allowed, "Expected alpha between 0 and .5, such as .05", "Pass a share.")
