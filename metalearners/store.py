"""Where values lie under the digest of their content, and fits under their unit's key."""

import io
import os
import pickle
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from metalearners._typing import Array, Ref
from metalearners.containers import is_matrix
from metalearners.digest import digest, matrix_digest
from metalearners.unit import Fit


class Store(Protocol):
    """Inputs by content digest; fits by key."""

    def put(self, value: Any) -> Ref:
        """Keep an input; returns the name to get it by."""

    def get(self, ref: Ref) -> Any:
        """The input of that name."""

    def only(self, refs: Iterable[Ref]) -> "Store":
        """A store of some of the inputs alone."""

    def forget_fits(self) -> None:
        """Let go of the fits in memory."""

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key; None if there is none, or none that is whole."""

    def keep(self, key: Ref, fit: Fit) -> None:
        """Keep a fit."""


class MemoryStore:
    """A store that ends with its process."""

    def __init__(self) -> None:
        self._inputs: dict[Ref, Any] = {}
        self._fits: dict[Ref, Fit] = {}
        self._names: dict[int, tuple[Any, Ref]] = {}

    def put(self, value: Any) -> Ref:
        """Keep an input under the digest of its content.

        A value put before is known by its identity, so a matrix shared by many regressions is
        hashed once; inputs must not change afterwards.
        """
        known = self._names.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        flat = isinstance(value, np.ndarray) and value.ndim != 2
        matrix = is_matrix(value) and not flat
        ref = "-".join(matrix_digest(value)) if matrix else digest(value)
        value = self._inputs.setdefault(ref, value)
        self._names[id(value)] = (value, ref)
        return ref

    def get(self, ref: Ref) -> Any:
        """The input of that name."""
        return self._inputs[ref]

    def only(self, refs: Iterable[Ref]) -> "MemoryStore":
        """A store of some of the inputs and nothing else: what a worker elsewhere is sent."""
        part = MemoryStore()
        part._inputs = {ref: self.get(ref) for ref in refs}
        return part

    def forget_fits(self) -> None:
        """Let go of the fits in memory, and keep the inputs."""
        self._fits.clear()

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key, or None."""
        return self._fits.get(key)

    def fetch(self, key: Ref) -> Fit:
        """The fit that must be under a key.

        Raises
        ------
        KeyError
            If there is none.
        """
        fit = self.find(key)
        if fit is None:
            raise KeyError(f"No fit under {key}.")
        return fit

    def keep(self, key: Ref, fit: Fit) -> None:
        """Keep a fit."""
        self._fits[key] = fit


class DirectoryStore(MemoryStore):
    """A store whose fits outlive the process, in files of a folder.

    Each fit is one file, written under a temporary name and renamed, which begins with a digest
    of its key and content. A file is read only after that digest is verified: one that is
    missing, cut short, altered or misplaced is no hit. Whoever may write to the folder may make
    files that verify; it is created for its owner alone.

    Parameters
    ----------
    folder : made if it doesn't exist
    refresh : find only what this object kept itself, so that every unit is fitted anew
    """

    def __init__(self, folder: Path | str, refresh: bool = False) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.refresh = refresh
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key, by this process or another, if it is whole."""
        fit = super().find(key)
        if fit is None and not self.refresh:
            fit = self._read(key)
            if fit is not None:
                super().keep(key, fit)
        return fit

    def keep(self, key: Ref, fit: Fit) -> None:
        """Write a fit to its file; visible whole or not at all."""
        content = _pack(fit)
        write_whole(self.path(key), _checksum(key, content) + content)
        super().keep(key, fit)

    def path(self, key: Ref) -> Path:
        """File of a key's fit."""
        return self.folder / key[:2] / f"{key}.fit"

    def _read(self, key: Ref) -> Fit | None:
        try:
            raw = self.path(key).read_bytes()
        except OSError:
            return None
        checksum, content = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        return _unpack(content) if checksum == _checksum(key, content) else None


_CHECKSUM_BYTES = 32


def _checksum(key: Ref, content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM_BYTES, key=key.encode()).digest()


def _pack(fit: Fit) -> bytes:
    arrays: dict[str, Array] = {}
    if fit.predictions is not None:
        arrays["predictions"] = fit.predictions
    if fit.model is not None:
        arrays["model"] = np.frombuffer(pickle.dumps(fit.model, protocol=5), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpack(content: bytes) -> Fit:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        model = pickle.loads(arrays["model"].tobytes()) if "model" in arrays else None
        return Fit(arrays.get("predictions"), model)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is seen whole or not at all, also after a crash of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
