"""A flow that a script calls without a server has the embedded one of the folder, as the command.

Prefect would start one of its own, on the same database, and give it 20 s: a busy machine takes
longer. Here both doors wait as long.
"""

from typing import Any
from urllib.parse import urlsplit

from flows.server.connection import connect, wait_for
from flows.server.prefect_patches.import_hook import when_imported


def replace() -> None:
    """Have this process use the embedded server wherever Prefect would start one.

    Private: which server a client asks is decided deep inside Prefect. Done when Prefect wants
    a server, as the module that starts one takes seconds to import.
    """
    when_imported("prefect.server.api.server", _replace_in)


def _replace_in(module: Any) -> None:
    module.SubprocessASGIServer.start = _start
    module.SubprocessASGIServer.stop = _leave


def _start(self: Any, timeout: int | None = None) -> None:
    if self.running:
        return
    address = connect()
    wait_for(address)
    self.port, self.running = urlsplit(address).port, True
    self.server_process = self  # that there is one is all that is asked of it


def _leave(self: Any) -> None:
    """Nothing: the server ends by itself after its last user."""
