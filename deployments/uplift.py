"""The deployments that `uplift serve` brings up; their parameters are configs."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from flows import uplift_run, uplift_tune
from flows.config.reading import load_config
from flows.config.sections import Config
from flows.runs.making import EXAMPLE

CONFIGS = Path(str(files("deployments"))) / "configs"


def deployments(
    configs: Mapping[str, Config] | None = None, schedules: bool = False
) -> list[RunnerDeployment]:
    """The main job and its tuning, and a deployment of each config of the user.

    Parameters
    ----------
    configs : mapping of Config, optional
        By the deployment's name.
    schedules : bool
        Whether the main job runs daily at five in the morning. Otherwise its schedule is off.
    """
    config = load_config(CONFIGS / "rand_hie.yaml")
    tune = uplift_tune.to_deployment(
        name="uplift-tune",
        description="Measures how the fits of such runs are spread best over this machine's cores.",
        parameters={**config.model_dump(mode="json", exclude_none=True), "budget_seconds": 120.0},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    daily = Cron("0 5 * * *", timezone="UTC", active=schedules, slug="daily")
    about = "Uplift learners on the RAND Health Insurance Experiment, or on your data."
    users = [
        _of(name, own, f"The config {name}.", schedule_of(own))
        for name, own in (configs or {}).items()
    ]
    return [_of("uplift-run", config, about, daily, tags=[EXAMPLE]), tune, *users]


def schedule_of(config: Config) -> Schedule | None:
    """A config's schedule as Prefect's, which keeps its name when it is deployed again."""
    own = config.schedule
    return None if own is None else Cron(own.cron, timezone=own.timezone, slug=config.name)


def _of(
    name: str,
    config: Config,
    about: str,
    schedule: Schedule | None = None,
    tags: list[str] | None = None,
) -> RunnerDeployment:
    return uplift_run.to_deployment(
        name=name,
        description=about,
        parameters=config.model_dump(mode="json", exclude_none=True),
        schedule=schedule,
        tags=tags,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
