"""A crowd at the page, a separate process that is killed in the middle: usual people, broken uploads, slow clients."""

import json
import math
import multiprocessing
import os
import random
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from fake_pipeline import load_made_up
from many_clients import (
    UTTERANCES,
    Visit,
    ask,
    events,
    join,
    megabytes,
    new_secrets,
    request,
    subtitles,
    uploaded,
    visit,
)
from served_page import free_port
from small_clips import write_sound

from m2fnet.web.limits import Limits

ANSWERED, REFUSED, NOTHING = "answered with their own", "refused by a sentence", "no answer"
CUT, FAILED, OTHERS = "cut by the restart", "failed", "another's"
PATIENCE = 600  # seconds until a started page answers, on a busy machine
BYTE_S = 0.01  # between two bytes of a slow upload
DRIP_S = 1.0  # between two bytes of a client that never ends


class PageProcess:
    """The page in a separate process, which can be killed and started again at the same address.

    Attributes:
        temporary: the folder of its temporary files.
        is_open: is set while it answers.
        killed, up_again: when that was, on the monotonic clock.
    """

    def __init__(self, temporary: Path, waiting: int) -> None:
        self.temporary, self.waiting, self.port = temporary, waiting, free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        self.is_open = threading.Event()
        self.killed = self.up_again = math.inf

    def __enter__(self) -> "PageProcess":
        given = (self.temporary, self.port, self.waiting)
        self.process = multiprocessing.get_context("spawn").Process(target=_serve, args=given)
        self.process.start()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.is_alive():
            with suppress(OSError, HTTPException):
                if request(self.address, "GET", "/model")[0] == 200:
                    self.is_open.set()
                    return self
            time.sleep(0.1)
        self.process.kill()
        self.is_open.set()  # so that nobody waits for it for ever
        raise AssertionError("the page did not open")

    def restart(self) -> None:
        """Kill it by -9 and start it again."""
        self.is_open.clear()
        self.killed = time.monotonic()
        self.process.kill()
        self.process.join()
        self.__enter__()
        self.up_again = time.monotonic()

    def uploads(self) -> list[Path]:
        """The files that wait for their answer."""
        (folder,) = self.temporary.glob("m2fnet-serve-*")
        return list((folder / "uploads").iterdir())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join(PATIENCE)
        self.process.kill()


def _serve(temporary: Path, port: int, waiting: int) -> None:
    """The process of the page, which SIGTERM ends as it ends `m2fnet serve`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", TMPDIR=str(temporary))
    tempfile.tempdir = str(temporary)
    from m2fnet.web.page import open_page

    limits = Limits(megabytes=2, minutes=1, timeout_s=60, waiting=waiting)
    with suppress(KeyboardInterrupt), open_page(load_made_up, "made up", limits, port=port):
        threading.Event().wait()


def broken(address: str, clip: bytes) -> Visit:
    """A clip of noise."""
    sent = new_secrets()
    names = [uploaded(address, "clip", random.randbytes(len(clip))), uploaded(address, "srt", subtitles(sent))]
    return ask(address, names, sent)


def slow(address: str, clip: bytes) -> Visit:
    """Subtitles that come byte by byte, but come."""
    sent = new_secrets()
    cues = subtitles(sent)
    with _begun_upload(address, "srt", len(cues)) as connection:
        for byte in cues:
            connection.sendall(bytes([byte]))
            time.sleep(BYTE_S)
        name = _name_of(connection)
    return ask(address, [uploaded(address, "clip", clip), name], sent)


def cut_off(address: str, clip: bytes) -> Visit:
    """The connection ends in the middle of the clip."""
    with _begun_upload(address, "clip", len(clip)) as connection:
        connection.sendall(clip[: len(clip) // 2])
    return Visit(())


def too_few(address: str, clip: bytes) -> Visit:
    """Fewer bytes come than Content-Length says, and then no more."""
    with _begun_upload(address, "clip", len(clip) + 1) as connection:
        connection.sendall(clip)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    return Visit(())


def too_many(address: str, clip: bytes) -> Visit:
    """More bytes come than Content-Length says; the clip is what it says."""
    sent = new_secrets()
    with _begun_upload(address, "clip", len(clip) // 2) as connection:
        with suppress(ConnectionError):  # the rest is no request, so the server hangs up
            connection.sendall(clip)
        name = _name_of(connection)
    return ask(address, [name, uploaded(address, "srt", subtitles(sent))], sent)


def leaves(address: str, clip: bytes) -> Visit:
    """Somebody asks and does not wait for the answer."""
    names = [uploaded(address, "clip", clip), uploaded(address, "srt", subtitles(new_secrets()))]
    _, problem = join(address, names)
    return Visit((), problem=problem)


def cancels(address: str, clip: bytes) -> Visit:
    """Somebody waits for the first word of the queue and cancels, as the page does."""
    names = [uploaded(address, "clip", clip), uploaded(address, "srt", subtitles(new_secrets()))]
    session, problem = join(address, names)
    if not problem:
        next(waiting := events(address, session))
        waiting.close()
    for name in names:
        request(address, "DELETE", f"/uploads/{name}")
    return Visit((), problem=problem)


@dataclass(frozen=True)
class Kind:
    """How somebody sends a clip, what is right to come of it, and how many in a hundred do so."""

    send: Callable[[str, bytes], Visit]
    expected: frozenset[str]
    share: int


KINDS = {
    "usual": Kind(visit, frozenset({ANSWERED}), 54),
    "byte by byte": Kind(slow, frozenset({ANSWERED}), 6),
    "noise": Kind(broken, frozenset({REFUSED}), 10),
    "cut off": Kind(cut_off, frozenset({NOTHING}), 10),
    "fewer bytes than declared": Kind(too_few, frozenset({NOTHING}), 5),
    # half a clip may be used
    "more bytes than declared": Kind(too_many, frozenset({ANSWERED, REFUSED}), 5),
    "does not wait": Kind(leaves, frozenset({NOTHING}), 5),
    "cancelled": Kind(cancels, frozenset({NOTHING}), 5),
}


@contextmanager
def _begun_upload(address, kind, length):
    """A connection over which the head of an upload of so many bytes is sent."""
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as connection:
        head = f"PUT /uploads/{kind} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def _name_of(connection):
    """The name in the answer to an upload."""
    answer = b""
    while b"}" not in answer:
        part = connection.recv(4096)
        if not part:
            raise ConnectionError(f"instead of a name came {answer!r}")
        answer += part
    return json.loads(answer[answer.index(b"{") : answer.index(b"}") + 1])["name"]


class SlowClients:
    """Clients that send a byte now and then and never end, half of them in the head of a request, half in its body.

    Attributes:
        held: how many seconds each connection lasted until the server hung up.
    """

    def __init__(self, address: str, clients: int) -> None:
        self.held: list[float] = []
        self._address, self._ended = urlsplit(address), threading.Event()
        begun = f"PUT /uploads/srt HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
        heads = (f"{begun}X-Slow: ", f"{begun}Content-Length: 100000\r\n\r\n")
        self._threads = [threading.Thread(target=self._drip, args=(heads[n % 2].encode(),)) for n in range(clients)]

    def __enter__(self) -> "SlowClients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _drip(self, head: bytes) -> None:
        while not self._ended.is_set():
            try:
                connection = socket.create_connection((self._address.hostname, self._address.port), timeout=DRIP_S)
            except OSError:  # the page is down
                time.sleep(DRIP_S)
                continue
            begun = time.monotonic()
            with connection, suppress(ConnectionError):
                connection.sendall(head)
                while not self._ended.is_set() and _is_open(connection):
                    connection.sendall(b"x")
            if not self._ended.is_set():
                self.held.append(time.monotonic() - begun)


def _is_open(connection):
    """Whether the server has not hung up within the pause between two bytes."""
    try:
        return bool(connection.recv(4096))
    except TimeoutError:
        return True


class Passer:
    """Somebody who opens the page again and again.

    Attributes:
        seconds: that each opening took.
    """

    def __init__(self, address: str) -> None:
        self.seconds: list[float] = []
        self._address, self._ended = address, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Passer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            begun = time.monotonic()
            with suppress(OSError, HTTPException):  # the page is down
                for path in ("/", "/page.js", "/model"):
                    request(self._address, "GET", path)
                self.seconds.append(time.monotonic() - begun)


@dataclass(frozen=True)
class Sent:
    """One upload, what came of it, in words where that is not right, and how many seconds that took."""

    kind: str
    outcome: str
    seconds: float
    words: str = ""


@dataclass
class Load:
    """What came of a crowd.

    Attributes:
        sent: every upload.
        memory: megabytes after the first tenth and before the kill, and the same after the restart.
        passing: seconds that it took to open the page, each time.
        held: seconds that connections of slow clients lasted.
        left: uploads that exist when nobody waits any more, and temporary files when the page is closed.
    """

    sent: list[Sent]
    memory: list[float]
    passing: list[float]
    held: list[float]
    left: list[Path]


def crowd(folder: Path, people: int, uploads: int, slow_clients: int, seed: int = 0) -> Load:
    """So many people send so many uploads; the page is killed in the middle, and slow clients hang on it all along."""
    silence = write_sound(folder / "talk.wav", UTTERANCES, amplitude=0)  # a sound would be drawn, which takes longest
    clip = silence.read_bytes()
    temporary = folder / "temporary"
    temporary.mkdir()
    order = random.Random(seed).choices(list(KINDS), [kind.share for kind in KINDS.values()], k=uploads)
    tenth, half = uploads // 10, uploads // 2
    parts = (order[:tenth], order[tenth:half], order[half : half + tenth], order[half + tenth :])
    sent: list[Sent] = []
    memory: list[float] = []
    with PageProcess(temporary, 2 * people + slow_clients) as page:
        with SlowClients(page.address, slow_clients) as slowly, Passer(page.address) as passer:
            for part in parts:
                with ThreadPoolExecutor(people) as crowded:
                    futures = [crowded.submit(_send, page, name, clip) for name in part]
                    if part is parts[2]:
                        wait(futures, return_when=FIRST_COMPLETED)
                        page.restart()
                sent += [future.result() for future in futures]
                memory.append(megabytes(page.process.pid))
        deadline = time.monotonic() + PATIENCE
        while page.uploads() and time.monotonic() < deadline:
            time.sleep(0.1)  # for the answers that nobody waits for
        left = page.uploads()
    left += [path for path in temporary.iterdir() if not path.name.startswith("pymp-")]
    return Load(sent, memory, passer.seconds, slowly.held, left)


def _send(page: PageProcess, name: str, clip: bytes) -> Sent:
    """Send one clip, and see whether that comes of it which is right."""
    page.is_open.wait()
    begun = time.monotonic()
    try:
        visited = KINDS[name].send(page.address, clip)
        problem = visited.problem
        outcome = REFUSED if problem else NOTHING
    except (OSError, HTTPException, AssertionError, StopIteration, ValueError) as failure:
        visited, problem, outcome = Visit(()), f"{type(failure).__name__}: {failure}", FAILED
    ended = time.monotonic()
    if visited.received:
        outcome = ANSWERED if visited.received == visited.sent else OTHERS
    is_right = outcome in KINDS[name].expected
    if not is_right and outcome != OTHERS and begun < page.up_again and ended > page.killed:
        outcome, is_right = CUT, True
    return Sent(name, outcome, ended - begun, "" if is_right else f"{name}: {outcome} {problem}")
