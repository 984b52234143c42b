"""Drift: how far the columns of new rows are from those of training rows."""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import as_pandas
from metalearners.data.arguments import number
from metalearners.data.containers import check_same_rows
from metalearners.data.schema import as_days, is_date
from metalearners.evaluation.means import cluster_codes, effective_clusters, same_rows, sums
from metalearners.showing.results import Several, Shown

DRIFT, STABLE = "drift", "stable"
_N_BINS = 10
_MOST_LEVELS = 1_000  # of a category, so that identifiers don't fill the file
_FEWEST_ROWS = 10  # expected in a bin
_LEVEL = 1e-3
_NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")


@dataclass(frozen=True)
class Drift(Shown):
    """How far a column of new rows is from that of training rows.

    Parameters
    ----------
    column : str
        Its name.
    psi : float
        The population stability index.
    degrees : int
        Degrees of freedom of its test: one fewer than the bins.
    p_value : float
        Of the hypothesis that both are samples of one population.
    status : str
        ``drift`` if the index is above the threshold and the p-value below 0.001; else ``stable``.
    """

    column: str
    psi: float
    degrees: int
    p_value: float
    status: str


@dataclass(frozen=True, eq=False)
class Reference(Shown):
    """Columns of training rows in bins, as later rows are compared with them.

    Parameters
    ----------
    columns : dict
        The distribution of each column by its name.
    """

    columns: Mapping[str, "Distribution"]

    @classmethod
    def of(
        cls, columns: Matrix, weight: Floats | None = None, groups: Array | None = None
    ) -> "Reference":
        """The distributions of training rows.

        Numbers, dates and booleans have a bin for each tenth of the weight. A value that two or
        more of the cuts fall on has a bin of its own, and so have missing values. A category has a
        bin for each level. More than 1,000 levels share 1,000 bins by a hash of their names.

        Parameters
        ----------
        columns : (n, p) data frame or array
            Features, or predicted effects, of the training rows.
        weight : (n,) array, optional
            Sampling weights.
        groups : (n,) array, optional
            Cluster labels; without them, each row is a cluster.

        Raises
        ------
        ValueError
            If there are no rows, or a column holds infinite numbers, or something other than
            numbers, dates, texts and categories.
        """
        frame, weight, groups = _checked(columns, weight, groups)
        found = {}
        for name in frame.columns:
            column = _plain(frame[name])
            found[name] = Distribution.of(Bins.of(column, weight), column, weight, groups)
        return cls(found)

    def compare(
        self,
        columns: Matrix,
        weight: Floats | None = None,
        groups: Array | None = None,
        threshold: float = 0.2,
    ) -> list[Drift]:
        r"""How far new rows are from the training rows, column by column.

        .. math:: PSI = \sum_b (q_b - p_b) \log \frac{q_b}{p_b}, \qquad
            \frac{n m}{n + m} PSI \approx \chi^2_{B - 1}

        over B bins with the shares p of n training rows and q of m new rows; the distribution on
        the right holds where nothing drifts. A half row more in each bin keeps shares above 0.
        A level of
        new rows that the training rows didn't have is a bin, too. Neighbouring bins of numbers, and
        the rarest levels of a category, are merged until the smaller sample is expected to have
        the root of its rows in each, 10 at least: with more bins of fewer rows, the distribution
        doesn't hold.

        Of rows with weights or clusters, n and m are the sizes of simple random samples whose
        shares vary as much (`Distribution`).

        Parameters
        ----------
        columns
            The same columns of new rows; others are ignored.
        weight, groups
            As for `of`.
        threshold : float
            The least index that counts as drift.

        Raises
        ------
        ValueError
            If a column is absent or of another kind; else as for `of`.

        References
        ----------
        Lewis (1994), An Introduction to Credit Scoring: the index, and thresholds of .1 and .25.
        Yurdakul and Naranjo (2020), Journal of Risk Model Validation 14(3): its distribution. Rao
        and Scott (1981), JASA 76(374), pp. 221-230: tests of shares from clusters.
        """
        allowed = pd.Interval(0, np.inf, closed="neither")
        number(threshold, allowed, "Expected a threshold above 0, such as .2", "Pass a number.")
        frame, weight, groups = _checked(columns, weight, groups)
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise ValueError(
                f"Expected the columns {list(self.columns)}; not found: {absent}. Add them."
            )
        found: Several[Drift] = Several()
        for name, before in self.columns.items():
            column = _plain(frame[name])
            bins = before.bins.with_levels_of(column)
            psi, degrees, p_value = _index(before, Distribution.of(bins, column, weight, groups))
            drifts = psi > threshold and p_value < _LEVEL
            found.append(Drift(name, psi, degrees, p_value, DRIFT if drifts else STABLE))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {name: own.to_json() for name, own in self.columns.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Reference":
        """The reference that `to_json` gave."""
        return cls({name: Distribution.from_json(own) for name, own in content.items()})


@dataclass(frozen=True)
class Bins(Shown):
    """Bins of a column's values; the first is of missing ones.

    Parameters
    ----------
    edges : tuple of float
        Cuts of numbers: a bin reaches from above a cut to the next one, which is in it.
    levels : tuple or None
        Levels of a category, a bin each.
    hashed : bool
        Whether the levels are `_buckets` of the values.
    """

    edges: tuple[float, ...] = ()
    levels: tuple[Any, ...] | None = None
    hashed: bool = False

    @classmethod
    def of(cls, column: pd.Series, weight: Floats) -> "Bins":
        """Bins of training rows: `column` as `_plain` returns it."""
        if column.dtype.kind == "f":
            return cls(edges=_edges(column.to_numpy(), weight))
        levels = _levels(column)
        if len(levels) > _MOST_LEVELS:
            return cls(levels=tuple(range(_MOST_LEVELS)), hashed=True)
        return cls(levels=levels)

    def __len__(self) -> int:
        return 1 + (len(self.edges) + 1 if self.levels is None else len(self.levels))

    def with_levels_of(self, column: pd.Series) -> "Bins":
        """The bins, and behind them one for each level of new rows that has none."""
        if self.levels is None or self.hashed or column.dtype.kind == "f":
            return self
        known = set(self.levels)
        return replace(self, levels=(*self.levels, *(o for o in _levels(column) if o not in known)))

    def codes(self, column: pd.Series) -> Array:
        """(n,) the bin of each value: `column` as `_plain` returns it."""
        missing = column.isna().to_numpy()
        if missing.all():
            return np.zeros(len(column), dtype=np.int64)
        if (column.dtype.kind == "f") != (self.levels is None):
            expected = "numbers" if self.levels is None else "texts or categories"
            raise ValueError(
                f"Expected {expected} in column {column.name!r}, as in the training rows; found "
                f"{column.dtype}. Convert it."
            )
        if self.levels is None:
            found = 1 + np.searchsorted(self.edges, column.to_numpy())
        else:
            values = _buckets(column) if self.hashed else column
            found = 1 + pd.Index(self.levels, dtype=object).get_indexer(pd.Index(values))
        return np.where(missing, 0, found)


@dataclass(frozen=True, eq=False)
class Distribution(Shown):
    r"""Shares of rows by bin.

    Parameters
    ----------
    bins : Bins
        The bins.
    shares : (B,) array
        Shares of the weight, p.
    rows : int
        Number of rows.
    worth : float
        The size n of a simple random sample whose shares vary as much,

        .. math:: n = (B - 1) \Big/ \sum_b \frac{\widehat{Var}(p_b)}{p_b},

        with variances by clusters: Rao's and Scott's correction of the first order. At most the
        number of rows.
    """

    bins: Bins
    shares: Floats
    rows: int
    worth: float

    @classmethod
    def of(
        cls, bins: Bins, column: pd.Series, weight: Floats, groups: Array | None
    ) -> "Distribution":
        """The shares of a column."""
        codes = bins.codes(column)
        shares = np.bincount(codes, weight, len(bins)) / weight.sum()
        return cls(bins, shares, len(codes), _worth(codes, shares, weight, groups))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        sizes = {"rows": self.rows, "worth": self.worth}
        return {**asdict(self.bins), "shares": self.shares.tolist(), **sizes}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Distribution":
        """The distribution that `to_json` gave."""
        levels = content["levels"]
        levels = None if levels is None else tuple(levels)
        bins = Bins(tuple(content["edges"]), levels, content["hashed"])
        return cls(bins, np.asarray(content["shares"]), content["rows"], content["worth"])


def _index(before: Distribution, after: Distribution) -> tuple[float, int, float]:
    """The index, its degrees of freedom and its p-value."""
    n, m = before.worth, after.worth
    new_levels = len(after.shares) - len(before.shares)
    shares = np.stack([np.pad(before.shares, (0, new_levels)), after.shares])
    both = np.array([before.rows, after.rows]) @ shares / (before.rows + after.rows)
    # By rows of both samples, then by name: bins chosen by one of them would favour its levels.
    order = np.arange(len(both))
    if after.bins.levels is not None:
        names = np.array(["", *map(str, after.bins.levels)])
        order = np.lexsort((names, -both.round(12)))
    least = min(n, m)
    group = _merged(both[order] * least, max(_FEWEST_ROWS, np.sqrt(least)))
    p, q = (
        (size * np.bincount(group, own) + 0.5) / (size + 0.5 * (group[-1] + 1))
        for size, own in zip((n, m), shares[:, order], strict=True)
    )
    psi, degrees = float((q - p) @ np.log(q / p)), len(p) - 1
    p_value = special.chdtrc(degrees, n * m / (n + m) * psi) if degrees else 1.0
    return psi, degrees, float(p_value)


def _merged(expected: Floats, least: float) -> Array:
    """(B,) groups of neighbouring bins with enough expected rows; what is left joins the last."""
    groups, held = [0], 0.0
    for rows in expected:
        held += rows
        groups.append(groups[-1] + (held >= least))
        held *= held < least
    return np.minimum(groups[:-1], max(groups[-1] - 1, 0))


def _worth(codes: Array, shares: Floats, weight: Floats, groups: Array | None) -> float:
    """The size of a simple random sample; see `Distribution`."""
    n, used = len(codes), shares > 0
    if groups is None and np.ptp(weight) == 0:
        return float(n)
    member = cluster_codes(n, groups)
    if used.sum() == 1 or np.ptp(member) == 0:
        return float(effective_clusters(np.zeros(n, np.int64), groups, weight)[0])
    cells, of_row = np.unique(member * len(shares) + codes, return_inverse=True)
    mass = sums(of_row, weight)
    cluster, of_bin = np.divmod(cells, len(shares))
    whole = sums(cluster, mass)
    squares, products = (
        np.bincount(of_bin, one, len(shares)) for one in (mass**2, mass * whole[cluster])
    )
    moved = squares - 2 * shares * products + shares**2 * (whole @ whole)
    variance = len(whole) / (len(whole) - 1) * moved[used] / weight.sum() ** 2
    degrees = used.sum() - 1
    return float(degrees / max(np.sum(variance / shares[used]), degrees / n))


def _edges(values: Floats, weight: Floats) -> tuple[float, ...]:
    """Cuts at tenths of the weight; below a value that several fall on, there is one more."""
    known = ~np.isnan(values)
    if not weight[known].any():
        return ()
    shares = np.arange(1, _N_BINS) / _N_BINS
    own = None if np.ptp(weight) == 0 else weight[known]  # with weights, all values are sorted
    cuts = np.quantile(values[known], shares, weights=own, method="inverted_cdf")
    edges, times = np.unique(cuts, return_counts=True)
    return tuple(np.union1d(edges, np.nextafter(edges[times > 1], -np.inf)).tolist())


def _levels(column: pd.Series) -> tuple[Any, ...]:
    """Distinct values, in the order of their names."""
    return tuple(sorted(column.dropna().unique().tolist(), key=str))


def _buckets(column: pd.Series) -> Array:
    """(n,) hashes of the names of levels: so those that come and go are no bins of their own."""
    codes, levels = pd.factorize(column, use_na_sentinel=False)
    return np.array([zlib.crc32(str(one).encode()) % _MOST_LEVELS for one in levels])[codes]


def _checked(
    columns: Matrix, weight: Floats | None, groups: Array | None
) -> tuple[pd.DataFrame, Floats, Array | None]:
    check_same_rows(columns=columns, weight=weight, groups=groups)
    frame = as_pandas(columns).rename(columns=str)
    return frame, *same_rows(weight, groups, rows=np.zeros(len(frame)))[1:]


def _plain(column: pd.Series) -> pd.Series:
    """Numbers as floats, dates as days, and all else as Python objects."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype) or kind == "string":
        return column.astype(object)
    if is_date(kind):
        return as_days(column).astype(float)
    if kind not in _NUMBERS:
        raise ValueError(
            "Expected numbers, dates, texts or categories in each column; found "
            f"{kind} in {column.name!r}. Convert it."
        )
    values = column.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(values).any():
        raise ValueError(
            f"Expected finite or missing numbers; found infinite ones in {column.name!r}. Leave "
            "those rows out."
        )
    return pd.Series(values, name=column.name)
