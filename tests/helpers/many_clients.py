"""People who send clips to the page at the same time, and what each of them gets back."""

import json
import os
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


@dataclass(frozen=True)
class Visit:
    """What one person has sent, and the texts of the answer, or the sentence in its place."""

    sent: tuple[str, ...]
    received: tuple[str, ...]
    problem: str = ""


def visits(address: str, folder: Path, clients: int) -> list[Visit]:
    """So many people send a clip and subtitles, each their own, at the same time."""
    clip = write_wav(folder / "talk.wav", UTTERANCES).read_bytes()
    with ThreadPoolExecutor(clients) as people:
        return list(people.map(lambda _: _visit(address, clip), range(clients)))


def _visit(address: str, clip: bytes) -> Visit:
    sent = tuple(f"secret {secrets.token_hex(8)} {n}" for n in range(UTTERANCES))
    cues = "\n".join(f"{n + 1}\n00:00:0{n},000 --> 00:00:0{n},900\n{text}\n" for n, text in enumerate(sent))
    names = [_uploaded(address, "clip", clip), _uploaded(address, "srt", cues.encode())]
    session = secrets.token_hex(8)
    question = {"data": names, "fn_index": 0, "session_hash": session, "simple_format": True}
    status, answer = _request(
        address, "POST", "/gradio_api/queue/join", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    if status != 200:
        return Visit(sent, (), answer.decode())
    received, problem = [], ""
    for event in _events(address, f"/gradio_api/queue/data?session_hash={session}"):
        output = event.get("output") or {}
        problem = output.get("error") or problem
        for part in output.get("data") or []:
            received += [utterance["text"] for utterance in part.get("utterances", ())]
    return Visit(sent, tuple(dict.fromkeys(received)), problem)


def _events(address: str, path: str) -> Iterator[dict]:
    """What the queue says until the answer is complete."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data:"):
                event = json.loads(line.removeprefix(b"data:"))
                yield event
                if event["msg"] in ("process_completed", "unexpected_error", "close_stream"):
                    return
    finally:
        connection.close()


def _uploaded(address: str, kind: str, content: bytes) -> str:
    status, answer = _request(address, "PUT", f"/uploads/{kind}", content)
    assert status == 200, answer
    return json.loads(answer)["name"]


def _request(address, method, path, body=None, headers=None):
    connection = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def megabytes() -> float:
    """Memory of this process and of its children, which the page's model is one of."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    processes = [os.getpid(), *(int(pid) for path in children for pid in path.read_text().split())]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
