"""Eight messy data sets, each with a known effect, through `uplift init FILE` and `uplift run`.

Prints a line for each: whether the unchanged config ran, which columns that leak are features,
whether the intervals of the average effects cover the truth, and for experiments the standard
error by that of the raw difference. `--seed` draws other data.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

N = 4_000
Generator = np.random.Generator


@dataclass
class Made:
    """A data set, with what is known of it."""

    frame: pd.DataFrame
    effects: dict[str, float]  # by arm
    leaks: set[str] = field(default_factory=set)
    randomised: bool = True
    outcome: str = ""  # whose raw difference of two arms is compared; empty for none
    arm: str = ""


def email(rng: Generator) -> Made:
    """An e-mail experiment of two arms: labels, ids with zeros ahead, clicks after the mail."""
    w, age = rng.permutation(np.arange(N) % 2), rng.integers(18, 80, N)
    chance = 0.1 + 0.06 * w + 0.001 * (age - 18)
    visit = rng.random(N) < chance
    frame = pd.DataFrame(
        {
            "customer_id": [f"{i:08d}" for i in rng.permutation(N)],
            "signup": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D"),
            "age": age,
            "country": rng.choice(["de", "fr", "it"], N),
            "treatment": np.where(w, "mail", "no mail"),
            "clicks": w * rng.poisson(2, N),
            "visit": np.where(visit, "yes", "no"),
        }
    )
    return Made(frame, {"mail": 0.06}, {"customer_id", "clicks"}, True, "visit", "treatment")


def shop(rng: Generator) -> Made:
    """Revenue with a long tail, and columns that are the outcome in other words."""
    w, spent = rng.permutation(np.arange(N) % 2), rng.lognormal(3, 1, N)
    revenue = (0.5 * spent + rng.lognormal(3, 1, N) + 4.0 * w).round(2)
    frame = pd.DataFrame(
        {
            "row": np.arange(N),
            "spent_last_year": spent.round(2),
            "visits": rng.poisson(3, N),
            "treated": w,
            "revenue": revenue,
            "revenue_cents": (revenue * 100).round().astype(int),
        }
    )
    return Made(frame, {"1": 4.0}, {"row", "revenue_cents"}, True, "revenue", "treated")


def clinic(rng: Generator) -> Made:
    """A trial with missing values and sites."""
    w = rng.permutation(np.arange(N) % 2)
    bmi = rng.normal(27, 4, N)
    frame = pd.DataFrame(
        {
            "patient_id": rng.permutation(N) + 10_000,
            "arm": np.where(w, "treated", "control"),
            "site": rng.choice(["A", "B", "C"], N),
            "bmi": np.where(rng.random(N) < 0.1, np.nan, bmi),
            "sex": rng.choice(["f", "m", None], N, p=[0.45, 0.45, 0.1]),
            "outcome": 0.1 * bmi + 0.5 * w + rng.normal(size=N),
        }
    )
    return Made(frame, {"treated": 0.5}, {"patient_id"}, True, "outcome", "arm")


def panel(rng: Generator) -> Made:
    """Weights, clusters, and known probabilities of the treatment."""
    clusters = rng.integers(0, 200, N)
    propensity = rng.choice([0.3, 0.6], 200)[clusters]
    w = (rng.random(N) < propensity).astype(int)
    frame = pd.DataFrame(
        {
            "treated": w,
            "propensity": propensity,
            "sample_weight": rng.uniform(0.5, 2, N),
            "cluster": clusters,
            "income": rng.lognormal(10, 0.5, N).round(),
            "y": rng.normal(size=200)[clusters] * 0.5 + w + rng.normal(size=N),
        }
    )
    return Made(frame, {"1": 1.0}, {"propensity", "sample_weight", "cluster"})


def five_arms(rng: Generator) -> Made:
    """Five arms by number, and a price that follows from the arm."""
    w = rng.permutation(np.arange(N) % 5)
    frame = pd.DataFrame(
        {
            "variant": w,
            "price": np.array([9.0, 8, 7, 6, 5])[w],
            "tenure": rng.exponential(3, N).round(2),
            "segment_name": rng.choice(["a", "b", "c"], N),
            "target": rng.normal(size=N) + 0.2 * w,
        }
    )
    return Made(frame, {str(k): 0.2 * k for k in range(1, 5)}, {"price"})


def rare(rng: Generator) -> Made:
    """A rare outcome, 3 of 100, and a constant column."""
    w, score = rng.permutation(np.arange(N) % 2), rng.random(N)
    frame = pd.DataFrame(
        {
            "score": score,
            "plan": rng.choice(["free", "paid"], N),
            "version": 3,
            "treatment": w,
            "converted": (rng.random(N) < 0.02 + 0.02 * w + 0.01 * score).astype(int),
        }
    )
    return Made(frame, {"1": 0.02}, {"version"}, True, "converted", "treatment")


def revenue(rng: Generator) -> Made:
    """Decimal commas and thousands, semicolons, many zeros."""
    w, size = rng.permutation(np.arange(N) % 2), rng.gamma(2, 400, N)
    buys = rng.random(N) < 0.3
    frame = pd.DataFrame(
        {
            "order size": size.round(2),
            "region": rng.choice(["Nord", "Süd", "Übersee"], N),
            "treatment": np.where(w, "yes", "no"),
            "spend": (buys * (size + 60.0 * w)).round(2),
        }
    )
    return Made(frame, {"yes": 18.0}, set(), True, "spend", "treatment")


def observational(rng: Generator) -> Made:
    """Older ones are treated more often, and a column says what happened afterwards."""
    age = rng.uniform(20, 80, N)
    w = (rng.random(N) < 1 / (1 + np.exp(-(age - 50) / 15))).astype(int)
    y = 0.05 * age + 1.0 * w + rng.normal(size=N)
    frame = pd.DataFrame(
        {
            "age": age.round(1),
            "income": rng.lognormal(10, 0.4, N).round(),
            "treated": w,
            "post_score": y + rng.normal(size=N) * 0.1,
            "y": y,
        }
    )
    return Made(frame, {"1": 1.0}, {"post_score"}, randomised=False)


SETS: dict[str, Callable[[Generator], Made]] = {
    "email.csv": email,
    "shop.parquet": shop,
    "clinic.csv": clinic,
    "panel.parquet": panel,
    "five arms.feather": five_arms,
    "rare.jsonl": rare,
    "revenue.csv": revenue,
    "observational.parquet": observational,
}


def main() -> None:
    """Run all and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory() as folder:
        for name, make in SETS.items():
            made = make(np.random.default_rng([seed, N]))
            write(made.frame, Path(folder) / name)
            print(json.dumps({"data": name, **outcome(made, Path(folder), name)}))


def write(frame: pd.DataFrame, file: Path) -> None:
    """Write a file of the kind that its ending says."""
    if file.name == "revenue.csv":
        frame.to_csv(file, index=False, sep=";", decimal=",", encoding="cp1252")
    elif file.suffix == ".csv":
        frame.to_csv(file, index=False)
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        getattr(frame, f"to_{file.suffix[1:]}")(file)


def outcome(made: Made, folder: Path, name: str) -> dict[str, Any]:
    """What became of a data set."""
    uplift = str(Path(sys.executable).with_name("uplift"))
    for command in (["init", name, "--output", f"{name}.yaml"], ["run", f"{name}.yaml"]):
        done = subprocess.run(
            [uplift, *command], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return {"ran": False, "message": done.stderr[-500:]}
    config = yaml.safe_load((folder / f"{name}.yaml").read_text())
    summary = json.loads((folder / "runs/latest/summary.json").read_text())
    features = set(config["data"]["features"])
    ate = {str(one["arm"]): one for one in summary["ate"]}
    found: dict[str, Any] = {
        "ran": True,
        "leaks": sorted(made.leaks & features),
        "covers": all(
            ate[arm]["ci_low"] <= effect <= ate[arm]["ci_high"]
            for arm, effect in made.effects.items()
        ),
    }
    if made.randomised and made.outcome:
        (arm,) = made.effects
        found["se / raw"] = round(ate[arm]["std_error"] / raw_se(made), 3)
    return found


def raw_se(made: Made) -> float:
    """Standard error of the difference of two arms' means."""
    y = made.frame[made.outcome]
    y = (y == "yes").astype(float) if made.outcome == "visit" else y
    of_arms = y.groupby(made.frame[made.arm]).agg(["var", "size"])
    return float(np.sqrt((of_arms["var"] / of_arms["size"]).sum()))


if __name__ == "__main__":
    main()
