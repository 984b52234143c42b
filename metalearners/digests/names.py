"""Names of values: digests of their parts, and names for what has none."""

from collections.abc import Iterable
from hashlib import blake2b
from uuid import uuid4

from metalearners._typing import Ref

_UNKEPT = "unkept-"  # such a name is of one object in one process


def unkept() -> Ref:
    """A name for what has no digest: nothing else will ever have it."""
    return f"{_UNKEPT}{uuid4().hex}"


def is_kept(ref: Ref) -> bool:
    """Whether a name is a digest, so that another process may know it."""
    return not ref.startswith(_UNKEPT)


def combine(tag: str, parts: Iterable[str | bytes | memoryview]) -> Ref:
    """Digest of a tagged sequence of parts; the boundaries between parts count."""
    h = blake2b(digest_size=20)
    for part in (tag, *parts):
        raw = part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "little"))
        h.update(raw)
    return h.hexdigest()
