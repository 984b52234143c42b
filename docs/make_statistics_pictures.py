"""Makes the pictures of the page on statistics from simulations with known effects.

Usage: ``.venv/bin/python docs/make_statistics_pictures.py``: two minutes. It prints the figures
that the page quotes.
"""

from pathlib import Path

import matplotlib
import numpy as np
from lightgbm import LGBMRegressor
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold

from metalearners import DRLearner, TLearner
from metalearners.evaluation import aipw_scores, blp, gain_curve, gates, mean_with_error, rate
from metalearners.evaluation.judging.calibration import Gates

PICTURES = Path(__file__).with_name("pictures")
INK, FAINT, BLUE, ORANGE = "#1f2933", "#6b7280", "#0072b2", "#d55e00"
FOLDS = KFold(5)
COST = 0.6


def main() -> None:
    """Make each picture."""
    matplotlib.rcParams |= {"svg.hashsalt": "statistics", "font.size": 9, "axes.edgecolor": FAINT}
    doubly_robust()
    cross_fitting()
    judged()


def axes_of(height: float = 2.6, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side."""
    figure = Figure(figsize=(5, height), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(colors=INK, length=3)
    return figure, axes


def save(figure: Figure, name: str) -> None:
    """Write a picture without a date, so that it is the same each time."""
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


def confounded(seed: int, n: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose first feature moves both arm and outcome; the average effect is 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    w = rng.binomial(1, expit(x[:, 0]))
    return x, w, 2 * x[:, 0] + x[:, 1] + w + rng.normal(size=n)


def doubly_robust() -> None:
    """What averages do where the outcome models, the propensities or both miss the confounder."""
    labels = [
        "raw difference",
        "neither right",
        "outcome models right",
        "propensities right",
        "both",
    ]
    draws = []
    for seed in range(400):
        x, w, y = confounded(seed)
        raw = [np.mean(y[w == 1]) - np.mean(y[w == 0]), np.nan]
        draws.append(
            [raw, *(adjusted(x, w, y, *seen) for seen in ((1, 1), (2, 1), (1, 2), (2, 2)))]
        )
    figure, (axes,) = axes_of()
    for k, found in enumerate(np.swapaxes(draws, 0, 1)):
        low, middle, high = np.quantile(found[:, 0], [0.025, 0.5, 0.975])
        covered = np.mean(found[:, 1])
        print(f"{labels[k]}: median {middle:.2f}, covered {covered:.3f}")
        axes.plot([low, high], [-k, -k], color=BLUE if k > 1 else ORANGE, linewidth=3)
        axes.plot(middle, -k, "o" if k > 1 else "s", color=BLUE if k > 1 else ORANGE)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(-np.arange(len(labels)), labels)
    figure.supxlabel("Average effect: median and middle 95 % of 400 draws", fontsize=9)
    save(figure, "doubly-robust")


def adjusted(x: np.ndarray, w: np.ndarray, y: np.ndarray, outcome: int, arm: int) -> list[float]:
    """The AIPW estimate with models that see the features from the last, and whether it covers."""
    of_outcome, of_arm = x[:, -outcome:], x[:, -arm:]
    mu = np.empty((len(y), 2))
    e = np.empty((len(y), 2))
    for train, test in FOLDS.split(x):
        for k in (0, 1):
            rows = train[w[train] == k]
            mu[test, k] = (
                LinearRegression().fit(of_outcome[rows], y[rows]).predict(of_outcome[test])
            )
        e[test] = LogisticRegression(C=1e6).fit(of_arm[train], w[train]).predict_proba(of_arm[test])
    scores = aipw_scores(y, w, mu, e)
    found = mean_with_error(scores[:, 1] - scores[:, 0])
    return [found.estimate, float(found.ci_low < 1 < found.ci_high)]


def cross_fitting() -> None:
    """Averages with nuisances that saw the row they predict, and with out-of-fold ones."""
    figure, panels = axes_of(panels=2, height=2.3)
    for axes, folds, title in zip(panels, (None, FOLDS), ("In sample", "Out of fold"), strict=True):
        found = [flexible(seed, folds) for seed in range(200)]
        inside = np.mean([each.ci_low < 1 < each.ci_high for each in found])
        print(f"{title}: covered {inside:.3f} of 200")
        for k, each in enumerate(sorted(found[:50], key=lambda one: one.estimate)):
            covers = each.ci_low < 1 < each.ci_high
            axes.plot([k, k], [each.ci_low, each.ci_high], color=BLUE if covers else ORANGE)
        axes.axhline(1, color=INK, linewidth=0.8)
        axes.set_title(f"{title}: {inside:.0%} cover", fontsize=9)
        axes.set_xticks([])
        axes.set_ylim(-0.1, 2.1)
    panels[0].set_ylabel("95 % interval")
    figure.supxlabel("50 draws, by estimate", fontsize=9)
    save(figure, "cross-fitting")


def flexible(seed: int, folds: KFold | None):
    """The AIPW average of an experiment, by LightGBM as it comes; without folds in sample."""
    x, _, _ = confounded(seed, 400)
    rng = np.random.default_rng(seed + 10_000)
    w = rng.binomial(1, 0.5, len(x))
    y = 2 * x[:, 0] + x[:, 1] + w + 2 * rng.normal(size=len(x))
    both = np.column_stack([x, w])
    mu = np.empty((len(y), 2))
    for train, test in folds.split(x) if folds else [(slice(None), slice(None))]:
        model = LGBMRegressor(n_jobs=1, verbose=-1).fit(both[train], y[train])
        for k in (0, 1):
            mu[test, k] = model.predict(np.column_stack([x[test], np.full(len(x[test]), k)]))
    scores = aipw_scores(y, w, mu, np.full((len(y), 2), 0.5))
    return mean_with_error(scores[:, 1] - scores[:, 0])


def judged() -> None:
    """Two learners' estimates on held-out rows of an experiment whose effects differ."""
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(8000, 5)), rng.binomial(1, 0.5, 8000)
    tau = 0.5 + x[:, 0]
    y = x[:, 1] + w * tau + 3 * rng.normal(size=8000)
    fitted, held_out = slice(0, 4000), slice(4000, 8000)
    small = {"n_estimators": 50, "num_leaves": 7, "min_child_samples": 200, "learning_rate": 0.05}
    regular = DRLearner(
        False,
        2,
        LinearRegression,
        LGBMRegressor,
        LogisticRegression,
        treatment_model_params=small,
        n_folds=5,
    )
    sure = TLearner(False, 2, LGBMRegressor, n_folds=5)
    given = (x[fitted], y[fitted], w[fitted])
    learners = {
        "DR-learner": regular.fit(*given),
        "T-learner, LightGBM as it comes": sure.fit(*given),
    }
    estimates = {
        name: learner.predict(x[held_out], is_oos=True)[:, 0, 0]
        for name, learner in learners.items()
    }
    judge = DRLearner(False, 2, LinearRegression, LinearRegression, LogisticRegression, n_folds=5)
    new = x[held_out], y[held_out], w[held_out]
    mu = judge.fit(*new).predict_conditional_average_outcomes(new[0], is_oos=False)[:, :, 0]
    scores = aipw_scores(new[1], new[2], mu, np.full((4000, 2), 0.5))
    gamma = scores[:, 1] - scores[:, 0]
    ranking(estimates, gamma, new[2])
    calibration(estimates, gamma, new[2])


def ranking(estimates: dict[str, np.ndarray], gamma: np.ndarray, w: np.ndarray) -> None:
    """The gain curve of the first learner, and what is left of it after costs."""
    figure, (left, right) = axes_of(panels=2)
    name, predicted = next(iter(estimates.items()))
    gain = gain_curve(predicted, gamma, arms=w)
    share, line = gain.gain.share, gain.gain.share * gain.gain.value[-1]
    for axes, cost in ((left, 0.0), (right, COST)):
        low, high = gain.above_line.joint_low + line, gain.above_line.joint_high + line
        axes.fill_between(share, low - cost * share, high - cost * share, color=BLUE, alpha=0.15)
        axes.plot(share, gain.gain.value - cost * share, color=BLUE)
        axes.plot(share, line - cost * share, color=FAINT, linewidth=1, dashes=(4, 3))
        axes.axhline(0, color=INK, linewidth=0.6)
    left.set_title("Gain a row", fontsize=9)
    right.set_title(f"Gain less {COST} a treated row", fontsize=9)
    figure.supxlabel("Share of rows treated, highest estimates first", fontsize=9)
    rates = {
        each: rate(predicted, gamma, kind="qini", arms=w) for each, predicted in estimates.items()
    }
    for each, found in rates.items():
        print(f"{each}: Qini {found.estimate.estimate:.3f}, SE {found.estimate.std_error:.3f}")
    value = gain.gain.value - COST * share
    pays = np.mean(predicted > COST)
    print(
        f"{name}: treat all {value[-1]:.3f}, treat {pays:.2f}: {value[round(pays * 100) - 1]:.3f}"
    )
    save(figure, "ranking")


def calibration(estimates: dict[str, np.ndarray], gamma: np.ndarray, w: np.ndarray) -> None:
    """Estimates beside the effects found, by fifths of the held-out rows."""
    figure, panels = axes_of(panels=2)
    for axes, (name, predicted) in zip(panels, estimates.items(), strict=True):
        found: Gates = gates(predicted, gamma, arms=w)
        slope = blp(predicted, gamma, arms=w).slope
        print(f"{name}: slope {slope.estimate:.2f} ({slope.ci_low:.2f} to {slope.ci_high:.2f})")
        for group in found.groups:
            place = [group.predicted, group.predicted]
            axes.plot(place, [group.actual.ci_low, group.actual.ci_high], color=BLUE)
            axes.plot(group.predicted, group.actual.estimate, "o", color=BLUE)
        axes.axline((0, 0), slope=1, color=FAINT, linewidth=1, dashes=(4, 3))
        axes.set_xlim(-1.8, 3.2)
        axes.set_ylim(-1.8, 3.2)
        axes.set_title(f"{name}\nslope {slope.estimate:.2f}", fontsize=9)
    panels[0].set_ylabel("Effect found")
    figure.supxlabel("Mean estimate of a fifth of the rows", fontsize=9)
    save(figure, "calibration")


if __name__ == "__main__":
    main()
