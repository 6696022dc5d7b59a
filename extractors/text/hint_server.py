"""A language model behind an OpenAI-compatible chat endpoint.

The address and the key come from the environment. The key is in no file, message or error, and is sent to no other host
than that of the address: redirects are not followed.
"""

import http.client
import ipaddress
import json
import math
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar
from urllib.parse import urlsplit

from extractors.text.hint_prompt import Question
from extractors.text.hints import Answer, NoAnswerError
from m2fnet.errors import HintError, UsageError
from m2fnet.formatting import plain

URL, KEY = "M2FNET_HINT_URL", "M2FNET_HINT_KEY"
MOST_BYTES = 2**20  # of a response
_PATH = "/chat/completions"
_LONGEST_WAIT = 60.0  # seconds between two tries
_BYTES_PER_TOKEN = 4  # about, of English
_TEMPORARY = (408, 425, 429)


class _BusyError(Exception):
    """A failure that may be over at the next try; ``wait`` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead to a host that the key is not for."""

    def redirect_request(self, *_: object) -> None:
        """Nothing is requested in its place."""


@dataclass
class ChatServer:
    """Answers by a server, one request per question.

    Args:
        model: name of the model, as the server knows it.
        address: such as ``https://host/v1``.
        key: is sent as bearer token; empty for none.
        temperature: 0 for the most probable answer.
        most_tokens: of an answer.
        parallel: requests at the same time, at most.
        per_minute: requests, at most; None for as many as there are answers.
        timeout: seconds for a request.
        tries: of a request that fails for now: too many requests (429), a fault of the server (5xx), no connection,
            no answer in time, or a response that is not JSON. The wait is 1, 2, 4 ... 60 seconds, or what the server
            asks for.
        sleep: waits so many seconds.

    Raises:
        UsageError: for an address or a key that cannot be used.
    """

    keeps_to_beginnings: ClassVar[bool] = False

    model: str
    address: str
    key: str = field(default="", repr=False)
    temperature: float = 0.0
    most_tokens: int = 60
    parallel: int = 1
    per_minute: float | None = None
    timeout: float = 60.0
    tries: int = 6
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        self.address = _checked(self.address)
        if not self.key.isascii() or not self.key.isprintable() or " " in self.key:
            raise UsageError(f"{KEY} holds blanks or other characters that no key has; set it again, without quotes.")
        if self.key and self.address.startswith("http:") and not _is_this_machine(self.host):
            raise UsageError(f"{URL} begins with http://, which would send the key unencrypted; use https://.")
        self._next = 0.0  # when the next request may start
        self._lock = threading.Lock()
        self._opener = urllib.request.build_opener(_NoRedirects)

    @classmethod
    def from_environment(cls, model: str, **settings: Any) -> "ChatServer":  # noqa: ANN401
        """The server that the environment names.

        Raises:
            UsageError: if it names none, or no key for one on another machine.
        """
        address, key = os.environ.get(URL, "").strip(), os.environ.get(KEY)
        if not address:
            raise UsageError(
                f"{URL} is not set; set it to the address of an OpenAI-compatible server, such as https://HOST/v1."
            )
        server = cls(model, address, (key or "").strip(), **settings)
        if key is None and not _is_this_machine(server.host):
            raise UsageError(f"{KEY} is not set; set it to your key for {server.host}, or to nothing if it needs none.")
        return server

    @property
    def host(self) -> str:
        """Name of the host that transcripts are sent to."""
        return urlsplit(self.address).hostname or ""

    @property
    def settings(self) -> dict[str, object]:
        """Everything but the key."""
        return {
            "provider": "server",
            "address": self.address,
            "model": self.model,
            "temperature": self.temperature,
            "most_tokens": self.most_tokens,
        }

    def count(self, question: Question) -> int:
        """About as many tokens as a question has: a quarter of its bytes."""
        return math.ceil(len((question.instruction + question.data).encode()) / _BYTES_PER_TOKEN)

    def ask(self, question: Question) -> Answer:
        """The server's answer.

        Raises:
            NoAnswerError: if there is none to this question.
            HintError: if the server refuses the key, the address or the model.
        """
        wait, reason = 1.0, ""
        for attempt in range(self.tries):
            if attempt:
                self.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            try:
                return self._parsed(self._post(question), question)
            except _BusyError as problem:
                reason, wait = str(problem), max(wait, min(problem.wait, _LONGEST_WAIT))
        raise NoAnswerError(f"{self.host} did not answer in {self.tries} tries: {reason}.")

    def _post(self, question: Question) -> bytes:
        """The body of the response to one request."""
        if self.per_minute is not None:
            with self._lock:
                now = time.monotonic()
                start = max(now, self._next)
                self._next = start + 60 / self.per_minute
            if start > now:
                self.sleep(start - now)
        messages = [{"role": "system", "content": question.instruction}, {"role": "user", "content": question.data}]
        body = {
            "model": self.model,
            "messages": messages,
            "temperature": self.temperature,
            "max_tokens": self.most_tokens,
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "m2fnet"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.address, json.dumps(body).encode(), headers)  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return _read(response, time.monotonic() + self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except TimeoutError:
            raise _BusyError(f"no answer within {self.timeout:g} seconds") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.URLError) and isinstance(error.reason, TimeoutError):
                raise _BusyError(f"no connection within {self.timeout:g} seconds") from None
            raise _BusyError(f"the connection failed ({type(error).__name__})") from None

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What a status other than success means."""
        status = error.code
        if status in _TEMPORARY or status >= 500:
            asked = error.headers.get("Retry-After", "")
            seconds = float(asked) if asked.isascii() and asked.isdigit() else 0.0
            return _BusyError(f"status {status}", seconds)
        if status < 400:
            return HintError(
                f"{self.host} redirects to another address (status {status}), which is not followed; set {URL} to the "
                "final address."
            )
        if status in (401, 403):
            given = f"refuses the key in {KEY}" if self.key else f"wants a key, but {KEY} is empty"
            return HintError(f"{self.host} {given} (status {status}); set {KEY} to a valid one.")
        said = self._without_key(_message(error))
        if status == 404:
            return HintError(
                f"{self.host} knows no {urlsplit(self.address).path} or no model {self.model!r} (status 404{said}); "
                f"check {URL} and --model."
            )
        return NoAnswerError(f"{self.host} refuses the request (status {status}{said}).")

    def _parsed(self, content: bytes, question: Question) -> Answer:
        try:
            found = json.loads(content)
            text = found["choices"][0]["message"]["content"]
            if not isinstance(text, str | None):
                raise TypeError
        except (ValueError, TypeError, KeyError, IndexError, RecursionError):
            raise _BusyError("its response is not that of a chat endpoint") from None
        usage = found.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        text = self._without_key(text or "")
        read, written = (_whole(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        return Answer(
            text,
            self.count(question) if read is None else read,
            math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN) if written is None else written,
        )

    def _without_key(self, text: str) -> str:
        """``text`` of the server, which may repeat the key."""
        return text.replace(self.key, "[key]") if self.key else text


def _checked(address: str) -> str:
    """The address that requests are sent to."""
    advice = f"set {URL} to an address such as https://HOST/v1"
    try:
        parts = urlsplit(address)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
    if not is_whole or parts.scheme not in ("http", "https") or not address.isprintable() or " " in address:
        raise UsageError(f"{URL} is no address of a server; {advice}.")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(f"{URL} holds a user, a query or a fragment, which would be written into files; {advice}.")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path.removesuffix(_PATH)}{_PATH}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(response: IO[bytes], deadline: float) -> bytes:
    """All bytes of a response, unless they are too many or too slow."""
    found = bytearray()
    while part := response.read(2**14):
        found += part
        if len(found) > MOST_BYTES:
            raise NoAnswerError(f"The response has more than {MOST_BYTES} bytes.")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(found)


def _message(error: urllib.error.HTTPError) -> str:
    """What the server writes about an error, shortened; empty if it is in no known form."""
    try:
        said = json.loads(error.read(MOST_BYTES))["error"]["message"]
        return f": {plain(said)[:200]}" if isinstance(said, str) else ""
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, RecursionError):
        return ""


def _whole(number: object) -> int | None:
    return number if type(number) is int and 0 <= number < 2**40 else None
