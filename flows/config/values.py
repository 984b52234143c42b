"""Values of a config's keys: types that check themselves."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from flows.config.form import AUTO, BY_ARM, LABEL, described
from flows.errors import continued
from flows.messages.limits import shown
from flows.messages.secrets import check_address

Label = bool | int | float | str
ShownLabel = Annotated[Label, LABEL]

# Strict, as true would be 1 otherwise, and no would be 0.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
# The number first, as messages name the forms in this order.
ClipRule = Annotated[
    Annotated[float, Strict(), Field(title="number", ge=0, lt=0.5)]
    | Annotated[Literal["auto"], AUTO],
    described(
        "Bound of estimated propensities; auto: a tenth of each arm's share; a number c: [c, 1 - c]"
    ),
]
ShareBins = Annotated[
    Flag, described("Whether LightGBM fits share bins of all rows; false: each bins its own")
]
CalibratePropensity = Annotated[
    Flag,
    described(
        "Whether estimated propensities are calibrated on rows that their model hasn't seen; makes "
        "six fits of one"
    ),
]


def _named(segment: str) -> str:
    if not segment.strip():
        raise ValueError("expected a name; found an empty one. Name the segment.")
    return segment


def _condition(text: str) -> str:
    # Only configs with segments need it: it takes a while to be imported.
    from metalearners.data.conditions import Condition

    try:
        Condition.of(text)
    except ValueError as error:
        raise ValueError(continued(error)) from None
    return text


Segments = Annotated[
    dict[Annotated[str, AfterValidator(_named)], Annotated[str, AfterValidator(_condition)]],
    described(
        "Kinds of rows whose average effects are told, by name: columns, or comparisons, such as "
        '{"newbie": "newbie", "spender": "history > 300"}'
    ),
]


def _not_a_name(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(
            f"expected a number or a map from arm to probability; found {shown(repr(value))}. If "
            "that column has the probabilities of arm 1, say {1: " + shown(value) + "}."
        )
    return value


# A map's values may be columns.
KnownPropensity = Annotated[
    Annotated[Number, Field(title="number")] | Annotated[dict[Label, Number | str], BY_ARM] | None,
    BeforeValidator(_not_a_name),
]


def _local(folder: str) -> str:
    if "://" in folder or folder.startswith("~") or "\0" in folder or not folder.strip():
        raise ValueError(
            f"expected a folder of this machine, written out; found {shown(repr(folder))}."
        )
    return folder


Folder = Annotated[str, AfterValidator(_local)]


def _folder_or_url(location: str) -> str:
    return check_address(location) if "://" in location else _local(location)


Place = Annotated[str, AfterValidator(_folder_or_url)]
Address = Annotated[str, AfterValidator(check_address)]


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)  # not by codecs.lookup, which also finds hex and rot13
    except (LookupError, ValueError):
        raise ValueError(
            f"expected an encoding that Python knows, such as utf-8 or cp1252; found {name!r}."
        ) from None
    return name


Encoding = Annotated[str, AfterValidator(_known_encoding)]
