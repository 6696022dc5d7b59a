"""The server of the page: its files, the way in for clips, and gradio's queue before the worker."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse, Response
from gradio import Error, Server
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m2fnet.errors import M2FNetError
from m2fnet.plots.style import colour
from m2fnet.web.answering import Answer
from m2fnet.web.example import CLIP, SUBTITLES
from m2fnet.web.limits import Limits
from m2fnet.web.uploads import Uploads
from m2fnet.web.worker import Worker

STATIC = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
EXAMPLE = {CLIP: "video/mp4", SUBTITLES: "text/plain"}

# of what gradio serves the queue alone; its routes to files, uploads, proxies and run histories stay shut
_OPEN = frozenset(
    {"/", "/model", *(f"/{name}" for name in (*STATIC, *EXAMPLE))}
    | {f"/gradio_api/{name}" for name in ("queue/join", "queue/data", "startup-events")}
)
_UPLOADS = "/uploads/"

# the page holds no script and no style of its own, so none that came with a transcript would run; it loads nothing
# from anywhere else, and shows the clip from the browser's own memory
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_server(
    facts: Answer, worker: Worker, uploads: Uploads, limits: Limits, example: Path, hosts: Sequence[str]
) -> Server:
    """The page as a server that is ready to launch.

    Args:
        facts: of the model, as `Worker.start` returns them, and its ``name``.
        worker: answers one clip at a time; the others wait in the queue.
        uploads: where clips lie until they are answered.
        limits: told to the page, so that it can refuse a clip before it travels.
        example: folder with the example clip.
        hosts: names under which the page may be asked for; a foreign name that leads here belongs to an attack.
    """
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(Guard)]
    server = Server(title="m2fnet", middleware=guards, openapi_url=None, docs_url=None, redoc_url=None)
    told = {
        **facts,
        "colours": [colour(number) for number in range(len(facts["classes"]))],
        "limits": {"megabytes": limits.megabytes, "minutes": limits.minutes},
    }

    @server.get("/model")
    def model() -> JSONResponse:
        return JSONResponse(told)

    @server.get("/")
    @server.get("/{name}")
    def static(name: str = "page.html") -> Response:
        if name in EXAMPLE:
            return FileResponse(example / name, media_type=EXAMPLE[name])
        return Response(files("m2fnet.web").joinpath("static", name).read_bytes(), media_type=STATIC[name])

    @server.put(_UPLOADS + "{kind}")
    async def upload(kind: str, request: Request) -> JSONResponse:
        declared = request.headers.get("content-length", "")
        try:
            name = await uploads.receive(kind, request.stream(), int(declared) if declared.isdigit() else 0)
        except M2FNetError as problem:
            return JSONResponse({"error": str(problem)}, status_code=400)
        except OSError:
            return JSONResponse({"error": "The server could not keep the clip; its disk may be full."}, status_code=507)
        except ClientDisconnect:
            return JSONResponse({"error": "The upload broke off."}, status_code=400)
        return JSONResponse({"name": name})

    def analyse(clip: str, segments: str) -> Iterator[dict[str, Any]]:
        try:
            with uploads.taken(clip) as video, uploads.taken(segments) as subtitles:
                yield from worker.ask(video, subtitles)
        except M2FNetError as problem:
            raise Error(str(problem), print_exception=False) from problem

    server.api(analyse, name="analyse", concurrency_limit=1)
    return server


class Guard:
    """Shuts all routes but those of the page, and tells the browser to hold the page to them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; those of other kinds than http are the server's own."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "http" and not _is_open(scope["path"]):
            await Response(status_code=404)(scope, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._app(scope, receive, send_with_headers)


def _is_open(path: str) -> bool:
    return path in _OPEN or (path.startswith(_UPLOADS) and "/" not in path.removeprefix(_UPLOADS))
