"""Risk: vecsql.connect is not the sqlite3 that people know, or a vector is bound as other bytes."""

from __future__ import annotations

import array
import datetime
import sqlite3
import threading

import numpy as np
import pytest

import vecsql
from vecsql._connection.driver import driver_of

V = np.array([1, -2.5, 3], "<f4").tobytes()


@pytest.fixture(params=["sqlite3", "pysqlite3"])
def dbapi(request):
    """A PEP 249 module, and a function that connects with it."""
    if request.param == "pysqlite3":
        return pytest.importorskip("pysqlite3").dbapi2
    return sqlite3


@pytest.fixture
def connect(dbapi):
    driver = "sqlite3" if dbapi is sqlite3 else "pysqlite3"
    opened = []

    def call(database=":memory:", **kwargs):
        opened.append(vecsql.connect(database, driver=driver, **kwargs))
        return opened[-1]

    yield call
    for conn in opened:
        conn.close()


# --- PEP 249 -------------------------------------------------------------------------------------


def test_globals_are_those_of_pep_249():
    assert (vecsql.apilevel, vecsql.paramstyle) == ("2.0", "qmark")
    assert vecsql.sqlite_version_info == sqlite3.sqlite_version_info
    assert vecsql.threadsafety in (0, 1, 3)
    assert vecsql.Date(2026, 1, 2) == datetime.date(2026, 1, 2)
    assert vecsql.Time(1, 2, 3) == datetime.time(1, 2, 3)
    noon = datetime.datetime(2026, 1, 2, 12, 30, 5).timestamp()
    assert vecsql.DateFromTicks(noon) == vecsql.Date(2026, 1, 2)
    assert vecsql.TimeFromTicks(noon) == vecsql.Time(12, 30, 5)
    assert vecsql.TimestampFromTicks(noon) == vecsql.Timestamp(2026, 1, 2, 12, 30, 5)
    assert bytes(vecsql.Binary(b"x")) == b"x"


def test_exceptions_form_the_tree_of_pep_249():
    for name in ("Interface", "Database"):
        assert issubclass(getattr(vecsql, name + "Error"), vecsql.Error)
    for name in ("Data", "Operational", "Integrity", "Internal", "Programming", "NotSupported"):
        assert issubclass(getattr(vecsql, name + "Error"), vecsql.DatabaseError)
    assert issubclass(vecsql.Warning, Exception)


def test_errors_of_the_default_driver_are_those_of_the_module():
    with pytest.raises(vecsql.OperationalError, match="syntax"):
        vecsql.connect(":memory:").execute("SELEC")
    with pytest.raises(vecsql.IntegrityError):
        vecsql.connect(":memory:").executescript(
            "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1),(1)"
        )


def test_isolation_level_is_the_drivers(connect, tmp_path):
    db, other = connect(tmp_path / "a.db"), connect(tmp_path / "a.db")
    db.execute("CREATE TABLE t(a)")
    db.execute("INSERT INTO t VALUES(1)")
    assert db.in_transaction
    assert other.execute("SELECT * FROM t").fetchall() == []
    db.commit()
    assert other.execute("SELECT * FROM t").fetchall() == [(1,)]
    assert connect(isolation_level=None).isolation_level is None


def test_connection_refuses_another_thread_as_the_driver_does(connect, dbapi):
    db, caught = connect(), []

    def use():
        try:
            db.execute("SELECT 1")
        except dbapi.ProgrammingError as e:
            caught.append(e)

    t = threading.Thread(target=use)
    t.start()
    t.join()
    assert "thread" in str(caught[0])


# --- the examples of the sqlite3 documentation of CPython ----------------------------------------


def test_documentation_tutorial(connect, tmp_path):
    con = connect(tmp_path / "tutorial.db")
    cur = con.cursor()
    cur.execute("CREATE TABLE movie(title, year, score)")
    res = cur.execute("SELECT name FROM sqlite_master")
    assert res.fetchone() == ("movie",)
    res = cur.execute("SELECT name FROM sqlite_master WHERE name='spam'")
    assert res.fetchone() is None
    cur.execute("""
        INSERT INTO movie VALUES
            ('Monty Python and the Holy Grail', 1975, 8.2),
            ('And Now for Something Completely Different', 1971, 7.5)
    """)
    con.commit()
    assert cur.execute("SELECT score FROM movie").fetchall() == [(8.2,), (7.5,)]
    data = [
        ("Monty Python Live at the Hollywood Bowl", 1982, 7.9),
        ("Monty Python's The Meaning of Life", 1983, 7.5),
        ("Monty Python's Life of Brian", 1979, 8.0),
    ]
    cur.executemany("INSERT INTO movie VALUES(?, ?, ?)", data)
    con.commit()
    rows = cur.execute("SELECT year, title FROM movie ORDER BY year")
    assert [year for year, title in rows] == [1971, 1975, 1979, 1982, 1983]
    con.close()
    again = connect(tmp_path / "tutorial.db")
    res = again.cursor().execute("SELECT title, year FROM movie ORDER BY score DESC")
    assert res.fetchone() == ("Monty Python and the Holy Grail", 1975)


def test_documentation_placeholders(connect):
    con = connect()
    cur = con.execute("CREATE TABLE lang(name, first_appeared)")
    data = ({"name": "C", "year": 1972}, {"name": "Fortran", "year": 1957})
    cur.executemany("INSERT INTO lang VALUES(:name, :year)", data)
    params = (1972,)
    cur.execute("SELECT * FROM lang WHERE first_appeared = ?", params)
    assert cur.fetchall() == [("C", 1972)]
    assert cur.rowcount == -1
    assert [d[0] for d in cur.description] == ["name", "first_appeared"]


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)

    def __hash__(self):
        return hash((self.x, self.y))


class ConformingPoint(Point):
    __hash__ = Point.__hash__

    def __conform__(self, protocol):
        return f"{self.x};{self.y}" if protocol.__name__ == "PrepareProtocol" else None


def test_documentation_adapters_and_converters(connect, dbapi):
    con = connect()
    assert con.execute("SELECT ?", (ConformingPoint(4.0, -3.2),)).fetchone() == ("4.0;-3.2",)

    dbapi.register_adapter(Point, lambda p: f"{p.x};{p.y}".encode())
    dbapi.register_converter("point", lambda s: Point(*map(float, s.split(b";"))))
    p = Point(4.0, -3.2)
    con = connect(detect_types=dbapi.PARSE_DECLTYPES)
    cur = con.execute("CREATE TABLE test(p point)")
    cur.execute("INSERT INTO test(p) VALUES(?)", (p,))
    assert cur.execute("SELECT p FROM test").fetchone() == (p,)
    con = connect(detect_types=dbapi.PARSE_COLNAMES)
    cur = con.execute("CREATE TABLE test(p)")
    cur.execute("INSERT INTO test(p) VALUES(?)", (p,))
    assert cur.execute('SELECT p AS "p [point]" FROM test').fetchone() == (p,)


def test_documentation_context_manager(connect, dbapi):
    con = connect()
    con.execute("CREATE TABLE lang(id INTEGER PRIMARY KEY, name VARCHAR UNIQUE)")
    with con:
        con.execute("INSERT INTO lang(name) VALUES(?)", ("Python",))
    try:
        with con:
            con.execute("INSERT INTO lang(name) VALUES(?)", ("C",))
            con.execute("INSERT INTO lang(name) VALUES(?)", ("Python",))
    except dbapi.IntegrityError:
        pass
    assert con.execute("SELECT name FROM lang").fetchall() == [("Python",)]


def test_documentation_row_factory(connect, dbapi):
    con = connect()
    con.row_factory = dbapi.Row
    row = con.execute("SELECT 'Earth' AS name, 6378 AS radius").fetchone()
    assert (row.keys(), row[0], row["RADIUS"]) == (["name", "radius"], "Earth", 6378)

    def dict_factory(cursor, row):
        return dict(zip([c[0] for c in cursor.description], row, strict=True))

    con.row_factory = dict_factory
    assert con.execute("SELECT 1 AS a, 2 AS b").fetchone() == {"a": 1, "b": 2}


def test_documentation_functions_and_collations(connect):
    con = connect()
    con.create_function("double", 1, lambda x: 2 * x)
    assert con.execute("SELECT double(?)", (21,)).fetchone() == (42,)

    class MySum:
        def __init__(self):
            self.count = 0

        def step(self, value):
            self.count += value

        def finalize(self):
            return self.count

    con.create_aggregate("mysum", 1, MySum)
    cur = con.execute("CREATE TABLE test(i)")
    cur.execute("INSERT INTO test(i) VALUES(1), (2)")
    assert cur.execute("SELECT mysum(i) FROM test").fetchone() == (3,)
    con.create_collation("reverse", lambda a, b: (a < b) - (a > b))
    ordered = cur.execute("SELECT i FROM test ORDER BY CAST(i AS TEXT) COLLATE reverse")
    assert ordered.fetchall() == [(2,), (1,)]


def test_documentation_iterdump_and_backup(connect, tmp_path):
    con = connect(tmp_path / "example.db")
    con.executescript(
        "BEGIN; CREATE TABLE t(a); INSERT INTO t VALUES(1); INSERT INTO t VALUES('x'); COMMIT;"
    )
    if hasattr(con, "iterdump"):  # pysqlite3's wheels have none
        copy = connect()
        copy.executescript("\n".join(con.iterdump()))
        assert copy.execute("SELECT * FROM t").fetchall() == [(1,), ("x",)]
    steps, dst = [], connect(tmp_path / "backup.db")
    with dst:
        con.backup(dst, pages=1, progress=lambda status, remaining, total: steps.append(total))
    assert steps
    assert dst.execute("SELECT count(*) FROM t").fetchone() == (2,)


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "blobopen"), reason="Python 3.11")
def test_documentation_blob():
    con = vecsql.connect(":memory:")
    con.execute("CREATE TABLE test(blob_col blob)")
    con.execute("INSERT INTO test(blob_col) VALUES(zeroblob(13))")
    with con.blobopen("test", "blob_col", 1) as blob:
        blob.write(b"hello, ")
        blob.write(b"world.")
        blob[0] = ord("H")
        blob[-1] = ord("!")
    with con.blobopen("test", "blob_col", 1) as blob:
        assert blob.read() == b"Hello, world!"


def test_documentation_shortcut_methods(connect):
    con = connect()
    con.execute("CREATE TABLE lang(name, first_appeared)")
    con.executemany("INSERT INTO lang VALUES(?, ?)", [("C++", 1985), ("Objective-C", 1984)])
    assert sorted(con.execute("SELECT name FROM lang")) == [("C++",), ("Objective-C",)]
    assert con.execute("DELETE FROM lang").rowcount == 2


# --- vectors in, vectors out ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [1, -2.5, 3],
        (1.0, -2.5, 3.0),
        np.array([1, -2.5, 3], np.float32),
        np.array([1, -2.5, 3], np.float64),
        np.array([1, -2.5, 3], np.float16),
        np.array([1, 0, -2.5, 0, 3, 0], np.float32)[::2],
        array.array("f", [1, -2.5, 3]),
        array.array("d", [1, -2.5, 3]),
        memoryview(array.array("d", [1, -2.5, 3])),
        memoryview(V),
        bytearray(V),
        V,
    ],
    ids=lambda v: type(v).__name__,
)
def test_every_form_of_a_vector_binds_as_the_same_blob(db, value):
    bound = [
        db.execute("SELECT ?", (value,)).fetchone()[0],
        db.execute("SELECT :v", {"v": value}).fetchone()[0],
        db.cursor().execute("SELECT ?", [value]).fetchone()[0],
    ]
    db.execute("CREATE TABLE t(v)")
    db.executemany("INSERT INTO t VALUES(?)", [(value,), [value]])
    bound += [v for (v,) in db.execute("SELECT v FROM t").fetchall()]
    assert [bytes(b) for b in bound] == [V] * 5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), 1),
        (np.str_("a"), "a"),
        (np.bytes_(b"a"), b"a"),
        (True, 1),
    ],
    ids=lambda v: type(v).__name__,
)
def test_scalars_of_numpy_bind_as_what_they_are(db, value, expected):
    got = db.execute("SELECT ?1, typeof(?1)", (value,)).fetchone()
    kind = {int: "integer", float: "real", str: "text", bytes: "blob"}[type(expected)]
    assert got == (expected, kind)


def test_bytes_of_int8_and_bit_vectors_stay_bytes(db):
    for value in (np.array([1, -1], np.int8), np.array([1, 255], np.uint8)):
        assert db.execute("SELECT ?", (value,)).fetchone() == (value.tobytes(),)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 3)), "a batch, convert each row"),
        ([1.0, float("nan")], "element 1 is not a finite number"),
        (["a"], "expected real numbers"),
        (np.array([True]), r"vecsql\.bit"),
        (np.datetime64("2026-01-01"), r"bind \.item\(\)"),
    ],
)
def test_what_is_no_vector_is_refused_before_it_is_stored(db, value, message):
    with pytest.raises(vecsql.ConversionError, match=message):
        db.execute("SELECT ?", (value,))


def test_wrong_dimension_names_table_column_and_both_numbers(db):
    db.execute("CREATE VIRTUAL TABLE v USING vecsql(e FLOAT[4])")
    with pytest.raises(Exception, match=r"v\.e.*4.*3") as caught:
        db.execute("INSERT INTO v(e) VALUES(?)", (np.zeros(3),))
    assert "v.e" in str(caught.value)


def test_an_adapter_of_the_users_own_goes_first(connect, dbapi):
    dbapi.register_adapter(array.array, lambda a: "adapted")
    try:
        assert connect().execute("SELECT ?", (array.array("d", [1]),)).fetchone() == ("adapted",)
    finally:
        del dbapi.adapters[array.array, dbapi.PrepareProtocol]


def test_other_connections_of_the_process_are_not_changed(connect, dbapi):
    connect(detect_types=dbapi.PARSE_DECLTYPES)
    plain = dbapi.connect(":memory:")
    with pytest.raises(dbapi.Error):
        plain.execute("SELECT ?", ([1.0],))
    (blob,) = plain.execute("SELECT ?", (np.zeros(2),)).fetchone()
    assert len(blob) == 16


def test_vector_gives_back_what_was_bound():
    np.testing.assert_array_equal(vecsql.vector(V), np.array([1, -2.5, 3], np.float32))
    assert vecsql.vector("[1, 2]").tolist() == [1, 2]
    assert vecsql.vector(None) is None
    assert vecsql.vector(V).flags.writeable
    for value, message in ((b"12345", "no multiple of 4"), ("[1,", "JSON"), (5, "got int")):
        with pytest.raises(vecsql.ConversionError, match=message):
            vecsql.vector(value)


def test_columns_of_an_index_come_back_as_arrays_with_detect_types(connect, dbapi):
    db = connect(detect_types=dbapi.PARSE_DECLTYPES | dbapi.PARSE_COLNAMES)
    vecsql.create_table(db, "t", {"body": str}, dim=3)
    db.execute("INSERT INTO t(body, embedding) VALUES('x', ?)", ([1, -2.5, 3],))
    (got,) = db.execute("SELECT embedding FROM t").fetchone()
    assert got.dtype == np.float32
    assert got.tolist() == [1, -2.5, 3]
    (got,) = db.execute('SELECT embedding AS "e [vector]" FROM t_embedding').fetchone()
    assert got.tolist() == [1, -2.5, 3]


def test_error_of_a_model_is_shown_although_sqlite3_hides_it(connect, dbapi):
    db = connect()

    away = False

    def fails(texts):
        if away:
            raise ConnectionError("the model server is away")
        return [[1.0, 2.0]] * len(texts)

    vecsql.register_embedder(db, fails)  # asks a function once, to know it by its answer
    away = True
    with pytest.raises(dbapi.OperationalError, match="ConnectionError: the model server is away"):
        db.execute("SELECT embed('x')")
    db.create_function("other", 0, lambda: 1 / 0)
    with pytest.raises(dbapi.OperationalError, match=r"^user-defined function raised exception"):
        db.execute("SELECT other()")


def test_mixed_models_are_refused_in_sql_with_both_names(connect, dbapi, tmp_path):
    first = connect(tmp_path / "a.db")
    vecsql.create_table(first, "t", {"body": str}, text="body")
    first.close()
    db = connect(tmp_path / "a.db")
    with pytest.raises(dbapi.OperationalError, match=r"static-en-256.*register_embedder"):
        db.execute("INSERT INTO t(body) VALUES('x')")
    driver_of(db).run("DELETE FROM t")


class Other:
    """A model of the bundled one's dimensions, and no more alike."""

    model_id = "other"
    dim = 256

    def encode(self, texts):
        return np.ones((len(texts), 256), np.float32)


QUERY = "SELECT rowid FROM t_embedding WHERE embedding MATCH {} AND k = 1"


def test_a_query_embedded_by_another_model_is_refused_with_both_names(connect, dbapi):
    db = connect()
    vecsql.create_table(db, "t", {"body": str}, text="body")
    vecsql.insert(db, "t", {"body": "x"})
    vecsql.register_embedder(db)
    assert list(db.execute(QUERY.format("embed('x')"))) == [(1,)]
    vecsql.register_embedder(db, Other(), "other")
    with pytest.raises(dbapi.OperationalError, match=r"model 'vecsql-static-en-256'.*of 'other'"):
        list(db.execute(QUERY.format("other('x')")))
    vecsql.register_embedder(db, Other())  # in the place of the first
    with pytest.raises(dbapi.OperationalError, match=r"model 'vecsql-static-en-256'.*of 'other'"):
        list(db.execute(QUERY.format("embed(?)"), ["x"]))
    assert list(db.execute(QUERY.format("?"), [np.ones(256, np.float32)])) == [(1,)]
    with pytest.raises(vecsql.ModelMismatchError, match=r"'vecsql-static-en-256'.*'other'"):
        vecsql.search(db, "t", "x", embedder=Other())
    vecsql.reembed(db, "t", Other())
    assert list(db.execute(QUERY.format("embed('x')"))) == [(1,)]


def test_a_vector_that_a_model_made_is_a_vector_like_any_other(connect):
    db = connect()
    vecsql.register_embedder(db)
    row = db.execute("SELECT vec_length(embed('x')), vec_type(embed('x')), embed(NULL)").fetchone()
    assert row == (256, "float32", None)
    db.execute("CREATE VIRTUAL TABLE v USING vecsql(e float[256] distance_metric=cosine)").close()
    db.execute("INSERT INTO v(rowid, e) VALUES (1, embed('x'))").close()
    assert list(db.execute("SELECT rowid FROM v WHERE e MATCH embed('x') AND k = 1")) == [(1,)]
