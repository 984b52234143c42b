"""What a config says of several outcomes: one value for all, or one for each by its name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, WithJsonSchema

from flows.config.form import BY_OUTCOME, SEVERAL, TYPES
from flows.config.problems import EACH, ONE
from flows.config.values import Label, ShownLabel


def _form_of(value: Any) -> str:
    return EACH if isinstance(value, (dict, list)) else ONE


_ByMap = Discriminator(_form_of)
_Type = Literal["regression", "binary"]
OutcomeType = Annotated[
    Annotated[_Type, Tag(ONE)] | Annotated[dict[str, _Type], Tag(EACH)],
    _ByMap,
    WithJsonSchema(TYPES),
]
OutcomeNames = Annotated[
    Annotated[str, Tag(ONE)] | Annotated[list[str], Tag(EACH)], _ByMap, WithJsonSchema(SEVERAL)
]
Positive = Annotated[
    Annotated[ShownLabel, Tag(ONE)] | Annotated[dict[str, Label], Tag(EACH)],
    _ByMap,
    WithJsonSchema(BY_OUTCOME),
]


def of_outcome(value: Any, name: str, absent: Any = None) -> Any:
    """What a value is for an outcome: one for all, or what a map has for it."""
    return value.get(name, absent) if isinstance(value, Mapping) else value


def check_known(value: Any, names: list[str]) -> None:
    """Refuse a map by outcome with another name."""
    for name in value if isinstance(value, Mapping) else ():
        if name not in names:
            raise ValueError(
                f"expected outcomes among {', '.join(map(repr, names))}, as data.outcome names "
                f"them; found {name!r}. Rename it, or add that outcome."
            )
