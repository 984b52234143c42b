"""The embedded server's process: Prefect's own server on SQLite, for the users of one state folder.

Run as ``python -P -m flows.server.embedded FOLDER PORT``. It holds a lock as long as it lives, so
that a folder has one server, and ends when no process holds the users' lock any more.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from flows.server import prefect_patches
from flows.server.database import prefect_knows, prepare_database
from flows.server.environment import prepare
from metalearners.files.file_locks import open_lock, try_lock
from metalearners.files.regular_files import write_whole

_POLL_SECONDS = 1.0
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def main(folder: Path, port: int) -> None:
    """Serve until no process uses the server."""
    if not try_lock(open_lock(folder / "server.alive")):  # until the process ends
        return
    # Before the slow imports, as users wait for the address.
    _write_record(folder, port)
    prepare()
    notice = _prepare_database()
    if notice:
        _write_record(folder, port, notice)
    import uvicorn
    from prefect.server.api.server import create_app

    prefect_patches.apply("server")
    app = _own_pages_only(create_app(final=True), port)
    # On loopback, compressing events takes more time than sending them.
    served = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", ws_per_message_deflate=False
    )
    server = uvicorn.Server(served)
    address = f"http://127.0.0.1:{port}/api"
    watch = threading.Thread(target=_watch, args=(server, folder, address))
    watch.start()
    threading.Thread(target=_keep_waking, args=(folder,), daemon=True).start()
    try:
        server.run()
    finally:  # also where its port is taken: its users start another then
        server.should_exit = True
        watch.join()


def _prepare_database() -> str:
    """What was done to a database that can't be used; empty where it can, or lies elsewhere."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME

    own = PREFECT_HOME.value() / "prefect.db"
    if PREFECT_API_DATABASE_CONNECTION_URL.value() != f"sqlite+aiosqlite:///{own}":
        return ""
    return prepare_database(own, prefect_knows)


def _write_record(folder: Path, port: int, notice: str = "") -> None:
    tokens = os.environ.get("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "false")
    content = {"api": f"http://127.0.0.1:{port}/api", "pid": os.getpid()}
    content |= {"notice": notice, "csrf": tokens}
    write_whole(folder / "server.json", json.dumps(content).encode())


def _watch(server: Any, folder: Path, api: str) -> None:
    """End dead runs, and the server when it has neither users nor a dead run left."""
    from flows.server.running import mark_crashed

    users = open_lock(folder / "server.users")
    while not server.should_exit:
        time.sleep(_POLL_SECONDS)
        if not mark_crashed(folder, api) and try_lock(users):
            # This process keeps the lock until it ends; the next user starts a new server.
            (folder / "server.json").unlink(missing_ok=True)
            server.should_exit = True


def _keep_waking(folder: Path) -> None:
    """Wake stopped runs; a thread of its own, as `_watch` may wait for a busy server."""
    from flows.server.running import wake_those_told_to_end

    while True:
        time.sleep(_POLL_SECONDS)
        wake_those_told_to_end(folder)


def _own_pages_only(app: Any, port: int) -> Any:
    """The app, closed to other pages in the user's browser.

    The API runs code for any page that can call it, and Prefect lets pages of any origin do so.
    This refuses requests that name another host or come from another origin.
    """
    hosts = {f"{host}:{port}" for host in _HOSTS}
    origins = {f"http://{host}" for host in hosts}

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["type"] == "http" and (host not in hosts or (origin and origin not in origins)):
            from starlette.responses import PlainTextResponse

            refusal = PlainTextResponse("Expected a page of this server.", status_code=403)
            await refusal(scope, receive, send)
        elif scope["type"] == "websocket" and origin and origin not in origins:
            await send({"type": "websocket.close", "code": 1008})
        else:
            await app(scope, receive, send)

    return guarded


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
