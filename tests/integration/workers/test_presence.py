"""A worker's presence in the ledger ends with its sign-off."""

import threading
import time
from datetime import timedelta

from service.store.workers import list_workers
from tests.integration.store.support import WORKER, registration
from workers.registration import Presence


def test_heartbeat_never_brings_a_worker_back_that_has_signed_off(ledger):
    """The beat is so quick that one is nearly always under way."""
    for _ in range(30):
        presence = Presence(ledger, registration(worker_id=WORKER), timedelta(milliseconds=0.5))
        presence.start(threading.Event())
        time.sleep(0.01)
        presence.end()
        time.sleep(0.01)
        with ledger.transaction() as connection:
            (worker,) = list_workers(connection)
        assert worker["state"] == "offline"
        assert worker["stopped_at"] is not None
