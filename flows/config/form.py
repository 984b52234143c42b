"""Sections of a config. Prefect's UI draws a form from their schema, its API checks by it.

Prefect 3.9.1's UI draws a tab for each form of a value. The tab of null is a line that says so.
Here an optional field is one that may be left empty. Prefect's API takes null for it all the same,
where it finds a field with a type and without a default.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.fields import FieldInfo

from flows.messages.limits import check_size, shown
from metalearners.registry import REGISTRY

_NULL = {"type": "null"}

LABEL = WithJsonSchema(
    {
        "anyOf": [
            {"title": "text", "type": "string"},
            {"title": "number", "type": "number"},
            {"title": "true or false", "type": "boolean"},
        ]
    }
)
"""A label is what it is in the data: the tab says whether 25 is a text or a number."""

# The UI draws an editor of JSON for a map of any keys where it is the whole field, or in `allOf`.
_ANY_MAP = {"type": "object", "allOf": [{"type": "object"}]}
BY_ARM = WithJsonSchema({"title": "by arm", **_ANY_MAP})
_EACH = {"title": "by outcome", **_ANY_MAP}
# Of several outcomes: their names, their types, and the labels that count as 1.
SEVERAL = {
    "anyOf": [
        {"title": "one", "type": "string"},
        {"title": "several", "type": "array", "items": {"type": "string"}, "minItems": 1},
    ]
}
TYPES = {
    "anyOf": [{"title": "one", "type": "string", "enum": ["regression", "binary"]}, _EACH],
}
BY_OUTCOME = {"anyOf": [*LABEL.json_schema["anyOf"], _EACH]}  # type: ignore[index]
MARK = WithJsonSchema({"type": "string", "pattern": "^[,. ']?$"})  # no list shows a space


def only(word: str) -> WithJsonSchema:
    """The only text that a field takes, as a choice of the form."""
    return WithJsonSchema({"title": word, "const": word, "enum": [word], "type": "string"})


AUTO = only("auto")


def described(text: str) -> FieldInfo:
    """Words for a flow's parameter, whose own description Prefect takes from a docstring."""
    field: FieldInfo = Field(description=text, json_schema_extra={"description": text})
    return field


def as_form(schema: dict[str, Any], section: type[Any]) -> None:
    """Turn the schema of a section of the config into one that a form shows well."""
    fields = schema["properties"]
    empty = {name for name, field in fields.items() if _NULL in field.get("anyOf", [])}
    schema["required"] = [name for name in schema.get("required", []) if name not in empty]
    for name, field in fields.items():
        fields[name] = _by_kind(name, field) if name in REGISTRY else _optional(field)
        if isinstance(field.get("default"), dict):
            fields[name]["default"] = _filled(field["default"])
    # Keys that no run can have yet are no fields, though their null is no mistake.
    hidden = section.model_fields.keys() - fields.keys()
    if hidden:
        schema["patternProperties"] = {f"^{name}$": _NULL for name in sorted(hidden)}


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Values that a form has fields for."""
    return {key: value for key, value in values.items() if value is not None}


def _optional(field: dict[str, Any]) -> dict[str, Any]:
    """A field that may be left empty, if it may be null."""
    forms = field.get("anyOf", [])
    if _NULL not in forms:
        return field
    about = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    forms = [form for shown in forms if shown != _NULL for form in shown.get("anyOf", [shown])]
    if "$ref" in forms[0] or "oneOf" in forms[0]:
        return {**about, **_own(forms[0])}
    if forms[0]["type"] == "array":
        about["minItems"] = 1  # null, and no list without items, stands for all
    if len(forms) == 1:
        return {**forms[0], **about}
    return {**about, "anyOf": forms, "type": [form["type"] for form in forms]}


def _own(model: dict[str, Any]) -> dict[str, Any]:
    """The choice between the default, which the UI shows as an empty tab, and one's own model."""
    one, *each = model.get("oneOf", [model])  # the others are maps by outcome
    forms = [{"title": "default", "type": "object", "maxProperties": 0}, {**one, "title": "own"}]
    forms += [_EACH for _ in each]
    allowed = {"anyOf": [one, *each]} if each else one
    check = {"if": {"type": "object", "minProperties": 1}, "then": allowed}  # in the form
    return {"anyOf": forms, "type": "object", **check}


def _by_kind(learner: str, field: dict[str, Any]) -> dict[str, Any]:
    """A learner's own models: a field for each of its model kinds, in place of a map."""
    model, entry = _own(field["additionalProperties"]), REGISTRY[learner]
    role_of = entry.load().role_of
    about = 'Default: the {} model above. By outcome: {{"spend": {{"estimator": ...}}}}'
    models = {
        kind: {"title": kind, "description": about.format(role_of(kind)), **model}
        for kind in entry.kinds
    }
    return {**field, "properties": models, "additionalProperties": False}


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
