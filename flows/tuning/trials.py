"""Measures settings in turns, and compares each with the one that the rule chooses."""

from collections.abc import Mapping, Sequence
from math import inf
from statistics import fmean, median
from time import monotonic
from typing import Any

from flows.fitting.parallelism import Parallelism, work_of
from flows.fitting.regressions import expected
from flows.inputs.study import Study
from flows.messages import progress
from flows.tuning.measure import Measured, measure
from flows.tuning.sample import Sample, draw_sample
from metalearners.workers.auto import START_SECONDS, decide, settings_within
from metalearners.workers.machine import machine

TURNS = 3
_HOPELESS = 3.0  # a setting that takes this many times the fastest's time is cut off
_MEASURING = 0.7  # share of the budget; the rest is for the sample and for fits under way
_BUSY = 0.1  # share of the cores: below it, other processes hardly matter


def tune(study: Study, deadline: float) -> dict[str, Any]:
    """Measure a study's settings until a time of the monotonic clock.

    Returns
    -------
    dict
        ``settings``: a row for each measured one, the one to keep first, then by their time.
        ``not_measured``: a reason by setting. ``notes``: why the first setting is kept, what was
        measured, and whether the machine was busy.

    Raises RuntimeError if there was no time for a single measurement.
    """
    begun = monotonic()
    work, here = work_of(study.dataset, expected(study)), machine()
    settings = [
        Parallelism(*setting, chosen_by="config") for setting in settings_within(here, work)
    ]
    starts = START_SECONDS * sum(setting.runner == "process" for setting in settings)
    each = (_MEASURING * (deadline - begun) / TURNS - starts) / len(settings)
    sample = draw_sample(study, max(each, 0.1), here.cores, deadline)
    turns, failed = take_turns(settings, sample, deadline)
    measured = [one for own in turns.values() for one in own]
    if not measured:
        why = "; ".join(failed.values()) or "Allow more time with --budget"
        raise RuntimeError(
            f"Expected to measure fits within {deadline - begun:.0f} s; none ended. {why}."
        )
    progress.end("tune", monotonic() - begun, sum(one.fits for one in measured), 0)
    rule = decide(work, here)
    rows, why_kept = compare(
        [_row(setting, own, sample) for setting, own in turns.items() if own],
        f"{rule.runner}, {rule.workers} x {rule.threads}",
    )
    return {
        "settings": rows,
        "not_measured": {
            name_of(vars(setting)): failed.get(setting, "the time was up")
            for setting, own in turns.items()
            if not own
        },
        "notes": [why_kept, _sample_note(sample), *busy_note(measured, here.cores)],
    }


def take_turns(
    settings: Sequence[Parallelism], sample: Sample, deadline: float
) -> tuple[dict[Parallelism, list[Measured]], dict[Parallelism, str]]:
    """Measurements of each setting, and what was wrong with settings that lost their workers."""
    turns: dict[Parallelism, list[Measured]] = {setting: [] for setting in settings}
    failed: dict[Parallelism, str] = {}
    fits, fastest = 0, inf
    for turn in range(TURNS):
        for setting in settings[:: -1 if turn % 2 else 1]:
            if setting in failed:
                continue
            limit = _HOPELESS * fastest
            try:
                measured = measure(sample.units, sample.store, setting, deadline, limit)
            except (OSError, MemoryError) as error:
                failed[setting] = str(error) or type(error).__name__
                turns[setting] = []
                continue
            whole = measured.fits == len(sample.units)
            if monotonic() > deadline and not whole:
                return turns, failed
            if whole:
                fastest = min(fastest, measured.seconds)
            if measured.fits:
                turns[setting].append(measured)
            fits += measured.fits
            progress.advance("tune", fits, TURNS * len(settings) * len(sample.units))
    return turns, failed


def _row(setting: Parallelism, turns: Sequence[Measured], sample: Sample) -> dict[str, Any]:
    seconds = [sample.seconds_of_run(one) for one in turns]
    return {
        "runner": setting.runner,
        "workers": setting.workers,
        "base_model_threads": setting.base_model_threads,
        "seconds": round(median(seconds), 6),
        "fastest": round(min(seconds), 6),
        "slowest": round(max(seconds), 6),
        "turns": len(turns),
        "cores": round(fmean(one.cores for one in turns), 2),
        "peak_bytes": max(one.peak_bytes for one in turns),
        "fits": max(one.fits for one in turns),
        "rows": round(100 * sample.share),
    }


def name_of(row: Mapping[str, Any]) -> str:
    """A setting in words."""
    return f"{row['runner']}, {row['workers']} x {row['base_model_threads']}"


def compare(rows: Sequence[dict[str, Any]], rule: str) -> tuple[list[dict[str, Any]], str]:
    """Rows with the setting to keep first, and why it is kept.

    The rule's choice stays unless another setting is faster by more than the spread of turns:
    the larger of the two settings' differences between slowest and fastest turn.

    Parameters
    ----------
    rule : str
        Name of the setting that the rule chooses.
    """
    by_time = sorted(rows, key=lambda row: row["seconds"])
    own = next((row for row in by_time if name_of(row) == rule), None)
    compared = [{**row, "against_rule": _against(row, own)} for row in by_time]
    places = {"faster": 0, "its choice": 1}
    compared.sort(key=lambda row: places.get(row["against_rule"], 2))
    best = compared[0]["seconds"]
    ratios = [{**row, "ratio": round(row["seconds"] / best, 2)} for row in compared]
    return ratios, _why_kept(ratios, rule)


def _against(row: Mapping[str, Any], own: Mapping[str, Any] | None) -> str:
    """How a setting compares with the rule's choice."""
    if own is None:
        return ""
    if row is own:
        return "its choice"
    gain = own["seconds"] - row["seconds"]
    spread = max(one["slowest"] - one["fastest"] for one in (row, own))
    if min(row["turns"], own["turns"]) > 1 and gain > spread:
        return "faster"
    return "slower" if row["fastest"] > own["slowest"] else "tie"


def _why_kept(rows: Sequence[Mapping[str, Any]], rule: str) -> str:
    kept, name = rows[0], name_of(rows[0])
    if not kept["against_rule"]:
        return f"{name} is kept: the rule's choice, {rule}, could not be measured."
    if kept["against_rule"] == "faster":
        return (
            f"{name} is kept: it is faster than the rule's choice, {rule}, by more than the "
            "spread of their turns."
        )
    ties = [name_of(row) for row in rows if row["against_rule"] == "tie"]
    if not ties:
        return f"{name} is kept: it is the rule's choice, and no other setting was faster."
    return (
        f"{name} is kept: it is the rule's choice, and no other setting is faster by more than "
        f"the spread of turns. Ties: {'; '.join(ties)}."
    )


def _sample_note(sample: Sample) -> str:
    n_units, rows = len(sample.units), f"{100 * sample.share:.0f} %"
    return f"A turn makes {n_units} of the run's {sample.n_fits} fits, on {rows} of its rows."


def busy_note(turns: Sequence[Measured], cores: int) -> list[str]:
    """A sentence that says that the machine was busy, if it was."""
    seconds = sum(one.seconds for one in turns)
    others = sum(one.others * one.seconds for one in turns) / seconds
    if others <= _BUSY * cores:
        return []
    return [
        f"The machine was busy: other processes used {others:.1f} of its {cores} cores while this "
        "was measured. Tune again when it is idle."
    ]
