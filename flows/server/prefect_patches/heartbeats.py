"""Heartbeats of flow runs that stop at once.

Prefect's own thread sleeps a second at a time, and a flow that ends waits for it: up to a second a
flow and sub-flow. This one waits for the end itself. Its events are Prefect's.
"""

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

from prefect import flow_engine


@contextlib.contextmanager
def _send_heartbeats(engine: Any, join_on_exit: bool = True) -> Iterator[None]:
    if engine.heartbeat_seconds is None:
        yield
        return
    ended = threading.Event()
    event = engine._build_heartbeat_event_template()
    # The thread sends to the server of the settings in force here.
    context = contextvars.copy_context()
    beating = threading.Thread(target=context.run, args=(_beat, engine, event, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        if join_on_exit:
            beating.join()


def _beat(engine: Any, event: tuple[Any, Any], ended: threading.Event) -> None:
    while True:
        with contextlib.suppress(Exception):  # a missed beat is no reason for a run to fail
            engine._emit_flow_run_heartbeat(*event)
        if ended.wait(engine.heartbeat_seconds):
            return


def end_at_once() -> None:
    """Have the flows of this process use these heartbeats; private in Prefect, so done here."""
    flow_engine._send_heartbeats = _send_heartbeats
