"""The page that shows how the engine does: its files, and its figures as JSON and as events. Draws nothing itself."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model.errors import RequestError
from model.service.connection import EventStream
from model.service.handler import answering
from model.service.stats import Stats

FOLDER = "/page/"
"""Where the page's own files lie."""
STATS, EVENTS = "/stats", "/stats/events"

_FILES = Path(__file__).with_name("web")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""The page loads its own files and asks its own engine, and nothing else, whatever it is made to show."""


def file_routes() -> list[Route]:
    """The page at `/`, and its files; they hold nothing of the user's."""
    return [Route("/", answering(_index)), Route(f"{FOLDER}{{name:path}}", answering(_file))]


def stats_routes(stats: Stats) -> list[Route]:
    """The figures: `STATS` once, `EVENTS` as they change; `?after=N` leaves out what was told of requests up to N."""

    async def once(request: Request) -> Response:
        return JSONResponse(stats.snapshot(after=_after(request)), headers={"Cache-Control": "no-store"})

    async def live(request: Request) -> Response:
        events = stats.events(after=_after(request))
        return EventStream(events, source=events)

    return [Route(STATS, answering(once)), Route(EVENTS, answering(live))]


def is_page(path: str) -> bool:
    """Whether this is the page or one of its files, and not its figures."""
    return path == "/" or path.startswith(FOLDER)


async def _index(request: Request) -> Response:
    return _answer(_FILES / "index.html")


async def _file(request: Request) -> Response:
    name: str = request.path_params["name"]
    try:
        path = (_FILES / name).resolve()
        found = path.is_relative_to(_FILES.resolve()) and path.suffix in _TYPES and path.is_file()
    except (OSError, ValueError):  # a name too long for any file, or with a NUL
        found = False
    if not found:
        raise RequestError(f"The page has no file {name[:80]!r}.", hint="Open / instead.")
    return _answer(path)


def _answer(path: Path) -> Response:
    return Response(path.read_bytes(), headers={**HEADERS, "Content-Type": _TYPES[path.suffix]})


def _after(request: Request) -> int:
    text = request.query_params.get("after", "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise RequestError("`after` is no number of a request.", hint="Send `latest` of the last answer.")
    return int(text)
