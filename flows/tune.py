"""The flow that measures which setting fits a run best, on its own data, models and machine."""

import base64
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Annotated, Any

from prefect import Flow, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic.json_schema import SkipJsonSchema

from flows.config.data import DataConfig
from flows.config.form import described
from flows.config.names import DEFAULT_NAME, DEFAULT_OUTPUT
from flows.config.parts.models import CompareConfig, ModelsConfig
from flows.config.parts.recurring import RegistryConfig, ScheduleConfig, WatchConfig
from flows.config.parts.targeting import NONE, Targeting
from flows.config.reading import as_run, config_among
from flows.config.sections import (
    CacheConfig,
    Config,
    EvaluationConfig,
    FoldsConfig,
    JobName,
    Learners,
    LogicalDate,
    ParallelismRule,
)
from flows.config.values import CalibratePropensity, ClipRule, Segments, ShareBins
from flows.errors import InputError
from flows.fitting.profiles import keep_profile, shape_of
from flows.messages import progress
from flows.messages.limits import shown
from flows.report import plots
from flows.runs.loading import Prepared, load, with_body
from flows.runs.recurring import scheduled_time
from flows.server.cancellation import interruptible
from flows.server.running import tracked
from flows.tuning.trials import name_of, tune
from metalearners.files.regular_files import write_whole


@tracked
@flow(name="uplift-tune", validate_parameters=False)  # `config_among` does it
def uplift_tune(
    data: DataConfig,
    learners: Learners = ["DRLearner"],  # noqa: B006 - never changed
    models: ModelsConfig = ModelsConfig(),
    clip: ClipRule = "auto",
    folds: FoldsConfig = FoldsConfig(),
    parallelism: ParallelismRule = "auto",
    cache: CacheConfig = CacheConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    output: Annotated[str, described("Folder of all runs")] = DEFAULT_OUTPUT,
    budget_seconds: Annotated[float, described("Seconds that measuring may take")] = 120.0,
    name: JobName = DEFAULT_NAME,
    share_bins: ShareBins = True,
    date: LogicalDate = "",  # as Prefect's API takes no null for a text
    schedule: SkipJsonSchema[ScheduleConfig | None] = None,
    registry: RegistryConfig = RegistryConfig(),
    watch: WatchConfig = WatchConfig(),
    calibrate_propensity: CalibratePropensity = False,
    segments: Segments = {},  # noqa: B006 - never changed
    compare: SkipJsonSchema[CompareConfig | None] = None,
    targeting: Targeting = NONE,
) -> str:
    """Measure which setting of runner, workers and threads fits a run best; later runs use it.

    No fit is kept: `cache` and `output` stay as they are.

    Parameters
    ----------
    data, learners, models, clip, folds, parallelism, cache, evaluation, output, name, share_bins, \
    date, schedule, calibrate_propensity, segments, targeting
        The run's config, as of `uplift_run`. `parallelism` and `name` change nothing here.
    registry : RegistryConfig
        Changes nothing here: no model is registered.
    compare : CompareConfig, optional
        Changes nothing here, as the log says: runs are measured.
    budget_seconds : float
        Seconds that measuring may take.

    Returns
    -------
    str
        Path of the profile.

    Raises
    ------
    InputError
        If the data or the config are wrong. Nothing has been fitted then.
    """
    config = config_among(locals())
    is_number = isinstance(budget_seconds, int | float) and not isinstance(budget_seconds, bool)
    if not is_number or not 0 < budget_seconds < inf:
        raise InputError(
            f"budget_seconds: expected a number above 0; found {shown(repr(budget_seconds))}. "
            "Allow some seconds."
        )
    return _tune(as_run(config, get_run_logger().warning), budget_seconds)


def with_study(prepared: Prepared, budget_seconds: float) -> Flow[..., str]:
    """`uplift_tune`, on a study that was loaded before."""
    return with_body(uplift_tune, lambda: _tune(prepared.study.config, budget_seconds, prepared))


def _tune(config: Config, budget_seconds: float, prepared: Prepared | None = None) -> str:
    with interruptible():
        study = load(config.at(scheduled_time())) if prepared is None else prepared.study
        begun = time.monotonic()
        progress.begin("tune")
        found = tune(study, begun + budget_seconds)
        found["measured"] = datetime.now(UTC).isoformat(timespec="seconds")
        found["seconds"] = time.monotonic() - begun
        rows = found["settings"]
        path = keep_profile(shape_of(study), rows[0], found)
        picture = plots.settings_png([name_of(row) for row in rows], rows)
        write_whole(path.with_suffix(".png"), picture)
        _show(found, picture, path)
        return str(path)


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Measured settings as a reader wants them."""
    return [
        {
            "Setting (fits at a time x threads)": name_of(row),
            "Seconds": f"{row['seconds']:.3g}",
            "Fastest to slowest": f"{row['fastest']:.3g} to {row['slowest']:.3g}",
            "Ratio": f"{row['ratio']:.2f}",
            "Against rule": row["against_rule"],
            "Cores used": f"{row['cores']:.2f}",
            "Peak memory": f"{row['peak_bytes'] / 1e6:,.0f} MB",
            "Turns": str(row["turns"]),
        }
        for row in rows
    ]


def remarks(found: Mapping[str, Any]) -> str:
    """What to say below the table: why the first is kept, and what couldn't be measured."""
    missing = [f"Not measured: {name}: {why}." for name, why in found["not_measured"].items()]
    return "\n".join([*found["notes"], *missing])


def _show(found: Mapping[str, Any], picture: bytes, path: Path) -> None:
    """Put a table and a picture on the page of the flow's run."""
    about = f"{remarks(found)}\nKept in {path} for runs of this shape."
    create_table_artifact(table_rows(found["settings"]), "uplift-tune", about)
    image = base64.b64encode(picture).decode()
    create_markdown_artifact(
        f"![Seconds by setting](data:image/png;base64,{image})", "uplift-tune-picture", about
    )
    get_run_logger().info(about)
