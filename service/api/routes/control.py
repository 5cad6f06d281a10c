"""Routes that change what is there: pause, resume, cancel, retry, extend, clone, delete studies; drain workers.

Every POST may carry an Idempotency-Key, everything that acts on a study an If-Match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from service import catalogs, cloning, control, studies, trials
from service.api.bodies import YAML_TYPES, read_document
from service.api.context import Ledger, Samplers, StudyPath, TrialPath
from service.api.etags import SeenRevision, etag_of
from service.api.files import study_yaml
from service.api.idempotency import OnceOnly
from service.api.schemas import (
    ReplicatesFile,
    SettingsFile,
    StudyFile,
    check_shape,
    check_study_file,
)
from service.api.views import (
    RetriedView,
    StudyDetail,
    SubmittedView,
    TrialDetail,
    ValidationView,
    WorkerView,
    study_detail,
    submitted_view,
    validation_view,
)
from service.domain.trial import StudyId
from service.errors import InvalidInputError
from service.store.database import Connection

router = APIRouter(tags=["control"])

WorkerPath = Annotated[UUID, Path(description="The worker's id.")]
_STUDY = "/studies/{study_id}"
_TRIAL = _STUDY + "/trials/{number}"


class FileFormat(StrEnum):
    """Forms of a study file."""

    YAML = "yaml"
    JSON = "json"


def answer(
    model: type[BaseModel], document: Any, code: int = status.HTTP_200_OK, headers: dict[str, str] | None = None
) -> Response:
    """A document as the JSON of its model."""
    text = model.model_validate(document).model_dump_json()
    return Response(text, code, headers, media_type="application/json")


def study_answer(
    connection: Connection, study_id: int, model: type[StudyDetail] = StudyDetail, **more: Any
) -> Response:
    """A study as it is now, with its ETag."""
    view = studies.show(connection, StudyId(study_id))
    headers = {"ETag": etag_of(study_id, view.row.revision)}
    return answer(model, {**study_detail(view), **more}, headers=headers)


def _acting(study_id: int, act: Callable[[Connection], object]) -> Callable[[Connection], Response]:
    """`act`, answered with the study as it is then."""

    def work(connection: Connection) -> Response:
        act(connection)
        return study_answer(connection, study_id)

    return work


def _body(schema: type[BaseModel], description: str, *, is_required: bool = True) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema.__name__}"}
    content = {kind: {"schema": reference} for kind in ("application/json", YAML_TYPES[0])}
    return {"requestBody": {"required": is_required, "description": description, "content": content}}


async def _document(request: Request) -> Any:
    """The body; an empty one is an empty object."""
    body = await request.body()
    return await run_in_threadpool(read_document, body or b"{}", request.headers.get("content-type", ""))


Document = Annotated[Any, Depends(_document)]


@router.post(_STUDY + "/pause", response_model=StudyDetail, summary="Pause a study")
def pause_study(
    ledger: Ledger,
    once: OnceOnly,
    revision: SeenRevision,
    study_id: StudyPath,
    now: Annotated[bool, Query(description="Also ask running trials for a checkpoint, and to wait.")] = False,
) -> Any:
    """No trial starts until it is resumed; running ones go on, with `now` they are handed back at their next step."""
    return once.answer(
        ledger, _acting(study_id, lambda c: control.pause(c, StudyId(study_id), now=now, revision=revision))
    )


@router.post(_STUDY + "/resume", response_model=StudyDetail, summary="Resume a paused study")
def resume_study(ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: StudyPath) -> Any:
    """Its trials start again; those that were handed back go on from their checkpoints."""
    return once.answer(ledger, _acting(study_id, lambda c: control.resume(c, StudyId(study_id), revision=revision)))


@router.post(_STUDY + "/cancel", response_model=StudyDetail, summary="Cancel a study")
def cancel_study(ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: StudyPath) -> Any:
    """End a study: waiting trials end as cancelled, running ones stop at their next step. A second time is a 409."""
    return once.answer(ledger, _acting(study_id, lambda c: control.cancel(c, StudyId(study_id), revision=revision)))


@router.post(_STUDY + "/retry", response_model=RetriedView, summary="Retry all failed trials of a study")
def retry_study(ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: StudyPath) -> Any:
    """All failed trials whose place is still open wait again; a study that failed goes on."""
    return _retry(ledger, once, revision, study_id, None)


@router.post(_TRIAL + "/retry", response_model=RetriedView, summary="Retry a failed trial")
def retry_trial(ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: StudyPath, number: TrialPath) -> Any:
    """The trial waits again, from step 0, with the same parameters and seed; 409 where its place is taken."""
    return _retry(ledger, once, revision, study_id, number)


def _retry(ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: int, number: int | None) -> Response:
    def work(connection: Connection) -> Response:
        retried = control.retry(connection, StudyId(study_id), number, revision=revision)
        return study_answer(connection, study_id, RetriedView, retried=retried)

    return once.answer(ledger, work)


@router.post(_TRIAL + "/requeue", response_model=TrialDetail, summary="Take a running trial from its slot")
def requeue_trial(
    ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: StudyPath, number: TrialPath
) -> Any:
    """It waits, and runs on from its last checkpoint; no attempt is counted. What its slot still writes is refused."""

    def work(connection: Connection) -> Response:
        control.requeue(connection, StudyId(study_id), number, revision=revision)
        return answer(TrialDetail, trials.show(connection, StudyId(study_id), number))

    return once.answer(ledger, work)


@router.post(
    _STUDY + "/replicates",
    response_model=StudyDetail,
    openapi_extra=_body(ReplicatesFile, "How many."),
    summary="Add replicates",
)
def add_replicates(
    ledger: Ledger, once: OnceOnly, revision: SeenRevision, study_id: StudyPath, document: Document
) -> Any:
    """Every arm gets `n` more replicates; a finished study goes on. Its hash stays, and reports name the amendment."""
    n = check_shape(ReplicatesFile, document, "request for replicates")["n"]
    return once.answer(
        ledger, _acting(study_id, lambda c: control.add_replicates(c, StudyId(study_id), n, revision=revision))
    )


@router.post(
    _STUDY + "/clone",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=SubmittedView,
    responses={200: {"model": ValidationView, "description": "With validate_only: what the study would cost."}},
    openapi_extra=_body(
        StudyFile, "Changes to the file: objects are merged, null removes a key, lists replace.", is_required=False
    ),
    summary="Submit a study made from another",
)
def clone_study(
    ledger: Ledger,
    once: OnceOnly,
    samplers: Samplers,
    study_id: StudyPath,
    document: Document,
    validate_only: Annotated[bool, Query(description="Check the file and say its cost; write nothing.")] = False,
) -> Any:
    """A new study with this one's file, the changes of the body, and a seed that no study of its workload has."""
    if not isinstance(document, Mapping):
        raise InvalidInputError("the changes to a study file are an object with keys of the file")

    def work(connection: Connection) -> Response:
        merged = check_study_file(cloning.clone_document(connection, StudyId(study_id), document))
        if validate_only:
            return answer(ValidationView, validation_view(studies.validate(connection, merged, samplers)))
        return submit(connection, merged, samplers, StudyId(study_id))

    return once.answer(ledger, work)


def submit(
    connection: Connection, document: dict[str, Any], samplers: tuple[str, ...], parent_id: StudyId | None = None
) -> Response:
    """Add a study, and say so."""
    study_id, validation = studies.submit(connection, document, samplers, parent_id)
    row = studies.get(connection, study_id)
    headers = {"Location": f"/api/v1/studies/{study_id}", "ETag": etag_of(study_id, row.revision)}
    return answer(SubmittedView, submitted_view(row, validation), status.HTTP_202_ACCEPTED, headers)


@router.get(
    _STUDY + "/file",
    response_class=Response,
    responses={200: {"content": {"application/yaml": {}, "application/json": {}}, "description": "The file."}},
    summary="The study file",
)
def show_file(ledger: Ledger, study_id: StudyPath, format: FileFormat = FileFormat.YAML) -> Response:  # noqa: A002
    """The file as it was frozen, every default written out, with the priority, weight and limit of now."""
    with ledger.transaction() as connection:
        study = cloning.file_of(studies.get(connection, StudyId(study_id)))
    if format is FileFormat.JSON:
        return JSONResponse(study.to_dict())
    return Response(study_yaml(study.to_dict()), media_type=YAML_TYPES[0])


@router.patch(
    _STUDY,
    response_model=StudyDetail,
    openapi_extra=_body(SettingsFile, "What to change."),
    summary="Change when a study's trials run",
)
def change_study(ledger: Ledger, revision: SeenRevision, study_id: StudyPath, document: Document) -> Any:
    """Sets priority, weight or max_running of a study that has not ended; its hash stays."""
    changes = check_shape(SettingsFile, document, "change of settings")
    with ledger.transaction() as connection:
        control.change_settings(connection, StudyId(study_id), changes, revision=revision)
        return study_answer(connection, study_id)


@router.delete(_STUDY, status_code=status.HTTP_204_NO_CONTENT, summary="Delete a study that has ended")
def delete_study(
    ledger: Ledger,
    revision: SeenRevision,
    study_id: StudyPath,
    confirm: Annotated[str, Query(max_length=200, description="The study's name.")],
) -> None:
    """Everything that belongs to it goes, checkpoints too; studies that were made from it stay."""
    with ledger.transaction() as connection:
        control.delete(connection, StudyId(study_id), confirm, revision=revision)


@router.post("/workers/{worker_id}/drain", response_model=WorkerView, summary="Let a worker take no new trials")
def drain_worker(ledger: Ledger, once: OnceOnly, worker_id: WorkerPath) -> Any:
    """It finishes what it runs, and can be stopped then without losing anything."""
    return _drain(ledger, once, worker_id, is_draining=True)


@router.post("/workers/{worker_id}/undrain", response_model=WorkerView, summary="Let a worker take trials again")
def undrain_worker(ledger: Ledger, once: OnceOnly, worker_id: WorkerPath) -> Any:
    """Ends what `drain` began."""
    return _drain(ledger, once, worker_id, is_draining=False)


def _drain(ledger: Ledger, once: OnceOnly, worker_id: UUID, *, is_draining: bool) -> Response:
    def work(connection: Connection) -> Response:
        control.drain(connection, worker_id, is_draining=is_draining)
        worker = next(row for row in catalogs.list_workers(connection) if row["id"] == worker_id)
        return answer(WorkerView, worker)

    return once.answer(ledger, work)
