"""Entity tags of studies: id and revision, so that who acts on what he has seen acts on what is there."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

from service.api.context import StudyPath
from service.errors import RevisionError

_TAG = re.compile(r'\s*"(\d{1,19})-(\d{1,19})"\s*')


def etag_of(study_id: int, revision: int) -> str:
    """The tag of a study at a revision, such as "7-42" in its quotes."""
    return f'"{study_id}-{revision}"'


def is_known(if_none_match: str | None, tag: str) -> bool:
    """True where a client that sent this If-None-Match has what the tag names."""
    if if_none_match is None:
        return False
    tags = [entry.strip().removeprefix("W/") for entry in if_none_match.split(",")]
    return "*" in tags or tag in tags


def _revision(
    study_id: StudyPath,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            max_length=200,
            description="The ETag of the study as the client has seen it: where the study has gone on, 412.",
            examples=['"7-42"'],
        ),
    ] = None,
) -> int | None:
    """The revision that the client has seen, None where any will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.fullmatch(if_match)
    if found is None or int(found[1]) != study_id:
        raise RevisionError(f"If-Match is no ETag of study {study_id}; they look like {etag_of(study_id, 42)}")
    return int(found[2])


SeenRevision = Annotated[int | None, Depends(_revision)]
"""The revision that the client has seen, from If-Match."""
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", max_length=1000, description="ETags that the client has.")
]
