"""Profiles: the setting that `uplift tune` measured as best for a shape of run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

from joblib import cpu_count

from flows.config.files import read_json, write_json
from flows.fitting.parallelism import Parallelism
from flows.inputs.study import Study
from flows.messages.limits import shown
from flows.server.environment import STATE_FOLDER
from metalearners.digests.names import combine

FORMAT_VERSION = 1
_UNUSABLE = (OSError, ValueError, TypeError, KeyError, RecursionError)


@dataclass(frozen=True)
class Profile:
    """The best setting for a shape, if it is known, or what is wrong with the file that has it."""

    best: Parallelism | None = None
    problem: str = ""


def shape_of(study: Study) -> dict[str, Any]:
    """What the best setting of a run depends on; sizes to the nearest power of two."""
    learners = {**study.learners, "evaluation": study.reference}
    rows, columns = study.dataset.X.shape
    return {
        "cores": cpu_count(),
        "models": {
            name: {kind: learner.fitted_spec(kind).digest for kind in learner.kinds}
            for name, learner in sorted(learners.items())
        },
        "rows": _rounded(rows),
        "columns": _rounded(columns),
        "arms": study.dataset.n_variants,
        "folds": _rounded(study.config.folds.n_folds),
        **({"share_bins": True} if study.config.share_bins else {}),
    }


def path_of(shape: Mapping[str, Any]) -> Path:
    """Where a shape's profile lies, if there is one."""
    name = combine("shape", [json.dumps(shape, sort_keys=True)])[:16]
    return Path(STATE_FOLDER, "profiles", f"{name}.json").resolve()


def keep_profile(
    shape: Mapping[str, Any], best: Mapping[str, Any], about: Mapping[str, Any]
) -> Path:
    """Write a shape's profile, whole, and return its path; an earlier profile is replaced."""
    setting = {name: best[name] for name in ("runner", "workers", "base_model_threads")}
    content = {"format_version": FORMAT_VERSION, **setting, "shape": dict(shape), **about}
    path = path_of(shape)
    write_json(path, content)
    return path


def passed_over() -> dict[Path, str]:
    """Profiles here that no run takes, each with why: none of their shape is for these cores."""
    taken, others, reasons = set(), {}, {}
    for path in sorted(Path(STATE_FOLDER, "profiles").glob("*.json")):
        try:
            shape = dict(read_json(path)["shape"])
            cores = shape.pop("cores")
            if cores == cpu_count():
                _read(path)
                taken.add(json.dumps(shape))
            else:
                others[path] = json.dumps(shape), cores
        except _UNUSABLE as error:
            reasons[path] = f"{type(error).__name__}: {shown(str(error))}"
    made = {path: cores for path, (shape, cores) in others.items() if shape not in taken}
    return reasons | {path: f"measured on {cores} cores" for path, cores in made.items()}


def find_profile(study: Study) -> Profile:
    """The profile of a study's shape; a file that can't be used gives its problem."""
    path = path_of(shape_of(study))
    try:
        return Profile(_read(path))
    except FileNotFoundError:
        return Profile()
    except _UNUSABLE as error:
        return Profile(
            problem=f"Expected a profile as `uplift tune` writes it in {path}; found another file "
            f"({type(error).__name__}: {shown(str(error))}). It was ignored: run `uplift tune` "
            "again, or delete it."
        )


def _read(path: Path) -> Parallelism:
    content = read_json(path)
    runner, measured = content["runner"], content["measured"]
    workers, threads = int(content["workers"]), int(content["base_model_threads"])
    if runner not in ("serial", "thread", "process") or content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"runner {runner!r}, format {content['format_version']!r}")
    if workers < 1 or threads < 1 or workers * threads > cpu_count():
        raise ValueError(f"{workers} x {threads} on {cpu_count()} cores")
    reason = f"`uplift tune` chose it for runs of this shape on {measured[:10]}."
    return Parallelism(runner, workers, threads, "profile", reason)


def _rounded(n: int) -> int:
    return int(2 ** round(log2(max(1, n))))
