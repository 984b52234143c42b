"""The section `targeting` of a config: whom to treat with what, at which costs."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_serializer

from flows.config.form import BY_ARM, Section, described, only
from flows.config.values import Label, Number

NONE: Final = "none"

Costs = Annotated[dict[Label, Number | str], BY_ARM]


class TargetingConfig(Section):
    """Which arm each row gets, by the estimates of one learner."""

    model_config = ConfigDict(title="by estimates")  # the form's choice beside none

    outcome: str | None = Field(
        None, description="Of several outcomes, the one that effects are on; empty for the first"
    )
    learner: str | None = Field(
        None,
        description="Whose estimates decide; empty: the chosen one of a comparison, or the first",
    )
    cost: Costs = Field(
        {},
        description="What an arm costs above the control, as a number or a column, such as "
        '{"mail": 0.3}; 0 for others',
    )
    value: Number = Field(
        1.0,
        ge=-1e12,
        le=1e12,
        description="Of one unit of the outcome, in the unit of the costs; negative where less of "
        "it is better",
    )
    budget: Number | None = Field(
        None,
        ge=0,
        le=1e12,
        description="Mean cost per row; empty: an arm is given where value x effect exceeds cost",
    )

    @field_serializer("cost", when_used="json")
    def _keys_as_text(self, value: dict[Label, Any]) -> dict[str, Any]:
        # As for known propensities.
        from metalearners.data.estimate_columns import arm_name

        return {arm_name(arm): cost for arm, cost in value.items()}

    @property
    def columns(self) -> list[str]:
        """Columns of costs."""
        return list(dict.fromkeys(c for c in self.cost.values() if isinstance(c, str)))


Targeting = Annotated[
    Annotated[Literal["none"], only("none")] | TargetingConfig,
    BeforeValidator(lambda value: NONE if value is None else value),
    described("Whom to treat with what, by costs and the value of the outcome; none: nobody asks"),
]
