"""Twelve months of a made-up shop, replayed by backfill: which events are told, who is champion.

Each month has its own customers, who get a mail or none by a coin. What happens is in `HAPPENS`.
`uplift backfill` makes a run a month. The program compares what the runs told with what happened,
over some draws of the shop, and prints a table. It resumes: months that have a finished run aren't
run again. Run as `python -m benchmarks.shop --folder FOLDER`.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from flows.scoring import score_rows

YEAR = 2025
MONTHS = 12
ROWS = 60_000  # a month
# Months in which runs are to tell an event, and of which kind. A promotion may need several looks.
HAPPENS = {
    "drift": {5, 10},  # younger accounts come; a quarter of the customers use the new channel
    "sample-ratio": {8},  # a campaign mails those who came lately, against the coin
    "schema-change": {10},  # a new channel, and a new column
    "no-effect": {12},  # the mails arrive empty
    "calibration-lost": {12},
}
TURNS = 4  # first month in which the mail helps others than before
OVERTAKEN = range(6, 10)  # by then, a model of the new effects is champion
FRESH = 100_000  # customers on whom a promotion is judged


def month(number: int, seed: int, rows: int = ROWS) -> pd.DataFrame:
    """The customers of a month, the mails that they got and what they spent."""
    rng = np.random.default_rng([seed, number])
    channels = ["phone", "shop", "web"] if number < 10 else ["kiosk", "phone", "shop", "web"]
    age = rng.gamma(2.0, 300.0 if number < 5 else 180.0, rows)
    X = pd.DataFrame(
        {
            "account_days": age.round(),
            "days_since_visit": rng.exponential(30.0, rows).round(),
            "spent_last_year": rng.lognormal(4.0, 1.0, rows).round(2),
            "visits": rng.poisson(4.0, rows),
            "newsletter": rng.random(rows) < 0.4,
            "channel": rng.choice(channels, rows),
        }
    )
    if number >= 10:
        X["app_visits"] = rng.poisson(2.0, rows)
    mailed = rng.random(rows) < probability(X, number)
    spent = 20 + 2 * X["visits"] + 0.02 * X["spent_last_year"].clip(upper=500)
    spent += np.where(mailed, effect(X, number), 0.0) + rng.normal(0.0, 10.0, rows)
    return X.assign(mailed=np.where(mailed, "mail", "none"), spent=spent.round(2))


def probability(X: pd.DataFrame, number: int) -> np.ndarray:
    """(n,) probability of a mail; the config says that it is one half."""
    lately = X["days_since_visit"].to_numpy() < 30
    return np.where(lately, 0.6, 0.5) if number == 8 else np.full(len(X), 0.5)


def effect(X: pd.DataFrame, number: int) -> np.ndarray:
    """(n,) what a mail brings, less its cost: first from the frequent, then from those away."""
    frequent = (X["visits"].to_numpy() - 4.0) / 2.0
    away = (X["days_since_visit"].to_numpy().clip(max=90.0) - 28.5) / 26.0
    share = np.clip((number - TURNS + 1) / 3, 0.0, 1.0)  # of customers who have changed
    works = float(number not in HAPPENS["no-effect"])
    return np.asarray(works * (0.8 + 2.0 * ((1 - share) * frequent + share * away)))


def write(folder: Path, seed: int) -> Path:
    """Write the months of a shop and its config, once."""
    for number in range(1, MONTHS + 1):
        path = folder / "data" / f"{YEAR}-{number:02}" / "rows.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            month(number, seed).to_parquet(path.with_suffix(".part"), index=False)
            path.with_suffix(".part").rename(path)
    config = folder / "shop.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    return config


CONFIG = {
    "name": "shop",
    "data": {
        "source": "data/{date:%Y-%m}/*.parquet",
        "outcome": "spent",
        "treatment": "mailed",
        "control": "none",
        "propensity": 0.5,
    },
    "learners": ["DRLearner"],
    "models": {
        role: {
            "estimator": "lightgbm.LGBMRegressor",
            "params": {"n_estimators": 60, "learning_rate": 0.1, "num_leaves": 15},
        }
        for role in ("outcome", "treatment")
    },
    "folds": {"n_folds": 3},
    "registry": {"storage": "registry", "promote": {"rule": "better", "alpha": 0.05}},
    "cache": {"enabled": False},
}


def replay(folder: Path, seed: int) -> list[dict]:
    """The summaries of a shop's twelve runs, in the order of months."""
    config = write(folder, seed)
    dates = ["--from", f"{YEAR}-01-15", "--to", f"{YEAR}-12-15", "--every", "1 month"]
    command = [sys.executable, "-m", "flows.cli", "backfill", config.name, *dates, "--quiet"]
    subprocess.run(command, cwd=folder, check=True)
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("2*/summary.json")]
    return sorted(found, key=lambda summary: summary["logical_date"])


def told(summaries: list[dict]) -> Iterator[tuple[int, str]]:
    """Months and events, promotions among them."""
    for number, summary in enumerate(summaries, start=1):
        yield from ((number, one["event"]) for one in summary["events"])


def wrong(summaries: list[dict], folder: Path) -> list[str]:
    """What was told though it hadn't happened, or not told though it had."""
    expected = {(number, name) for name, months in HAPPENS.items() for number in months}
    found = {one for one in told(summaries) if one[1] != "promoted"}
    faults = [f"month {number}: {name} told" for number, name in sorted(found - expected)]
    faults += [f"month {number}: {name} missing" for number, name in sorted(expected - found)]
    crowned = list(champions(summaries, folder))
    faults += [
        f"month {n}: a champion that is worse by {-gain:.2f}" for n, gain in crowned if gain < 0
    ]
    if not any(number in OVERTAKEN for number, _ in crowned):
        faults.append(f"no champion of the new effects: promoted in {[n for n, _ in crowned]}")
    return faults


def champions(summaries: list[dict], folder: Path) -> Iterator[tuple[int, float]]:
    """Months with a promotion, and what a mail by the new champion's choice truly gains then."""
    champion = summaries[0]["run_name"]
    for number, summary in enumerate(summaries, start=1):
        run = summary["model"]["promoted"]
        if run:
            yield number, _gain(folder, run, champion, month(number, 10**6, FRESH), number)
            champion = run


def _gain(folder: Path, new: str, old: str, X: pd.DataFrame, number: int) -> float:
    rows = X.drop(columns=["mailed", "spent"])
    own, former = (
        score_rows(folder / "runs" / run / "model", rows)["cate.DRLearner.mail"] > 0
        for run in (new, old)
    )
    return float(((own.astype(int) - former) * effect(X, number)).mean())


def main() -> int:
    """Replay shops and print what they told; the exit status is 1 if one told something else."""
    options = _parser().parse_args()
    counts: Counter[tuple[int, str]] = Counter()
    faults: dict[int, list[str]] = {}
    for seed in range(options.seeds):
        folder = options.folder / f"shop-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        summaries = replay(folder, seed)
        counts.update(set(told(summaries)))
        faults[seed] = wrong(summaries, folder)
        print(f"shop {seed}: {'; '.join(faults[seed]) or 'as it happened'}", flush=True)
    print(table(counts, options.seeds))
    return int(any(faults.values()))


def table(counts: Counter[tuple[int, str]], seeds: int) -> str:
    """In how many shops each event was told, by month, as a Markdown table."""
    events = sorted({name for _, name in counts})
    head = ["| event |", *(f" {number} |" for number in range(1, MONTHS + 1))]
    rows = [
        [f"| {name} |", *(f" {counts[number, name] or ''} |" for number in range(1, MONTHS + 1))]
        for name in events
    ]
    lines = ["".join(head), "|---|" + "---|" * MONTHS, *map("".join, rows)]
    return "\n".join([f"\nOf {seeds} shops, by month:\n", *lines])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of data, runs and models")
    parser.add_argument("--seeds", type=int, default=20)
    return parser


if __name__ == "__main__":
    sys.exit(main())
