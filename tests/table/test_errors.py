"""Risk: bad input is stored, half stored, or refused with a message that does not help."""

from __future__ import annotations

import apsw
import numpy as np
import pytest

import vecsql


@pytest.fixture
def table():
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(
        "CREATE VIRTUAL TABLE docs USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[3] codec=sq8, "
        "year INTEGER)"
    )
    db.execute("INSERT INTO docs VALUES(1, '[1, 2, 3]', 2000)")
    return db


def dump(db) -> list:
    """Everything that the table and its shadow tables hold."""
    names = [r[0] for r in db.execute("SELECT name FROM sqlite_schema WHERE rootpage > 0")]
    return [db.execute(f'SELECT * FROM "{n}"').fetchall() for n in sorted(names)]


BAD_VECTORS = [
    ("'[1, 2]'", "docs.e: expected 3 dimensions, got 2"),
    ("'[1, 2, nan]'", "number"),
    ("'[1, 2, 1e99]'", "docs.e"),
    ("'hello'", "does not start with '['"),
    ("'[1, 2, 3'", "docs.e"),
    ("''", "docs.e"),
    ("x'00000000'", "expected 3 dimensions, got 1"),
    ("x'0000'", "docs.e"),
    ("x''", "docs.e"),
    ("x'0000c07f0000803f0000803f'", "NaN"),
    ("x'0000807f0000803f0000803f'", "docs.e"),
    ("17", "docs.e"),
    ("1.5", "docs.e"),
]


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize(("value", "message"), BAD_VECTORS)
def test_a_bad_vector_is_refused_and_leaves_nothing(table, value, message, in_transaction):
    before = dump(table)
    if in_transaction:
        table.execute("BEGIN")
    with pytest.raises(apsw.SQLError, match=r"docs\.e") as info:
        table.execute(f"INSERT INTO docs(id, e) VALUES(2, {value})")
    assert message.lower() in str(info.value).lower()
    with pytest.raises(apsw.SQLError, match=r"docs\.e"):
        table.execute(f"UPDATE docs SET e = {value} WHERE id = 1")
    if in_transaction:
        table.execute("COMMIT")
    assert dump(table) == before


@pytest.mark.parametrize(("value", "message"), BAD_VECTORS)
def test_a_bad_query_vector_names_the_column(table, value, message):
    with pytest.raises(apsw.SQLError, match=r"docs\.e: query vector") as info:
        table.execute(f"SELECT * FROM docs WHERE e MATCH {value} AND k = 3").fetchall()
    assert message.replace("docs.e: ", "").lower() in str(info.value).lower()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT INTO docs(id, e) VALUES(1, '[0,0,0]')", "UNIQUE constraint failed: docs.id"),
        ("UPDATE docs SET id = 'x'", "docs.id: expected an integer key, got 'x'"),
        ("UPDATE docs SET id = NULL", "cannot become NULL"),
        ("INSERT INTO docs(id, e, distance) VALUES(2, '[0,0,0]', 1)", "hidden column"),
        ("INSERT INTO docs(docs) VALUES('nonsense')", "unknown command 'nonsense'"),
        ("INSERT INTO docs(docs) VALUES('ef_search=0')", "ef_search"),
        ("INSERT INTO docs(docs, e) VALUES('optimize', '[1,1,1]')", "takes no other values"),
        ("INSERT INTO docs(docs, rowid) VALUES('optimize', 7)", "takes no other values"),
        ("INSERT INTO docs(docs, k) VALUES('optimize', 7)", "takes no other values"),
        ("SELECT * FROM docs WHERE e MATCH '[1,2,3]' AND k = -1", "k must not be negative"),
        ("SELECT * FROM docs WHERE e MATCH '[1,2,3]' AND k = 'x'", "k must be a whole number"),
        ("SELECT * FROM docs WHERE e MATCH '[1,2,3]' AND k = 1 AND ef_search = 0", "ef_search"),
        ("SELECT * FROM docs WHERE year MATCH '[1,2,3]'", "MATCH needs a vector column"),
        ("SELECT * FROM missing", "no such table: missing"),
        ("SELECT * FROM vecsql_stats('missing')", "no vecsql table missing"),
    ],
)
def test_a_wrong_statement_says_what_is_wrong(table, sql, message):
    before = dump(table)
    with pytest.raises(apsw.Error) as info:
        table.execute(sql).fetchall()
    assert message in str(info.value)
    assert dump(table) == before


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("", "no vector column"),
        ("a TEXT", "no vector column"),
        ("e FLOAT[0]", "n from 1 to 65536"),
        ("e FLOAT[65537]", "n from 1 to 65536"),
        ("e FLOAT[-1]", "n from 1 to 65536"),
        ("e DOUBLE[3]", "expected float[n]"),
        ("e FLOAT[3] m=1", "m must be"),
        ("e FLOAT[3] m=129", "m must be"),
        ("e FLOAT[3] index=tree", "index must be hnsw or flat, not 'tree'"),
        ("e FLOAT[3] distance_metric=l3", "distance_metric must be l2, cosine, dot, l1"),
        ("e FLOAT[3] colour=red", "unknown option 'colour'"),
        ("e FLOAT[3] m", "expected option=value"),
        ("e FLOAT[3], e FLOAT[3]", "there are two of that name"),
        ("e FLOAT[3], k INTEGER", "taken by a hidden column"),
        ("e FLOAT[3], t INTEGER", "taken by a hidden column"),
        ("e FLOAT[3], id REAL PRIMARY KEY", "must be INTEGER or TEXT"),
        ("e FLOAT[3], a INTEGER PRIMARY KEY, b INTEGER PRIMARY KEY", "PRIMARY KEY already"),
        ("e FLOAT[3], content=nope", "content table main.nope"),
        ("e FLOAT[3], depth=3", "unknown table option 'depth=3'"),
        ("e FLOAT[3], 'quoted'", "expected a column name"),
        (", ".join(f"e{i} FLOAT[2]" for i in range(17)), "more than 16 vector columns"),
    ],
)
def test_a_wrong_definition_is_refused_and_leaves_nothing(definition, message):
    db = vecsql.connect(":memory:", driver="apsw")
    with pytest.raises(apsw.SQLError) as info:
        db.execute(f"CREATE VIRTUAL TABLE t USING vecsql({definition})")
    assert message in str(info.value)
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]


@pytest.mark.parametrize("name", ['we"ird', "spa ce", "sélect", "a'b", "x.y", "%s%d"])
def test_names_that_need_quoting_work_everywhere(name):
    db = vecsql.connect(":memory:", driver="apsw")
    quoted = '"' + name.replace('"', '""') + '"'
    db.execute(f'CREATE VIRTUAL TABLE {quoted} USING vecsql({quoted[:-1]}c" FLOAT[2], a TEXT)')
    db.execute(f"INSERT INTO {quoted}(rowid, {quoted[:-1]}c\", a) VALUES(1, '[1,2]', 'x')")
    found = db.execute(
        f"SELECT rowid FROM {quoted} WHERE {quoted[:-1]}c\" MATCH '[1,2]' AND a = 'x' AND k = 1"
    ).fetchall()
    assert found == [(1,)]
    db.execute(f"INSERT INTO {quoted}({quoted}) VALUES('rebuild')")
    db.execute(f'ALTER TABLE {quoted} RENAME TO "{name.replace(chr(34), "")}2"')
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.execute(f'DROP TABLE "{name.replace(chr(34), "")}2"')
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]


def test_a_damaged_page_is_found_named_and_rebuilt(tmp_path):
    path = str(tmp_path / "t.db")
    db = vecsql.connect(path, driver="apsw")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[8])")
    rng = np.random.default_rng(5)
    base = rng.normal(size=(400, 8)).astype("<f4")
    with db:
        db.executemany(
            "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, v.tobytes()) for i, v in enumerate(base)]
        )
    db.execute("INSERT INTO t(t) VALUES('optimize')")
    (page,) = db.execute("SELECT min(page) FROM t_pages0 WHERE page >> 32 = 1").fetchall()[0]
    blob = bytearray(
        db.execute("SELECT data FROM t_pages0 WHERE page = ?", (page,)).fetchall()[0][0]
    )
    blob[100] ^= 1
    db.execute("UPDATE t_pages0 SET data = ? WHERE page = ?", (bytes(blob), page))
    report = db.execute("PRAGMA integrity_check").fetchall()
    assert report == [("main.t.e: code page 0 is missing or damaged",)]
    db.close()
    db = vecsql.connect(path, driver="apsw")
    with pytest.raises(apsw.CorruptError, match="rebuild"):
        db.execute("SELECT * FROM t WHERE e MATCH ? AND k = 1", (base[0].tobytes(),)).fetchall()
    assert len(db.execute("SELECT rowid FROM t").fetchall()) == 400
    db.execute("INSERT INTO t(t) VALUES('rebuild')")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    got = db.execute(
        "SELECT rowid FROM t WHERE e MATCH ? AND k = 1", (base[7].tobytes(),)
    ).fetchall()
    assert got == [(7,)]


def test_defensive_mode_protects_every_shadow_table_and_not_the_table(table):
    table.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    shadows = [
        r[1] for r in table.execute("PRAGMA table_list").fetchall() if r[1].startswith("docs_")
    ]
    assert len(shadows) == 6
    for name in shadows:
        with pytest.raises(apsw.SQLError, match="may not be modified"):
            table.execute(f"DELETE FROM {name}")
    table.execute("INSERT INTO docs VALUES(2, '[3, 2, 1]', 2001)")
    table.execute("BEGIN; DELETE FROM docs WHERE id = 1; SAVEPOINT s; COMMIT")
    assert table.execute("SELECT id FROM docs").fetchall() == [(2,)]


def test_untrusted_schema_lets_triggers_write_the_table():
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB)")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, content_rowid=id, e FLOAT[2])")
    db.execute("INSERT INTO docs VALUES(5, '[1,2]')")
    assert db.execute("SELECT rowid FROM i WHERE e MATCH '[1,2]' AND k = 1").fetchall() == [(5,)]


def test_embed_without_a_model_says_where_models_come_from():
    db = vecsql.connect(":memory:", driver="apsw")
    with pytest.raises(apsw.SQLError, match=r"no embedder: in Python, vecsql.register_embedder"):
        db.execute("SELECT embed('x')").fetchall()
    with pytest.raises(apsw.SQLError, match=r"no embedder for the model m1: .*register_embedder"):
        db.execute("SELECT vecsql_embed('x', 'm1', NULL)").fetchall()


def test_loading_does_not_replace_an_embedder():
    db = apsw.Connection(":memory:")
    db.create_scalar_function("embed", lambda text: 5, 1)
    vecsql.load(db)
    assert db.execute("SELECT embed('x')").fetchall() == [(5,)]


@pytest.mark.parametrize("length", [8, 16])
def test_a_stored_vector_of_another_length_is_damage(table, length):
    table.execute("INSERT INTO docs VALUES(2, '[3, 2, 1]', 2000)")
    table.execute("UPDATE docs_rows SET c2 = zeroblob(?) WHERE rowid = 2", (length,))
    with pytest.raises(apsw.CorruptError, match="rebuild"):
        table.execute("SELECT id FROM docs WHERE e MATCH '[1, 2, 3]' AND k = 2").fetchall()
