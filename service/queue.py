"""Names of tasks and queues, and hints to workers. Never imports workers.

A hint says only "queue Q has work": a lost one is sent again by the sweep, a doubled one finds nothing to do.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from celery import Celery
from kombu.exceptions import OperationalError

from service.errors import QueueUnavailableError

WORK = "tangent.work"
"""Task: let a slot run trials of a queue until none is left. Argument: the queue's name."""
COMPUTE_REPORT = "tangent.compute_report"
"""Task: compute and store a study's report. Argument: the study's id."""
QUEUES = ("cpu", "gpu", "reports")


def make_app(redis_url: str) -> Celery:
    """A Celery application on the broker; publishes and consumes the task names of this module.

    Results are not kept: the ledger has them. Tasks are acknowledged early, because the ledger's leases, not the
    broker, know whether a trial must run again.
    """
    app = Celery("tangent", broker=broker_url(redis_url))
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue="cpu",
        task_create_missing_queues=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": 3,
            # A Redis that hangs takes a command and never answers: a hint waits twice as long, for it is tried twice.
            "socket_timeout": 2,
            "socket_keepalive": True,
            # Of connections for sending: else each hint sleeps 6 s while nothing listens (kombu 5.6).
            "max_retries": 1,
            "interval_start": 0.1,
            "interval_step": 0.0,
            "interval_max": 0.1,
        },
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    return app


def broker_url(redis_url: str) -> str:
    """Celery's spelling of a Redis address: `unix://` (redis-py) is `redis+socket://` there."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def announce_work(app: Celery, queue: str, n_hints: int) -> None:
    """Tell up to `n_hints` slots that a queue has work.

    Raises:
        QueueUnavailableError: The broker does not answer within a few seconds; the sweep will repeat the hint.
    """
    for _ in range(n_hints):
        _send(app, WORK, queue, queue)


def ask_for_report(app: Celery, study_id: int) -> None:
    """Have a worker compute a study's report; raises QueueUnavailableError as `announce_work` does."""
    _send(app, COMPUTE_REPORT, study_id, "reports")


def _send(app: Celery, task: str, argument: object, queue: str) -> None:
    try:
        app.send_task(task, args=[argument], queue=queue, retry=False)
    except (OperationalError, ConnectionError, TimeoutError) as error:
        raise QueueUnavailableError(f"Redis does not answer: {error}") from error
