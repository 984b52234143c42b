"""The parent flow: one uplift run, from a config to a folder."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from prefect import Flow, flow, get_run_logger
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
from flows.messages.limits import shown
from flows.runs.loading import Prepared, check_folders, with_body
from flows.runs.making import make, make_due
from flows.server import prefect_patches
from flows.server.running import tracked

F = TypeVar("F", bound=Callable[..., Any])

# Here, as whoever has the flows run imports this module: scripts, and workers of Prefect's too.
prefect_patches.apply("flows")


@tracked
@flow(name="uplift-run", validate_parameters=False)  # `config_among` does it, and says what to do
def uplift_run(
    data: DataConfig,
    learners: Learners = ["DRLearner"],  # noqa: B006 - never changed
    models: ModelsConfig = ModelsConfig(),
    clip: ClipRule = "auto",
    folds: FoldsConfig = FoldsConfig(),
    parallelism: ParallelismRule = "auto",
    cache: CacheConfig = CacheConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    output: Annotated[str, described("Folder of all runs")] = DEFAULT_OUTPUT,
    refresh: Annotated[bool, described("Fit again what the cache has")] = False,
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
    """Estimate what a treatment does to whom: fit learners, judge them, write a run's folder.

    Parameters
    ----------
    data : DataConfig
        Where the rows are and what their columns mean.
    learners : list of str
        Metalearners to fit. What they share is fitted once.
    models : ModelsConfig
        Base models by role, and a learner's own by model kind.
    clip : "auto" or float
        Bound of estimated propensities: a tenth of each arm's share, or [clip, 1 - clip].
    folds, evaluation : FoldsConfig, EvaluationConfig
        Cross-fitting; the hold-out and standard errors of curves.
    parallelism : "auto" or ParallelismConfig
        How fits are spread over the cores.
    cache : CacheConfig
        Where fits are kept for later runs.
    output : str
        Folder of all runs.
    refresh : bool
        Whether to fit again what the cache has.
    name : str
        Name of the job that repeats. `<output>/by-name/<name>/latest` is its latest run.
    share_bins : bool
        Whether LightGBM fits share bins of all rows.
    date : str, optional
        Logical date of the run: by default the scheduled time.
    schedule : ScheduleConfig, optional
        When runs of the config start; of it, a run uses the time zone alone.
    registry : RegistryConfig
        Where the run's model is registered.
    watch : WatchConfig
        What to do where rows differ from those of the last run of the name.
    calibrate_propensity : bool
        Whether estimated propensities are calibrated on rows that their model hasn't seen.
    segments : dict of str
        Kinds of rows whose average effects are told, by name: columns, or conditions on them.
    compare : CompareConfig, optional
        Changes nothing here, as the log says: `uplift_compare` uses it.
    targeting : TargetingConfig, optional
        Whom to treat with what, by costs and the value of the outcome.

    Returns
    -------
    str
        The run's folder.

    Raises
    ------
    InputError
        If the data or the config are wrong; nothing has been fitted then.
    LearnersFailedError
        If some learners failed; the folder, which the message names, has the others' results.
    """
    config = config_among(locals())
    if not isinstance(refresh, bool):
        raise InputError(f"refresh: expected true or false; found {shown(repr(refresh))}.")
    check_folders(config)
    return make_due(as_run(config, get_run_logger().warning), refresh)


def with_study(prepared: Prepared, refresh: bool) -> Flow[..., str]:
    """`uplift_run`, on a study that was loaded before."""
    config = prepared.study.config
    now = datetime.now(UTC)
    return with_body(uplift_run, lambda: make(config, refresh, now, prepared))


def run_of_date(config: Config) -> Flow[..., str]:
    """`uplift_run`, on a config with a date: it makes that run, whatever a schedule says is due."""
    return with_body(
        uplift_run, lambda: make(as_run(config, get_run_logger().warning), False, datetime.now(UTC))
    )


def taking_config(without: str) -> Callable[[F], F]:
    """A decorator of flows, whose `**config` shows as the parameters of `uplift_run`, but for one.

    Else each key of a config would be written down in each flow once more.
    """

    def decorate(function: F) -> F:
        own = list(inspect.signature(function).parameters.values())[:-1]
        keys = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(uplift_run.fn).parameters.items()
            if name in Config.model_fields and name != without
        ]
        function.__signature__ = inspect.Signature([*own, *keys])  # type: ignore[attr-defined]
        return function

    return decorate
