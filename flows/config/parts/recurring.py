"""Sections of runs that repeat: the registry, what is watched, and the schedule."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from flows.config.form import Section, only
from flows.config.names import DEFAULT_REGISTRY
from flows.config.values import Flag, Number, Place
from flows.dates.logical import check_cron, check_zone


class PromotionConfig(Section):
    """The rule by which a challenger becomes champion."""

    model_config = ConfigDict(title="by a rule")  # the form's choice beside manual

    rule: Annotated[Literal["better"], only("better")] = Field(
        "better", description="better: new rows say that the challenger is better"
    )
    alpha: Number = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Probability that any challenger that starts within a year becomes champion "
        "without being better",
    )


class RegistryConfig(Section):
    """Where models are registered, and how one becomes champion."""

    enabled: Flag = Field(True, description="Whether the run's model is registered")
    storage: Place = Field(DEFAULT_REGISTRY, description="Folder or fsspec URL of the models")
    promote: Annotated[Literal["manual"], only("manual")] | PromotionConfig = Field(
        "manual", description="How a later model becomes champion; manual: by a command"
    )

    @property
    def limited(self) -> list[str]:
        """Places that a process must be allowed to use.

        The default isn't among them: it lies in the state folder, where every run writes.
        """
        return [self.storage] if self.enabled and self.storage != DEFAULT_REGISTRY else []


class WatchConfig(Section):
    """What to do where the rows differ from those of the last run of the name."""

    drift: Number = Field(
        0.2, gt=0, le=100, description="Least population stability index that counts as drift"
    )
    on_schema_change: Literal["refuse", "warn", "ignore"] = Field(
        "warn", description="What new or lost columns, types and categories mean"
    )


class ScheduleConfig(Section):
    """When `uplift serve` starts runs of the config."""

    cron: Annotated[str, AfterValidator(check_cron)] = Field(
        description="Minute, hour, day, month and weekday, such as 0 5 * * *"
    )
    timezone: Annotated[str, AfterValidator(check_zone)] = Field(
        "UTC", description="Time zone of the schedule and of the dates in a source's name"
    )
    catch_up: Literal["latest", "all"] = Field(
        "latest", description="Which dates that were missed are run: the latest alone, or all"
    )
