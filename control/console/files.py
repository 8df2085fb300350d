"""The console's files: read once at the start, served from memory under a strict policy.

    GET /                       index.html; names the files by the hash of all of them
    GET /console/<hash>/<file>  a script, style sheet or picture; may be kept for a year

A browser so has either all files of one version or is told at its next load to fetch the next
version's: an old page never runs with new scripts. A hash that is not this version's is a 404.
"""

import functools
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request, Response

from control.api.problems import Problem

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes HTML: the browser itself refuses `innerHTML`.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
_KINDS: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_A_YEAR = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent."""

    kind: str
    body: bytes
    zipped: bytes
    etag: str
    caching: str


class Console:
    """All files of the console."""

    def __init__(self, folder: Path = STATIC) -> None:
        """Raises OSError where the folder cannot be read."""
        contents = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in _KINDS
        }
        self.version = _hash(
            *(part for name in contents for part in (name.encode(), contents[name]))
        )
        page = contents.pop(INDEX).replace(b"{{files}}", f"/console/{self.version}".encode())
        page = page.replace(b"{{modules}}", "".join(self._preloads(contents)).encode())
        self.index = _file(INDEX, page, _ASK_EACH_TIME)
        self._files = {name: _file(name, body, _FOR_A_YEAR) for name, body in contents.items()}

    def find(self, version: str, name: str) -> File | None:
        """A file of this version; None: there is none."""
        return self._files.get(name) if version == self.version else None

    def _preloads(self, contents: Mapping[str, bytes]) -> Iterator[str]:
        # Else a browser learns of a module only when it has read the one that imports it.
        for name in contents:
            if name.endswith(".js") and name != "early.js":
                yield f'<link rel="modulepreload" href="/console/{self.version}/{name}">\n'


@functools.lru_cache(maxsize=1)
def shipped() -> Console:
    """The console of this release, read once."""
    return Console()


def make_router(console: Console) -> APIRouter:
    """The routes of the console; none of them is part of the API."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def read_index(request: Request) -> Response:
        return _answer(console.index, request)

    @router.api_route("/console/{version}/{name:path}", methods=["GET", "HEAD"])
    async def read_file(version: str, name: str, request: Request) -> Response:
        found = console.find(version, name)
        if found is None:
            detail = "there is no such file of the console; load the page again"
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", detail)
        return _answer(found, request)

    return router


def _answer(file: File, request: Request) -> Response:
    headers = {**HEADERS, "ETag": file.etag, "Cache-Control": file.caching}
    known = {each.strip() for each in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(file.zipped, headers=headers, media_type=file.kind)
    return Response(file.body, headers=headers, media_type=file.kind)


def _takes_gzip(accepted: str) -> bool:
    words = (each.replace(" ", "").partition(";") for each in accepted.split(","))
    return any(name == "gzip" and weight not in ("q=0", "q=0.0") for name, _, weight in words)


def _file(name: str, body: bytes, caching: str) -> File:
    zipped = gzip.compress(body, mtime=0)
    # Weak: the same file, however it is encoded.
    return File(_KINDS[Path(name).suffix], body, zipped, f'W/"{_hash(body)}"', caching)


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
