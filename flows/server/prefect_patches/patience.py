"""Requests to Prefect's API outlast a server that is away for a while, at any moment of a run.

What: Prefect's clients try a request again for 90 s where the server doesn't answer, with waits of
2 s at most. Its client of events tries as long to connect, and keeps what it couldn't send.
Why: Prefect tries again only where the same client has reached the server before, and a flow makes
a new one at each start of a sub-flow. Between its tries it waits 2, 4, 8, 16, 32 seconds. Neither
can be set from outside, and the clients are made deep inside its engines.
Measured: where the server is away at its first request, a client ends at once with ConnectError on
3.8.8 and 3.9.1; with this it has its answer when the server is back. Where its first connection
took 30 s, a client lost five of eight events on 3.9.1, with this none.
Until: a new client of Prefect's waits for a server, as long as a setting says.
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
_AFTERWARDS = 30
_LONGEST_WAIT = 2.0


@functools.cache
def apply() -> None:
    """Make the clients of this process patient."""
    for client in (PrefectHttpxSyncClient, PrefectHttpxAsyncClient):
        sending = _patient(client._send_with_retry)
        client._send_with_retry = sending  # type: ignore[method-assign]
    # Changed in place, as events of any other class of clients, a subclass too, are dropped.
    patient = functools.partialmethod(PrefectEventsClient.__init__, reconnection_attempts=SECONDS)
    PrefectEventsClient.__init__ = patient  # type: ignore[method-assign, assignment]
    PrefectEventsClient.emit = _emit  # type: ignore[method-assign, assignment]


async def _emit(self: PrefectEventsClient, event: Event) -> None:
    """Send an event, and those before it that the server may not have."""
    try:
        await EventsClient.emit(self, event)
    except Exception:
        self._reconnection_attempts = 1  # those behind it, all kept, mustn't wait that long each
        raise
    self._reconnection_attempts = SECONDS


# Set when a request was given up: others aren't waited for as long, until one gets through.
_gone = threading.Event()


class _Away(retry_if_exception_type):
    """Whether the server was away, by what a try raised."""

    def __call__(self, state: RetryCallState) -> bool:
        again = super().__call__(state)
        if not again:
            _gone.clear()
        return again


def _at_an_end(state: RetryCallState) -> bool:
    waited = state.seconds_since_start or 0.0
    return waited > (_AFTERWARDS if _gone.is_set() else SECONDS) or interruption.begun.is_set()


def _give_up(state: RetryCallState) -> Any:
    error = state.outcome.exception() if state.outcome else None
    if interruption.begun.is_set() or not isinstance(error, httpx.TransportError):
        raise error or RuntimeError("There was no try.")
    _gone.set()
    raise type(error)(
        f"The Prefect server hasn't answered for {state.seconds_since_start:.0f} s ({error}). "
        "Start it again; finished fits are kept."
    ) from error


def _patient(original: Callable[..., Any]) -> Callable[..., Any]:
    """Prefect's sender with our tries; answers that ask for another remain its own business."""
    kind = AsyncRetrying if inspect.iscoroutinefunction(original) else Retrying

    @functools.wraps(original)
    def send_with_retry(
        self: Any,
        request: httpx.Request,
        send: Callable[..., Any],
        send_args: tuple[Any, ...],
        send_kwargs: dict[str, Any],
        retry_codes: set[int],
        retry_exceptions: tuple[type[Exception], ...],
    ) -> Any:
        tries = kind(
            retry=_Away((*retry_exceptions, httpx.ConnectError)),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT),
            stop=_at_an_end,
            retry_error_callback=_give_up,
        )
        patient_send = functools.partial(tries, send)
        return original(self, request, patient_send, send_args, send_kwargs, retry_codes, ())

    return send_with_retry
