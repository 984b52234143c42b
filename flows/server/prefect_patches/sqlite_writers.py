"""The embedded server's SQLite transactions take the write lock when they begin.

What: Each transaction begins with ``BEGIN IMMEDIATE``.
Why: Prefect begins most of them as readers. SQLite refuses a reader that writes after another
transaction has written (SQLITE_BUSY_SNAPSHOT), the API answers 503, and the client waits 2 s
before it tries again. A transaction that begins as a writer waits some milliseconds.
Measured: 40 sub-flows of 27 tasks waited 2 s 26 times, 6 times with batched recording of events,
and never with this (3.8.8). 12 sub-flows: 16 and 4 answers of 503 on 3.9.1, 13 and 4 on 3.8.8; with
this none on either. Prefect 3.9.1 begins some as writers, those that begin flow runs not among
them: 8 clients that begin runs got 503 to 57 of 86 requests, with this to none of 110.
Until: Prefect begins all transactions that write as writers.
"""

from prefect.server.database import dependencies
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL


class _Writers(AioSqliteConfiguration):
    def begin_transaction(self, session, with_for_update=False):  # type: ignore[no-untyped-def]
        return super().begin_transaction(session, with_for_update=True)


def apply() -> None:
    """Have the server of this process use such transactions, if its database is SQLite."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url.startswith("sqlite"):
        dependencies.MODELS_DEPENDENCIES["database_config"] = _Writers(connection_url=url)
