"""The history of a name's models: events that are added, one after another, and never changed."""

import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flows.registry.records import Event, read_record
from metalearners.cache.storage import Storage

_READERS = 8  # files that are read at a time: each may be far away
_MOST_TRIES = 1000  # so many other writers may be faster, one after another


class History:
    """The events of a name, in a storage.

    The last event says which model is champion and which is challenger. A writer claims the name.
    Where there are no claims, or a holder lost its own, the numbers decide: an event is a file that
    is made only if no file has its name. A writer that comes too late decides anew, by what is
    there by then.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._folder = f"{name}/history"

    def last(self) -> Event | None:
        """The last event; None before there is one."""
        numbers = self._numbers()
        return self._read(numbers[-1]) if numbers else None

    def events(self, since: int = 1) -> list[Event]:
        """All events from a number on, oldest first."""
        with ThreadPoolExecutor(_READERS) as readers:
            return list(readers.map(self._read, (n for n in self._numbers() if n >= since)))

    def append(self, decide: Callable[[Event | None], Event | None]) -> Event | None:
        """Add the event that is decided on, given the last one; None adds nothing.

        Raises OSError if it can't be written.
        """
        with self._storage.claim(f"registry-{self._name}"):
            for _ in range(_MOST_TRIES):
                event = decide(self.last())
                if event is None or self._add(event):
                    return event
        raise OSError(f"{self._storage.location}: others write the history of {self._name}")

    def _add(self, event: Event) -> bool:
        """Write an event; whether it is the one that has its number."""
        file, content = self._file(event.number), event.content()
        with contextlib.suppress(FileExistsError):
            self._storage.create(file, content)
        # Asked in each case: a request to create it that is sent again finds the file of the first.
        return self._storage.read(file) == content

    def _read(self, number: int) -> Event:
        return read_record(self._storage, self._file(number), Event)

    def _file(self, number: int) -> str:
        return f"{self._folder}/{number:06d}.json"

    def _numbers(self) -> list[int]:
        own = re.compile(rf"{re.escape(self._folder)}/(\d{{6,12}})\.json")
        found = (own.fullmatch(item.name) for item in self._storage.items(self._folder))
        return sorted(int(name[1]) for name in found if name)
