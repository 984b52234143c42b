"""Where scores go: a file or a table, which has them whole or not at all."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pyarrow as pa

from flows.config.files import check_file
from flows.dates.queries import DatabaseTable
from flows.errors import InputError
from flows.inputs.places import check_allowed, find_files
from flows.scoring.outputs import OUTPUTS, Feather, Output, holds_scores
from flows.scoring.tables import Identities, check_columns, check_table, write_table
from flows.server.environment import STATE_FOLDER, state_folder

_LOCAL = ("file://", "local://")  # URLs of files of this machine
_KEPT = "scoring"  # folder for the batches of tables
_OF_RUNS = ("config.yaml", "report.html", "summary.json")  # in the folder of each finished run


class Target(ABC):
    """Where scores go."""

    @abstractmethod
    def check(self, source: str) -> None:
        """Refuse a target to which the scores of a source can't be written."""

    def check_columns(  # noqa: B027 - files take any
        self, schema: Callable[[], pa.Schema], identities: Identities
    ) -> None:
        """Refuse columns that the target can't have; identities are read only where they decide."""

    @property
    @abstractmethod
    def kind(self) -> type[Output]:
        """The format of the file that is written first."""

    @property
    @abstractmethod
    def beside(self) -> Path:
        """The file beside which finished batches are kept."""

    @abstractmethod
    def publish(self, unfinished: Path) -> None:
        """Put all scores, which are in a file, in their place at once."""


@dataclass(frozen=True)
class FileTarget(Target):
    """A file, whose name says its format.

    Parameters
    ----------
    path : Path
        The file.
    overwrite : bool
        Whether it may take the place of a file that has something else than scores.
    """

    path: Path
    overwrite: bool = False

    def __str__(self) -> str:
        return str(self.path)

    def check(self, source: str) -> None:
        """Refuse a file that can't be written, has no known format, or has rows to score."""
        check_allowed(str(self.path))
        _check_is_free(self.path)
        check_file(self.path, "--output")
        if self.path.suffix.lower() not in OUTPUTS:
            raise InputError(
                f"--output: expected a file whose name ends in {', '.join(OUTPUTS)}; found "
                f"{self.path}."
            )
        _check_apart(self.path, source)
        self._check_replaced()

    @property
    def kind(self) -> type[Output]:
        """By the end of its name."""
        return OUTPUTS[self.path.suffix.lower()]

    @property
    def beside(self) -> Path:
        """The file itself."""
        return self.path

    def publish(self, unfinished: Path) -> None:
        """Give the file its name, in place of earlier scores."""
        self._check_replaced()  # another process may have written it meanwhile
        os.replace(unfinished, self.path)

    def _check_replaced(self) -> None:
        """Refuse to replace what no scoring wrote, unless that is wanted."""
        is_lost = self.path.exists() and self.path.stat().st_size > 0
        if is_lost and not self.overwrite and not holds_scores(self.path):
            raise InputError(
                f"--output: expected a new file, or one with earlier scores; found {self.path} "
                "with something else. Name another, or delete it. The command also has --overwrite."
            )


@dataclass(frozen=True)
class TableTarget(Target):
    """A table of a database.

    Parameters
    ----------
    table : DatabaseTable
        The table.
    mark : str
        What its scores are of: kept with the table, so that those of other rows aren't replaced.
    """

    table: DatabaseTable
    mark: str

    def __str__(self) -> str:
        return str(self.table)

    def check(self, source: str) -> None:
        """Refuse a database that can't be written to, and a table with other content."""
        check_allowed(self.table.url)
        if self.table.file is not None:
            _check_is_free(self.table.file)
        check_table(self.table, self.mark)

    def check_columns(self, schema: Callable[[], pa.Schema], identities: Identities) -> None:
        """Refuse columns that the database can't have, or not in place of earlier ones."""
        check_columns(self.table, self.mark, schema(), identities)

    @property
    def kind(self) -> type[Output]:
        """One that is read in batches."""
        return Feather

    @property
    def beside(self) -> Path:
        """A name in the state folder, which is private."""
        folder = state_folder() / _KEPT
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / sha256(str(self.table).encode()).hexdigest()[:16]

    def publish(self, unfinished: Path) -> None:
        """Write the table in one transaction, in place of earlier scores of the same rows."""
        with pa.OSFile(str(unfinished)) as file:
            write_table(self.table, self.mark, pa.ipc.open_file(file))


def _check_is_free(file: Path) -> None:
    """Refuse a file among those that runs and servers keep."""
    place = file.resolve()
    if place.is_relative_to(Path(STATE_FOLDER).resolve()):
        raise InputError(
            f"--output: expected a file outside {STATE_FOLDER}, which is the programs' own; found "
            f"{file}. Choose another."
        )
    if any(all((folder / name).is_file() for name in _OF_RUNS) for folder in place.parents):
        raise InputError(
            f"--output: expected a file outside the folders of runs, which stay as they are; found "
            f"{file}. Choose another."
        )


def _check_apart(output: Path, source: str) -> None:
    """Refuse to overwrite a file of the rows to score."""
    is_local = "::" not in source and ("://" not in source or source.startswith(_LOCAL))
    if not is_local or not output.exists():
        return
    try:
        files = find_files(source).files
    except (OSError, ValueError):  # told when the rows are read
        return
    if any(output.samefile(file) for file in files):
        raise InputError(
            "--output: expected another file than the rows to score; found "
            f"{output} among those of {source}."
        )
