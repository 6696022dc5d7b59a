"""Which paths of the server are open, and what the browser may do with them."""

import json

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# the page holds no inline script and no inline style, so none that came with a transcript would run; it loads nothing
# from anywhere else, and shows the clip from the browser's own memory; camera and microphone are for its own recordings
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_QUEUE = frozenset(f"/gradio_api/{name}" for name in ("queue/join", "queue/data", "startup-events"))
_QUESTION = "/gradio_api/queue/join"
_QUESTION_BYTES = 4096


class AllowedPaths:
    """Opens the page's own paths and gradio's queue; gradio's ways to files, uploads, proxies and histories stay shut.

    Args:
        app: the server.
        paths: of the page itself.
        below: beginning of further paths, which end with one name.
    """

    def __init__(self, app: ASGIApp, paths: frozenset[str], below: str) -> None:
        self._app, self._paths, self._below = app, paths | _QUEUE, below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; everything that is not a request is left to the server."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif not self._is_open(scope["path"]):
            await Response(status_code=404)(scope, receive, send_with_headers)
        elif scope["path"] == _QUESTION and scope["method"] == "POST":
            body = await _beginning(receive)
            if _is_valid_question(body):
                await self._app(scope, _again(body, receive), send_with_headers)
            else:
                await Response(status_code=400)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _is_open(self, path: str) -> bool:
        return path in self._paths or (path.startswith(self._below) and "/" not in path.removeprefix(self._below))


async def _beginning(receive: Receive) -> bytes:
    """The body of a request, or as much of it as shows that it is too long."""
    body, is_more = b"", True
    while is_more and len(body) <= _QUESTION_BYTES:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
    return body


def _is_valid_question(body: bytes) -> bool:
    """Whether names of files are asked about, and nothing else: gradio would fetch what an object names by address."""
    try:
        asked = json.loads(body) if len(body) <= _QUESTION_BYTES else None
    except (ValueError, RecursionError):
        return False
    names = asked.get("data") if isinstance(asked, dict) else None
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was received already, and then what follows."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
