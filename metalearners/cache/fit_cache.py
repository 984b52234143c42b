"""Fits on a storage by the key of their unit. A file is verified before it is unpickled."""

import contextlib
import errno
import io
import json
import math
import os
import pickle
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tenacity

from metalearners._typing import Array, Ref
from metalearners.cache import layout
from metalearners.cache.claims import Claimant
from metalearners.cache.layout import fit_name
from metalearners.cache.storage import Item, Storage
from metalearners.files.regular_files import MOST_BYTES, OddFileError
from metalearners.files.signing import DIGEST_BYTES, check_key, keyed_digest
from metalearners.fits.unit import Fit

_MAGIC = b"uplift\x00\x02"
_BEGIN = len(_MAGIC) + DIGEST_BYTES  # the digest is of what begins here
_LENGTH = struct.Struct("<I")  # of the head, which follows
_AT_ONCE_BYTES = 64 << 20  # of a larger file, the head says how much more to read
_MOST_HITS_BYTES = 256 << 20  # of a record: some millions of keys
_INPUTS_SECONDS = 86_400.0
_PAUSE_SECONDS = 30.0
_ODD_FILE = (OddFileError, IsADirectoryError, NotADirectoryError)
# A second try wouldn't mend these.
_LASTING_ERRORS = (FileNotFoundError, PermissionError, *_ODD_FILE)
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# What the reader of a damaged file, or of its head, may meet.
_UNREADABLE = (*_ODD_FILE, MemoryError)
_UNPARSABLE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
)


@dataclass(frozen=True)
class Entry:
    """What a cache says of a fit without reading it whole.

    Where the head of its file can't be read, the label is empty and `written` is None.
    """

    key: Ref
    size: int  # in bytes
    label: str  # what the unit is for
    written: float | None  # seconds since the epoch
    hits: int  # times that runs reused it

    @property
    def age(self) -> float | None:
        """Seconds since it was written; 0 at least, as a clock may have been moved back."""
        return None if self.written is None else max(0.0, time.time() - self.written)


@dataclass(eq=False)
class FitCache:
    """Fits on a storage, a file each: a digest of key and content, then head and content.

    Whoever may write to the storage may make files that verify, unless there is a signing key.
    The cache counts what it met: the keys of `hits`, of `damaged` and of `expired` fits, and the
    reason by key where a fit could not be written (`unkept`) or looked up (`unreachable`).
    """

    storage: Storage
    signing_key: bytes = b""  # a secret; files are valid only if written with the same one
    max_age: float | None = None  # in seconds; an older fit is expired
    claimant: Claimant = field(default_factory=Claimant)  # of units
    hits: set[Ref] = field(default_factory=set)
    damaged: set[Ref] = field(default_factory=set)
    expired: set[Ref] = field(default_factory=set)
    unkept: dict[Ref, str] = field(default_factory=dict)
    unreachable: dict[Ref, str] = field(default_factory=dict)
    _away_until: float = field(default=-math.inf, init=False)  # on the monotonic clock
    _failing: set[str] = field(default_factory=set, init=False)  # names, since the last success

    def __post_init__(self) -> None:
        check_key(self.signing_key)

    def read(self, key: Ref) -> Fit | None:
        """The fit of a key; None if there is none that is valid and young enough."""
        try:
            raw = self._reach(self._whole, fit_name(key))
        except FileNotFoundError:
            return None
        except _UNREADABLE:
            self.damaged.add(key)
            return None
        except OSError as error:
            self.unreachable[key] = _reason(error)
            return None
        return self._parse(key, raw)

    def _whole(self, name: str) -> bytes:
        """A file's bytes; of a large one, no more than its head says there are."""
        raw = self.storage.read(name, end=_AT_ONCE_BYTES)
        if len(raw) < _AT_ONCE_BYTES:
            return raw
        return self.storage.read(name, most=min(_size_in_head(raw), MOST_BYTES))

    def _parse(self, key: Ref, raw: bytes) -> Fit | None:
        """The fit in a file's bytes, which is counted as a hit, damaged or expired."""
        found = self._verified(key, raw)
        if found is None:
            self.damaged.add(key)
            return None
        head, content = found
        if self.max_age is not None and time.time() - head["written"] > self.max_age:
            self.expired.add(key)
            return None
        try:
            fit = _unpack(content)
        except Exception:  # packages that it was written with aren't here, or are others
            self.damaged.add(key)
            return None
        self.hits.add(key)
        return fit

    def write(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit; where the storage fails, `unkept` gets the reason."""
        packed = _pack(fit)
        about = {"label": label, "written": time.time(), "size": len(packed)}
        head = json.dumps(about).encode()
        content = b"".join([_LENGTH.pack(len(head)), head, packed])
        raw = b"".join([_MAGIC, self._digest(key, content), content])
        if len(raw) > MOST_BYTES:
            self.unkept[key] = os.strerror(errno.EFBIG)
            return
        try:
            self._reach(self.storage.write, fit_name(key), raw)
        except OSError as error:
            self.unkept[key] = _reason(error)

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Wait until nobody else works on a key's unit, and hold its claim in the context."""
        return nullcontext() if self._is_away() else self.storage.claim(key, self.claimant)

    def record_hits(self) -> None:
        """Write a record of what was reused, for `entries`."""
        if self.hits:
            content = json.dumps(dict.fromkeys(sorted(self.hits), 1)).encode()
            with contextlib.suppress(OSError):
                self._reach(self.storage.write, layout.new_hits_name(), content)
            self.hits = set()

    def entries(self) -> Iterator[Entry]:
        """All kept fits.

        Raises OSError if the storage fails.
        """
        hits = self._hits_in(self.storage.items(layout.HITS))
        for item in self.storage.items():
            key = layout.key_of(item.name)
            if key is not None:
                head = self._head(item.name)
                label, written = str(head.get("label", "")), _seconds(head.get("written"))
                yield Entry(key, item.size, label, written, hits[key])

    def is_damaged(self, key: Ref) -> bool:
        """Whether a key's file is there but isn't valid; nothing is unpickled."""
        try:
            return self._verified(key, self._whole(fit_name(key))) is None
        except FileNotFoundError:  # deleted meanwhile
            return False
        except _UNREADABLE:
            return True

    def remove(self, key: Ref) -> None:
        """Delete a key's fit."""
        self.storage.remove(fit_name(key))

    def tidy(self) -> list[Item]:
        """Delete what killed processes left, and sum up the records of hits.

        Returns
        -------
        list of Item
            What was deleted.

        Raises OSError if the storage fails.
        """
        inputs = list(self.storage.items(layout.INPUTS))  # before claims: a run claims, then writes
        left = self.storage.tidy()
        held = {item.name for item in self.storage.items(layout.CLAIMS)}
        for item in inputs:
            handle = layout.handle_of(item.name)
            # Where a file system has no claims, age alone decides.
            old = item.modified is not None and time.time() - item.modified > _INPUTS_SECONDS
            claim = handle and f"{layout.CLAIMS}/{layout.inputs_claim(handle)}"
            if claim and old and claim not in held:
                self.storage.remove(item.name)
                left.append(item)
        present = {entry.key for entry in self.entries()}
        records = list(filter(_is_of_hits, self.storage.items(layout.HITS)))
        hits = {key: n for key, n in self._hits_in(records).items() if key in present}
        if hits:
            self.storage.write(layout.new_hits_name(), json.dumps(hits).encode())
        for record in records:
            self.storage.remove(record.name)
        return left

    def _hits_in(self, records: Iterable[Item]) -> Counter[Ref]:
        hits: Counter[Ref] = Counter()
        for record in filter(_is_of_hits, records):
            with contextlib.suppress(*_UNPARSABLE):
                hits.update(json.loads(self.storage.read(record.name, most=_MOST_HITS_BYTES)))
        return hits

    def _reach(self, call: Any, *arguments: Any) -> Any:
        """Call the storage with retries; after it could not be reached, fail for a while."""
        if self._is_away():
            raise OSError(f"{self.storage.location} could not be reached a moment ago.")
        begun = time.monotonic()
        try:
            found = _call_with_retries(call, *arguments)
        except FileNotFoundError:
            self._failing.clear()
            raise
        except OSError as error:
            self._failing.add(str(arguments[0]))
            # One file alone may be unreadable while all others are there.
            if _may_pass(error) and (error.errno is None or len(self._failing) > 1):
                # So failing calls take a tenth of a run's time at most.
                took = time.monotonic() - begun
                self._away_until = time.monotonic() + max(_PAUSE_SECONDS, 10 * took)
            raise
        self._failing.clear()
        return found

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _head(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(*_UNPARSABLE):
            head, _ = _split(memoryview(self.storage.read(name, end=4096))[_BEGIN:])
            return head if isinstance(head, dict) else {}
        return {}

    def _verified(self, key: Ref, raw: bytes) -> tuple[dict[str, Any], memoryview] | None:
        """Head and content of a file; None if it isn't what was written under the key."""
        content = memoryview(raw)[_BEGIN:]
        if raw[:_BEGIN] != _MAGIC + self._digest(key, content):
            return None
        return _split(content)

    def _digest(self, key: Ref, content: bytes | memoryview) -> bytes:
        return keyed_digest(self.signing_key, key, content)


def _is_of_hits(item: Item) -> bool:
    return layout.OWN_HITS.fullmatch(item.name) is not None


def _seconds(written: Any) -> float | None:
    """A time in the head of a file; None where the head is damaged."""
    number = isinstance(written, (int, float)) and math.isfinite(written)
    return float(written) if number else None


def _split(content: memoryview) -> tuple[Any, memoryview]:
    """The head, and what follows it."""
    (length,) = _LENGTH.unpack_from(content)
    end = _LENGTH.size + length
    return json.loads(bytes(content[_LENGTH.size : end])), content[end:]


def _size_in_head(raw: bytes) -> int:
    """The size of a file by its head; 0 where that can't be read."""
    with contextlib.suppress(KeyError, *_UNPARSABLE):
        if raw.startswith(_MAGIC):
            head, begun = _split(memoryview(raw)[_BEGIN:])
            return len(raw) - len(begun) + int(head["size"])
    return 0


def _call_with_retries(call: Any, *arguments: Any) -> Any:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(4) | tenacity.stop_after_delay(5),
        wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.5),
        reraise=True,
    )
    return retrying(call, *arguments)  # few times, as many file systems try again themselves


def _reason(error: OSError) -> str:
    """What failed, without the addresses and credentials that a service's message may hold."""
    return error.strerror or type(error.__cause__ or error).__name__


def _may_pass(error: BaseException) -> bool:
    if not isinstance(error, OSError) or isinstance(error, _LASTING_ERRORS):
        return False
    return error.errno not in _LASTING


def _pack(fit: Fit) -> bytes:
    arrays: dict[str, Array] = {}
    if fit.predictions is not None:
        arrays["predictions"] = fit.predictions
    if fit.model is not None:
        pickled = fit.pickled or pickle.dumps(fit.model, protocol=5)
        arrays["model"] = np.frombuffer(pickled, dtype=np.uint8)
    if fit.offset:
        arrays["offset"] = np.asarray(fit.offset)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpack(content: memoryview) -> Fit:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        pickled = arrays["model"].tobytes() if "model" in arrays else None
        model = None if pickled is None else pickle.loads(pickled)
        return Fit(arrays.get("predictions"), model, pickled, float(arrays.get("offset", 0)))
