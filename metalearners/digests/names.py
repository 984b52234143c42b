"""Names of values: digests of their parts, or unique names."""

from collections.abc import Iterable
from hashlib import blake2b
from uuid import uuid4

from metalearners._typing import Ref

_UNKEPT = "unkept-"  # begins names that hold in one process only


def unkept() -> Ref:
    """A new, unique name for a value that has no digest."""
    return f"{_UNKEPT}{uuid4().hex}"


def is_kept(ref: Ref) -> bool:
    """Whether a name is a digest, so that other processes use it too."""
    return not ref.startswith(_UNKEPT)


def combine(tag: str, parts: Iterable[str | bytes | memoryview]) -> Ref:
    """Digest of a tagged sequence of parts; the boundaries between parts count."""
    h = blake2b(digest_size=20)
    for part in (tag, *parts):
        raw = part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "little"))
        h.update(raw)
    return h.hexdigest()
