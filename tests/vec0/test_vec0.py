"""Risk: a program written for sqlite-vec gets other rows, other columns or other errors.

The statements are those of sqlite-vec's own documentation (its site, README and examples), page by
page, each run in both engines and compared: rows, column names, types of the values, error texts.
"""

from __future__ import annotations

import hashlib
import json
import struct

import apsw
import pytest

import vecsql
from tests.support.vec0_pair import Pair, ours


def embedding(text: str, dims: int) -> bytes:
    """A made-up embedding: any text, always the same vector."""
    bits = hashlib.shake_256(text.encode()).digest(2 * dims)
    return struct.pack(f"<{dims}f", *(x / 32768 - 1 for x in struct.unpack(f"<{dims}H", bits)))


@pytest.fixture
def pair():
    p = Pair()
    for conn in (p.ours, p.theirs):
        conn.create_scalar_function("embed", embedding, 2, deterministic=True)
    yield p
    p.close()


# --- introduction, README, examples/simple-* -----------------------------------------------------

EXAMPLES = [
    "[-0.200, 0.250, 0.341, -0.211, 0.645, 0.935, -0.316, -0.924]",
    "[0.443, -0.501, 0.355, -0.771, 0.707, -0.708, -0.185, 0.362]",
    "[0.716, -0.927, 0.134, 0.052, -0.669, 0.793, -0.634, -0.162]",
    "[-0.710, 0.330, 0.656, 0.041, -0.990, 0.726, 0.385, -0.958]",
]


def test_readme(pair):
    pair.same("create virtual table vec_examples using vec0(sample_embedding float[8])")
    for rowid, vector in enumerate(EXAMPLES, 1):
        pair.same(
            "insert into vec_examples(rowid, sample_embedding) values (?, ?)", (rowid, vector)
        )
    query = "[0.890, 0.544, 0.825, 0.961, 0.358, 0.0196, 0.521, 0.175]"
    rows = pair.same(
        "select rowid, distance from vec_examples where sample_embedding match ? "
        "order by distance limit 2",
        (query,),
        ordered=True,
    )
    assert [r[0] for r in rows] == [2, 1]


def test_simple_demo(pair):
    pair.same("CREATE VIRTUAL TABLE vec_items USING vec0(embedding float[4])")
    items = [[i, [i / 10] * 4] for i in range(1, 6)]
    pair.same(
        "INSERT INTO vec_items(rowid, embedding) select value ->> 0, value ->> 1 from json_each(?)",
        (json.dumps(items),),
    )
    pair.same("SELECT rowid, embedding FROM vec_items", ordered=True)
    pair.same(
        "SELECT rowid, distance FROM vec_items WHERE embedding MATCH '[0.3, 0.3, 0.3, 0.3]' "
        "ORDER BY distance LIMIT 3"
    )


@pytest.mark.parametrize("driver", ["sqlite3", "apsw"])
def test_python_page(driver):
    """The page's own Python, with one line changed: vecsql.load(db, vec0=True)."""
    sqlite_vec = pytest.importorskip("sqlite_vec")
    import numpy as np

    if driver == "sqlite3":  # some Pythons cannot load extensions but this way
        db = vecsql.connect(":memory:", vec0=True)
    else:
        db = apsw.Connection(":memory:")
        vecsql.load(db, vec0=True)
    assert db.execute("select vec_version()").fetchone() == ("v0.1.9",)
    assert "Version: v0.1.9" in db.execute("select vec_debug()").fetchone()[0]
    blob = sqlite_vec.serialize_float32([0.1, 0.2, 0.3, 0.4])
    assert db.execute("select vec_length(?)", [blob]).fetchone() == (4,)
    array = np.array([0.1, 0.2, 0.3, 0.4]).astype(np.float32)
    assert db.execute("select vec_length(?)", [array]).fetchone() == (4,)
    small = sqlite_vec.serialize_int8([1, 2, 3])
    assert db.execute("select vec_to_json(vec_int8(?))", [small]).fetchone() == ("[1,2,3]",)
    db.close()


# --- KNN queries ---------------------------------------------------------------------------------

DOCUMENTS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


@pytest.mark.parametrize("metric", ["", "distance_metric=cosine", "distance_metric=L1"])
@pytest.mark.parametrize("index", ["", " index=hnsw"])
def test_knn_page(pair, metric, index):
    ddl = "create virtual table vec_documents using vec0(document_id integer primary key, {})"
    pair.ours.execute(ddl.format(f"contents_embedding float[16] {metric}{index}"))
    pair.theirs.execute(ddl.format(f"contents_embedding float[16] {metric}"))
    pair.same("create table documents(id integer primary key, contents text)")
    for i in range(300):
        pair.same("insert into documents(contents) values (?)", (f"{DOCUMENTS[i % 10]} {i}",))
    pair.same(
        "insert into vec_documents(document_id, contents_embedding) "
        "select id, embed(contents, 16) from documents"
    )
    query = {"query": embedding("which document?", 16)}
    by_k = pair.same(
        "select document_id, distance from vec_documents "
        "where contents_embedding match :query and k = 10",
        query,
        ordered=True,
    )
    by_limit = pair.same(
        "select document_id, distance from vec_documents "
        "where contents_embedding match :query limit 10",
        query,
        ordered=True,
    )
    assert len(by_k) == 10
    assert by_k == by_limit
    pair.same(
        "with knn_matches as ("
        "  select document_id, distance from vec_documents "
        "  where contents_embedding match :query and k = 10"
        ") select documents.id, documents.contents, knn_matches.distance "
        "from knn_matches left join documents on documents.id = knn_matches.document_id",
        query,
    )


def test_knn_page_without_a_virtual_table(pair):
    pair.same(
        "create table documents(id integer primary key, contents text, contents_embedding blob)"
    )
    pair.same(
        "insert into documents values (1, 'alex', vec_f32('[1.1, 1.1, 1.1, 1.1]')), "
        "(2, 'brian', vec_f32('[2.2, 2.2, 2.2, 2.2]')), "
        "(3, 'craig', vec_f32('[3.3, 3.3, 3.3, 3.3]'))"
    )
    for name in ("vec_distance_L2", "vec_distance_L1", "vec_distance_cosine"):
        pair.same(
            f"select id, contents, {name}(contents_embedding, '[2.2, 2.2, 2.2, 2.2]') as distance "
            "from documents order by distance"
        )
    checked = (
        "create table {}(id integer primary key, contents text, contents_embedding {} "
        "check(typeof(contents_embedding) == 'blob' and vec_length(contents_embedding) == 4)) {}"
    )
    for table, type_, strict in (("d2", "float[4]", ""), ("d3", "blob", "strict")):
        pair.same(checked.format(table, type_, strict))
        for value in (
            "'[1.1, 1.1, 1.1, 1.1]'",
            "vec_f32('[1.1, 1.1, 1.1]')",
            "vec_bit('[1.1, 1.1, 1.1, 1.1]')",
        ):
            pair.fails(f"insert into {table} values (1, 'alex', {value})")
        pair.same(f"insert into {table} values (1, 'alex', vec_f32('[1.1, 1.1, 1.1, 1.1]'))")


# --- vec0: metadata, partition keys, auxiliary columns -------------------------------------------


def test_metadata_page(pair):
    pair.same(
        "create virtual table vec_movies using vec0(movie_id integer primary key, "
        "synopsis_embedding float[32], genre text, num_reviews int, mean_rating float, "
        "contains_violence boolean)"
    )
    genres = ["scifi", "romance", "a genre with a name longer than twelve bytes"]
    for i in range(200):
        pair.same(
            "insert into vec_movies values (?, embed(?, 32), ?, ?, ?, ?)",
            (i, f"synopsis {i}", genres[i % 3], i * 7 % 600, i % 50 / 10, i % 2),
        )
    query = (embedding("spaceship", 32),)
    knn = "select * from vec_movies where synopsis_embedding match ? and k = 5 and "
    assert len(
        pair.same(
            knn + "genre = 'scifi' and num_reviews between 100 and 500 and mean_rating > 3.5 "
            "and contains_violence = false",
            query,
            ordered=True,
        )
    )
    conditions = [
        f"{column} {op} {value}"
        for column, value in (("genre", "'scifi'"), ("num_reviews", "300"), ("mean_rating", "2.5"))
        for op in ("=", "!=", ">", ">=", "<", "<=")
    ]
    conditions += [f"genre {op} '{genres[2]}'" for op in ("=", "!=", ">", ">=", "<", "<=")]
    conditions += ["contains_violence = 1", "contains_violence != true", "num_reviews in (7, 14)"]
    conditions += [f"genre in ('romance', '{genres[2]}')", "num_reviews in (select 21)"]
    for condition in conditions:
        pair.same(knn + condition, query, ordered=True)
    for condition in [
        "genre like 'sci%'",
        "genre glob 'sci*'",
        "genre is null",
        "genre is not null",
        "genre regexp 'a'",
        "mean_rating in (1.0, 2.0)",
        "contains_violence in (0, 1)",
        "contains_violence > 0",
    ]:
        pair.fails(knn + condition, query)


def test_partition_keys_page(pair):
    pair.same(
        "create virtual table vec_documents using vec0(document_id integer primary key, "
        "user_id integer partition key, contents_embedding float[24])"
    )
    pair.same(
        "create virtual table vec_articles using vec0(article_id integer primary key, "
        "published_date text partition key, headline_embedding float[24])"
    )
    for i in range(150):
        pair.same(
            "insert into vec_documents values (?, ?, embed(?, 24))", (i, 120 + i % 7, f"d{i}")
        )
        day = f"{2008 + i % 12}-0{1 + i % 9}-15"
        pair.same("insert into vec_articles values (?, ?, embed(?, 24))", (i, day, f"a{i}"))
    query = {"query": embedding("my documents", 24)}
    rows = pair.same(
        "select document_id, user_id, distance from vec_documents "
        "where contents_embedding match :query and k = 20 and user_id = 123",
        query,
        ordered=True,
    )
    assert len(rows) == 20
    articles = (
        "select article_id, published_date, distance from vec_articles "
        "where headline_embedding match :query and k = 30 and published_date "
    )
    for condition in (
        "between '2009-01-20' and '2017-01-20'",
        "> '2015-01-01'",
        "<= '2010-12-31'",
        "!= '2009-02-15'",
        "= 2009",
    ):
        pair.same(articles + condition, query, ordered=True)
    pair.fails(  # the page's own query lacks a k
        "select article_id, published_date, distance from vec_articles where headline_embedding "
        "match :query and published_date between '2009-01-20' and '2017-01-20'",
        query,
    )


def test_auxiliary_columns_page(pair):
    pair.same(
        "create virtual table vec_chunks using vec0(document_id integer partition key, "
        "contents_embedding float[8], user_id integer partition key, label text, +contents text, "
        "+image blob)"
    )
    for i in range(40):
        pair.same(
            "insert into vec_chunks(document_id, contents_embedding, user_id, label, contents, "
            "image) values (?, embed(?, 8), ?, ?, ?, ?)",
            (i % 3, f"chunk {i}", i % 2, "ab"[i % 2], f"text {i}" * 100, bytes(i)),
        )
    pair.same(
        "select rowid, contents, image, distance from vec_chunks "
        "where contents_embedding match embed('x', 8) and k = 10",
        ordered=True,
    )
    pair.same("select * from vec_chunks")
    pair.same("select rowid, contents from vec_chunks where contents = ?", ("text 4" * 100,))
    pair.fails(
        "select rowid from vec_chunks where contents_embedding match embed('x', 8) and k = 10 "
        "and contents = 'text 4'"
    )


# --- quantisation, matryoshka --------------------------------------------------------------------


def test_binary_quantisation_page(pair):
    pair.same("select vec_quantize_binary('[-0.73, -0.80, 0.12, -0.73, 0.79, -0.11, 0.23, 0.97]')")
    pair.same("create virtual table vec_coarse using vec0(synopsis_embedding bit[768])")
    pair.same(
        "create virtual table vec_movies using vec0(synopsis_embedding float[768], "
        "synopsis_embedding_coarse bit[768])"
    )
    for i in range(60):
        row = {"id": i, "vector": embedding(f"movie {i}", 768)}
        pair.same(
            "insert into vec_coarse(rowid, synopsis_embedding) "
            "VALUES (:id, vec_quantize_binary(:vector))",
            row,
        )
        pair.same(
            "insert into vec_movies(rowid, synopsis_embedding, synopsis_embedding_coarse) "
            "VALUES (:id, :vector, vec_quantize_binary(:vector))",
            row,
        )
    query = {"query": embedding("movie", 768)}
    pair.same(
        "select rowid, distance from vec_coarse "
        "where synopsis_embedding match vec_quantize_binary(:query) order by distance limit 20",
        query,
        ordered=True,
    )
    pair.same(
        "with coarse_matches as ("
        "  select rowid, synopsis_embedding from vec_movies "
        "  where synopsis_embedding_coarse match vec_quantize_binary(:query) "
        "  order by distance limit 20 * 8"
        ") select rowid, vec_distance_L2(synopsis_embedding, :query) from coarse_matches "
        "order by 2 limit 20",
        query,
        ordered=True,
    )


def test_scalar_quantisation(pair):
    pair.same("create virtual table v using vec0(e int8[16] distance_metric=cosine)")
    for i in range(50):
        pair.same(
            "insert into v(rowid, e) "
            "values (?, vec_quantize_int8(vec_normalize(embed(?, 16)), 'unit'))",
            (i, f"text {i}"),
        )
    pair.same("select rowid, e, vec_type(e), vec_to_json(e) from v")
    pair.same(
        "select rowid, distance from v "
        "where e match vec_quantize_int8(vec_normalize(embed('q', 16)), 'unit') and k = 7",
        ordered=True,
    )
    for bad in ("'unknown'", "null", "1"):
        pair.fails(f"select vec_quantize_int8('[0.5]', {bad})")


def test_matryoshka_page(pair):
    pair.same("create virtual table vec_articles using vec0(title_embeddings float[64])")
    pair.same(
        "create virtual table short using vec0(title_embeddings float[16] distance_metric=cosine)"
    )
    for i in range(30):
        pair.same(
            "insert into vec_articles(title_embeddings) values (embed(?, 64))", (f"title {i}",)
        )
    pair.same(
        "select vec_normalize(vec_slice(title_embeddings, 0, 16)) as title_embeddings_16d "
        "from vec_articles where rowid < 3"
    )
    pair.same(
        "insert into short(rowid, title_embeddings) "
        "select rowid, vec_slice(title_embeddings, 0, 16) from vec_articles"
    )
    pair.same(
        "select rowid, distance from short where title_embeddings "
        "match vec_slice(embed('title', 64), 0, 16) and k = 5",
        ordered=True,
    )


# --- hybrid search: examples/nbc-headlines -------------------------------------------------------

HEADLINES = [
    f"{who} {what} {where}"
    for who in ("Senate", "Planned parenthood", "Local clinic", "The court", "A storm")
    for what in ("closes", "visits", "rules on", "returns to", "opens")
    for where in ("Ohio", "the coast", "planned park", "parenthood law")
]


@pytest.fixture
def headlines(pair):
    pair.same("create table articles(id integer primary key, headline text)")
    pair.same(
        "create virtual table fts_articles "
        "using fts5(headline, content='articles', content_rowid='id')"
    )
    pair.same(
        "create virtual table vec_articles using vec0(article_id integer primary key, "
        "headline_embedding float[32])"
    )
    for headline in HEADLINES:
        pair.same("insert into articles(headline) values (?)", (headline,))
    pair.same("insert into fts_articles(rowid, headline) select id, headline from articles")
    pair.same(
        "insert into vec_articles(article_id, headline_embedding) "
        "select id, embed(headline, 32) from articles"
    )
    return pair


PARAMETERS = {
    "query": "planned parenthood",
    "k": 10,
    "rrf_k": 60,
    "weight_fts": 1.0,
    "weight_vec": 1.0,
}

VEC_MATCHES = """
  vec_matches as (
    select article_id, row_number() over (order by distance) as rank_number, distance
    from vec_articles
    where headline_embedding match embed(:query, 32) and k = :k
    order by distance
  )"""
FTS_MATCHES = """
  fts_matches as (
    select rowid, row_number() over (order by rank) as rank_number, rank as score
    from fts_articles
    where headline match :query
    limit :k
  )"""


def test_hybrid_vector_only(headlines):
    headlines.same(
        "select article_id, articles.headline, distance from vec_articles "
        "left join articles on articles.rowid = vec_articles.article_id "
        "where headline_embedding match embed(:query, 32) and k = :k",
        {"query": "planned parenthood", "k": 10},
    )


def test_hybrid_keyword_first(headlines):
    parameters = {k: PARAMETERS[k] for k in ("query", "k")}
    headlines.same(
        f"with {FTS_MATCHES}, {VEC_MATCHES}, combined as ("
        "  select 'fts' as match_type, rowid as id, score from fts_matches"
        "  union all select 'vec' as match_type, article_id as id, distance from vec_matches"
        ") select * from combined left join articles on articles.id = combined.id",
        parameters,
    )


def test_hybrid_reciprocal_rank_fusion(headlines):
    rows = headlines.same(
        f"with {VEC_MATCHES}, {FTS_MATCHES}, final as ("
        "  select articles.id, articles.headline, vec_matches.rank_number as vec_rank,"
        "    fts_matches.rank_number as fts_rank,"
        "    coalesce(1.0 / (:rrf_k + fts_matches.rank_number), 0.0) * :weight_fts +"
        "    coalesce(1.0 / (:rrf_k + vec_matches.rank_number), 0.0) * :weight_vec"
        "      as combined_rank,"
        "    vec_matches.distance as vec_distance, fts_matches.score as fts_score"
        "  from fts_matches"
        "  full outer join vec_matches on vec_matches.article_id = fts_matches.rowid"
        "  join articles on articles.rowid = coalesce(fts_matches.rowid, vec_matches.article_id)"
        "  order by combined_rank desc"
        ") select * from final",
        PARAMETERS,
    )
    assert len(rows) >= 10


def test_hybrid_rerank_by_semantics(headlines):
    headlines.same(
        f"with {FTS_MATCHES}, final as ("
        "  select articles.id, articles.headline, fts_matches.* from fts_matches"
        "  left join articles on articles.rowid = fts_matches.rowid"
        "  left join vec_articles on vec_articles.article_id = fts_matches.rowid"
        "  order by vec_distance_cosine(embed(:query, 32), vec_articles.headline_embedding)"
        ") select * from final",
        {k: PARAMETERS[k] for k in ("query", "k")},
    )


# --- API reference -------------------------------------------------------------------------------

REFERENCE = """
select vec_f32('[.1, .2, .3, 4]')
select subtype(vec_f32('[.1, .2, .3, 4]'))
select vec_f32(X'AABBCCDD')
select vec_to_json(vec_f32(X'AABBCCDD'))
select vec_f32(X'AA')
select vec_int8('[1, 2, 3, 4]')
select subtype(vec_int8('[1, 2, 3, 4]'))
select vec_int8(X'AABBCCDD')
select vec_to_json(vec_int8(X'AABBCCDD'))
select vec_int8('[999]')
select vec_bit(X'F0')
select subtype(vec_bit(X'F0'))
select vec_to_json(vec_bit(X'F0'))
select vec_length('[.1, .2]')
select vec_length(X'AABBCCDD')
select vec_length(vec_int8(X'AABBCCDD'))
select vec_length(vec_bit(X'AABBCCDD'))
select vec_length(X'CCDD')
select vec_type('[.1, .2]')
select vec_type(X'AABBCCDD')
select vec_type(vec_int8(X'AABBCCDD'))
select vec_type(vec_bit(X'AABBCCDD'))
select vec_type(X'CCDD')
select vec_add('[.1, .2, .3]', '[.4, .5, .6]')
select vec_to_json(vec_add('[.1, .2, .3]', '[.4, .5, .6]'))
select vec_to_json(vec_add(vec_int8('[1, 2, 3]'), vec_int8('[4, 5, 6]')))
select vec_add('[.1]', vec_int8('[1]'))
select vec_add(vec_bit(X'AA'), vec_bit(X'BB'))
select vec_sub('[.1, .2, .3]', '[.4, .5, .6]')
select vec_to_json(vec_sub('[.1, .2, .3]', '[.4, .5, .6]'))
select vec_to_json(vec_sub(vec_int8('[1, 2, 3]'), vec_int8('[4, 5, 6]')))
select vec_sub('[.1]', vec_int8('[1]'))
select vec_sub(vec_bit(X'AA'), vec_bit(X'BB'))
select vec_normalize('[2, 3, 1, -4]')
select vec_to_json(vec_normalize('[2, 3, 1, -4]'))
select vec_to_json(vec_normalize(vec_slice('[2, 3, 1, -4]', 0, 2)))
select vec_slice('[1, 2,3, 4]', 0, 2)
select vec_to_json(vec_slice('[1, 2,3, 4]', 0, 2))
select vec_to_json(vec_slice('[1, 2,3, 4]', 2, 4))
select vec_to_json(vec_slice('[1, 2,3, 4]', -1, 4))
select vec_to_json(vec_slice('[1, 2,3, 4]', 0, 5))
select vec_to_json(vec_slice('[1, 2,3, 4]', 0, 0))
select vec_to_json(X'AABBCCDD')
select vec_to_json(vec_int8(X'AABBCCDD'))
select vec_to_json(vec_bit(X'AABBCCDD'))
select vec_to_json('[1,2,3,4]')
select vec_to_json('invalid')
select rowid, value from vec_each('[1,2,3,4]')
select rowid, value from vec_each(X'AABBCCDD00112233')
select rowid, value from vec_each(vec_int8(X'AABBCCDD'))
select rowid, value from vec_each(vec_bit(X'F0'))
select vec_distance_L2('[1, 1]', '[2, 2]')
select vec_distance_L2('[1, 1]', '[-2, -2]')
select vec_distance_L2('[1.1, 2.2, 3.3]', '[4.4, 5.5, 6.6]')
select vec_distance_L2(X'AABBCCDD', X'00112233')
select vec_distance_L2('[1, 1]', vec_int8('[2, 2]'))
select vec_distance_L2(vec_bit(X'AA'), vec_bit(X'BB'))
select vec_distance_cosine('[1, 1]', '[2, 2]')
select vec_distance_cosine('[1, 1]', '[-2, -2]')
select vec_distance_cosine('[1.1, 2.2, 3.3]', '[4.4, 5.5, 6.6]')
select vec_distance_cosine('[1, 1]', vec_int8('[2, 2]'))
select vec_distance_cosine(vec_bit(X'AA'), vec_bit(X'BB'))
select vec_distance_hamming(vec_bit(X'00'), vec_bit(X'FF'))
select vec_distance_hamming(vec_bit(X'FF'), vec_bit(X'FF'))
select vec_distance_hamming(vec_bit(X'F0'), vec_bit(X'44'))
select vec_distance_hamming('[1, 1]', '[0, 0]')
select vec_quantize_binary('[1, 2, 3, 4, 5, 6, 7, 8]')
select vec_quantize_binary('[1, 2, 3, 4, -5, -6, -7, -8]')
select vec_quantize_binary('[-1, -2, -3, -4, -5, -6, -7, -8]')
select vec_quantize_binary(vec_int8(X'11223344'))
select vec_quantize_binary(vec_bit(X'FF'))
select vec_version()
"""


@pytest.mark.parametrize("sql", REFERENCE.strip().splitlines())
def test_api_reference(pair, sql):
    pair.alike(sql)


def test_every_function_and_table_function_of_sqlite_vec_is_there(pair):
    functions = (
        "SELECT DISTINCT name, narg FROM pragma_function_list WHERE name LIKE 'vec!_%' ESCAPE '!'"
    )
    modules = "SELECT name FROM pragma_module_list WHERE name IN ('vec0', 'vec_each')"
    theirs = set(pair.theirs.execute(functions))
    assert len(theirs) == 18
    assert theirs <= set(pair.ours.execute(functions))
    assert len(pair.same(modules)) == 2


# --- one connection, one engine ------------------------------------------------------------------


def test_vec0_is_registered_by_its_entry_point_only():
    db = vecsql.connect(":memory:", driver="apsw")
    with pytest.raises(apsw.SQLError, match="no such module: vec0"):
        db.execute("CREATE VIRTUAL TABLE t USING vec0(e float[2])")
    with pytest.raises(vecsql.LoadError, match="loaded already without vec0"):
        vecsql.load(db, vec0=True)
    both = ours()
    vecsql.load(both, vec0=True)
    vecsql.load(both)
    both.execute("CREATE VIRTUAL TABLE t USING vec0(e float[2])")
    both.execute("CREATE VIRTUAL TABLE u USING vecsql(e float[2])")


def test_sqlite_vec_in_the_same_connection_is_refused():
    from tests.support.vec0_pair import theirs

    db = theirs()
    with pytest.raises(vecsql.LoadError, match="sqlite-vec is loaded already"):
        vecsql.load(db, vec0=True)
    vecsql.load(db)  # our own module beside theirs is no conflict
    assert db.execute("SELECT vecsql_version()").fetchall()
