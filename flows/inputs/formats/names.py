"""Names of columns: which there may be, and which the names of folders give."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flows.errors import InputError
from flows.messages.limits import shown

_NO_KEY = "__HIVE_DEFAULT_PARTITION__"


def check_texts(names: Sequence[Any], where: str) -> None:
    """Refuse names of columns that are no texts."""
    odd = [name for name in names if not isinstance(name, str)]
    if odd:
        raise InputError(
            f"Expected texts as names of the columns of {where}; found {shown(repr(odd))}. "
            "Name them, as with frame.rename(columns=str), or where they have levels with "
            "frame.columns = ['_'.join(map(str, name)) for name in frame.columns]."
        )


def check_names(where: str, names: Sequence[str]) -> None:
    """Refuse names of columns that stand twice, or no names at all."""
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice or not any(names):
        what = f"{shown(repr(twice))} more than once" if twice else "none"
        raise InputError(
            f"Expected names of columns, each once, in {where}; found {what}. Name the columns "
            "where the data are made, for a text file in its first row."
        )


def keys_in(file: str) -> dict[str, str | None]:
    """What folders named key=value say; those above the working folder say nothing of data."""
    path = Path(file)
    folders = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    pairs = (part.partition("=") for part in folders.parent.parts if "=" in part)
    return {unquote(k): None if v == _NO_KEY else unquote(v) for k, _, v in pairs}
