"""Requests to Prefect's API wait for a server that is away for a while, at any moment of a run.

What: Prefect's clients repeat a request for 90 s where the server doesn't answer, with waits of
2 s at most. Its client of events tries as long to connect, and keeps the events it couldn't send.
Why: Prefect repeats a request only where the same client has reached the server before, and a flow
makes a new client at each start of a sub-flow. Its waits are 2, 4, 8, 16 and 32 seconds. No setting
changes that, and Prefect's engines make their clients deep inside.
Measured: Where the server is away at its first request, a client ends at once with ConnectError on
3.8.8 and 3.9.1; with this it has its answer when the server is back. Where its first connection
took 30 s, a client lost five of eight events on 3.9.1, with this none.
Until: a new client of Prefect's waits for a server for as long as a setting says.
"""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.events.clients import EventsClient, PrefectEventsClient
from prefect.events.schemas.events import Event
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from flows.server import interruption

SECONDS = 90
_SECONDS_ONCE_LOST = 30
_LONGEST_WAIT = 2.0

# Set when a request was given up, until another one gets through.
_server_lost = threading.Event()


@functools.cache
def apply() -> None:
    """Have the clients of this process repeat their requests."""
    for client in (PrefectHttpxSyncClient, PrefectHttpxAsyncClient):
        sending = _with_retries(client._send_with_retry)
        client._send_with_retry = sending  # type: ignore[method-assign]
    # Changed in place, as Prefect drops the events of any other class of clients, a subclass too.
    connecting = functools.partialmethod(
        PrefectEventsClient.__init__, reconnection_attempts=SECONDS
    )
    PrefectEventsClient.__init__ = connecting  # type: ignore[method-assign, assignment]
    PrefectEventsClient.emit = _emit  # type: ignore[method-assign, assignment]


async def _emit(self: PrefectEventsClient, event: Event) -> None:
    """Send an event, and those before it that the server may not have."""
    try:
        await EventsClient.emit(self, event)
    except Exception:
        self._reconnection_attempts = 1  # the client keeps the next events, without such a wait
        raise
    self._reconnection_attempts = SECONDS


class _ServerIsAway(retry_if_exception_type):
    """Whether the server was away, by the error of a request."""

    def __call__(self, state: RetryCallState) -> bool:
        away = super().__call__(state)
        if not away:
            _server_lost.clear()
        return away


def _is_over(state: RetryCallState) -> bool:
    seconds = _SECONDS_ONCE_LOST if _server_lost.is_set() else SECONDS
    return interruption.begun.is_set() or (state.seconds_since_start or 0.0) > seconds


def _give_up(state: RetryCallState) -> Any:
    error: Any = state.outcome and state.outcome.exception()
    if interruption.begun.is_set():
        raise error
    _server_lost.set()
    raise type(error)(
        f"The Prefect server hasn't answered for {state.seconds_since_start:.0f} s ({error}). "
        "Start it again; finished fits are kept."
    ) from error


def _with_retries(original: Callable[..., Any]) -> Callable[..., Any]:
    """Prefect's sender with our retries where no answer comes; it handles answers as before."""
    retrying = AsyncRetrying if inspect.iscoroutinefunction(original) else Retrying

    @functools.wraps(original)
    def send_with_retry(
        self: Any,
        *,
        send: Callable[..., Any],
        retry_exceptions: tuple[type[Exception], ...],
        **request: Any,
    ) -> Any:
        tries = retrying(
            retry=_ServerIsAway((*retry_exceptions, httpx.ConnectError)),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT),
            stop=_is_over,
            retry_error_callback=_give_up,
        )
        repeated = functools.partial(tries, send)
        return original(self, send=repeated, retry_exceptions=(), **request)

    return send_with_retry
