"""The models of a name: registered, promoted, rolled back, and opened for those who score."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.errors import InputError
from flows.fitting.cache import KEY_VARIABLE, signing_key
from flows.registry.history import History
from flows.registry.records import (
    MANIFEST,
    Choice,
    Contest,
    Difference,
    Entry,
    Event,
    Seen,
    crowned,
    entry_of,
    following,
    read_record,
)
from metalearners.bundle import Bundle, BundleError, sign
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.storage import Storage
from metalearners.files.regular_files import MOST_BYTES, read_regular

ENTRY = "entry.json"


@dataclass(frozen=True)
class Verdict:
    """What a run decides on the models of its name, and why.

    Parameters
    ----------
    decision : str
        `first`: the new model is champion. `promoted`: the challenger is. `kept`, `refused` and
        `manual` leave the champion.
    why : str
        The reason, for people.
    joins : bool
        Whether the new model becomes the challenger.
    look : Seen, optional
        The look that was taken.
    difference : Difference, optional
        What all looks of the contest say.
    contests : list of Contest, optional
        Those of a year from now on; None leaves them.
    """

    decision: Choice
    why: str
    joins: bool = False
    look: Seen | None = None
    difference: Difference | None = None
    contests: list[Contest] | None = None


_FIRST = Verdict("first", "the first model of this name")


def by_hand(last: Event) -> Verdict:
    """The verdict where people promote: the new model is the challenger of the champion."""
    return Verdict("manual", "models of this name are promoted by hand", joins=True)


class Models:
    """The models of a name, in the storage of a registry.

    A model's files are there before its entry, and its entry before any event is about it. So
    whatever is interrupted, the last event names whole models.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self.history = History(storage, name)
        self._storage = storage

    def register(
        self,
        run: str,
        date: str,
        model: Path,
        found: Mapping[str, Any],
        judge: Callable[[Event], Verdict] = by_hand,
    ) -> Event:
        """Copy a run's model here; the first of a name becomes champion.

        Parameters
        ----------
        run : str
            The run's name.
        date : str
            Its logical date.
        model : Path
            The folder of its bundle, which was written or verified by this process.
        found : mapping
            Its results as in `summary.json`.
        judge : callable
            Decides on the models, given the last event. It may be asked again if others have
            written meanwhile.

        Raises OSError if the registry can't be written.
        """
        self._copy(run, date, model, found)

        def decide(last: Event | None) -> Event:
            verdict = _FIRST if last is None else judge(last)
            return following(last, "registered", run, **_facts(last, run, verdict))

        return self._appended(decide)

    def promote(self, run: str, why: str) -> Event | None:
        """Make a model of this name the champion; None if it is.

        Raises InputError if it can't be loaded here.
        """
        self._check(run)

        def decide(last: Event | None) -> Event | None:
            if last is not None and last.champion == run:
                return None
            return following(last, "promoted", run, why, **crowned(last, run))

        return self.history.append(decide)

    def roll_back(self, why: str) -> Event:
        """Make the champion before this one the champion again.

        Raises InputError if there was none before, or it can't be loaded here.
        """

        def decide(last: Event | None) -> Event:
            if last is None or not last.earlier:
                found = "no model" if last is None else f"{last.champion} alone"
                raise InputError(
                    f"Expected an earlier champion of {self.name}; found {found}. `uplift models "
                    "promote RUN` makes another model champion."
                )
            run = last.earlier[-1]
            self._check(run)
            facts = {**crowned(last, run), "earlier": last.earlier[:-1]}
            return following(last, "rolled back", run, why, **facts)

        return self._appended(decide)

    def entry(self, run: str) -> Entry:
        """What the registry says of a model.

        Raises InputError if it has none of this run.
        """
        try:
            return read_record(self._storage, f"{self._place(run)}/{ENTRY}", Entry)
        except FileNotFoundError:
            raise InputError(
                f"Expected the model of {run} in the registry {self._storage.location}; found none "
                f"under {self.name}. Restore its folder, or promote another model."
            ) from None

    @contextlib.contextmanager
    def folder(self, run: str) -> Iterator[Path]:
        """The folder of a model's bundle for the time of the context: its own, or a copy.

        Raises InputError if the model was changed, or lies at a URL and there is no secret that
        would prove who made it.
        """
        check_secret(self._storage, f"the model of {run}")
        entry = self.entry(run)
        place = self._storage.sub(self._place(run))
        with tempfile.TemporaryDirectory() as copies:
            for file in entry.files:
                path = place.local(file, Path(copies))
            _check_same(path, entry)
            yield path.parent

    def sign(self, run: str) -> str:
        """Sign a model that was registered without the secret, or with another; its digest.

        Raises InputError if there is no secret, or the model isn't the one that was registered.
        """
        with self.folder(run) as folder:
            digest = sign_model(folder)
            signed = read_regular(folder / MANIFEST, MOST_BYTES)
        self._storage.write(f"{self._place(run)}/{MANIFEST}", signed)
        return digest

    def _check(self, run: str) -> None:
        with self.folder(run) as folder:
            load_bundle(folder)

    def _copy(self, run: str, date: str, model: Path, found: Mapping[str, Any]) -> None:
        entry = entry_of(run, self.name, date, found, _manifest(model / MANIFEST))
        for file in entry.files:
            self._storage.write(
                f"{self._place(run)}/{file}", read_regular(model / file, MOST_BYTES)
            )
        self._storage.write(f"{self._place(run)}/{ENTRY}", entry.content())

    def _appended(self, decide: Callable[[Event | None], Event]) -> Event:
        event = self.history.append(decide)
        assert event is not None  # as what decides it says
        return event

    def _place(self, run: str) -> str:
        return f"{self.name}/models/{run}"


def check_secret(storage: Storage, where: str) -> None:
    """Refuse models at a URL without a secret: nobody knows who may write there."""
    if not isinstance(storage, FolderStorage):
        need_secret(where, storage.location, ", or name a folder")


def need_secret(where: str, place: str, otherwise: str = "") -> None:
    """Raise an InputError where there is no secret that proves who made the models at a place."""
    if not signing_key():
        raise InputError(
            f"{where}: expected a secret in {KEY_VARIABLE}, as models run as code and nobody knows "
            f"who may write to {place}; found none. Set it{otherwise}."
        )


def load_bundle(folder: Path) -> Bundle:
    """The model in a folder; an InputError unless it can be loaded here."""
    try:
        return Bundle.load(folder, signing_key())
    except BundleError as error:
        raise InputError(str(error)) from None


def sign_model(model: Path) -> str:
    """Sign a model with the environment's secret; the digest of what is signed.

    Raises InputError if there is no secret, or the model is missing or damaged.
    """
    if not signing_key():
        raise InputError(f"Expected a secret in {KEY_VARIABLE}; found none. Set it, and sign then.")
    try:
        return sign(model, signing_key())
    except BundleError as error:
        raise InputError(str(error)) from None


def _check_same(manifest: Path, entry: Entry) -> None:
    """Refuse a model other than the one that was registered."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        if _manifest(manifest)["digest"] == entry.digest:
            return
    raise InputError(
        f"Expected the model of {entry.run} as it was registered under {entry.name}; found "
        f"another in {manifest.parent}. Restore the folder, or promote another model."
    )


def _facts(last: Event | None, run: str, verdict: Verdict) -> dict[str, Any]:
    """What the event on a new model says beside its name."""
    facts = {name: getattr(verdict, name) for name in ("decision", "why", "look", "difference")}
    if last is None:
        return {**facts, **crowned(last, run)}
    if verdict.decision == "promoted" and last.challenger is not None:
        facts |= {"promoted": last.challenger, **crowned(last, last.challenger)}
    if verdict.joins:
        facts["challenger"] = run
    return facts if verdict.contests is None else {**facts, "contests": verdict.contests}


def _manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(read_regular(path, MOST_BYTES))
    return manifest
