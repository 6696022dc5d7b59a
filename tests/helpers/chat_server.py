"""A chat endpoint on this machine that answers as a test wants, and notes what it was asked."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """A response: its status, headers and body."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)


def answer(text, **usage):
    """The reply of a server that works."""
    content = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return Reply(json.dumps(content | ({"usage": usage} if usage else {})).encode())


@dataclass
class Asked:
    """What a server was asked: bodies, their headers, and its address."""

    address: str
    bodies: list = field(default_factory=list)
    headers: list = field(default_factory=list)

    @property
    def data(self):
        """The JSON of each utterance."""
        return [json.loads(body["messages"][-1]["content"]) for body in self.bodies]


@contextmanager
def chat_server(reply):
    """A server that answers the n-th request with ``reply(body, n)``, which may block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.bodies.append(body)
            asked.headers.append(dict(self.headers))
            found = reply(body, len(asked.bodies) - 1)
            self.send_response(found.status)
            for name, value in {"Content-Length": str(len(found.body)), **found.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)

        def do_GET(self):
            asked.bodies.append(None)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):  # a client that has gone is part of the tests
            pass

    server = Server(("127.0.0.1", 0), Handler)
    asked = Asked(f"http://127.0.0.1:{server.server_address[1]}/v1")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
