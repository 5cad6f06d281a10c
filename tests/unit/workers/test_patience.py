"""Transactions where no Postgres is."""

import threading
import time

import pytest

from service.errors import StoreUnavailableError
from service.store.database import Database
from workers.patience import persist


@pytest.fixture
def nowhere(tmp_path):
    return Database(f"postgresql://nobody@/nothing?host={tmp_path}", application_name="tests")


def test_patience_ends_some_seconds_after_a_stop_was_asked_for(nowhere, caplog):
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    before = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        persist(nowhere, lambda _: None, stopping=stopping, patience_s=0.4, what="write")
    assert 0.6 < time.monotonic() - before < 2
    assert caplog.text.count("Postgres does not answer") == 1


def test_one_try_is_made_where_there_is_no_patience(nowhere):
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(StoreUnavailableError):
        persist(nowhere, lambda _: None, stopping=stopping, what="write")
