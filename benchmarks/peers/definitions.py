"""Our figures by other packages' names beside those of the packages, on random rows.

Each package computes in an environment of its own, which the first run makes. Prints the largest
differences. Run as `python -m benchmarks.peers.definitions`; `--freeze FILE` also writes some of
the packages' figures, which the fast tests read.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.environments import python_of
from metalearners.evaluation.judging.definitions import causalml, pylift, sklift

METRICS = Path(__file__).parent / "metrics"
FROZEN, FROZEN_TIED = 16, 4  # sets of rows
TIED = ("sklift", "pylift")  # the packages that say in which order tied rows come
Figure = Callable[[Mapping[str, np.ndarray]], Any]


def sets_of(package: str, untied: int, tied: int) -> list[dict[str, np.ndarray]]:
    """Sets of rows without ties, and after them some with ties for packages that can rank them."""
    with_ties = [draw(seed, levels=9) for seed in range(tied)] if package in TIED else []
    return [*(draw(seed) for seed in range(untied)), *with_ties]


def draw(seed: int, levels: int | None = None) -> dict[str, np.ndarray]:
    """50 to 2000 rows, 5 to 95 % of them treated; with a binary and a continuous outcome."""
    rng = np.random.default_rng(seed)  # uniform numbers alone: numpy may change the others
    while True:
        n, share, shift = int(50 + 1951 * rng.random()), 0.05 + 0.9 * rng.random(), rng.random()
        priority, w = rng.random(n), (rng.random(n) < share).astype(int)
        effect = 0.6 * (priority - shift)
        y = (rng.random(n) < 0.3 + 0.2 * priority + effect * w).astype(int)
        spend = 20 * y * rng.random(n) + rng.random(n) - 3 * priority
        known = 0.2 + 0.6 * rng.random(n)
        if levels:
            priority = np.floor(levels * priority)
        if {0, 1} == set(w.tolist()) == set(y.tolist()):
            return {"priority": priority, "y": y, "w": w, "spend": spend, "p": known}


def _on(function: Callable[..., Any], outcome: str = "y", **arguments: Any) -> Figure:
    """A figure of a function; not a number where it refuses the rows."""

    def figure(rows: Mapping[str, np.ndarray]) -> Any:
        try:
            return function(rows["priority"], rows[outcome], rows["w"], **arguments)
        except ValueError:
            return np.nan

    return figure


def _causalml() -> Iterator[tuple[str, Figure]]:
    for outcome in ("y", "spend"):
        for normalize in (True, False):
            given = {"outcome": outcome, "normalize": normalize}
            for name in ("get_cumgain", "get_qini", "auuc_score", "qini_score"):
                yield f"{name} {outcome} {normalize}", _on(getattr(causalml, name), **given)


def _sklift() -> Iterator[tuple[str, Figure]]:
    for name in ("uplift_curve", "qini_curve", "uplift_auc_score", "qini_auc_score"):
        yield name, _on(getattr(sklift, name))
    yield "qini_auc_score without harm", _on(sklift.qini_auc_score, negative_effect=False)
    for strategy in ("overall", "by_group"):
        for k in (0.1, 0.3, 15):
            yield f"uplift_at_k {strategy} {k}", _on(sklift.uplift_at_k, strategy=strategy, k=k)
        for name in ("uplift_by_percentile", "weighted_average_uplift"):
            for bins in (4, 10):
                given = {"strategy": strategy, "bins": bins}
                yield f"{name} {strategy} {bins}", _on(getattr(sklift, name), **given)


def _pylift() -> Iterator[tuple[str, Figure]]:
    for kind in ("qini", "aqini", "cgains"):
        yield f"scores {kind}", _on(pylift.get_scores, kind=kind)
        yield (
            f"scores {kind} known",
            lambda rows, kind=kind: pylift.get_scores(
                rows["priority"], rows["y"], rows["w"], kind=kind, p=rows["p"]
            ),
        )


FIGURES: dict[str, dict[str, Figure]] = {
    "causalml": dict(_causalml()),
    "sklift": dict(_sklift()),
    "pylift": dict(_pylift()),
}


def ours(package: str, figure: str, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """A figure of ours as the packages' programs write theirs: one flat array."""
    found = FIGURES[package][figure](rows)
    if isinstance(found, sklift.Percentiles):
        errors = [found.std_treatment, found.std_control, found.std_uplift]
        found = [*vars(found).values(), found.uplift, *errors]
    elif not isinstance(found, float):
        found = [*vars(found).values()]
    return np.ravel(np.asarray(found, dtype=float))


def theirs(package: str, sets: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """A package's figures of each set of rows, from its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        rows, found = Path(folder) / "rows.npz", Path(folder) / "found.npz"
        names = [f"{i}/{name}" for i, one in enumerate(sets) for name in one]
        columns = [column for one in sets for column in one.values()]
        np.savez(rows, **dict(zip(names, columns, strict=True)))
        script = METRICS / f"{package}_package.py"
        command = [str(python_of(package)), "-E", "-s", "-W", "ignore", str(script)]
        subprocess.run([*command, str(rows), str(found)], check=True)
        with np.load(found) as read:
            result: list[dict[str, np.ndarray]] = [{} for _ in sets]
            for name, value in read.items():
                number, _, figure = name.partition("/")
                result[int(number)][figure] = np.ravel(value)
    return result


def difference(mine: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative where figures are above 1; what both lack is equal."""
    if np.isnan(mine).all():  # refused: the package has no number either
        return 0.0 if not np.isfinite(other).all() else np.inf
    if mine.shape != other.shape:
        return np.inf
    return float(np.max(np.abs(mine - other) / np.maximum(1, np.abs(other))))


def some(values: np.ndarray) -> list[float] | None:
    """Three of a figure's numbers, the last one among them; None if any of all isn't one."""
    if not np.isfinite(values).all():
        return None
    at = np.unique(np.linspace(0, len(values) - 1, 4).astype(int)[1:])
    return [float(f"{one:.12g}") for one in values[at]]


def main() -> None:
    """Print the largest difference of each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--freeze", type=Path)
    options = parser.parse_args()
    frozen: dict[str, Any] = {}
    print("| package | figure | largest difference | refused of |\n|---|---|---|---|")
    for package, figures in FIGURES.items():
        sets = sets_of(package, options.sets, options.sets // 4)
        found = theirs(package, sets)
        for figure in figures:
            print(f"| {package} | {figure} | {_compared(package, figure, sets, found)} |")
        few = [*found[:FROZEN], *found[options.sets :][:FROZEN_TIED]]
        frozen[package] = [{name: some(value) for name, value in one.items()} for one in few]
    if options.freeze:
        options.freeze.write_text(_lines(frozen))


def _compared(package: str, figure: str, sets: list[Any], found: list[Any]) -> str:
    mine = [ours(package, figure, rows) for rows in sets]
    largest = max(difference(a, one[figure]) for a, one in zip(mine, found, strict=True))
    refused = sum(bool(np.isnan(one).all()) for one in mine)
    return f"{largest:.1e} | {refused} of {len(sets)}"


def _lines(frozen: Mapping[str, list[Any]]) -> str:
    """JSON with a line for each set of rows."""
    parts = [
        f'"{package}": [\n' + ",\n".join(json.dumps(one) for one in sets) + "\n]"
        for package, sets in frozen.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
