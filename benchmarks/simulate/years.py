"""Years of monthly looks at a champion and its challengers, whose true difference is known."""

from collections.abc import Callable, Iterator
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


def promotions(fresh: bool = False, number: int = 1) -> Callable[[Year, int], dict[str, Any]]:
    """In which month a challenger is promoted, 0 for none, and how many looks counted.

    `fresh` for a new challenger each month; else it is the year's challenger of that number.
    """

    def measure(year: Year, seed: int) -> dict[str, Any]:
        promoted, counted = 0, 0
        looks = Looks(alpha_of_challenger(number))
        for month, rows in enumerate(_months(year, fresh), start=1):
            if fresh:
                looks = Looks(alpha_of_challenger(month))
            look = compare_policies(**rows)
            looks = looks.after(str(month), look)
            counted += not look.doubt
            if looks.promotes and not promoted:
                promoted = month
        return {"month": promoted, "counted": counted}

    return measure


def _months(year: Year, fresh: bool) -> Iterator[dict[str, Any]]:
    """What `compare_policies` takes, by month."""
    rng = np.random.default_rng(year.seed)
    champion, challenger = _direction(rng), _direction(rng)
    shared = rng.normal(size=year.rows // year.per_group)
    for _ in range(MONTHS):
        if fresh:
            challenger = _direction(rng)
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
        yield {
            "y": X[:, 1] + tau * w + noise,
            "w": w,
            "mu": np.column_stack([0.5 * X[:, 1]] * 2),  # a model that knows half of it
            "propensity": np.where(of_champion, rate, 1 - rate),
            "champion": old,
            "challenger": new,
            "groups": groups if year.per_group > 1 else None,
        }


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
