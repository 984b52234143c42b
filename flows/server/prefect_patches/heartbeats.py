"""A flow that ends doesn't wait for its thread of heartbeats.

What: The thread that sends a flow run's heartbeats ends by itself, as Prefect's async flows let it.
Why: The thread sleeps a second at a time, and a flow or sub-flow that ends waits for it.
Measured: An empty flow took 1.5 s, and with this 0.5 s, on 3.9.1 and a busy machine.
Until: Prefect's thread wakes at once when its flow ends.
"""

import functools
from typing import Any

from prefect import flow_engine


def apply() -> None:
    """Have the flows of this process end at once."""
    engine: Any = flow_engine
    engine._send_heartbeats = functools.partial(engine._send_heartbeats, join_on_exit=False)
