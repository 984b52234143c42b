"""The layout of a cache: how files are named, and by which names we know ours.

Files of others may lie in the same place. These patterns match none but ours.
"""

import re
from uuid import uuid4

from metalearners._typing import Ref

CLAIMS = "claims"  # on units whose fit is under way, and on inputs in use
HITS = "hits"  # records of what was reused
INPUTS = "inputs"  # of runs whose workers read from this storage

OWN_TEMPORARY = re.compile(r".*\.[0-9a-f]{32}\.tmp")
OWN_CLAIM = re.compile(rf"{CLAIMS}/[a-z-]*[0-9a-f]{{32,40}}")
OWN_HITS = re.compile(rf"{HITS}/[0-9a-f]{{32}}\.json")
_OWN_FIT = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{38})\.fit")
_OWN_INPUT = re.compile(rf"{INPUTS}/([0-9a-f]{{32}})/.+")


def fit_name(key: Ref) -> str:
    """The file of a unit's fit."""
    return f"{key[:2]}/{key}.fit"


def key_of(name: str) -> Ref | None:
    """The key of the unit whose fit a file has; None for another file."""
    found = _OWN_FIT.fullmatch(name)
    return found and found[2]


def new_hits_name() -> str:
    """A new file for a record of what was reused."""
    return f"{HITS}/{uuid4().hex}.json"


def inputs_place(handle: str) -> str:
    """The folder of a run's inputs."""
    return f"{INPUTS}/{handle}"


def inputs_claim(handle: str) -> str:
    """The claim that a run holds as long as its workers read its inputs."""
    return f"{INPUTS}-{handle}"


def handle_of(name: str) -> str | None:
    """The handle of the run whose input a file is; None for another file."""
    found = _OWN_INPUT.fullmatch(name)
    return found and found[1]
