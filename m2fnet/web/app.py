"""The server of the page: its files, the way in for clips, and gradio's queue before the worker."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse, Response
from gradio import Blocks, Error, Server
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from m2fnet.errors import M2FNetError
from m2fnet.files import JsonObject
from m2fnet.plots.emotion_colours import emotion_colours, on_dark
from m2fnet.web.example import CLIP, SUBTITLES
from m2fnet.web.limits import Limits
from m2fnet.web.middleware import AllowedPaths
from m2fnet.web.uploads import Uploads
from m2fnet.web.worker import Worker

_SCRIPTS = ("page", "answer", "asking", "dom", "model", "recorder", "scheme", "timeline")
STATIC = {"page.html": "text/html", "page.css": "text/css", **{f"{name}.js": "text/javascript" for name in _SCRIPTS}}
EXAMPLE = {CLIP: "video/mp4", SUBTITLES: "text/plain"}

_PATHS = frozenset({"/", "/model", *(f"/{name}" for name in (*STATIC, *EXAMPLE))})
_UPLOADS = "/uploads/"
_QUESTIONS = 10  # for each clip that may wait; one without a clip is answered in no time


def make_server(
    facts: JsonObject, worker: Worker, uploads: Uploads, limits: Limits, example: Path, hosts: Sequence[str]
) -> Server:
    """The page as a server that is ready to launch.

    Args:
        facts: of the model, as `Worker.start` returns them, and its ``name``.
        worker: predicts one clip at a time; the others wait in the queue.
        uploads: where clips are until their emotions are predicted.
        limits: sent to the page, so that it can refuse a clip before it is uploaded.
        example: folder with the example clip.
        hosts: names by which the page may be requested; another name that leads here belongs to an attack.
    """
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
        Middleware(AllowedPaths, paths=_PATHS, below=_UPLOADS),
    ]
    server = Server(title="m2fnet", middleware=guards, openapi_url=None, docs_url=None, redoc_url=None)
    colours = emotion_colours(facts["classes"])
    settings = {
        **facts,
        "colours": colours,
        "dark_colours": [on_dark(colour) for colour in colours],
        "limits": {"megabytes": limits.megabytes, "minutes": limits.minutes},
    }
    _add_files(server, settings, example)
    _add_uploads(server, worker, uploads)
    _add_queue(server, worker, uploads)
    return server


def _add_files(server: Server, settings: JsonObject, example: Path) -> None:
    @server.get("/model")
    def model() -> JSONResponse:
        return JSONResponse(settings)

    @server.get("/")
    @server.get("/{name}")
    def static(name: str = "page.html") -> Response:
        if name in EXAMPLE:
            return FileResponse(example / name, media_type=EXAMPLE[name])
        return Response(files("m2fnet.web").joinpath("static", name).read_bytes(), media_type=STATIC[name])


def _add_uploads(server: Server, worker: Worker, uploads: Uploads) -> None:
    """Not gradio's own way in: that one puts equal files of two people into one place, where the first removes both."""

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

    @server.delete(_UPLOADS + "{name}")
    def cancel(name: str) -> Response:
        """What was made of the file so far is lost with it; only its sender knows its name."""
        worker.cancel(name)
        uploads.remove(name)
        return Response(status_code=204)


def _add_queue(server: Server, worker: Worker, uploads: Uploads) -> None:
    def analyse(clip: str, subtitles: str) -> Iterator[JsonObject]:
        try:
            with uploads.take(clip) as video, uploads.take(subtitles) as text:
                yield from worker.predict(video, text)
        except M2FNetError as problem:
            raise Error(str(problem), print_exception=False) from problem

    server.api(analyse, name="analyse", concurrency_limit=1)


def limit_queue(gradio: Blocks, limits: Limits) -> None:
    """Let only so many questions wait, and forget the answers that nobody fetches.

    gradio lets any number wait, and keeps the answers, 0.2 MB or more each, of the last 2,000 visits.
    """
    queue, questions = gradio._queue, _QUESTIONS * limits.waiting
    queue.max_size = questions
    queue.pending_messages_per_session.max_size = 2 * questions  # so that no question is forgotten while it waits
