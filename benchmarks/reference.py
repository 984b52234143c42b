"""Our errors over those of the package metalearners 0.13.0, on the same draws.

Its four published designs, linear and logistic base models, 10 folds; root mean squared error to
the true effects of a test fifth, averaged over draws. Prints a table; exit status 1 if one of our
errors is more than 5 % above the package's. Run as `python -m benchmarks.reference`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.designs import DESIGNS, Published, halves, published
from benchmarks.peers.environments import python_of

HERE = Path(__file__).parent
SEED = 1337
BOUND = 1.05
NOTES = """
Each cell: our mean error / the package's mean error = ratio (published for its own, single draw).
Ratios differ from 1 by design in places:
- With five arms our R-learner regresses the outcome on the rows of arms 0 and k, as the R-loss
  asks for; the package regresses it on all rows at once. Its ratio is far below 1.
- We clip propensities to [.01, .99], the package to [1e-9, 1 - 1e-9]; both run as they come.
- A linear S-learner has main effects only in both, so its errors are large and its ratio is 1."""


def main() -> int:
    """Compare on each design; print a table."""
    options = _parser().parse_args()
    peer = options.peer or python_of("metalearners")
    compared = {name: compare(design, peer, options) for name, design in DESIGNS.items()}
    title = f"{options.draws} draws of {options.rows:,} rows"
    text = f"{title}\n\n{table(compared)}\n{NOTES}"
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    return int(any(a / b > BOUND for row in compared.values() for a, b in row.values()))


def compare(
    design: Published, peer: Path, options: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Both packages' mean errors, by learner."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write(design, options.rows, SEED + number, Path(folder, f"{number}.npz"))
            for number in range(options.draws)
        ]
        ours = errors([sys.executable], paths, options.reuse)
        # Isolated: the package must not be shadowed by ours, whatever PYTHONPATH says.
        theirs = errors([str(peer), "-I"], paths, options.reuse)
    return {name: (mean(ours, name), mean(theirs, name)) for name in design.rmse}


def write(design: Published, rows: int, seed: int, path: Path) -> Path:
    """A draw's training and test rows as a file."""
    train, test = halves(published(design, rows, seed), share=0.2, seed=seed)
    np.savez(
        path,
        X=train.X,
        y=train.y,
        w=train.w,
        X_test=test.X,
        tau_test=test.tau,
        classes=design.is_classification,
    )
    return path


def errors(python: list[str], paths: list[Path], reuse: bool) -> list[dict[str, float]]:
    """What an interpreter's package makes of some draws."""
    command = [*python, "-W", "ignore", str(HERE / "peer_fit.py"), "reuse" if reuse else "alone"]
    done = subprocess.run(
        [*command, *map(str, paths)],
        stdout=subprocess.PIPE,
        check=True,
        # On matrices this small, threads wait for each other longer than they compute.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def mean(found: list[dict[str, float]], learner: str) -> float:
    """A learner's error, averaged over draws."""
    return float(np.mean([one[learner] for one in found]))


def table(compared: dict[str, dict[str, tuple[float, float]]]) -> str:
    """The comparison as a Markdown table."""
    learners = list(next(iter(compared.values())))
    lines = [f"| design | {' | '.join(learners)} |", "|---" * (len(learners) + 1) + "|"]
    for name, row in compared.items():
        cells = [
            f"{ours:.4f} / {theirs:.4f} = {ours / theirs:.3f} ({DESIGNS[name].rmse[learner]:.4g})"
            for learner, (ours, theirs) in row.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100_000, help="of a draw, test rows included")
    parser.add_argument("--peer", type=Path, help="interpreter that has the package already")
    parser.add_argument(
        "--no-reuse", dest="reuse", action="store_false", help="let each learner fit its own models"
    )
    parser.add_argument("--output", type=Path, help="file for the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
