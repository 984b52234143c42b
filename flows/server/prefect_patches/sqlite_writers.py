"""The embedded server's SQLite transactions take the write lock when they begin.

What: each transaction begins with ``BEGIN IMMEDIATE``.
Why: Prefect begins most of them as readers. A reader that writes after another has written is
refused at once (SQLITE_BUSY_SNAPSHOT), the API answers 503, and the client waits 2 s before it
tries again. A writer waits its turn, some milliseconds.
MEASURED
Until: upstream begins all transactions that write as writers.
"""

from prefect.server.database import dependencies
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL


class _Writers(AioSqliteConfiguration):
    def begin_transaction(self, session, with_for_update=False):  # type: ignore[no-untyped-def]
        return super().begin_transaction(session, with_for_update=True)


def apply() -> None:
    """Have the server of this process use such transactions, if its database is SQLite's."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url.startswith("sqlite"):
        dependencies.MODELS_DEPENDENCIES["database_config"] = _Writers(connection_url=url)
