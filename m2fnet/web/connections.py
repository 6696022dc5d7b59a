"""Connections to the page: so many at a time, and none to a client that sends or reads next to nothing."""

import asyncio

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 500  # more are answered that the page is busy; a process may often open 1,024 files
PATIENCE_S = 30.0  # for the head of a request, for the first of its body, and for 64 kB of an answer
_SLOWEST = 10_000.0  # bytes of a body a second: a clip of 200 MB then takes five hours and a half


def limit_connections(config: Config) -> None:
    """Let a server that runs with these settings, as gradio makes them, take connections as this module describes."""
    config.limit_concurrency, config.http_protocol_class = CONNECTIONS, ImpatientProtocol


class ImpatientProtocol(H11Protocol):
    """A connection that ends when the client keeps the server waiting; uvicorn only limits the pause between requests.

    Such a client would hold a connection and a place among the clips that wait, for as long as it likes.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._wait_anew()
        self._timer = self.loop.call_at(self._deadline, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or was sent away."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request; the next one may take its time in proportion."""
        self._deadline += len(data) / _SLOWEST
        super().data_received(data)

    def on_response_complete(self) -> None:
        """The next request has as much time as the first."""
        self._wait_anew()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        self._wait_anew()
        super().pause_writing()

    def _wait_anew(self) -> None:
        self._deadline = self.loop.time() + PATIENCE_S

    def _is_awaited(self) -> bool:
        """Whether the client, not the server, has to do something."""
        is_between_requests = self.cycle is None or self.cycle.response_complete
        return is_between_requests or self.cycle.more_body or self.flow.write_paused

    def _look(self) -> None:
        """End the connection if it is time, or look again when it may be."""
        if not self._is_awaited():
            self._wait_anew()
        if self.loop.time() >= self._deadline:
            self.transport.abort()  # to close it would be to wait until all is read
        else:
            self._timer = self.loop.call_at(self._deadline, self._look)
