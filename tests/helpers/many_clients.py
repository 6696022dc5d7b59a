"""People who send clips to the page at the same time, and what each of them gets back."""

import json
import os
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from made_up_model import write_wav

PATIENCE = 300  # seconds: each waits for all before it
UTTERANCES = 3
_SECRET = r"secret [0-9a-f]{16} \d"


@dataclass(frozen=True)
class Visit:
    """What one person has sent, anybody's secrets in what came back, and the sentence in place of an answer."""

    sent: tuple[str, ...]
    received: tuple[str, ...] = ()
    problem: str = ""


def visits(address: str, folder: Path, clients: int) -> list[Visit]:
    """So many people send a clip and subtitles, each their own, at the same time."""
    clip = write_wav(folder / "talk.wav", UTTERANCES).read_bytes()
    with ThreadPoolExecutor(clients) as people:
        return list(people.map(lambda _: visit(address, clip), range(clients)))


def visit(address: str, clip: bytes) -> Visit:
    """One person sends the clip with new secrets as subtitles, and waits for the answer."""
    sent = new_secrets()
    return ask(address, [uploaded(address, "clip", clip), uploaded(address, "srt", subtitles(sent))], sent)


def new_secrets() -> tuple[str, ...]:
    """What is said in a clip that nobody else has sent."""
    return tuple(f"secret {secrets.token_hex(8)} {n}" for n in range(UTTERANCES))


def subtitles(sent: tuple[str, ...]) -> bytes:
    """The secrets as SRT, one a second."""
    cues = (f"{n + 1}\n00:00:0{n},000 --> 00:00:0{n},900\n{text}\n" for n, text in enumerate(sent))
    return "\n".join(cues).encode()


def uploaded(address: str, kind: str, content: bytes) -> str:
    """The name of an upload."""
    status, answer = request(address, "PUT", f"/uploads/{kind}", content)
    assert status == 200, answer
    return json.loads(answer)["name"]


def ask(address: str, names: list[str], sent: tuple[str, ...]) -> Visit:
    """Wait in the queue for the answer to uploads."""
    session, problem = join(address, names)
    lines = [] if problem else list(events(address, session))
    for line in lines:
        problem = (json.loads(line).get("output") or {}).get("error") or problem
    return Visit(sent, tuple(dict.fromkeys(re.findall(_SECRET, "".join(lines)))), problem)


def join(address: str, names: list[str]) -> tuple[str, str]:
    """Ask for the answer to uploads without waiting for it: the session, and why the queue did not take it."""
    session = secrets.token_hex(8)
    question = {"data": names, "fn_index": 0, "session_hash": session, "simple_format": True}
    headers = {"Content-Type": "application/json"}
    status, answer = request(address, "POST", "/gradio_api/queue/join", json.dumps(question).encode(), headers)
    return session, "" if status == 200 else answer.decode()


def events(address: str, session: str) -> Iterator[str]:
    """What the queue says until the answer is complete, each in JSON."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data:"):
                event = line.removeprefix(b"data:").decode()
                yield event
                if json.loads(event)["msg"] in ("process_completed", "unexpected_error", "close_stream"):
                    return
    finally:
        connection.close()


def request(address, method, path, body=None, headers=None):
    """Status and body of the answer."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def megabytes(process: int | None = None) -> float:
    """Memory of a process, by default this one, and of its children, which the page's model is one of."""
    process = process or os.getpid()
    children = Path(f"/proc/{process}/task").glob("*/children")
    processes = [process, *(int(pid) for path in children for pid in path.read_text().split())]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
