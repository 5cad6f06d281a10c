"""The API's application on a fresh ledger, and the API as a process."""

from collections.abc import Callable, Iterator

import pytest

from service.api.app import context_of, create_app
from tests.asgi import Caller
from tests.integration.api.support import ApiProcess
from tests.unit.api.support import TOKEN, settings

StartApi = Callable[..., ApiProcess]


@pytest.fixture
def api(database_url: str) -> Iterator[Caller]:
    """Calls the application without a server; event streams poll, since nothing listens."""
    app = create_app(settings(database_url=database_url, poll="0.1"))
    yield Caller(app, token=TOKEN)
    context_of(app).database.close()


@pytest.fixture
def start_api(database_url: str) -> Iterator[StartApi]:
    """Start API processes on this test's ledger; keyword arguments are variables of the environment."""
    started: list[ApiProcess] = []

    def start(url: str = database_url, **variables: str) -> ApiProcess:
        started.append(ApiProcess(url, **variables))
        return started[-1]

    yield start
    for process in started:
        process.stop()
