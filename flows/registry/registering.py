"""The end of a run: its model goes to the registry, whose failure never costs the run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flows.config.sections import Config
from flows.fitting.cache import open_place
from flows.messages.secrets import problem_of
from flows.registry.better import Better
from flows.registry.evidence import Evidence
from flows.registry.models import Models, Verdict, by_hand
from flows.registry.records import Event

_TOLD = ("decision", "why", "promoted", "difference")


def register_run(
    config: Config,
    run: str,
    date: str,
    model: Path,
    found: Mapping[str, Any],
    evidence: Evidence,
    is_old: bool = False,
) -> dict[str, Any]:
    """Register a run's model; what `summary.json` says of it.

    Parameters
    ----------
    run, date, model, found
        The model, as of `Models.register`.
    evidence : Evidence
        Its rows, which a rule compares models on.
    is_old : bool
        Whether a finished run of the config's name has a later date: then it is no challenger.

    Returns
    -------
    dict
        The model's ``alias``; the run's ``decision``, and ``why``; which model it ``promoted``; the
        ``difference`` of challenger and champion so far; and why the model couldn't be registered
        under ``problem``, which is None where it was.
    """
    told: dict[str, Any] = {"registry": config.registry.storage}
    try:
        models = Models(open_place(config.registry.storage, "registry.storage"), config.name)
        judge = _refuse_old if is_old else _judge(config, models, run, date, evidence)
        event = models.register(run, date, model, found, judge)
    except Exception as error:  # of any package that reaches the place; the run is whole
        unknown = dict.fromkeys(("alias", *_TOLD))
        return {**told, **unknown, "problem": problem_of(error)}
    plain = event.model_dump(mode="json", include={*_TOLD})
    return {**told, "alias": event.alias_of(run), **plain, "problem": None}


def _judge(
    config: Config, models: Models, run: str, date: str, evidence: Evidence
) -> Callable[[Event], Verdict]:
    if config.registry.promote == "manual":
        return by_hand
    return Better(models, run, date, config.registry.promote.alpha, evidence)


def _refuse_old(last: Event) -> Verdict:
    return Verdict("refused", "a finished run of this name has a later date")
