"""How results show themselves: lines of text at a prompt, a table in a notebook.

Both are made of the same cells. They round: the fields have every digit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any, TypeVar

import numpy as np

from metalearners._typing import Array

T = TypeVar("T")

_WIDTH = 100  # of a line; what is longer becomes a block
_MOST_VALUES = 8  # of an array that is written out
_DIGITS = 4
_DIGITS_OF_ERROR = 2
_LEFT = ' style="text-align: left; vertical-align: top"'


class Shown:
    """A dataclass that shows its fields: in lines as text, in a table as HTML."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):  # dataclass keeps the one that a class itself has
            cls.__repr__ = Shown.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return "\n".join(_lines_of_fields(self))

    def _repr_html_(self) -> str:
        return f"<div><b>{escape(type(self).__name__)}</b>{_html(_parts(self))}</div>"

    def _brief(self) -> str:
        """What stands for it inside another result; empty where its fields do."""
        return ""


class Several(list[T]):
    """A list of results, which shows them as a table with a row each."""

    def __repr__(self) -> str:
        return "\n".join(_lines(list(self)))

    def _repr_html_(self) -> str:
        return _html(list(self))


def rounded(value: float, error: float = 0.0) -> str:
    """Text of a number, to two digits of its error; without an error, to four of its own.

    Examples
    --------
    >>> rounded(0.123456, 0.0213), rounded(1234.5, 213), rounded(0.123456), rounded(1234567.8)
    ('0.123', '1234', '0.1235', '1234568')
    """
    if not np.isfinite(value):
        return str(float(value))
    if np.isfinite(error) and error > 0:
        decimals = _DIGITS_OF_ERROR - 1 - int(np.floor(np.log10(error)))
        if decimals <= 10 and abs(value) < 1e15:
            return f"{value:.{max(decimals, 0)}f}"
    elif 1e4 <= abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.{_DIGITS}g}"


def between(estimate: float, low: float, high: float, error: float) -> str:
    """Text of an estimate with the ends of its interval."""
    value, *ends = (rounded(one, error) for one in (estimate, low, high))
    return f"{value} ({ends[0]} to {ends[1]})"


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in HTML; the cells are HTML already."""
    named = "".join(f"<th{_LEFT}>{escape(name)}</th>" for name in head)
    top = f"<thead><tr>{named}</tr></thead>" if named else ""
    lines = ("".join(f"<td{_LEFT}>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{top}<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"


# Text


def _lines(value: Any) -> list[str]:
    if isinstance(value, Shown):
        return [brief] if (brief := value._brief()) else _lines_of_fields(value)
    if isinstance(value, Mapping):
        named = {str(key): part for key, part in value.items()}
        return _lines_of_parts("", "{%s}", ": ", named)
    if _are_results(value):
        return briefs if all(briefs := _briefs(value)) else _table_lines(value)
    return [_cell(value)]


def _lines_of_fields(result: Shown) -> list[str]:
    title = type(result).__name__
    return _lines_of_parts(title, f"{title}(%s)", "=", _parts(result))


def _lines_of_parts(title: str, in_line: str, equals: str, parts: Mapping[str, Any]) -> list[str]:
    """Parts by name in one line, if they fit; else in lines of their own below the title."""
    found = {name: _lines(part) for name, part in parts.items()}
    if all(len(lines) == 1 for lines in found.values()):
        line = in_line % ", ".join(f"{name}{equals}{lines[0]}" for name, lines in found.items())
        if len(line) <= _WIDTH:
            return [line]
    width = max(map(len, found))
    block = [title] if title else []
    for name, lines in found.items():
        titled = len(lines) == 1 or isinstance(parts[name], Shown)
        first = f"{name:<{width}}  {lines.pop(0)}" if titled else name
        block += [f"  {first}", *(f"    {line}" for line in lines)]
    return block


def _table_lines(results: Sequence[Shown]) -> list[str]:
    rows = [_parts(one) for one in results]
    cells = [[*rows[0]], *([" ".join(_lines(part)) for part in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


# HTML


def _html(value: Any) -> str:
    if isinstance(value, Shown):
        return escape(value._brief()) or _html(_parts(value))
    if isinstance(value, Mapping) and value:
        named = [(f"<b>{escape(str(key))}</b>", _html(part)) for key, part in value.items()]
        return table_html([], named)
    if _are_results(value):
        if all(briefs := _briefs(value)):
            return "<br>".join(map(escape, briefs))
        rows = [_parts(one) for one in value]
        return table_html([*rows[0]], [[_html(part) for part in row.values()] for row in rows])
    return escape(_cell(value))


# Both


def _parts(result: Any) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in fields(result) if field.repr}


def _are_results(value: Any) -> bool:
    """Whether it is one result or more, all of one class."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return isinstance(value[0], Shown) and len({type(one) for one in value}) == 1


def _briefs(results: Sequence[Shown]) -> list[str]:
    return [one._brief() for one in results]


def _cell(value: Any) -> str:
    """A value in one line."""
    form = next((form for kinds, form in _FORMS if isinstance(value, kinds)), _text)
    return form(value)


def _text(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDTH else f"{type(value).__name__}(...)"


def _plain(text: str) -> str:
    return text if text.isprintable() and text.strip() == text != "" else repr(text)


def _listed(values: Sequence[Any]) -> str:
    items = ", ".join(" ".join(_lines(value)) for value in values)
    if isinstance(values, list):
        return f"[{items}]"
    return f"({items},)" if len(values) == 1 else f"({items})"


def _array(values: Array) -> str:
    """The values where they are few; else the shape and the range."""
    if values.ndim == 1 and values.size <= _MOST_VALUES:
        return f"[{', '.join(map(_cell, values.tolist()))}]"
    shape = f"{values.shape} array"
    if values.dtype.kind == "b":
        return f"{shape}, {int(values.sum())} true"
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if values.dtype.kind not in "iuf" or not known.size:
        return shape
    return f"{shape}, {rounded(float(known.min()))} to {rounded(float(known.max()))}"


_FORMS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (str, _plain),
    ((bool, np.bool_), str),
    ((float, np.floating), rounded),
    (np.ndarray, _array),
    ((list, tuple), _listed),
)
