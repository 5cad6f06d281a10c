"""Redis is away, or its hints are lost: studies go on, and the sweep says again what was missed."""

import time
from datetime import timedelta

import pytest
import redis as redis_client

from service.engines import RedisServer
from service.errors import QueueUnavailableError
from service.queue import WORK, announce_work, make_app
from tests.integration.coordinator.support import NOWHERE, coordinating, row_of, submit, wait_for
from tests.integration.store.support import add_study, claim_one, make_study, register


def test_hints_that_redis_missed_are_sent_again_when_it_is_back(ledger, database_url, engines_home):
    home = engines_home.parent / "second"
    server = RedisServer(home, log=engines_home.parent / "second-redis.log")
    handle = server.start()
    try:
        server.stop()
        register(ledger, n_slots=2)
        with coordinating(database_url, handle.url):
            study_id = submit(ledger, make_study())
            wait_for(lambda: row_of(ledger, study_id).counts["n_waiting"] == 4)  # asked without Redis
            handle = server.start()
            with redis_client.Redis.from_url(handle.url) as client:
                message = wait_for(lambda: client.lindex("cpu", 0))
        assert WORK.encode() in message
    finally:
        server.stop()


def test_sweep_repeats_hints_for_idle_slots_only(ledger, database_url, redis):
    register(ledger, n_slots=2)
    add_study(ledger, 5)
    claim_one(ledger)
    with redis_client.Redis.from_url(redis.url) as client:
        client.delete("cpu")
        with coordinating(database_url, redis.url, sweep=timedelta(seconds=60)):
            wait_for(lambda: client.llen("cpu"))
            time.sleep(0.2)
        assert client.llen("cpu") <= 2
        client.delete("cpu")


def test_hint_to_an_absent_redis_is_given_up_within_a_second():
    app = make_app(NOWHERE)
    before = time.monotonic()
    with pytest.raises(QueueUnavailableError, match="Redis does not answer"):
        announce_work(app, "cpu", 3)
    assert time.monotonic() - before < 1


def test_wrong_password_is_an_absent_queue_and_not_a_crash(redis):
    with pytest.raises(QueueUnavailableError):
        announce_work(make_app(redis.url.replace(redis.password, "wrong")), "cpu", 1)
