"""HTTPEmbedder: embeddings from an HTTP endpoint, by the standard library alone.

One request form serves both kinds of server: POST {"model", "input": [texts]}; the answer is
OpenAI's {"data": [{"index", "embedding"}]} or Ollama's {"embeddings": [...]}. Redirects are not
followed: they would carry the key to another host.
"""

from __future__ import annotations

import functools
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vecsql._errors import EmbedderError

if TYPE_CHECKING:
    import urllib.request

    import numpy as np
    from numpy.typing import NDArray

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT = 60.0
_SHOWN = 300  # characters of an answer in a message


class HTTPEmbedder:
    """Vectors from an OpenAI-compatible endpoint or from Ollama.

    ``url`` is the whole address: ``https://api.openai.com/v1/embeddings``,
    ``http://localhost:11434/api/embed``. ``model`` is the server's name for the model, and the
    ``model_id`` unless another is given. ``dim`` is asked from the server if it is not given. The
    key is read from the environment variable ``key_env`` at each request and goes to that address
    only; without the variable none is sent. ``options`` are added to each request
    (``{"dimensions": 512}``).

    ``batch`` texts a request; ``timeout`` seconds for each. Connection errors, timeouts and the
    statuses of overload (429, 5xx) are tried again up to ``retries`` times, after 0.5 s, 1 s, 2 s
    and so on, or as long as the server says in Retry-After.

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
        options: Mapping[str, Any] | None = None,
    ):
        if not url.startswith(("https://", "http://")):
            raise EmbedderError(f"expected the address of an endpoint, http(s)://..., got {url!r}")
        self._url, self._model = url, model
        self._model_id = model_id or model
        self._dim = dim
        self._key_env = key_env
        self._batch, self._timeout, self._retries = batch, timeout, retries
        self._options = dict(options or {})
        self._wait = 0.5

    @property
    def model_id(self) -> str:
        """The name of the model, or what was given."""
        return self._model_id

    @property
    def dim(self) -> int:
        """The length of the server's vectors; asks once if it was not given."""
        if self._dim is None:
            self._dim = len(self._request(["dimension"])[0])
        return self._dim

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns a float32 array of shape (len(texts), dim)."""
        import numpy as np

        if isinstance(texts, str):
            raise EmbedderError("encode takes a list of texts, got one str")
        rows: list[Any] = []
        for start in range(0, len(texts), self._batch):
            rows += self._request(list(texts[start : start + self._batch]))
        if not rows:
            return np.empty((0, self.dim), np.float32)
        if any(len(row) != len(rows[0]) for row in rows):
            raise EmbedderError(f"{self._url}: vectors of different lengths")
        return np.array(rows, np.float32)

    def _request(self, texts: list[str]) -> list[list[float]]:
        """The vectors of one batch, in the order of the texts."""
        body = {"model": self._model, "input": texts, **self._options}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(self._key_env)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        import urllib.request

        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        return self._vectors(self._answer(request), len(texts))

    def _answer(self, request: urllib.request.Request) -> Any:
        import urllib.error
        from http.client import HTTPException

        for attempt in range(self._retries + 1):
            after = None
            try:
                with _opener().open(request, timeout=self._timeout) as response:
                    return json.load(response)
            except urllib.error.HTTPError as e:
                text = e.read(10_000).decode("utf-8", "replace").strip()[:_SHOWN]
                problem = f"{self._url}: HTTP {e.code} {e.reason}: {text}"
                after = e.headers.get("Retry-After")
                if e.code not in _TRANSIENT:
                    raise EmbedderError(problem + self._hint(e.code)) from e
            except ValueError as e:  # not JSON, or not in UTF-8
                raise EmbedderError(f"{self._url}: the answer is no JSON: {e}") from e
            except (OSError, HTTPException) as e:  # URLError and timeouts are OSErrors
                problem = f"{self._url}: {getattr(e, 'reason', None) or e or type(e).__name__}"
            if attempt < self._retries:
                time.sleep(self._pause(attempt, after))
        raise EmbedderError(f"{problem} (tried {self._retries + 1} times)")

    def _pause(self, attempt: int, after: str | None) -> float:
        """Seconds to wait: what the server asks, else doubling, spread so that clients part."""
        try:
            return min(float(after or ""), _LONGEST_WAIT)
        except ValueError:  # absent, or a date
            return float(min(self._wait * 2**attempt * random.uniform(0.8, 1.2), _LONGEST_WAIT))

    def _hint(self, status: int) -> str:
        if status not in (401, 403):
            return ""
        there = "is set" if os.environ.get(self._key_env) else "is not set"
        return f" (the key is read from the environment variable {self._key_env}, which {there})"

    def _vectors(self, answer: Any, n: int) -> list[list[float]]:
        try:
            if "embeddings" in answer:
                found = list(answer["embeddings"])
            else:
                entries = sorted(answer["data"], key=lambda entry: entry.get("index", 0))
                found = [entry["embedding"] for entry in entries]
            ok = all(isinstance(v, list) for v in found)
        except (TypeError, KeyError, AttributeError):
            ok, found = False, []
        if not ok or len(found) != n:
            shown = json.dumps(answer)[:_SHOWN]
            raise EmbedderError(
                f"{self._url}: expected {n} vectors under data or embeddings, got {shown}"
            )
        return found


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    import urllib.request  # 20 ms that `import vecsql` does not have to spend

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *request: Any) -> None:
            return None

    return urllib.request.build_opener(NoRedirect)
