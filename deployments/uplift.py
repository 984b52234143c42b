"""The deployments that `uplift serve` brings up; `prefect.yaml` has them for a work pool."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from flows import (
    cache_prune,
    uplift_backfill,
    uplift_compare,
    uplift_run,
    uplift_score,
    uplift_tune,
)
from flows.config.reading import load_config
from flows.config.sections import Config, PruneConfig
from flows.runs.making import EXAMPLE

CONFIGS = Path(str(files("deployments"))) / "configs"
_DATES = {"from_date": "2026-01-01", "to_date": "2026-01-03", "every": ""}


def deployments(
    configs: Mapping[str, Config] | None = None, schedules: bool = False
) -> list[RunnerDeployment]:
    """The main job, its scoring, tuning, backfill and pruning, and each config of the user.

    Parameters
    ----------
    configs : mapping of Config, optional
        By the deployment's name.
    schedules : bool
        Whether the main job runs daily at five in the morning. Otherwise its schedule is off.
    """
    config = load_config(CONFIGS / "rand_hie.yaml")
    example = _values(config)
    scored = {
        "model": f"{config.name}@champion",
        "input": config.data.source,
        "output": f"scores/{config.name}-{{date:%Y-%m-%d}}.parquet",
    }
    daily = Cron("0 5 * * *", timezone="UTC", active=schedules, slug="daily")
    bundled = [
        _of(
            uplift_run,
            "uplift-run",
            "Uplift learners on the RAND Health Insurance Experiment, or on your data.",
            example,
            [EXAMPLE],
            daily,
        ),
        _of(
            uplift_compare,
            "uplift-compare",
            "Judges learners and candidates on held-out rows: a ranked table, and which to choose.",
            {**example, "compare": {"candidates": {}, "stack": False}},
            [EXAMPLE, "compare"],
        ),
        _of(
            uplift_score,
            "uplift-score",
            "Scores new rows with the champion of the registry, or with another model.",
            scored,
            [EXAMPLE, "scoring"],
        ),
        _of(
            uplift_tune,
            "uplift-tune",
            "Measures how the fits of such runs are spread best over this machine's cores.",
            {**example, "budget_seconds": 120.0},
            [EXAMPLE, "tuning"],
        ),
        _of(
            uplift_backfill,
            "uplift-backfill",
            "Runs a config once for each date that has no finished run.",
            {**example, **_DATES},
            [EXAMPLE, "backfill"],
        ),
        _of(
            cache_prune,
            "cache-prune",
            "Deletes old fits from the cache, and what killed runs left.",
            PruneConfig().model_dump(mode="json"),
            ["maintenance"],
        ),
    ]
    users = [
        _of(uplift_run, name, f"The config {name}.", _values(own), ["config"], schedule_of(own))
        for name, own in (configs or {}).items()
    ]
    return [*bundled, *users]


def schedule_of(config: Config) -> Schedule | None:
    """A config's schedule as Prefect's, which keeps its name when it is deployed again."""
    own = config.schedule
    return None if own is None else Cron(own.cron, timezone=own.timezone, slug=config.name)


def _values(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_none=True)


def _of(
    flow: Flow[..., Any],
    name: str,
    about: str,
    parameters: dict[str, Any],
    tags: list[str],
    schedule: Schedule | None = None,
) -> RunnerDeployment:
    """A deployment whose runs wait for each other."""
    made = flow.to_deployment(
        name=name,
        description=about,
        parameters=parameters,
        tags=tags,
        schedule=schedule,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return cast(RunnerDeployment, made)  # outside of coroutines
