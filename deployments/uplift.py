"""The deployments that `uplift serve` brings up; their parameters are the ready configs."""

from importlib.resources import files
from pathlib import Path

from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows import uplift_run
from flows.config import load_config

CONFIGS = Path(str(files("deployments"))) / "configs"


def deployments() -> list[RunnerDeployment]:
    """The main job, daily at five in the morning; triggered with other parameters at any time."""
    config = load_config(CONFIGS / "rand_hie.yaml")
    main = uplift_run.to_deployment(
        name="uplift-run",
        description="Uplift learners on the RAND Health Insurance Experiment, or on your data.",
        parameters=config.model_dump(mode="json"),
        schedule=Cron("0 5 * * *", timezone="UTC"),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return [main]
