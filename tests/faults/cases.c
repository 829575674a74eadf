/* The database and the statements of the fault harnesses: every kind of each. */
#include "fixture.h"

#define ROWS(n) \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " #n ") "
#define VECTOR "printf('[%d,%d,%d]', i * 7 % 19 - 9, i * i % 17 - 8, i * 5 % 13 - 6)"

const char *const setup[] = {
    "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[3] "
    "codec=sq8 m=4 "
    "ef_construction=20, tag TEXT indexed, +note TEXT)",
    "INSERT INTO t(id, embedding, tag, note) " ROWS(
        40) "SELECT i, " VECTOR ", 'tag' || i % 4, i || '' FROM n",
    "CREATE VIRTUAL TABLE f USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[3] "
    "codec=sq8 index=flat)",
    "INSERT INTO f(id, embedding) " ROWS(12) "SELECT i, " VECTOR " FROM n",
    "CREATE VIRTUAL TABLE w USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[3] "
    "codec=sq8 m=4, "
    "other FLOAT[2] distance_metric=cosine codec=sq8 m=4, tag TEXT)",
    "INSERT INTO w(id, embedding, other) " ROWS(12) "SELECT i, " VECTOR
                                                    ", printf('[%d,%d]', i, 13 - i) "
                                                    "FROM n",
    "INSERT INTO w(id, tag) VALUES(50, 'no vector')",
    "CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT COLLATE NOCASE, "
    "embedding BLOB)",
    "INSERT INTO docs " ROWS(12) "SELECT i, 'title ' || i, vec_f32(" VECTOR ") FROM n",
    "CREATE VIRTUAL TABLE c USING vecsql(content=docs, content_rowid=id, "
    "embedding FLOAT[3] codec=sq8 m=4)",
    "CREATE VIRTUAL TABLE y USING vecsql(name TEXT PRIMARY KEY, embedding FLOAT[3] m=4 "
    "codec=pq pq_m=3, half FLOAT16[3] codec=sq8 m=4, small INT8[3] m=4, bits BIT[16] "
    "m=4, "
    "whole FLOAT[3] codec=none m=4)",
    "INSERT INTO y(name, embedding, half, small, bits, whole) " ROWS(
        9) "SELECT 'row ' || i, " VECTOR ", vec_f16(" VECTOR "), vec_int8(" VECTOR
           "), vec_bit(zeroblob(2)), " VECTOR " FROM n",
    "CREATE VIRTUAL TABLE z USING vec0(id INTEGER PRIMARY KEY, embedding FLOAT[3], "
    "tag TEXT)",
    "INSERT INTO z(id, embedding, tag) " ROWS(9) "SELECT i, " VECTOR ", 'x' FROM n",
    "INSERT INTO t(t) VALUES('optimize')",
    "DELETE FROM t WHERE id IN (3, 17)",
    "UPDATE t SET embedding = '[1,1,1]' WHERE id = 8",
    "CREATE TABLE other(a)",
    0,
};

const Case cases[] = {
    {"k nearest",
     {"SELECT id, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 7",
      "SELECT id, distance FROM f WHERE embedding MATCH '[1,2,3]' AND k = 7",
      "SELECT id FROM w WHERE other MATCH '[1,2]' AND k = 3"}},
    {"stream",
     {"SELECT id, distance FROM t WHERE embedding MATCH '[0,0,0]' ORDER BY distance "
      "LIMIT 30",
      "SELECT id, note FROM t WHERE embedding MATCH '[0,0,0]' AND note > '2' "
      "ORDER BY distance LIMIT 6 OFFSET 2",
      "SELECT count(*) FROM t WHERE embedding MATCH '[0,0,0]'"}},
    {"filters",
     {"SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5 AND tag = 'tag1'",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5 AND tag IN "
      "('tag1', 'tag2') AND id BETWEEN 5 AND 30",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5 AND id IN "
      "(SELECT id FROM docs)",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5 AND tag LIKE 'tag%'",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND (tag = 'tag1' OR id < 5) "
      "ORDER BY distance LIMIT 4",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5 AND tag <> zeroblob(9)",
      "SELECT id FROM t WHERE tag < zeroblob(9) AND id > 30"}},
    {"range, exact and joins",
     {"SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND distance < 6",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5 AND exact = 1",
      "SELECT d.title FROM c JOIN docs d ON d.id = c.rowid WHERE c.embedding MATCH "
      "'[1,2,3]' AND d.title > 'title 2' ORDER BY c.distance LIMIT 4",
      "SELECT rowid FROM c WHERE embedding MATCH '[1,2,3]' AND k = 3 AND title IN "
      "('TITLE 4', 'TITLE 5')",
      "SELECT d.id, t.id FROM docs d JOIN t ON t.embedding MATCH d.embedding AND "
      "t.k = 2"}},
    {"plain scans",
     {"SELECT id, embedding, tag, note FROM t", "SELECT * FROM t WHERE id = 5",
      "SELECT id FROM t WHERE id > 20 AND tag = 'tag1' ORDER BY id DESC",
      "SELECT * FROM w WHERE other IS NULL"}},
    {"insert",
     {"INSERT INTO t(id, embedding, tag, note) VALUES(100, '[1,2,3]', 'tag9', 'n')",
      "INSERT INTO f(embedding) VALUES('[4,4,4]')",
      "INSERT INTO w(embedding, other, tag) VALUES('[4,4,4]', '[1,1]', 'x')",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 3"}},
    {"insert many",
     {"INSERT INTO t(id, embedding, tag) " ROWS(30) "SELECT 200 + i, " VECTOR
                                                    ", 'm' FROM n",
      "INSERT INTO t(id, embedding) VALUES(300, '[1,2,3]'), (301, '[2,2,2]'), "
      "(302, '[1,2]')"}},
    {"conflicts",
     {"INSERT OR REPLACE INTO t(id, embedding, tag) VALUES(5, '[9,9,9]', 'new')",
      "INSERT OR IGNORE INTO t(id, embedding) VALUES(6, '[9,9,9]')",
      "INSERT INTO t(id, embedding) VALUES(6, '[9,9,9]')",
      "INSERT INTO t(id, embedding) VALUES(400, '[1,2]')"}},
    {"update",
     {"UPDATE t SET tag = 'changed' WHERE id = 4",
      "UPDATE t SET embedding = '[5,5,5]', note = NULL WHERE id = 4",
      "UPDATE t SET id = 500 WHERE id = 7", "UPDATE w SET other = NULL WHERE id < 4",
      "UPDATE t SET embedding = '[0,0,1]' WHERE id > 35"}},
    {"delete",
     {"DELETE FROM t WHERE id = 9", "DELETE FROM t WHERE id BETWEEN 10 AND 20",
      "DELETE FROM f", "DELETE FROM w WHERE id = 50"}},
    {"transaction",
     {"BEGIN", "INSERT INTO t(id, embedding) VALUES(600, '[1,2,3]')",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 3", "SAVEPOINT s",
      "INSERT INTO t(id, embedding) VALUES(601, '[1,2,3]')", "DELETE FROM t WHERE id = 2",
      "ROLLBACK TO s", "INSERT INTO t(id, embedding) VALUES(602, '[3,2,1]')", "RELEASE s",
      "UPDATE w SET embedding = '[7,7,7]' WHERE id = 3", "COMMIT",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 3"}},
    {"rollback",
     {"BEGIN", "INSERT INTO t(id, embedding) VALUES(600, '[1,2,3]')",
      "DELETE FROM t WHERE id < 6", "INSERT INTO other VALUES(1)", "ROLLBACK",
      "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 3"}},
    {"content table",
     {"INSERT INTO docs VALUES(60, 'new', vec_f32('[1,2,3]'))",
      "UPDATE docs SET embedding = vec_f32('[8,8,8]') WHERE id < 3",
      "UPDATE docs SET title = 'other' WHERE id = 5", "DELETE FROM docs WHERE id = 6",
      "BEGIN", "REPLACE INTO docs VALUES(7, 'r', vec_f32('[1,1,1]'))",
      "DELETE FROM docs WHERE id = 8", "COMMIT",
      "SELECT rowid FROM c WHERE embedding MATCH '[1,2,3]' AND k = 3"}},
    {"types and keys",
     {"INSERT INTO y(name, embedding, half, small, bits) VALUES('new', '[1,2,3]', "
      "vec_f16('[1,2,3]'), vec_int8('[1,2,3]'), vec_bit(x'0102'))",
      "UPDATE y SET half = NULL, embedding = '[1,1,1]' WHERE name = 'row 2'",
      "UPDATE y SET name = 'renamed' WHERE name = 'row 3'",
      "INSERT OR REPLACE INTO y(name, embedding) VALUES('row 4', '[5,5,5]')",
      "DELETE FROM y WHERE name > 'row 7'",
      "SELECT name FROM y WHERE half MATCH vec_f16('[1,2,3]') AND k = 3",
      "SELECT name FROM y WHERE bits MATCH vec_bit(x'0102') AND k = 3",
      "SELECT name FROM y WHERE embedding MATCH '[1,2,3]' AND k = 3 AND name < 'row 5'"}},
    {"vec0 table",
     {"INSERT INTO z(id, embedding, tag) VALUES(100, '[1,2,3]', 'y')",
      "UPDATE z SET embedding = '[4,4,4]' WHERE id = 2", "DELETE FROM z WHERE id = 3",
      "SELECT id, distance FROM z WHERE embedding MATCH '[1,2,3]' AND k = 3 AND tag = "
      "'x'"}},
    {"a query of a vec0 table",
     {"SELECT id, distance FROM z WHERE embedding MATCH '[1,2,3]' AND k = 3"}},
    {"create a vec0 table",
     {"CREATE VIRTUAL TABLE q USING vec0(embedding FLOAT[3])", "DROP TABLE q"}},
    {"train and warm",
     {"INSERT INTO t(t) VALUES('train')", "INSERT INTO y(y) VALUES('train')",
      "INSERT INTO t(t) VALUES('warm')"}},
    {"optimize", {"INSERT INTO t(t) VALUES('optimize')"}},
    {"rebuild",
     {"INSERT INTO t(t) VALUES('rebuild')", "INSERT INTO c(c) VALUES('rebuild')"}},
    {"commands in a transaction",
     {"BEGIN", "INSERT INTO t(id, embedding) VALUES(600, '[1,2,3]')",
      "INSERT INTO t(t) VALUES('optimize')", "DELETE FROM t WHERE id = 600",
      "INSERT INTO t(t) VALUES('rebuild')", "INSERT INTO t(t) VALUES('ef_search=40')",
      "COMMIT"}},
    {"integrity-check",
     {"INSERT INTO t(t) VALUES('integrity-check')",
      "INSERT INTO c(c) VALUES('integrity-check')"}},
    {"create, rename and drop",
     {"CREATE VIRTUAL TABLE n USING vecsql(embedding FLOAT[3] codec=sq8 m=4, a TEXT "
      "indexed)",
      "INSERT INTO n(rowid, embedding, a) VALUES(1, '[1,2,3]', 'x')",
      "ALTER TABLE n RENAME TO m", "INSERT INTO m(rowid, embedding) VALUES(2, '[2,2,3]')",
      "SELECT rowid FROM m WHERE embedding MATCH '[1,2,3]' AND k = 3", "DROP TABLE m",
      "DROP TABLE w"}},
    {"schema changes in a transaction",
     {"BEGIN", "INSERT INTO t(id, embedding) VALUES(600, '[1,2,3]')",
      "ALTER TABLE other ADD COLUMN b",
      "INSERT INTO t(id, embedding) VALUES(601, '[1,2,3]')", "SAVEPOINT s",
      "DROP TABLE f", "ROLLBACK TO s",
      "INSERT INTO f(id, embedding) VALUES(601, '[1,2,3]')", "COMMIT"}},
    {"content table with a collation",
     {"SELECT count(title = 'TITLE 4' OR NULL) FROM c"}},
    {"create over a content table",
     {"CREATE VIRTUAL TABLE n USING vecsql(content=docs, content_rowid=id, "
      "embedding FLOAT[3] codec=sq8 m=4)",
      "INSERT INTO docs VALUES(60, 'new', vec_f32('[1,2,3]'))",
      "SELECT count(*) FROM n WHERE title = 'NEW'", "DROP TABLE n"}},
    {"functions",
     {"SELECT vec_to_json(vec_add(vec_f32('[1,2,3]'), '[1,1,1]')), "
      "vec_length('[1,2,3]'), vec_distance_cosine('[1,2,3]', '[3,2,1]')",
      "SELECT value FROM vec_each('[1,2,3]')",
      "SELECT vec_to_json(vec_normalize(vec_slice('[1,2,3,4]', 1, 3))), "
      "vec_to_json(vec_quantize_binary('[1,2,3,4,5,6,7,-8]'))",
      "SELECT count(*) > 5 FROM vecsql_stats('t')", "SELECT vec_f32('[1,2,nan]')"}},
    {"vec0",
     {"CREATE VIRTUAL TABLE v USING vec0(id text primary key, embedding float[3] "
      "index=hnsw m=4, bits bit[8], p integer partition key, n integer, +note text)",
      "INSERT INTO v(id, embedding, bits, p, n, note) " ROWS(
          12) "SELECT 'k' || i, " VECTOR
              ", vec_bit(x'0f'), i % 3, i, 'note ' || i FROM n",
      "SELECT id, distance, note FROM v WHERE embedding MATCH '[1,2,3]' AND k = 4 AND "
      "p = 1 AND n IN (1, 4, 7)",
      "SELECT id FROM v WHERE bits MATCH vec_bit(x'0e') ORDER BY distance LIMIT 3",
      "INSERT INTO v(id, embedding, bits, p, n) VALUES('new', '[1,2,3]', vec_bit(x'ff'), "
      "NULL, 5)",
      "INSERT INTO v(id, embedding, bits, n) VALUES('k1', '[1,2,3]', vec_bit(x'ff'), 5)",
      "INSERT INTO v(id, embedding, bits, n) VALUES('bad', '[1,2]', vec_bit(x'ff'), 5)",
      "UPDATE v SET embedding = '[3,3,3]', n = 9, p = 2 WHERE id = 'k2'",
      "UPDATE v SET id = 'other' WHERE id = 'k2'", "DELETE FROM v WHERE p = 0",
      "CREATE VIRTUAL TABLE x USING vec0(e float[2], m real)", "DROP TABLE v"}},
    {"many queries at once",
     {"SELECT hex(vecsql_search('t', 'embedding', "
      "x'0000803f00000040000040400000404000000040"
      "0000803f', 4))", /* (1,2,3), (3,2,1) */
      "SELECT hex(vecsql_search('c', 'embedding', vec_f32('[1,2,3]'), 3))",
      "SELECT hex(vecsql_search('y', 'embedding', vec_f32('[1,2,3]'), 3)), "
      "hex(vecsql_search('y', 'bits', vec_bit(x'0102'), 3))"}},
    {"many queries on threads",
     {"INSERT INTO t(t) VALUES('threads=2')",
      "SELECT hex(vecsql_search('t', 'embedding', zeroblob(240), 4))",
      "SELECT hex(vecsql_search('y', 'whole', zeroblob(120), 3, 1)), "
      "hex(vecsql_search('y', 'embedding', zeroblob(120), 3))"}},
    {"vectors kept in memory",
     {"INSERT INTO t(t) VALUES('vector_cache=1')",
      "SELECT id, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5",
      "SELECT id, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 9",
      "SELECT hex(vecsql_search('t', 'embedding', zeroblob(24), 4))", "BEGIN",
      "UPDATE t SET embedding = '[1,2,4]' WHERE id = 3",
      "SELECT id, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 9", "ROLLBACK",
      "SELECT id, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 9",
      "INSERT INTO t(t) VALUES('vector_cache=0')",
      "SELECT id, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 5"}},
    {"vacuum", {"VACUUM", "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 3"}},
};

const int n_cases = sizeof cases / sizeof cases[0];
