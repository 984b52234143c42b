"""Prefect's result storage as a view of our store of fits.

Prefect looks up a unit's key here. What it gets is a record made on the spot, with a handle to a
fit that was just verified; nothing that Prefect would unpickle is ever read from a file. A fit
that is missing or damaged is no hit, and the unit is fitted again.
"""

from typing import Any

from prefect.filesystems import WritableFileSystem
from prefect.results import ResultRecord, ResultRecordMetadata  # type: ignore[attr-defined]
from prefect.serializers import JSONSerializer

from flows.fitting.workspace import find_workspace


class FitStorage(WritableFileSystem):
    """Handles of whole fits, by unit key.

    Parameters
    ----------
    workspace : handle of an open workspace
    """

    _block_type_name = "Uplift fit storage"
    _block_type_slug = "uplift-fit-storage"

    workspace: str

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """The record of a key's fit; an error, and so no hit, where there is no whole fit."""
        if find_workspace(self.workspace).store.find(path) is None:
            raise FileNotFoundError(path)
        metadata = ResultRecordMetadata(serializer=JSONSerializer(), storage_key=path)
        return ResultRecord(result=path, metadata=metadata).serialize()

    def write_path(  # type: ignore[override]
        self, path: str, content: bytes, _sync: bool = True
    ) -> None:
        """Nothing: the fit lies in the store before its task ends."""

    async def aread_path(self, path: str) -> bytes:
        """As `read_path`."""
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """As `write_path`."""

    def _resolve_path(self, path: str) -> Any:
        # Keys are names in our store, no paths that Prefect should resolve.
        return None
