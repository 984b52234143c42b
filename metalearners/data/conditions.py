"""Conditions on columns, as texts of a config: read by a parser of our own, never run as code."""

import difflib
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.arrays import BooleanArray

from metalearners._typing import Array

MOST_CHARACTERS = 1000
MOST_NESTED = 50

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    **{"==": operator.eq, "!=": operator.ne},
    **{"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_WORDS = ("and", "or", "not", "in")
_BOOLEANS = {"True": True, "true": True, "False": False, "false": False}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<quoted>`[^`]+`)
    | (?P<name>[^\W\d]\w*)
    | (?P<sign>==|!=|<=|>=|[<>()\[\],+-])""",
    re.VERBOSE,
)
_KINDS = {
    **{"string": "texts", "boolean": "booleans"},
    **dict.fromkeys(("integer", "floating", "mixed-integer-float"), "numbers"),
}
_GRAMMAR = (
    "Conditions have columns, comparisons of a column with a number, a text or True or False, and, "
    "or, not, in and parentheses. Names with other characters go in backquotes."
)


@dataclass(frozen=True)
class Condition:
    """A column, or a condition on columns, which gives each row a label.

    `Condition.of` reads a text such as ``newbie``, ``history > 300``, ``100 < history <= 300``,
    ``not newbie and channel in ("Web", "Phone")`` or ``` `zip code` == "Rural"```. A comparison
    has a column on one side and a number, a text, True or False on the other. Texts are in single
    or double quotes, without escapes, and know ``==``, ``!=`` and ``in`` alone. ``not`` binds more
    tightly than ``and``, and that more than ``or``.

    Parameters
    ----------
    text : str
        As it was written.

    Examples
    --------
    >>> rows = pd.DataFrame({"newbie": [1, 0, 1], "history": [100.0, 500.0, None]})
    >>> Condition.of("newbie and history > 50").labels(rows).tolist()
    [True, False, <NA>]
    >>> Condition.of("newbie").labels(rows).tolist()
    [1, 0, 1]
    """

    text: str
    _tree: "_Node" = field(repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> "Condition":
        """The condition that a text states.

        Raises
        ------
        ValueError
            If it isn't one, has more than 1000 characters, or nests deeper than 50 levels.
        """
        if not isinstance(text, str):
            raise ValueError(
                f"Expected a condition as a text, such as 'history > 300'; found {text!r}. Quote "
                "it."
            )
        if len(text) > MOST_CHARACTERS:
            raise ValueError(
                f"Expected a condition of at most {MOST_CHARACTERS} characters; found "
                f"{len(text)}. Compute a column, and name that."
            )
        return cls(text, _Parser(text).whole())

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads, in the order of the text."""
        return tuple(dict.fromkeys(self._tree.names()))

    def labels(self, frame: pd.DataFrame) -> "pd.Series[Any]":
        """(n,) labels of rows: the values of a column that stands alone; else true or false.

        Comparisons with missing values are missing. So are ``and`` and ``or``, unless the other
        side decides alone (Kleene's logic).

        Raises
        ------
        ValueError
            If `frame` lacks a column, or a column has values of another kind than it is compared
            with.
        """
        for name in self.columns:
            _check_column(self.text, name, frame)
        if isinstance(self._tree, _Column):
            return frame[self._tree.name]
        return pd.Series(self._tree.holds(frame), index=frame.index)


def _check_column(text: str, name: str, frame: pd.DataFrame) -> None:
    known = [str(one) for one in frame.columns]
    times = list(frame.columns).count(name)
    if times > 1:
        raise ValueError(f"Expected one column {name!r}; found {times}. Rename them.")
    if not times:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        more = ", ..." if len(known) > 10 else ""
        raise ValueError(
            f"Expected names of columns in {_shown(text)}; found {name!r}{hint}. Name one of "
            f"{', '.join(known[:10])}{more}."
        )


@dataclass(frozen=True)
class _Column:
    """A column that stands alone."""

    name: str

    def names(self) -> Iterator[str]:
        yield self.name

    def holds(self, frame: pd.DataFrame) -> BooleanArray:
        column = frame[self.name]
        absent, kind = column.isna().to_numpy(), _kind(column)
        values = column.to_numpy()[~absent]
        truths = kind == "booleans" or (kind == "numbers" and np.isin(values, (0, 1)).all())
        if values.size and not truths:
            raise ValueError(
                f"Expected true and false, or 0 and 1, in column {self.name!r}, which stands alone "
                f"in a condition; found {kind}, such as {values[:3].tolist()}. Compare it, as with "
                f"{self.name} > 0."
            )
        return _spread(values.astype(bool), absent)


@dataclass(frozen=True)
class _Comparison:
    """A column is compared with a value."""

    column: str
    sign: str
    value: float | str | bool

    def names(self) -> Iterator[str]:
        yield self.column

    def holds(self, frame: pd.DataFrame) -> BooleanArray:
        column = frame[self.column]
        absent, kind = column.isna().to_numpy(), _kind(column)
        values, wanted = column.to_numpy()[~absent], _kind_of_value(self.value)
        if values.size and kind != wanted:
            raise ValueError(
                f"Expected {wanted} in column {self.column!r}, as it is compared with "
                f"{self.value!r}; found {kind}, such as {values[:3].tolist()}. Compare it with "
                "such a value."
            )
        found = _COMPARISONS[self.sign](values, self.value)
        return _spread(np.asarray(found, dtype=bool), absent)


@dataclass(frozen=True)
class _Not:
    """The contrary."""

    part: "_Node"

    def names(self) -> Iterator[str]:
        return self.part.names()

    def holds(self, frame: pd.DataFrame) -> BooleanArray:
        return ~self.part.holds(frame)


@dataclass(frozen=True)
class _Joined:
    """All of some parts, or any of them."""

    parts: tuple["_Node", ...]
    join: Callable[[Any, Any], Any]

    def names(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.names()

    def holds(self, frame: pd.DataFrame) -> BooleanArray:
        found: BooleanArray = reduce(self.join, (part.holds(frame) for part in self.parts))
        return found


@dataclass(frozen=True)
class _Value:
    """A number, a text, or true or false."""

    value: float | str | bool


_Operand: TypeAlias = _Column | _Value
_Node: TypeAlias = _Column | _Comparison | _Not | _Joined


def _kind(column: "pd.Series[Any]") -> str:
    """What a column's values are: numbers, texts, booleans or others."""
    category = isinstance(column.dtype, pd.CategoricalDtype)
    values = column.cat.categories if category else column
    found = pd.api.types.infer_dtype(values, skipna=True)
    return _KINDS.get(found, f"values of type {found}")


def _kind_of_value(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "booleans"
    return "texts" if isinstance(value, str) else "numbers"


def _spread(known: Array, absent: Array) -> BooleanArray:
    """(n,) truths of the rows that aren't absent."""
    values = np.zeros(len(absent), dtype=bool)
    values[~absent] = known
    return BooleanArray(values, absent)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


_END = "the end"


class _Parser:
    """Recursive descent: a method for each rule, the loosest first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [*self._read(), _Token(_END, _END, len(text))]
        self.at = 0
        self.depth = 0

    def whole(self) -> _Node:
        found = self._either()
        if self._now.kind != _END:
            raise self._refusal("and, or, a comparison or the end")
        return found

    def _read(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._wrong("a condition", repr(self.text[at]), at)
            kind = str(match.lastgroup)
            if kind == "name" and match[0] in _WORDS:
                kind = "word"
            if kind != "space":
                yield _Token(kind, match[0], at)
            at = match.end()

    @property
    def _now(self) -> _Token:
        return self.tokens[self.at]

    def _took(self, *texts: str) -> str:
        """The next token, if it is a word or a sign among some; it is passed then. Else ''."""
        now = self._now
        if now.kind not in ("word", "sign") or now.text not in texts:
            return ""
        self.at += 1
        return now.text

    def _either(self) -> _Node:
        return self._joined("or", operator.or_, self._both)

    def _both(self) -> _Node:
        return self._joined("and", operator.and_, self._negated)

    def _joined(self, word: str, join: Callable[..., Any], part: Callable[[], _Node]) -> _Node:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else _Joined(tuple(parts), join)

    def _negated(self) -> _Node:
        if self._took("not"):
            return _Not(self._within(self._negated))
        if self._took("("):
            found = self._within(self._either)
            self._need(")")
            return found
        return self._compared()

    def _within(self, part: Callable[[], _Node]) -> _Node:
        self.depth += 1
        if self.depth > MOST_NESTED:
            raise self._refusal(f"at most {MOST_NESTED} levels of parentheses and not")
        found = part()
        self.depth -= 1
        return found

    def _need(self, text: str) -> None:
        if not self._took(text):
            raise self._refusal(repr(text))

    def _compared(self) -> _Node:
        first = self._operand()
        found = self._among(first) or self._chain(first)
        if isinstance(found, _Value):
            raise self._refusal(f"a comparison of {found.value!r} with a column")
        return found

    def _chain(self, first: "_Operand") -> "_Node | _Value":
        """Comparisons, each with the operand before; the operand itself without any."""
        pairs: list[_Node] = []
        while sign := self._took(*_COMPARISONS):
            second = self._operand()
            pairs.append(self._pair(first, sign, second))
            first = second
        if not pairs:
            return first
        return pairs[0] if len(pairs) == 1 else _Joined(tuple(pairs), operator.and_)

    def _pair(self, left: "_Operand", sign: str, right: "_Operand") -> _Node:
        if isinstance(left, _Value) and isinstance(right, _Column):
            left, sign, right = right, _MIRRORED.get(sign, sign), left
        if not isinstance(left, _Column) or not isinstance(right, _Value):
            raise self._refusal("a column on one side of a comparison and a value on the other")
        if _kind_of_value(right.value) != "numbers" and sign in _MIRRORED:
            raise self._refusal(f"a number beside {sign!r}, as only numbers have an order,")
        return _Comparison(left.name, sign, right.value)

    def _among(self, column: "_Operand") -> _Node | None:
        """Whether a column is in a list; None where there is no ``in``."""
        negated = self._now.text == "not" and self.tokens[self.at + 1].text == "in"
        self.at += negated
        if not isinstance(column, _Column) or not self._took("in"):
            return None
        closing = {"(": ")", "[": "]"}.get(self._took("(", "["))
        if closing is None:
            raise self._refusal('a list behind in, such as ("Web", "Phone"),')
        found: list[_Node] = []
        while not found or (self._took(",") and self._now.text != closing):
            found.append(self._pair(column, "==", self._operand()))
        self._need(closing)
        whole = found[0] if len(found) == 1 else _Joined(tuple(found), operator.or_)
        return _Not(whole) if negated else whole

    def _operand(self) -> "_Operand":
        sign = self._took("-", "+")
        now = self._now
        if now.kind not in ("number", *(() if sign else ("name", "quoted", "text"))):
            raise self._refusal("a number" if sign else "a column or a value")
        self.at += 1
        if now.kind == "number":
            return _Value(self._number(sign, now))
        if now.kind == "name":
            boolean = _BOOLEANS.get(now.text)
            return _Column(now.text) if boolean is None else _Value(boolean)
        return _Value(now.text[1:-1]) if now.kind == "text" else _Column(now.text[1:-1])

    def _number(self, sign: str, token: _Token) -> float:
        value = float(sign + token.text)
        if not np.isfinite(value):
            raise self._wrong("a finite number", token.text, token.start)
        # Whole numbers stay exact, such as identities above 2 ** 53.
        return int(sign + token.text) if token.text.isdecimal() and abs(value) < 2**63 else value

    def _refusal(self, expected: str) -> ValueError:
        now = self._now
        return self._wrong(expected, now.text if now.kind == _END else repr(now.text), now.start)

    def _wrong(self, expected: str, found: str, start: int) -> ValueError:
        return ValueError(
            f"Expected {expected} at character {start + 1} of {_shown(self.text)}; found {found}. "
            f"{_GRAMMAR}"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
