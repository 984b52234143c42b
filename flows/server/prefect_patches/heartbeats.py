"""A flow's thread of heartbeats stops at once when the flow ends.

What: the thread that sends a flow run's heartbeats waits for the end of the flow. The events that
it sends are Prefect's.
Why: Prefect's thread sleeps a second at a time, and a flow or sub-flow that ends waits for it.
Measured: a flow of nothing took 1.1 s and with this 0.2 s on 3.9.1; 0.6 s and 0.1 s on 3.8.8.
Until: Prefect's thread waits for an event too.
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


def apply() -> None:
    """Have the flows of this process use these heartbeats."""
    flow_engine._send_heartbeats = _send_heartbeats
