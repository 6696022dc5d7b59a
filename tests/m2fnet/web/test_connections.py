"""Who keeps the server waiting is sent away, who waits for the server is not, and only so many come in."""

import asyncio
import http.client
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import uvicorn
from served_page import free_port
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from m2fnet.web import connections
from m2fnet.web.connections import PATIENCE_S, ImpatientProtocol, limit_connections

LARGE = 100_000_000  # bytes: more than the buffers of a connection hold
HEAD = b"PUT / HTTP/1.1\r\nHost: a\r\n"
WAIT = 60  # seconds, on a busy machine


class Clock:
    """A loop whose time is what the test says, and that runs no task."""

    now = 0.0

    def time(self):
        return self.now

    def call_at(self, when, look):
        self.when, self.look = when, look
        return SimpleNamespace(cancel=lambda: None)

    def call_later(self, seconds, _):
        return SimpleNamespace(cancel=lambda: None)

    def create_task(self, coroutine):
        coroutine.close()
        return Mock()

    def wait(self, seconds):
        until = self.now + seconds
        while self.when <= until:
            self.now, before = self.when, self.when
            self.look()
            if self.when == before:  # it was the last look
                break
        self.now = until


@pytest.fixture
def client():
    """A client of the server: it sends, waits, and sees whether it was sent away."""
    clock, transport = Clock(), Mock(spec=asyncio.Transport)
    transport.get_extra_info.return_value = None
    transport.is_closing.return_value = False
    protocol = ImpatientProtocol(uvicorn.Config(lambda: None), ServerState(), {}, clock)
    protocol.connection_made(transport)
    return SimpleNamespace(
        protocol=protocol, send=protocol.data_received, wait=clock.wait, is_gone=lambda: transport.abort.called
    )


def test_who_says_nothing_is_sent_away(client):
    client.wait(PATIENCE_S - 1)
    assert not client.is_gone()
    client.wait(1)
    assert client.is_gone()


@pytest.mark.parametrize("begun", [HEAD + b"X-Slow: ", HEAD + b"Content-Length: 1000\r\n\r\n"], ids=["head", "body"])
def test_who_sends_a_byte_now_and_then_is_sent_away(client, begun):
    client.send(begun)
    for _ in range(10):
        client.wait(PATIENCE_S / 10)
        client.send(b"x")
    client.wait(1)
    assert client.is_gone()


@pytest.mark.parametrize(("rate", "is_sent_away"), [(20_000, False), (5_000, True)])
def test_a_body_may_take_its_time_but_not_any(client, rate, is_sent_away):
    client.send(HEAD + b"Content-Length: 10000000\r\n\r\n")
    for _ in range(100):
        client.wait(1)
        client.send(bytes(rate))
        client.protocol.cycle.body.clear()  # the server reads
    assert client.is_gone() == is_sent_away


def test_who_waits_for_the_server_stays_and_has_the_same_time_for_the_next_request(client):
    client.send(HEAD + b"\r\n")
    client.wait(3600)
    assert not client.is_gone()
    client.protocol.cycle.response_complete = True
    client.protocol.on_response_complete()
    client.send(b"P")
    client.wait(PATIENCE_S - 1)
    assert not client.is_gone()
    client.wait(2)
    assert client.is_gone()


def test_who_does_not_read_the_answer_is_sent_away(client):
    client.send(HEAD + b"\r\n")
    for _ in range(3):
        client.protocol.pause_writing()
        client.wait(PATIENCE_S - 1)
        client.protocol.resume_writing()
        client.wait(3600)
    assert not client.is_gone()
    client.protocol.pause_writing()
    client.wait(PATIENCE_S + 1)
    assert client.is_gone()


async def app(scope, receive, send):
    """Answers with as many bytes as the path says, once the whole body is there."""
    try:
        await Request(scope, receive).body()
    except ClientDisconnect:
        return
    await Response(bytes(int(scope["path"].strip("/") or 0)))(scope, receive, send)


@contextmanager
def serving():
    config = uvicorn.Config(app, port=free_port(), log_level="critical", lifespan="off")
    config.load()
    limit_connections(config)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        thread.join()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.config.port), timeout=WAIT)


def wait_for(holds):
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "begun",
    [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n1", f"GET /{LARGE} HTTP/1.1\r\nHost: a\r\n\r\n".encode()],
    ids=["nothing", "head", "body", "reading"],
)
def test_the_server_is_rid_of_slow_clients(monkeypatch, begun):
    lost = threading.Event()
    monkeypatch.setattr(connections, "PATIENCE_S", 0.2)
    monkeypatch.setattr(
        ImpatientProtocol, "connection_lost", lambda *given: (H11Protocol.connection_lost(*given), lost.set())
    )
    with serving() as server, connect(server) as slow:
        slow.sendall(begun)
        assert lost.wait(WAIT)
        assert not server.server_state.connections
        wait_for(lambda: not server.server_state.tasks)


def test_more_connections_than_are_taken_are_answered_that_the_page_is_busy(monkeypatch):
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    with serving() as server:
        waiting = [connect(server) for _ in range(3)]
        wait_for(lambda: len(server.server_state.connections) == 3)
        assert status(server) == 503
        for one in waiting:
            one.close()
        wait_for(lambda: not server.server_state.connections)
        assert status(server) == 200


def status(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.config.port, timeout=WAIT)
    connection.request("GET", "/")
    try:
        return connection.getresponse().status
    finally:
        connection.close()
