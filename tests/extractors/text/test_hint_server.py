"""The client of chat endpoints, against a server on this machine: retries, limits, and a key that is nowhere else."""

import json
import time

import pytest
from chat_server import Reply, answer, chat_server

from extractors.text.hint_prompt import Prompt
from extractors.text.hint_server import ChatServer
from extractors.text.hints import NoAnswerError
from m2fnet.errors import HintError, UsageError
from m2fnet.records import Utterance

SECRET = "sk-Very-Secret-123"
QUESTION = Prompt(("joy", "anger"), "label").question(Utterance("u", "own", "test", "d", 0, text="Great, \ud83d 😀!"))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def waits():
    return []


def client(asked, waits, **settings):
    return ChatServer("tiny", asked.address, SECRET, **{"sleep": waits.append, "tries": 3} | settings)


def test_a_question_is_one_request_with_key_and_settings(waits):
    with chat_server(lambda body, n: answer("joy", prompt_tokens=40, completion_tokens=2)) as asked:
        found = client(asked, waits).ask(QUESTION)
    assert (found.text, found.input_tokens, found.output_tokens) == ("joy", 40, 2)
    (body,) = asked.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0.0, 60)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == QUESTION.data
    assert asked.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert waits == []


def test_tokens_are_estimated_if_the_server_does_not_count_them(waits):
    with chat_server(lambda body, n: answer("anger", prompt_tokens=-3, completion_tokens="many")) as asked:
        server = client(asked, waits)
        found = server.ask(QUESTION)
    assert (found.input_tokens, found.output_tokens) == (server.count(QUESTION), 2)


@pytest.mark.parametrize(
    "failure",
    [
        Reply(status=429),
        Reply(status=500),
        Reply(status=503),
        Reply(b"<html>busy</html>"),
        Reply(b"[" * 200_000),
        Reply(b'{"choices": []}'),
        Reply(b'{"choices": [{"message": {"content": 3}}]}'),
        Reply(b"{", headers={"Content-Length": "100"}),
    ],
)
def test_a_failure_that_may_pass_is_tried_again(failure, waits):
    with chat_server(lambda body, n: answer("joy") if n == 2 else failure) as asked:
        assert client(asked, waits, timeout=1).ask(QUESTION).text == "joy"
    assert waits == [1, 2]


def test_the_server_may_ask_for_a_wait_but_not_for_a_day(waits):
    later = [Reply(status=429, headers={"Retry-After": seconds}) for seconds in ("7", "86400", "soon")]
    with chat_server(lambda body, n: later[n] if n < 3 else answer("joy")) as asked:
        assert client(asked, waits, tries=4).ask(QUESTION).text == "joy"
    assert waits == [7, 60, 60]


def test_tries_end(waits):
    with chat_server(lambda body, n: Reply(status=503)) as asked:
        with pytest.raises(NoAnswerError, match=r"127.0.0.1 did not answer in 3 tries: status 503\."):
            client(asked, waits).ask(QUESTION)
        assert len(asked.bodies) == 3


def test_a_silent_server_is_left_after_the_timeout(waits):
    def slow(body, n):
        time.sleep(0.5)
        return answer("joy")

    started = time.monotonic()
    with chat_server(slow) as asked, pytest.raises(NoAnswerError, match=r"no answer within 0\.1 seconds"):
        client(asked, waits, timeout=0.1, tries=2).ask(QUESTION)
    assert time.monotonic() - started < 5


def test_a_closed_port_is_no_connection(waits):
    with chat_server(lambda body, n: answer("joy")) as asked:
        server = client(asked, waits)
    with pytest.raises(NoAnswerError, match="the connection failed"):
        server.ask(QUESTION)


def test_ten_megabytes_are_not_read(waits):
    with chat_server(lambda body, n: answer("joy" * 3_500_000)) as asked:
        with pytest.raises(NoAnswerError, match="more than 1048576 bytes"):
            client(asked, waits).ask(QUESTION)
        assert len(asked.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status, waits):
    with chat_server(lambda body, n: answer("joy")) as other:
        moved = Reply(status=status, headers={"Location": f"{other.address}/chat/completions"})
        with (
            chat_server(lambda body, n: moved) as asked,
            pytest.raises(HintError, match="redirects to another address"),
        ):
            client(asked, waits).ask(QUESTION)
    assert other.bodies == []


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"refuses the key in M2FNET_HINT_KEY \(status 401\)"),
        (403, r"refuses the key in M2FNET_HINT_KEY \(status 403\)"),
        (404, r"knows no /v1/chat/completions or no model 'tiny' \(status 404: no such thing\)"),
        (400, r"refuses the request \(status 400: no such thing\)"),
    ],
)
def test_a_refusal_says_what_to_check(status, message, waits):
    refusal = Reply(json.dumps({"error": {"message": "no such\nthing"}}).encode(), status)
    with chat_server(lambda body, n: refusal) as asked:
        with pytest.raises(HintError, match=message):
            client(asked, waits).ask(QUESTION)
        assert len(asked.bodies) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b'{"error": "x"}', b'{"error": {"message": 3}}', b"[" * 100_000])
def test_a_refusal_without_words_is_one_too(content, waits):
    refused = pytest.raises(NoAnswerError, match=r"\(status 400\)")
    with chat_server(lambda body, n: Reply(content, 400)) as asked, refused:
        client(asked, waits).ask(QUESTION)


@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_key_that_the_server_repeats_is_hidden(status, waits):
    body = (
        answer(f"joy {SECRET}").body if status == 200 else json.dumps({"error": {"message": f"bad {SECRET}"}}).encode()
    )
    with chat_server(lambda _, n: Reply(body, status)) as asked:
        server = client(asked, waits)
        try:
            found = server.ask(QUESTION).text
        except HintError as problem:
            found = str(problem)
    assert "[key]" in found
    assert SECRET not in found + repr(server) + json.dumps(server.settings)


def test_requests_keep_their_distance(waits):
    with chat_server(lambda body, n: answer("joy")) as asked:
        server = client(asked, waits, per_minute=6)
        for _ in range(3):
            server.ask(QUESTION)
    assert waits == pytest.approx([10, 20], abs=1)  # this clock does not wait, so that they add up


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "is no address"),
        ("example.org/v1", "is no address"),
        ("file:///etc/passwd", "is no address"),
        ("ftp://example.org", "is no address"),
        ("https://", "is no address"),
        ("https://[", "is no address"),
        ("https://a:x/v1", "is no address"),
        ("https://a.example/v 1", "is no address"),
        ("https://a.example/\r\nX: y", "is no address"),
        ("https://me:pass@a.example/v1", "holds a user, a query or a fragment"),
        ("https://a.example/v1?key=3", "holds a user, a query or a fragment"),
        ("http://a.example/v1", "unencrypted"),
        ("http://127.0.0.1.a.example/v1", "unencrypted"),
    ],
)
def test_an_address_that_is_none_is_refused(address, message):
    with pytest.raises(UsageError, match=message) as caught:
        ChatServer("tiny", address, SECRET)
    assert SECRET not in str(caught.value)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["https://a.example/v1", "https://a.example/v1/", "https://a.example/v1/chat/completions"]
)
def test_an_address_may_be_given_in_whole_or_in_part(address):
    assert ChatServer("tiny", address, SECRET).address == "https://a.example/v1/chat/completions"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "a\x00b"])
def test_a_key_that_is_none_is_refused_without_showing_it(key):
    with pytest.raises(UsageError, match="no key has") as caught:
        ChatServer("tiny", "https://a.example/v1", key)
    assert key not in str(caught.value)


def test_the_environment_names_server_and_key(monkeypatch):
    monkeypatch.delenv("M2FNET_HINT_URL", raising=False)
    monkeypatch.delenv("M2FNET_HINT_KEY", raising=False)
    with pytest.raises(UsageError, match="M2FNET_HINT_URL is not set"):
        ChatServer.from_environment("tiny")
    monkeypatch.setenv("M2FNET_HINT_URL", "https://a.example/v1")
    with pytest.raises(UsageError, match=r"M2FNET_HINT_KEY is not set; set it to your key for a\.example"):
        ChatServer.from_environment("tiny")
    monkeypatch.setenv("M2FNET_HINT_KEY", f" {SECRET}\n")
    assert ChatServer.from_environment("tiny").key == SECRET
    monkeypatch.setenv("M2FNET_HINT_KEY", "")
    assert ChatServer.from_environment("tiny").key == ""
    monkeypatch.delenv("M2FNET_HINT_KEY")
    monkeypatch.setenv("M2FNET_HINT_URL", "http://localhost:8000/v1")
    assert ChatServer.from_environment("tiny").host == "localhost"
