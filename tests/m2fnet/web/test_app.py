"""What the server of the page gives away, and what it does not."""

import json
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from many_clients import ask, events, join, subtitles
from many_clients import uploaded as upload
from served_page import IGNORE, LIMITS, uploaded

from m2fnet.errors import UsageError

pytestmark = [pytest.mark.slow, IGNORE]  # the page starts a process that imports torch


def call(address, path, *, method="GET", body=None, headers=None):
    """Status, headers and body of a request whose path is sent unchanged."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()


def test_the_page_is_told_what_it_draws_with(address):
    status, _, body = call(address, "/model")
    answer = json.loads(body)
    assert status == 200
    assert answer["name"] == "fake"
    assert len(answer["colours"]) == len(answer["dark_colours"]) == len(answer["classes"]) == 3
    assert answer["limits"] == {"megabytes": 2, "minutes": 1}


@pytest.mark.parametrize(
    "path", ["/", "/page.css", "/page.js", "/timeline.js", "/model", "/example.mp4", "/nothing", "/gradio_api/file=x"]
)
def test_every_answer_forbids_what_the_page_does_not_do(address, path):
    _, headers, _ = call(address, path)
    headers = {name.lower(): value for name, value in headers.items()}
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/file=/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/upload",
        "/gradio_api/run/analyse",
        "/gradio_api/call/analyse",
        "/gradio_api/info",
        "/gradio_api/runs",
        "/gradio_api/run-history/buckets",
        "/config",
        "/static/../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/app.py",
        "/docs",
        "/openapi.json",
        "/monitoring",
        "/uploads/clip/../../x",
        "//etc/passwd",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_everything_else_is_shut(address, path, method):
    status, _, body = call(address, path, method=method, body=b"{}" if method == "POST" else None)
    assert status == 404
    assert b"root:" not in body


def test_a_foreign_name_that_leads_here_is_refused(address):
    status, _, _ = call(address, "/model", headers={"Host": "evil.example"})
    assert status == 400


def test_another_site_may_not_send_clips(address):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    _, headers, _ = call(address, "/uploads/clip", method="OPTIONS", headers=asked)
    assert "access-control-allow-origin" not in {name.lower() for name in headers}


def test_a_clip_that_is_too_large_is_refused_and_takes_no_place(address):
    status, _, body = call(address, "/uploads/clip", method="PUT", headers={"Content-Length": "2000000000"})
    assert status == 400
    assert "more than 2 MB" in json.loads(body)["error"]
    assert uploaded() == []


def test_a_clip_of_unknown_size_is_cut_off_at_the_limit(address):
    def endless():
        for _ in range(2000):
            yield bytes(10_000)

    request = urllib.request.Request(f"{address}uploads/clip", data=endless(), method="PUT")
    with pytest.raises((urllib.error.HTTPError, OSError)) as problem:
        urllib.request.urlopen(request, timeout=20)
    assert getattr(problem.value, "code", 400) == 400
    assert sum(path.stat().st_size for path in uploaded()) <= 1e6 * LIMITS.megabytes


def test_a_file_is_removed_by_whoever_knows_its_name(address):
    _, _, body = call(address, "/uploads/srt", method="PUT", body=b"1")
    (path,) = uploaded()
    assert call(address, "/uploads/other.srt", method="DELETE")[0] == 204  # says nothing about what is there
    assert uploaded() == [path]
    assert call(address, f"/uploads/{json.loads(body)['name']}", method="DELETE")[0] == 204
    assert uploaded() == []


def test_other_kinds_of_files_are_refused(address):
    status, _, body = call(address, "/uploads/html", method="PUT", body=b"<script>")
    assert status == 400
    assert "expected one of" in json.loads(body)["error"]


def test_static_files_are_fresh(address):
    _, headers, _ = call(address, "/page.js")
    assert {name.lower(): value for name, value in headers.items()}["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "data",
    [
        [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, ""],
        [{"path": "http://192.0.2.1/x.mp4", "url": "http://192.0.2.1/x.mp4", "meta": {"_type": "gradio.FileData"}}, ""],
        [["clip"], ""],
        [None, ""],
        "clip",
        None,
        ["x" * 5000, ""],
    ],
)
def test_only_names_of_files_can_be_asked_about(address, data):
    question = json.dumps({"data": data, "fn_index": 0, "session_hash": "s"})
    headers = {"Content-Type": "application/json"}
    assert call(address, "/gradio_api/queue/join", method="POST", body=question, headers=headers)[0] == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 4000, b"null", b"\xff", bytes(1_000_000)])
def test_a_question_that_is_none_is_refused(address, body):
    headers = {"Content-Type": "application/json"}
    assert call(address, "/gradio_api/queue/join", method="POST", body=body, headers=headers)[0] == 400


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "example.mp4", "x"])
def test_a_name_that_was_not_given_out_is_answered_by_a_sentence(address, name):
    question = json.dumps({"data": [name, ""], "fn_index": 0, "session_hash": f"s{name}"})
    headers = {"Content-Type": "application/json"}
    assert call(address, "/gradio_api/queue/join", method="POST", body=question, headers=headers)[0] == 200
    _, _, answer = call(address, f"/gradio_api/queue/data?session_hash=s{name}")
    (end,) = [json.loads(line[6:]) for line in answer.decode().splitlines() if "process_completed" in line]
    assert end["success"] is False
    assert end["output"]["error"] == "The file is not here any more. Choose it again."


@pytest.fixture
def refused():
    """``refused(port=80)`` is the sentence with which a page there is refused; no model is asked for."""
    from m2fnet.web.page import open_page

    def call(**place):
        with pytest.raises(UsageError) as problem, open_page(None, "x", LIMITS, **place):
            pass
        return str(problem.value)

    return call


@pytest.mark.parametrize("place", [{"port": 99_999}, {"port": -1}, {"host": "192.0.2.1"}, {"host": "no such host"}])
def test_a_place_that_cannot_be_used_is_refused_before_anything_is_loaded(refused, place):
    answer = refused(**place)
    assert answer.startswith("Cannot listen on ")
    assert answer.endswith("Name another --port or --host.")


def test_a_port_in_use_is_refused(address, refused):
    assert "in use" in refused(port=urlsplit(address).port)


def test_a_slow_upload_gives_its_place_to_others(address, monkeypatch):
    monkeypatch.setattr("m2fnet.web.connections.PATIENCE_S", 1.0)
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), timeout=60) as slow:
        slow.sendall(b"PUT /uploads/clip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        with suppress(ConnectionResetError):
            assert slow.recv(100) == b""
    deadline = time.monotonic() + 60
    while uploaded() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert uploaded() == []


def test_only_so_many_questions_wait(address):
    hanging = upload(address, "srt", subtitles(("!hang",)))
    begun = events(address, join(address, ["", hanging])[0])
    assert any("process_starts" in event for event in begun)
    joined = [join(address, ["nothing.clip", ""]) for _ in range(10 * LIMITS.waiting + 1)]
    call(address, f"/uploads/{hanging}", method="DELETE")
    assert "was cancelled" in "".join(begun)
    for session, problem in joined[:-1]:
        assert problem == ""
        assert "not here any more" in "".join(events(address, session))
    assert "Queue is full" in joined[-1][1]


def test_an_answer_that_nobody_fetches_is_forgotten(address):
    session, _ = join(address, ["nothing.clip", ""])
    for _ in range(20 * LIMITS.waiting):
        assert "not here any more" in ask(address, ["nothing.clip", ""], ()).problem
    assert '"session_not_found":true' in "".join(events(address, session))
