"""Years of monthly looks at a champion and its challengers, whose true difference is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearners.evaluation.recurring.looks import (
    Looks,
    alpha_of_challenger,
    compare_policies,
)
from metalearners.evaluation.recurring.policies import policy_arms

MONTHS = 12
FEATURES = 4
ANGLE = np.pi / 3  # between the effects' direction and each policy's: so their values are equal


@dataclass(frozen=True)
class Year:
    """How the rows of each month come about.

    Parameters
    ----------
    seed : of the draws
    rows : number of rows a month
    effect : of the treatment, per unit of the first feature
    noise : residuals of the outcome, from a generator and their number
    greedy : how often rows get the champion's arm, whatever else; 0.5 for a coin
    logged : the same as the log has it
    per_group : rows of a group, which gets one arm and shares half of its noise's variance
    stay : whether the same groups, with their part of the noise, come each month
    leads_by : standard errors a month by which the challenger leads a champion who treats nobody
    """

    seed: int
    rows: int = 1000
    effect: float = 1.0
    noise: Callable[[np.random.Generator, int], np.ndarray] = lambda rng, n: rng.normal(size=n)
    greedy: float = 0.5
    logged: float | None = None
    per_group: int = 1
    stay: bool = False
    leads_by: float = 0.0


def promotions(
    goes: Callable[[Looks], bool] = lambda looks: False, number: int = 1
) -> Callable[[Year, int], dict[str, Any]]:
    """In which month a challenger is promoted, 0 for none, and how many looks counted.

    `goes` says after each look whether a new challenger comes; the first one is the year's
    challenger of a number.
    """

    def measure(year: Year, seed: int) -> dict[str, Any]:
        promoted, counted, rng = 0, 0, np.random.default_rng(year.seed)
        looks, challenger, now = Looks(alpha_of_challenger(number)), _direction(rng), number
        months = _months(year, rng)
        for month in range(1, MONTHS + 1):
            look = compare_policies(**months(challenger))
            looks = looks.after(str(month), look)
            counted += not look.doubt
            if looks.promotes and not promoted:
                promoted = month
            if goes(looks):
                now += 1
                looks, challenger = Looks(alpha_of_challenger(now)), _direction(rng)
        return {"month": promoted, "counted": counted}

    return measure


def each_month(looks: Looks) -> bool:
    """A new challenger comes each month."""
    return True


def by_the_rule(looks: Looks) -> bool:
    """A new challenger comes where the one before doesn't lead, and after four looks.

    So it is in a registry's rule.
    """
    return not looks.leads or len(looks.looks) == 4


def _months(year: Year, rng: np.random.Generator) -> Callable[[np.ndarray], dict[str, Any]]:
    """Gives what `compare_policies` takes, of the next month for a challenger."""
    champion = _direction(rng)
    shared = rng.normal(size=year.rows // year.per_group)

    def month(challenger: np.ndarray) -> dict[str, Any]:
        nonlocal shared
        X = rng.normal(size=(year.rows, FEATURES))
        if year.leads_by:
            tau, old = _lead(year) * (X[:, 0] > 0), np.zeros(year.rows, int)
            new = policy_arms(tau[:, None])
        else:
            tau = year.effect * X[:, 0]
            old, new = (policy_arms(X @ v[:, None]) for v in (champion, challenger))
        groups = np.repeat(np.arange(len(shared)), year.per_group)
        drawn = rng.uniform(size=len(shared))[groups] < year.greedy
        w = np.where(drawn, old, 1 - old)
        noise = year.noise(rng, year.rows)
        if year.per_group > 1:
            shared = shared if year.stay else rng.normal(size=len(shared))
            noise = (noise + shared[groups]) / np.sqrt(2)
        rate = year.greedy if year.logged is None else year.logged
        of_champion = old[:, None] == np.arange(2)
        return {
            "y": X[:, 1] + tau * w + noise,
            "w": w,
            "mu": np.column_stack([0.5 * X[:, 1]] * 2),  # a model that knows half of it
            "propensity": np.where(of_champion, rate, 1 - rate),
            "champion": old,
            "challenger": new,
            "groups": groups if year.per_group > 1 else None,
        }

    return month


def _direction(rng: np.random.Generator) -> np.ndarray:
    """(p,) a random direction at one angle to the first feature."""
    other = rng.normal(size=FEATURES - 1)
    return np.append(np.cos(ANGLE), np.sin(ANGLE) * other / np.linalg.norm(other))


def _lead(year: Year) -> float:
    """The effect on half of the rows that gives the challenger its lead.

    Of a row that gains t, the score's variance is 4 (1 + 1/4 + t²/4) by a coin, with the quarter
    from what the outcome model lacks; of all rows, it is half of that and t²/4 more.
    """
    s, n = year.leads_by, year.rows
    return float(np.sqrt(4 * s**2 * 2.5 / (n - 3 * s**2)))


def revenue(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nine in ten buy nothing, the others log-normal amounts; their mean is 0."""
    amount = np.exp(rng.normal(size=n)) * (rng.uniform(size=n) < 0.1)
    return amount - 0.1 * np.exp(0.5)


def cost(rng: np.random.Generator, n: int) -> np.ndarray:
    """Revenue that is lost."""
    return -revenue(rng, n)
