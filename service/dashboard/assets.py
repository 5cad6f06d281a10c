"""The dashboard's files: built once, named by their content, compressed beforehand, cached for ever.

`python -m service.dashboard.build` writes them to `dist/`. Without it the sources are served as they are, and charts,
whose library is missing, show their tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.responses import FileResponse, Response

HERE = Path(__file__).parent
SOURCES = HERE / "static"
DIST = HERE / "dist"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Built:
    """What is in `dist/`.

    Attributes:
        tree: Folder with all files of ours, named by their content together.
        echarts: File name of the chart library, named by its content.
    """

    tree: str
    echarts: str


@cache
def built() -> Built | None:
    """The built files, None where nobody has built them."""
    manifest = DIST / "manifest.json"
    return Built(**json.loads(manifest.read_text())) if manifest.is_file() else None


def asset_url(name: str) -> str:
    """Where a page finds a file of `static/`, such as "js/app.js"."""
    found = built()
    return f"/static/{found.tree if found else 'source'}/{name}"


def echarts_url() -> str | None:
    """Where a page finds the chart library; None where it is not built."""
    found = built()
    return f"/static/{found.echarts}" if found else None


def respond(path: str, accept_encoding: str) -> Response:
    """The file behind /static/`path`, in the best compression that the browser takes; 404 where there is none."""
    is_source = path.startswith("source/")
    root = SOURCES if is_source else DIST
    file = (root / path.removeprefix("source/")).resolve()
    kind = _TYPES.get(file.suffix)
    if root.resolve() not in file.parents or kind is None or not file.is_file():
        return Response("there is no such file\n", 404, media_type="text/plain")
    headers = {"Cache-Control": "no-cache" if is_source else _FOREVER, "Vary": "Accept-Encoding"}
    accepted = {entry.split(";")[0].strip() for entry in accept_encoding.split(",")}
    for coding, suffix in (("br", ".br"), ("gzip", ".gz")):
        packed = file.with_name(file.name + suffix)
        if coding in accepted and packed.is_file():
            return FileResponse(packed, headers={**headers, "Content-Encoding": coding}, media_type=kind)
    return FileResponse(file, headers=headers, media_type=kind)
