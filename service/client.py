"""HTTP client of the API: what the command line and the demo know of a service."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from service.acting import Acting
from service.errors import ServiceError

_PING_S = 15.0
"""The server's pause between keep-alive comments; three missed ones are a broken connection."""
_RETRIED = (502, 503, 504)
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
_ACT_PATIENCE_S = 60.0
"""How long a request whose answer is lost is sent again."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a study.

    Attributes:
        revision: Grows by one with every event of the study.
        kind: "submitted", "trials_added", "trial", "cell", "study", "look", "settings", "requeue" or "control".
        created_at: ISO 8601, with its zone.
    """

    revision: int
    kind: str
    data: Mapping[str, Any]
    created_at: str


class Client(Acting):
    """One service. Every method raises ServiceError, with the service's own words, or why it could not be asked.

    Thread-safe; holds connections until `close`.
    """

    def __init__(self, base_url: str, token: str, *, timeout_s: float = 30.0) -> None:
        """Name the service; connects on first use.

        Args:
            base_url: Such as "http://127.0.0.1:8417".
            token: The bearer token.
            timeout_s: Longest wait for any one answer.
        """
        self.base_url, self._timeout_s = base_url.rstrip("/"), timeout_s
        headers = {"Authorization": f"Bearer {token}"}
        try:
            self._http = httpx.Client(base_url=f"{self.base_url}/api/v1", headers=headers, timeout=timeout_s)
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
            raise ServiceError(f"'{base_url}' with this token is no address of a service: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, study: Mapping[str, Any] | str) -> dict[str, Any]:
        """Submit a study file, as data or as YAML text; returns `id`, `state`, `spec`, `cost`, `warnings`."""
        return self._submit(study, {})

    def validate(self, study: Mapping[str, Any] | str) -> dict[str, Any]:
        """What the study would cost; writes nothing."""
        return self._submit(study, {"validate_only": "true"})

    def list_studies(self, *, state: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Studies, newest first; all of them without `limit`."""
        return _first(self._pages("/studies", "studies", {"state": state}), limit)

    def show(self, study_id: int) -> dict[str, Any]:
        """A study with its progress, cells and ETA."""
        return self._get(f"/studies/{study_id}")

    def file(self, study_id: int, format: str = "yaml") -> str:  # noqa: A002
        """The study file as it was frozen, as "yaml" or "json"."""
        return self._send("GET", f"/studies/{study_id}/file", params={"format": format}).text

    def report(self, study_id: int) -> dict[str, Any]:
        """The comparison of the study's arms as far as its trials allow."""
        return self._get(f"/studies/{study_id}/report")

    def trials(
        self,
        study_id: int,
        *,
        arm: str | None = None,
        phase: str | None = None,
        state: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Trials by number; all of them without `limit`."""
        filters = {"arm": arm, "phase": phase, "state": state, "limit": "500" if limit is None else None}
        return _first(self._pages(f"/studies/{study_id}/trials", "trials", filters), limit)

    def trial(self, study_id: int, number: int) -> dict[str, Any]:
        """A trial with its attempts and measurements."""
        return self._get(f"/studies/{study_id}/trials/{number}")

    def catalog(self) -> dict[str, Any]:
        """Optimizers, workloads, samplers and pruners that a study file may name."""
        return self._get("/catalog")

    def workers(self) -> list[dict[str, Any]]:
        """Workers, those online first."""
        found: list[dict[str, Any]] = self._get("/workers")["workers"]
        return found

    def export(self, study_id: int, format: str = "json") -> str:  # noqa: A002
        """The study with all its trials as the text of a "json" or "csv" file."""
        return self._send("GET", f"/studies/{study_id}/export", params={"format": format}).text

    def upload_check(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the report of a check; returns its `id` and verdict, those of the first time for one that is known."""
        return self._json("POST", "/checks", json=dict(report))

    def checks(self, *, name: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Checks of one name or of all, newest first; all of them without `limit`."""
        return _first(self._pages("/checks", "checks", {"name": name}), limit)

    def check(self, check_id: int) -> dict[str, Any]:
        """A check with its `report`."""
        return self._get(f"/checks/{check_id}")

    def login_link(self, path: str = "/studies") -> str:
        """An address of the dashboard that signs one browser in, once, within ten minutes."""
        answer = self._json("POST", "login-links", params={"next": path})
        return f"{self.base_url}{answer['path']}"

    def events(self, study_id: int, *, after: int = 0, patience_s: float = 60.0) -> Iterator[Event]:
        """Follow a study until its last event, each event once and in order.

        Connects again, from the last event seen, where the connection breaks or the service restarts.

        Args:
            after: Revision after which to start.
            patience_s: How long to go on trying while the service does not answer.
        """
        last, answered_at, pause_s = after, time.monotonic(), 0.1
        while True:
            try:
                for event in self._stream(study_id, last):
                    answered_at, pause_s = time.monotonic(), 0.1
                    if event is _END:
                        return
                    last = event.revision
                    yield event
            except ServiceError as error:
                is_passing = error.status is None or error.status in _RETRIED
                if not is_passing or time.monotonic() - answered_at > patience_s:
                    raise
            time.sleep(pause_s)
            pause_s = min(2.0, 2 * pause_s)

    def _stream(self, study_id: int, after: int) -> Iterator[Event]:
        """Events of one connection; `_END` where the service says that there are no more."""
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        timeout = httpx.Timeout(self._timeout_s, read=3 * _PING_S)
        url = f"/studies/{study_id}/events"
        try:
            with self._http.stream("GET", url, headers=headers, timeout=timeout) as response:
                if response.status_code == httpx.codes.NO_CONTENT:
                    yield _END
                elif not response.is_success:
                    response.read()
                    raise _problem(response)
                else:
                    yield from _parse_events(response.iter_lines())
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _submit(self, study: Mapping[str, Any] | str, params: Mapping[str, str]) -> dict[str, Any]:
        if isinstance(study, str):
            headers, content = {"Content-Type": "application/yaml"}, study.encode()
        else:
            headers, content = {"Content-Type": "application/json"}, json.dumps(study, default=str).encode()
        return self._once("/studies", params=params, content=content, headers=headers)

    def act(
        self, path: str, document: Mapping[str, Any] | None = None, *, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """POST something once: sent again with the same key where the answer was lost."""
        return self._once(path, params=params or {}, headers={}, json=None if document is None else dict(document))

    def change(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """PATCH or DELETE something, which does the same when it is sent again."""
        response = self._send(method, path, **request)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    def _once(self, path: str, *, headers: Mapping[str, str], **request: Any) -> dict[str, Any]:
        """POST with a key of its own, again and again for a while where the service does not answer.

        A service that was never reached is no reason to wait.
        """
        named = {**headers, "Idempotency-Key": str(uuid.uuid4())}
        give_up_at, was_sent = time.monotonic() + _ACT_PATIENCE_S, False
        for pause_s in _PAUSES_S:
            try:
                return self._json("POST", path, headers=named, **request)
            except ServiceError as error:
                was_sent = was_sent or not isinstance(error.__cause__, httpx.ConnectError)
                if not (was_sent and _may_pass(error)) or time.monotonic() > give_up_at:
                    raise
            time.sleep(pause_s)
        return self._json("POST", path, headers=named, **request)

    def _pages(self, path: str, key: str, filters: Mapping[str, str | None]) -> Iterator[dict[str, Any]]:
        params = {name: value for name, value in filters.items() if value is not None}
        while True:
            page = self._json("GET", path, params=params)
            yield from page[key]
            if page["next_page_token"] is None:
                return
            params["page_token"] = page["next_page_token"]

    def _get(self, path: str) -> dict[str, Any]:
        return self._json("GET", path)

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._send(method, path, **request)
        try:
            document: dict[str, Any] = response.json()
        except ValueError as error:
            raise ServiceError(
                f"what answers at {self.base_url} is no Tangent: no JSON", response.status_code
            ) from error
        return document

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _problem(response)
        return response

    def _unreachable(self, error: httpx.TransportError) -> ServiceError:
        if isinstance(error, httpx.TimeoutException):
            return ServiceError(f"Tangent at {self.base_url} does not answer in time")
        if isinstance(error, httpx.ConnectError):
            return ServiceError(f"no Tangent answers at {self.base_url}; `tangent up` starts one")
        return ServiceError(f"the connection to Tangent at {self.base_url} broke: {error}")


_END = Event(-1, "", {}, "")


def _may_pass(error: ServiceError) -> bool:
    """True where the same request may be answered a little later."""
    return error.status is None or error.status in _RETRIED or str(error.problem.get("type")).endswith(":in-flight")


def _parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """Server-sent events; the data of each carries its revision."""
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield Event(**json.loads("\n".join(data)))
            data = []


def _first(entries: Iterator[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    if limit is None:
        return list(entries)
    return [entry for _, entry in zip(range(limit), entries, strict=False)]


def _problem(response: httpx.Response) -> ServiceError:
    """The service's own words: the problem's detail, then one line for each field."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "detail" not in problem:
        return ServiceError(f"{response.url} answered {response.status_code}", response.status_code)
    lines = [str(problem["detail"])]
    lines += [f"  {entry['field']}: {entry['message']}" for entry in problem.get("errors", [])]
    return ServiceError("\n".join(lines), response.status_code, problem)
