"""A section of the config: a frozen model of bounded size, which refuses keys that it hasn't."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from flows.config.form import as_form
from flows.messages.limits import check_size, shown


class Section(BaseModel):
    """What all sections of a config have in common."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=as_form,
        field_title_generator=lambda key, _: key,
    )

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        check_size(value)
        return value


def distinct(value: list[Any], otherwise: str) -> list[Any]:
    """The list, or a ValueError if it is empty or has an item twice."""
    if not value:
        raise ValueError(f"expected one or more; found none. Say {otherwise}.")
    seen: set[Any] = set()
    for item in value:
        if item in seen:
            raise ValueError(f"expected each once; found {shown(repr(item))} twice.")
        seen.add(item)
    return value
