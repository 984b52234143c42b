"""The truth of a fitted rule: its figures on fresh rows, whose effects are known."""

from dataclasses import dataclass

import numpy as np

SHARES = np.arange(1, 101) / 100


@dataclass(frozen=True, eq=False)
class Truth:
    """A rule's figures on a population.

    Parameters
    ----------
    autoc, qini, slope : as of `rate` and `blp`
    gain : (100,) of the shares of `gain_curve`
    groups : (5,) mean effects of fifths of the rows
    """

    autoc: float
    qini: float
    slope: float
    gain: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, tau: np.ndarray, weight: np.ndarray) -> "Truth":
        """By sums in the order of the estimates, with effects in place of scores."""
        order = np.argsort(-predicted, kind="stable")
        p, t, v = predicted[order], tau[order], weight[order] / weight.sum()
        end, total = np.cumsum(v), np.cumsum(v * t)
        toc = total / end - total[-1]
        x = p - v @ p
        return cls(
            autoc=float(v @ toc),
            qini=float(v @ (end * toc)),
            slope=float(v @ (x * t) / (v @ x**2)),
            gain=np.interp(SHARES, np.append(0.0, end), np.append(0.0, total)),
            groups=_fifths(p[::-1], t[::-1], v[::-1]),
        )

    @property
    def above_line(self) -> np.ndarray:
        """(100,) the gain above that of as many rows at random."""
        return self.gain - SHARES * self.gain[-1]

    @property
    def toc(self) -> np.ndarray:
        """(100,) mean effects of tops, above that of all."""
        return self.gain / SHARES - self.gain[-1]


def _fifths(p: np.ndarray, t: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(5,) mean effects; estimates rise, and equal ones are in one group, where they begin."""
    below = np.append(0.0, np.cumsum(v))[np.searchsorted(p, p, side="left")]
    member = np.minimum((5 * below + 1e-9).astype(int), 4)
    return np.bincount(member, v * t, 5) / np.bincount(member, v, 5)
