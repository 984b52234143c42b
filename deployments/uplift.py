"""The deployments that `uplift serve` brings up; their parameters are the ready configs."""

from importlib.resources import files
from pathlib import Path

from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows import uplift_run, uplift_tune
from flows.config.reading import load_config

CONFIGS = Path(str(files("deployments"))) / "configs"


def deployments() -> list[RunnerDeployment]:
    """The main job, daily at five in the morning, and its tuning; with any parameters any time."""
    config = load_config(CONFIGS / "rand_hie.yaml")
    main = uplift_run.to_deployment(
        name="uplift-run",
        description="Uplift learners on the RAND Health Insurance Experiment, or on your data.",
        parameters=config.model_dump(mode="json"),
        schedule=Cron("0 5 * * *", timezone="UTC"),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    tune = uplift_tune.to_deployment(
        name="uplift-tune",
        description="Measures how the fits of such runs are spread best over this machine's cores.",
        parameters={**config.model_dump(mode="json"), "budget_seconds": 120.0},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return [main, tune]
