"""The tasks: thin, called with a queue's name or a study's id, in a thread of the worker's process."""

from __future__ import annotations

import logging

from celery import Celery

from service.domain.trial import StudyId
from service.errors import StoreUnavailableError, TangentError
from service.queue import COMPUTE_REPORT, WORK
from service.store.database import Database
from workers.supervision import Supervisor

_log = logging.getLogger(__name__)
_REPORT_RETRIES = 20


def add_tasks(app: Celery, supervisor: Supervisor, database: Database) -> None:
    """Define the tasks of `service.queue` on `app`."""

    @app.task(name=WORK)
    def work(queue: str) -> None:
        """Let a slot run trials until none is left; a worker's slots all serve one queue."""
        _log.debug("the queue %s has work", queue)
        supervisor.work()

    @app.task(name=COMPUTE_REPORT, bind=True, max_retries=_REPORT_RETRIES)
    def compute_report(task, study_id: int) -> None:  # type: ignore[no-untyped-def]
        """Compute and store a study's report."""
        from service.reports import store_report  # scipy and the whole domain: only the queue reports pays for them

        try:
            store_report(database, StudyId(study_id))
        except StoreUnavailableError as error:
            raise task.retry(countdown=5, exc=error) from error
        except TangentError as error:
            _log.warning("no report of study %d: %s", study_id, error)
