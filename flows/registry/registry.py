"""The registry at the place that a config or a command names, and what is asked of that place."""

import re
import warnings
from dataclasses import dataclass

from flows.config.names import CHAMPION, is_name
from flows.config.parts.recurring import RegistryConfig
from flows.config.reading import parse
from flows.errors import InputError
from flows.fitting.cache import (
    check_state_of,
    check_usable,
    is_there,
    open_place,
    signing_key,
)
from flows.messages.limits import shown
from flows.registry.models import ENTRY, Models, check_secret
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.storage import Storage
from metalearners.files.ownership import (
    UntrustedError,
    UntrustedWarning,
    check_makers,
    reachable_folders,
)

ALIASES = (CHAMPION, "challenger")
_ENTRY = re.compile(rf"([^/]+)/models/([^/]+)/{re.escape(ENTRY)}")
_MOST_SHOWN = 5
_FIRST = "run a config first: the first model of its name becomes champion"


@dataclass(frozen=True)
class Registry:
    """The models of all names at a place."""

    storage: Storage

    def of(self, name: str) -> Models:
        """The models of a name."""
        return Models(self.storage, name)

    def runs(self) -> list[tuple[str, str]]:
        """Name and run of each model, in order."""
        found = (_ENTRY.fullmatch(item.name) for item in self.storage.items())
        return sorted((entry[1], entry[2]) for entry in found if entry and is_name(entry[1]))

    def find(self, reference: str) -> tuple[Models, str]:
        """The model that is meant by ``NAME@champion``, ``champion``, a run's name or part of it.

        A bare alias is that of the only name that has models.

        Raises InputError if there is no such model, or several names have a part.
        """
        name, alias = split(reference)
        if alias:
            models = self.of(name or self._only_name(alias))
            return models, self._bearer(models, alias)
        meant = self.matching(reference)
        if len(meant) != 1:
            raise InputError(
                "Expected a model: its run's name, a part of that, or NAME@champion; found "
                f"{len(meant) or 'none'} for {shown(repr(reference))} in the registry "
                f"{self.storage.location}. Models there: {_listed(meant or self.runs())}."
            )
        return self.of(meant[0][0]), meant[0][1]

    def matching(self, text: str) -> list[tuple[str, str]]:
        """Name and run of the models whose run has a name, or else of those with it as a part."""
        runs = self.runs()
        whole = [model for model in runs if model[1] == text]
        return whole or [model for model in runs if text and text in model[1]]

    def names(self) -> list[str]:
        """Names that have models."""
        return list(dict.fromkeys(name for name, _ in self.runs()))

    def _only_name(self, alias: str) -> str:
        names = self.names()
        if len(names) == 1:
            return names[0]
        found, remedy = ", ".join(names), f"Say NAME@{alias}"
        raise InputError(
            f"Expected NAME@{alias} where not exactly one name has models; found the names "
            f"{found or 'of none'} in the registry {self.storage.location}. "
            f"{remedy if names else _FIRST.capitalize()}."
        )

    def _bearer(self, models: Models, alias: str) -> str:
        last = models.history.last()
        run = None if last is None else {"champion": last.champion, "challenger": last.challenger}
        if run is not None and run[alias] is not None:
            return str(run[alias])
        found = f"{last.champion} as champion alone" if last else "no models of this name"
        raise InputError(
            f"Expected a {alias} of {models.name} in the registry {self.storage.location}; found "
            f"{found}. Names there: {', '.join(self.names()) or 'none'}. Name one of these, or "
            f"{_FIRST}."
        )


def split(reference: str) -> tuple[str, str]:
    """The name and the alias in ``NAME@champion``; no alias in what means no model by one."""
    name, _, alias = reference.rpartition("@")
    known = alias in ALIASES and (reference == alias or is_name(name))
    return (name, alias) if known else ("", "")


def made_registry(location: str, where: str) -> Registry:
    """The registry at a place, which is made if it doesn't exist.

    Raises InputError as `check_registry`.
    """
    config = parse(RegistryConfig, {"storage": location}, f"{where}: ")
    warning = check_registry(config, where)
    if warning:
        warnings.warn(warning, UntrustedWarning, stacklevel=2)
    return Registry(open_place(location, where))


def open_registry(location: str, where: str) -> Registry:
    """The registry that there is at a place; nothing is made.

    Raises InputError if there is none, or any user of this machine may write there.
    """
    parse(RegistryConfig, {"storage": location}, f"{where}: ")
    check_state_of(location)
    if not is_there(location, where):
        raise InputError(
            f"{where}: expected a registry of models; found nothing at {location}. Name the place "
            f"that runs have as registry.storage, or {_FIRST}."
        )
    registry = Registry(open_place(location, where))
    warning = _makers_warning(registry.storage, where)
    if warning:
        warnings.warn(warning, UntrustedWarning, stacklevel=2)
    return registry


def check_registry(config: RegistryConfig, where: str = "registry.storage") -> str:
    """Refuse a registry that a run couldn't write its model to.

    Returns
    -------
    A warning of others who may write models there; empty if none may

    Raises InputError if it can't be written, any user of this machine may write there, or it is at
    a URL and there is no secret.
    """
    check_state_of(config.storage)
    check_usable(config.storage, where)
    storage = open_place(config.storage, where)
    check_secret(storage, where)
    return _makers_warning(storage, where)


def _makers_warning(storage: Storage, where: str) -> str:
    """A warning of others who may put models there; an InputError if any user may."""
    if signing_key() or not isinstance(storage, FolderStorage):
        return ""
    of_names = reachable_folders(storage.folder)
    below = [folder for name in of_names for folder in reachable_folders(name)]
    try:
        warning = check_makers(storage.folder, [*of_names, *below])
    except UntrustedError as error:
        raise InputError(f"{where}: {error}") from None
    return warning and f"{where}: {warning}"


def _listed(models: list[tuple[str, str]]) -> str:
    return ", ".join(f"{shown(run)} ({name})" for name, run in models[-_MOST_SHOWN:]) or "none"
