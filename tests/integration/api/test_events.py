"""Following a study: every event once and in order, whatever breaks in between."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import uvicorn

from service.api.app import context_of, create_app
from service.client import Client, Event
from service.domain.trial import Outcome, StudyId
from service.errors import ServiceError
from service.store.database import Database
from service.store.events import events_after
from service.store.leases import Finish
from tests.asgi import Caller
from tests.integration.api.conftest import StartApi
from tests.integration.api.support import SMALL, STUDIES, claim, finish, plan, run, submit
from tests.unit.api.support import TOKEN, settings

SLOW_POLL = "600"
"""Seconds: a stream that hears of something in time was woken by a notification."""


def stored(ledger: Database, study_id: StudyId) -> list[int]:
    with ledger.transaction() as connection:
        return [event["revision"] for event in events_after(connection, study_id, 0, limit=10_000)]


def in_background(work: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def test_follower_of_a_running_study_sees_every_event_once(start_api: StartApi, ledger: Database) -> None:
    with start_api(TANGENT_POLL=SLOW_POLL).client() as client:
        study_id = StudyId(client.submit(SMALL)["id"])
        runner = in_background(run, ledger, study_id)
        events = list(client.events(study_id))
        runner.join(20)
    assert [event.revision for event in events] == stored(ledger, study_id)
    assert events[0].kind == "submitted"
    assert (events[-1].kind, events[-1].data["state"]) == ("study", "FINISHED")
    assert sum(event.kind == "trial" for event in events) == 2 * 54


def test_notification_wakes_a_waiting_stream(start_api: StartApi, ledger: Database) -> None:
    with start_api(TANGENT_POLL=SLOW_POLL).client() as client:
        study_id = StudyId(client.submit(SMALL)["id"])
        events = client.events(study_id)
        assert next(events).kind == "submitted"
        time.sleep(0.5)  # the stream is waiting now
        began = time.monotonic()
        client.cancel(study_id)
        assert [event.data["state"] for event in events] == ["CANCELLED"]
        assert time.monotonic() - began < 5


def test_stream_goes_on_where_the_reader_stopped(start_api: StartApi, ledger: Database) -> None:
    with start_api().client() as client:
        study_id = StudyId(client.submit(SMALL)["id"])
        run(ledger, study_id)
        everything = [event.revision for event in client.events(study_id)]
        for cut in (1, 2, 50, everything[-1] - 1):
            assert [event.revision for event in client.events(study_id, after=cut)] == everything[cut:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_api_that_ends_during_a_stream_loses_and_repeats_nothing(
    start_api: StartApi, ledger: Database, number: signal.Signals
) -> None:
    """The client comes back by itself, with Last-Event-ID, to the API that is started on the same port."""
    api = start_api()
    port = api.address.rpartition(":")[2]
    with api.client() as client:
        study_id = StudyId(client.submit(SMALL)["id"])
        events = client.events(study_id)
        seen = [next(events).revision]
        run(ledger, study_id, most=5)
        seen += [next(events).revision for _ in range(4)]
        code, errors = api.stop(number)
        assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL), errors
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{api.address}/healthz")
        run(ledger, study_id, most=5)
        start_api(TANGENT_API_PORT=port)
        runner = in_background(run, ledger, study_id)
        seen += [event.revision for event in events]
        runner.join(20)
    assert seen == stored(ledger, study_id)


def test_stream_of_a_cancelled_study_waits_for_its_running_trial(start_api: StartApi, ledger: Database) -> None:
    with start_api().client() as client:
        study_id = StudyId(client.submit(SMALL)["id"])
        plan(ledger, study_id)
        running = claim(ledger)
        assert running is not None
        client.cancel(study_id)
        events: list[Event] = []
        reader = in_background(lambda: events.extend(client.events(study_id)))
        reader.join(1.0)
        assert reader.is_alive(), "a trial is still running"
        finish(ledger, running, Finish(Outcome.CANCELLED))
        reader.join(10)
        assert not reader.is_alive()
    assert events[-1].data["outcome"] == "cancelled"


def test_reader_who_has_seen_the_end_gets_204(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    last = stored(ledger, study_id)[-1]
    for headers, query in (({"Last-Event-ID": str(last)}, ""), ({}, f"?after={last}"), ({}, f"?after={2**62}")):
        response = api.get(f"{STUDIES}/{study_id}/events{query}", headers=headers)
        assert (response.status_code, response.content) == (204, b"")


def test_last_event_id_wins_over_after(api: Caller, ledger: Database) -> None:
    study_id = submit(api)
    run(ledger, study_id)
    last = stored(ledger, study_id)[-1]
    response = api.get(f"{STUDIES}/{study_id}/events?after=0", headers={"Last-Event-ID": str(last - 1)})
    assert response.text.count("data: ") == 1


def test_wire_format_is_that_of_server_sent_events(api: Caller) -> None:
    study_id = submit(api)
    api.post(f"{STUDIES}/{study_id}/cancel")
    response = api.get(f"{STUDIES}/{study_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    first, second, rest = response.text.split("\n\n")
    fields = dict(line.split(": ", 1) for line in first.split("\n"))
    assert fields["id"] == "1"
    assert set(json.loads(fields["data"])) == {"revision", "kind", "data", "created_at"}
    assert "id: 2" in second
    assert rest == ""


def test_open_streams_do_not_hold_up_the_end_of_the_api(start_api: StartApi) -> None:
    api = start_api(TANGENT_POLL=SLOW_POLL)
    with api.client() as client:
        study_id = client.submit(SMALL)["id"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.stream("GET", f"{api.address}{STUDIES}/{study_id}/events", headers=headers) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data:")
            began = time.monotonic()
            code, errors = api.stop()
            assert (code, time.monotonic() - began < 5) == (0, True), errors
            list(lines)  # raises where the connection was cut in mid-sentence


def test_client_gives_up_when_the_service_stays_away(start_api: StartApi) -> None:
    api = start_api()
    client = Client(api.address, TOKEN)
    study_id = client.submit(SMALL)["id"]
    events = client.events(study_id, patience_s=0.5)
    next(events)
    api.stop()
    with pytest.raises(ServiceError, match=r"tangent up|broke"):
        list(events)
    client.close()


def test_readers_who_leave_are_forgotten(database_url: str, api: Caller) -> None:
    """In this process, to look into the hub: a server on a thread."""
    study_id = submit(api)
    app = create_app(settings(database_url=database_url, poll="600"))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = in_background(server.run, [listener])
        address = f"http://127.0.0.1:{listener.getsockname()[1]}{STUDIES}/{study_id}/events"
        waiting = context_of(app).hub._waiting
        for _ in range(5):
            with httpx.stream("GET", address, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
                lines = response.iter_lines()  # kept: httpx closes the connection when it is thrown away
                assert next(lines)
                assert until(lambda: len(waiting.get(study_id, ())) == 1)
        assert until(lambda: not waiting)
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def until(claim: Callable[[], bool], patience_s: float = 5.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.02)
    return claim()
