"""HTTPEmbedder: embeddings from an HTTP endpoint, by the standard library alone.

The request is POST {"model", "input": [texts]}, or {"inputs": [texts]} for the endpoint /embed of
Text Embeddings Inference. The answer is OpenAI's {"data": [{"index", "embedding"}]}, Ollama's
{"embeddings": [...]} or a plain list; a vector is a list of numbers, or float32 in base64.

The server is not trusted: an answer has a time and a size, whatever it sends and however slowly.
Redirects are not followed, because they would carry the key to another host, and no message and no
cause of an error holds the key.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import math
import os
import random
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vecsql._base.convert import whole
from vecsql._base.errors import EmbedderError

if TYPE_CHECKING:
    import urllib.request

    import numpy as np
    from numpy.typing import NDArray

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT = 60.0
_SHOWN = 300  # characters of an answer in a message
_BYTES_OF_A_NUMBER = 48  # in JSON, on a line of its own
_MOST_DIMS = 16_384  # of a model whose dimension is not known yet
_BESIDE = 1 << 20  # bytes of an answer beside its vectors


class HTTPEmbedder:
    """Vectors from an OpenAI-compatible endpoint, from Ollama or Text Embeddings Inference.

    ``url`` is the whole address: ``https://api.openai.com/v1/embeddings``,
    ``http://localhost:11434/api/embed``, ``http://localhost:8080/embed``. ``model`` is the server's
    name for the model, and the ``model_id`` unless another is given. ``dim`` is asked from the
    server if it is not given. The key is read from the environment variable ``key_env`` at each
    request and goes to that address only; without the variable none is sent. ``options`` are added
    to each request (``{"dimensions": 512}``).

    ``batch`` texts a request; ``timeout`` seconds for the whole of it, to the last byte of the
    answer. Connection errors, timeouts and the statuses of overload (429, 5xx) are tried again up
    to ``retries`` times, after 0.5 s, 1 s, 2 s and so on, or as long as the server says in
    Retry-After, up to a minute. ``deadline`` seconds bound a whole call of ``encode``, with all its
    requests and waits.

    Raises `EmbedderError` with the server's message.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        model_id: str | None = None,
        dim: int | None = None,
        key_env: str = "OPENAI_API_KEY",
        batch: int = 64,
        timeout: float = 30.0,
        retries: int = 5,
        deadline: float | None = None,
        options: Mapping[str, object] | None = None,
    ):
        if not url.startswith(("https://", "http://")):
            raise EmbedderError(
                f"expected the address of an endpoint, http(s)://..., got {_public(url)!r}"
            )
        self._url, self._model = url, model
        self._model_id = model_id or model
        self._dim = None if dim is None else whole(dim, "dim is a number of dimensions")
        self._key_env = key_env
        self._batch = whole(batch, "batch is a number of texts")
        self._retries = whole(retries, "retries is a number of times", 0)
        self._timeout, self._deadline = timeout, deadline
        self._options = dict(options or {})
        self._wait = 0.5

    def __repr__(self) -> str:
        return f"HTTPEmbedder({_public(self._url)!r}, {self._model!r})"

    @property
    def model_id(self) -> str:
        """The name of the model, or what was given."""
        return self._model_id

    @property
    def dim(self) -> int:
        """The length of the server's vectors; asks once if it was not given."""
        if self._dim is None:
            self._dim = len(self._request(["dimension"], self._until())[0])
        return self._dim

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns a float32 array of shape (len(texts), dim)."""
        import numpy as np

        if isinstance(texts, str):
            raise EmbedderError("encode takes a list of texts, got one str")
        until = self._until()
        rows: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), self._batch):
            rows += self._request(list(texts[start : start + self._batch]), until)
        if not rows:
            return np.empty((0, self.dim), np.float32)
        if any(len(row) != len(rows[0]) for row in rows):
            raise EmbedderError(f"{_public(self._url)}: vectors of different lengths")
        out = np.array(rows, np.float32)
        if self._dim is not None and out.shape[1] != self._dim:
            raise EmbedderError(
                f"{_public(self._url)}: vectors of {out.shape[1]} dimensions, expected {self._dim}"
            )
        if not np.isfinite(out).all():
            raise EmbedderError(f"{_public(self._url)}: a vector with NaN or infinity")
        return out

    def _until(self) -> float:
        return math.inf if self._deadline is None else time.monotonic() + self._deadline

    def _request(self, texts: list[str], until: float) -> list[NDArray[np.float32]]:
        """The vectors of one batch, in the order of the texts."""
        path = self._url.partition("?")[0].rstrip("/")
        if path.endswith("/embed") and not path.endswith("/api/embed"):
            body = {"inputs": texts, **self._options}
        else:
            body = {"model": self._model, "input": texts, **self._options}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = self._key()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        import urllib.request

        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        return self._vectors(self._answer(request, len(texts), until), len(texts))

    def _key(self) -> str:
        key = os.environ.get(self._key_env, "").strip()
        if not key.isascii() or not key.isprintable():
            raise EmbedderError(
                f"the key in the environment variable {self._key_env} holds characters that a "
                "header cannot have"
            )
        return key

    def _answer(self, request: urllib.request.Request, n: int, until: float) -> Any:
        from http.client import HTTPException

        most = _BESIDE + n * (self._dim or _MOST_DIMS) * _BYTES_OF_A_NUMBER
        where = _public(self._url)
        for attempt in range(self._retries + 1):
            after = None
            seconds = min(self._timeout, until - time.monotonic())
            if seconds <= 0:
                raise EmbedderError(f"{where}: no answer before the deadline ({self._deadline} s)")
            try:
                answer = _exchange(request, seconds, most)
                if answer.status < 300:
                    return self._json(answer.body, where, most)
                text = answer.body.decode("utf-8", "replace").strip()
                problem = self._clean(f"{where}: HTTP {answer.status} {answer.reason}: {text}")
                after = answer.retry_after
                if answer.status not in _TRANSIENT:
                    raise EmbedderError(problem + self._hint(answer.status))
            except (OSError, HTTPException) as e:  # URLError and timeouts are OSErrors
                reason = getattr(e, "reason", None) or e or type(e).__name__
                problem = self._clean(f"{where}: {reason}")
            if attempt < self._retries:
                pause = self._pause(attempt, after)
                if time.monotonic() + pause >= until:
                    problem += f"; the deadline ({self._deadline} s) leaves no time for more"
                    raise EmbedderError(f"{problem} (tried {attempt + 1} times)")
                time.sleep(pause)
        raise EmbedderError(f"{problem} (tried {self._retries + 1} times)")

    def _json(self, body: bytes, where: str, most: int) -> Any:
        if len(body) > most:
            raise EmbedderError(f"{where}: the answer has more than {most:,} bytes")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as e:  # not JSON, or not in UTF-8
            problem = f"{where}: the answer is no JSON: {e or 'nested too deeply'}"
        raise EmbedderError(self._clean(problem))

    def _clean(self, text: str) -> str:
        """A message without the key, which servers repeat, and not too long."""
        from urllib.parse import quote

        key = os.environ.get(self._key_env, "").strip()
        for form in {key, json.dumps(key)[1:-1], quote(key), quote(key, safe="")} if key else ():
            text = text.replace(form, "***")
        return text[:_SHOWN]

    def _pause(self, attempt: int, after: str | None) -> float:
        """Seconds to wait: what the server asks, else doubling, spread so that clients part."""
        asked = _seconds(after)
        if asked is None:
            asked = self._wait * 2**attempt * random.uniform(0.8, 1.2)
        return min(asked, _LONGEST_WAIT)

    def _hint(self, status: int) -> str:
        if status not in (401, 403):
            return ""
        there = "is set" if os.environ.get(self._key_env) else "is not set"
        return f" (the key is read from the environment variable {self._key_env}, which {there})"

    def _vectors(self, answer: Any, n: int) -> list[NDArray[np.float32]]:
        try:
            found = [_vector(v) for v in _listed(answer)]
            if len(found) == n:
                return found
            problem = f"{len(found)}"
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as e:
            problem = f"none ({e})" if str(e) else "none"
        shown = self._clean(json.dumps(answer)[: 10 * _SHOWN])
        raise EmbedderError(
            f"{_public(self._url)}: expected {n} vectors under data or embeddings, got "
            f"{self._clean(problem)}: {shown}"
        )


def _public(url: str) -> str:
    """An address without what may be secret: the user, the query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    path = path.partition("?")[0].partition("#")[0]
    return f"{scheme}://{host.rpartition('@')[2].partition('?')[0]}{slash}{path}"


def _seconds(after: str | None) -> float | None:
    """What Retry-After says: seconds, or a date; None for what makes no sense."""
    if after is None:
        return None
    try:
        seconds = float(after)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        seconds = max(seconds, 0.0)
    return seconds if seconds >= 0 else None


def _listed(answer: Any) -> list[Any]:
    """The vectors of an answer of any of the forms, in the order of the texts."""
    if isinstance(answer, list):
        return answer
    if "embeddings" in answer:
        found = answer["embeddings"]
        return list(found["float"] if isinstance(found, dict) else found)
    entries = list(answer["data"])
    if any("index" in entry for entry in entries):
        entries.sort(key=lambda entry: entry["index"])
        if [entry["index"] for entry in entries] != list(range(len(entries))):
            raise ValueError("the indexes of the vectors are not 0, 1, 2 and so on")
    return [entry["embedding"] for entry in entries]


def _vector(value: Any) -> NDArray[np.float32]:
    import numpy as np

    if isinstance(value, str):
        data = base64.b64decode(value, validate=True)
        return np.frombuffer(data, "<f4").astype(np.float32)
    if not isinstance(value, list):
        raise TypeError(f"a vector is a list, got {type(value).__name__}")
    if not all(type(x) in (float, int) for x in value):
        raise TypeError("a vector holds numbers only")
    with np.errstate(over="ignore"):  # infinity is refused later
        return np.array(value, np.float32)


# --- one exchange --------------------------------------------------------------------------------


class _Answer(NamedTuple):
    status: int
    reason: str
    retry_after: str | None
    body: bytes  # one byte more than allowed, if there is more


def _exchange(request: urllib.request.Request, seconds: float, most: int) -> _Answer:
    """Sends a request and reads the answer, within a time; raises what urllib raises."""
    import urllib.error

    with _Watch(seconds) as watch:
        request.vecsql_watch = watch  # type: ignore[attr-defined]  # for _opener
        try:
            with _opener().open(request, timeout=seconds) as response:
                if int(response.headers.get("Content-Length") or 0) > most:
                    return _Answer(response.status, "", None, b" " * (most + 1))
                return _Answer(response.status, "", None, response.read(most + 1))
        except urllib.error.HTTPError as e:
            with e:
                text = e.read(10_000)
            return _Answer(e.code, str(e.reason), e.headers.get("Retry-After"), text)
        except ValueError as e:
            raise OSError(f"not understood: {e}") from None
        finally:
            watch.check()


class _Watch:
    """Closes a connection when its time is over; a server that sends a byte a second is one too."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._timer = threading.Timer(seconds, self._close)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._fired = False

    def __enter__(self) -> _Watch:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()

    def add(self, connection: socket.socket) -> None:
        """Takes a socket to close."""
        with self._lock:
            self._sockets.append(connection)
            late = self._fired
        if late:
            self._close()

    def check(self) -> None:
        """Raises TimeoutError if the time was over."""
        if self._fired:
            raise TimeoutError(f"timed out: no complete answer within {self._seconds:g} s")

    def _close(self) -> None:
        with self._lock:
            self._fired = True
            for connection in self._sockets:
                # of the plain socket: an SSLSocket would drop its state while another thread reads
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    import http.client
    import urllib.request  # 20 ms that `import vecsql` does not have to spend

    def watched(kind: Any) -> Any:
        class Connection(kind):  # type: ignore[misc]  # of http or https
            def __init__(self, *args: Any, watch: _Watch, **options: Any):
                super().__init__(*args, **options)
                self._watch = watch

            def connect(self) -> None:
                super().connect()
                self._watch.add(self.sock)

        return Connection

    plain, encrypted = watched(http.client.HTTPConnection), watched(http.client.HTTPSConnection)

    class PlainHandler(urllib.request.HTTPHandler):
        def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
            return super().do_open(functools.partial(plain, watch=req.vecsql_watch), req, **options)

    class EncryptedHandler(urllib.request.HTTPSHandler):
        def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
            connection = functools.partial(encrypted, watch=req.vecsql_watch)
            return super().do_open(connection, req, **options)

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *request: Any) -> None:
            return None

    return urllib.request.build_opener(NoRedirect, PlainHandler, EncryptedHandler)
