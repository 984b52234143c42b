"""Bounds on the size of outside values, so that a refusal takes no time and fits a sentence."""

from collections.abc import Iterator, Mapping
from typing import Any

MOST_BYTES = 1 << 20  # of a config
# So many take less than a second to read; YAML's aliases count as often as they occur.
MOST_VALUES = 20_000
MOST_LEVELS = 100
MOST_LETTERS = 10_000
MOST_DIGITS = 100
_LARGEST = 10**MOST_DIGITS
_OF_NUMBER = f"expected a number of at most {MOST_DIGITS} digits; found"


class TooLargeError(ValueError):
    """A value beyond the bounds. The message names the bound and what was found."""


def check_size(value: Any) -> None:
    """Raise a TooLargeError for a value that is too large, or holds one that is."""
    for count, (place, part) in enumerate(_walk(value, ())):
        if count >= MOST_VALUES:
            raise TooLargeError(too_many("values"))
        problem = _problem(part)
        if problem:
            raise TooLargeError(f"{problem} at {shown('.'.join(place)) or 'its top'}. Correct it.")


def too_many(what: str) -> str:
    """The message for more than the most values or levels."""
    most = MOST_VALUES if what == "values" else MOST_LEVELS
    return f"expected at most {most:,} {what}; found more. Leave out what the run doesn't need."


def check_digits(text: str, place: str) -> None:
    """Raise a TooLargeError for the text of a number that is too long to be read."""
    if len(text) > MOST_DIGITS:
        raise TooLargeError(f"{_OF_NUMBER} one of {len(text):,} at {place}. Shorten it.")


def _problem(part: Any) -> str:
    if isinstance(part, int) and abs(part) >= _LARGEST:
        return f"{_OF_NUMBER} a longer one"
    if isinstance(part, (str, bytes)) and len(part) > MOST_LETTERS:
        return f"expected a text of at most {MOST_LETTERS:,} letters; found one of {len(part):,}"
    if isinstance(part, str) and not is_text(part):
        return f"expected text that UTF-8 can hold; found {shown(ascii(part))}"
    return ""


def is_text(name: str) -> bool:
    """Whether UTF-8 can write a text; it can't write names of files that are other bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(value: Any, place: tuple[str, ...], above: tuple[int, ...] = ()) -> Iterator[Any]:
    """Places and values, each container once where it contains itself."""
    yield place, value
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)) or id(value) in above:
        return
    if len(place) >= MOST_LEVELS:
        raise TooLargeError(too_many("levels"))
    within: Any = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in within:
        if isinstance(value, Mapping):
            yield place, key
        yield from _walk(item, (*place, shown(str(key))), (*above, id(value)))


def shown(text: str, most: int = 100) -> str:
    """A text as a message shows it: a long one is cut."""
    return text if len(text) <= most else f"{text[:most]}..."
