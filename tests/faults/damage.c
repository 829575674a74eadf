/*
 * Risk: a damaged file crashes or hangs the process, takes all its memory, or gives a
 * wrong answer as if it were right.
 *
 *     damage [quick|full [table]]
 *
 * Every row of every shadow table is damaged in every way of `enumerate`: deleted, its
 * values of the wrong type or out of range, its blobs cut, extended, exchanged, each byte
 * changed; and the last also with the checksums made right again, so that the checks
 * behind them are reached: links out of range, cycles, wrong counts. Then
 *
 *   - every form of query, every DML statement and command runs: an error or an answer;
 *     never a crash, 10 seconds, or 64 MB of memory
 *   - an answer to damage that checksums show, or that integrity-check does not find, is
 *     the right one
 *   - the same on a connection that can only read: every form of query, and SQLite's own
 *     checks and lists of the schema
 *   - `rebuild` restores the index of all the rows there are, whatever was damaged in it
 *   - DROP TABLE works
 *
 * Run it under AddressSanitizer and UndefinedBehaviorSanitizer (make test-slow does).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checksums.h"
#include "fixture.h"

#define MAX_ROWS 2000
#define MAX_COLUMNS 8
#define HEAP_LIMIT (64 << 20)

typedef struct Row {
    char table[64], suffix[64]; /* "t_pages0", "pages0" */
    int n;
    char column[MAX_COLUMNS][32];
    sqlite3_value *value[MAX_COLUMNS]; /* the first is the key */
} Row;

/* One damage: the row's column becomes `bytes` or `value`. */
typedef struct Damage {
    const Row *row;
    int column; /* -1: the row is deleted */
    const unsigned char *bytes;
    size_t n;
    const char *value; /* an SQL expression, in the place of bytes */
    int resummed;      /* the checksums were made right again */
    char what[64];
} Damage;

static Row rows[MAX_ROWS];
static int n_rows;
static char current[256]; /* for the signal handler */
static long cases_run, failures;
static FsImage sound; /* before any damage */

static void died(int sig) {
    static const char text[] = "\nFAILED  died or hung at: ";
    ssize_t n = write(1, text, sizeof text - 1);
    n += write(1, current, strlen(current));
    n += write(1, "\n", 1);
    (void)n;
    _exit(sig == SIGPROF ? 3 : 4);
}

static void fail(const char *what, const char *detail) {
    failures++;
    printf("FAILED  %s: %s: %s\n", current, what, detail);
}

/* ---- the rows ------------------------------------------------------------------- */

static void read_rows(sqlite3 *db, const char *table, const char *suffix) {
    char sql[128];
    sqlite3_stmt *stmt = NULL;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", table);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fixture_fatal(sql, sqlite3_errmsg(db));
    }
    while (sqlite3_step(stmt) == SQLITE_ROW && n_rows < MAX_ROWS) {
        Row *r = &rows[n_rows++];
        *r = (Row){.n = sqlite3_column_count(stmt)};
        snprintf(r->table, sizeof r->table, "%s", table);
        snprintf(r->suffix, sizeof r->suffix, "%s", suffix);
        for (int i = 0; i < r->n && i < MAX_COLUMNS; i++) {
            snprintf(r->column[i], sizeof r->column[i], "%s",
                     sqlite3_column_name(stmt, i));
            r->value[i] = sqlite3_value_dup(sqlite3_column_value(stmt, i));
        }
    }
    sqlite3_finalize(stmt);
}

static void read_all_rows(sqlite3 *db) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(
            db,
            "SELECT s.name, substr(s.name, length(v.name) + 2) FROM sqlite_schema s, "
            "sqlite_schema v WHERE v.sql LIKE 'CREATE VIRTUAL TABLE%' AND s.type = "
            "'table' "
            "AND s.name GLOB v.name || '_*'",
            -1, &stmt, NULL) != SQLITE_OK) {
        fixture_fatal("shadow tables", sqlite3_errmsg(db));
    }
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        read_rows(db, (const char *)sqlite3_column_text(stmt, 0),
                  (const char *)sqlite3_column_text(stmt, 1));
    }
    sqlite3_finalize(stmt);
}

static int column_of(const Row *r, const char *name) {
    for (int i = 0; i < r->n; i++) {
        if (strcmp(r->column[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static int is_part(const Row *r, const char *part) {
    return strncmp(r->suffix, part, strlen(part)) == 0;
}

/* ---- checksums ------------------------------------------------------------------ */

static void resum_state_of(const Row *r, unsigned char *p, size_t n) {
    resum_state(sqlite3_value_int64(r->value[0]), sqlite3_value_int64(r->value[1]), p, n);
}

static void state_for_edits(const Row *r, const unsigned char *edits, size_t n,
                            unsigned char *state, size_t n_state) {
    resum_edits(sqlite3_value_int64(r->value[0]), sqlite3_value_int64(r->value[1]), edits,
                n, state, n_state);
}

/* Is the format still what checksums.h believes? */
static void check_format(void) {
    for (int i = 0; i < n_rows; i++) {
        unsigned char copy[70000];
        int at = column_of(&rows[i], is_part(&rows[i], "pages") ? "data" : "state");
        if (at < 0 || sqlite3_value_type(rows[i].value[at]) != SQLITE_BLOB) {
            continue;
        }
        size_t n = (size_t)sqlite3_value_bytes(rows[i].value[at]);
        const void *blob = sqlite3_value_blob(rows[i].value[at]);
        memcpy(copy, blob, n);
        int edits = column_of(&rows[i], "edits");
        if (is_part(&rows[i], "pages")) {
            resum_page(copy, n);
        } else if (sqlite3_value_type(rows[i].value[edits]) == SQLITE_BLOB) {
            state_for_edits(&rows[i], sqlite3_value_blob(rows[i].value[edits]),
                            (size_t)sqlite3_value_bytes(rows[i].value[edits]), copy, n);
        } else {
            resum_state_of(&rows[i], copy, n);
        }
        if (memcmp(copy, blob, n) != 0) {
            fixture_fatal(rows[i].table, "the format has moved: adapt damage.c");
        }
    }
}

/* ---- doing it ------------------------------------------------------------------- */

static void set_column(sqlite3 *db, const Row *r, const char *column, const char *value,
                       const unsigned char *bytes, size_t n) {
    char sql[256];
    sqlite3_stmt *stmt = NULL;
    snprintf(sql, sizeof sql, "UPDATE OR REPLACE %s SET %s = %s WHERE %s IS ?1", r->table,
             column, value != NULL ? value : "?2", r->column[0]);
    if (column[0] == '\0') {
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s IS ?1", r->table,
                 r->column[0]);
    }
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fixture_fatal(sql, sqlite3_errmsg(db));
    }
    sqlite3_bind_value(stmt, 1, r->value[0]);
    if (value == NULL && bytes != NULL) {
        sqlite3_bind_blob64(stmt, 2, bytes, n, SQLITE_STATIC);
    }
    sqlite3_step(stmt); /* a key that cannot be NULL stays */
    sqlite3_finalize(stmt);
}

static void do_damage(sqlite3 *db, const Damage *d) {
    const Row *r = d->row;
    set_column(db, r, d->column < 0 ? "" : r->column[d->column], d->value, d->bytes,
               d->n);
    int state = column_of(r, "state");
    if (d->resummed && d->column >= 0 && strcmp(r->column[d->column], "edits") == 0) {
        unsigned char copy[4096];
        size_t n = (size_t)sqlite3_value_bytes(r->value[state]);
        memcpy(copy, sqlite3_value_blob(r->value[state]), n);
        state_for_edits(r, d->bytes, d->n, copy, n);
        set_column(db, r, "state", NULL, copy, n);
    }
}

/* ---- what is asked of it -------------------------------------------------------- */

#define COMPLETE 3 /* the first queries give all rows with their distances */
static const char *const queries[] = {
    "SELECT rowid, distance FROM @ WHERE embedding MATCH '[1,2,3]' AND k = 1000 "
    "ORDER BY distance, rowid",
    "SELECT rowid, distance FROM @ WHERE embedding MATCH '[1,2,3]' "
    "ORDER BY distance, rowid",
    "SELECT rowid, distance FROM @ WHERE embedding MATCH '[1,2,3]' AND k = 1000 AND "
    "exact = 1 ORDER BY distance, rowid",
    "SELECT rowid, distance FROM @ WHERE embedding MATCH '[1,2,3]' AND k = 5",
    "SELECT rowid FROM @ WHERE embedding MATCH '[3,2,1]' ORDER BY distance LIMIT 7",
    "SELECT rowid FROM @ WHERE embedding MATCH '[3,2,1]' AND k = 3 AND rowid IN (1,5,9)",
    "SELECT rowid, distance FROM @ WHERE embedding MATCH '[3,2,1]' AND rowid = 5",
    "SELECT rowid FROM @ WHERE embedding MATCH '[3,2,1]' AND distance < 4",
    "SELECT * FROM @",
    "SELECT count(*) FROM vecsql_stats('@')",
    "SELECT vecsql_search('@', 'embedding', zeroblob(120), 4)",
    "SELECT vecsql_search('@', 'embedding', zeroblob(12), 1, 1)",
    "SELECT count(*) FROM vecsql_recall('@', 'embedding', 4, 3)",
    0,
};

static const char *const changes[] = {
    "INSERT INTO @(rowid, embedding) VALUES(900, '[1,2,3]')",
    "UPDATE @ SET embedding = '[4,4,4]' WHERE rowid = 5",
    "INSERT OR REPLACE INTO @(rowid, embedding) VALUES(6, '[1,1,3]')",
    "DELETE FROM @ WHERE rowid = 7",
    "INSERT INTO @(@) VALUES('optimize')",
    "DELETE FROM @",
    "INSERT INTO @(rowid, embedding) VALUES(901, '[1,2,3]')",
    0,
};

/* vec0 has fewer ways. */
static const char *const vec0_queries[] = {
    "WITH a AS MATERIALIZED (SELECT rowid AS r, distance AS d FROM @ WHERE embedding "
    "MATCH '[1,2,3]' AND k = 1000) SELECT r, d FROM a ORDER BY d, r",
    "SELECT rowid, distance FROM @ WHERE embedding MATCH '[1,2,3]' AND k = 5",
    "SELECT rowid FROM @ WHERE embedding MATCH '[3,2,1]' AND k = 3 AND rowid IN (1,5,9)",
    "SELECT rowid FROM @ WHERE embedding MATCH '[3,2,1]' ORDER BY distance LIMIT 7",
    "SELECT * FROM @",
    0,
};

/* `content` tables are written through the table that they index. */
static const char *const content_changes[] = {
    "INSERT INTO docs VALUES(900, 'x', vec_f32('[1,2,3]'))",
    "UPDATE docs SET embedding = vec_f32('[4,4,4]') WHERE id = 5",
    "REPLACE INTO docs VALUES(6, 'x', vec_f32('[1,2,3]'))",
    "DELETE FROM docs WHERE id = 7",
    "INSERT INTO @(@) VALUES('optimize')",
    "DELETE FROM docs",
    0,
};

static void put_name(const char *template, const char *table, char *out, size_t cap) {
    size_t n = 0;
    for (; *template != '\0' && n + strlen(table) + 1 < cap; template ++) {
        if (*template == '@') {
            memcpy(out + n, table, strlen(table));
            n += strlen(table);
        } else {
            out[n++] = *template;
        }
    }
    out[n] = '\0';
}

static uint64_t ask(sqlite3 *db, const char *template, const char *table, int *rc) {
    char sql[256];
    put_name(template, table, sql, sizeof sql);
    uint64_t h = digest(db, sql, rc);
    if (*rc == SQLITE_NOMEM || *rc == SQLITE_INTERNAL || *rc == SQLITE_MISUSE) {
        fail(sql, sqlite3_errmsg(db));
    }
    return h;
}

static const char *base_name(const Row *r) {
    static char name[64];
    snprintf(name, sizeof name, "%s", r->table);
    name[strlen(r->table) - strlen(r->suffix) - 1] = '\0';
    return name;
}

static int is_vec0(const char *table) {
    return table[0] == 'z';
}

/* How many of the queries give all rows. */
static int n_complete(const char *table) {
    return is_vec0(table) ? 1 : COMPLETE;
}

static const char *const *queries_of(const char *table) {
    return is_vec0(table) ? vec0_queries : queries;
}

/* The complete answers of the sound database. */
static uint64_t right_answer(const char *table) {
    static struct {
        char table[64];
        uint64_t answer;
    } known[8];
    int i = 0, rc = SQLITE_OK;
    while (known[i].table[0] != '\0' && strcmp(known[i].table, table) != 0) {
        i++;
    }
    if (known[i].table[0] == '\0') {
        FsImage now;
        fs_save(&now);
        fs_restore(&sound);
        sqlite3 *db = fixture_must_open();
        snprintf(known[i].table, sizeof known[i].table, "%s", table);
        known[i].answer = ask(db, queries_of(table)[0], table, &rc);
        for (int q = 1; q < n_complete(table); q++) {
            if (ask(db, queries[q], table, &rc) != known[i].answer || rc != SQLITE_OK) {
                fixture_fatal("the sound database", queries[q]);
            }
        }
        sqlite3_close(db);
        fs_restore(&now);
        fs_image_free(&now);
    }
    return known[i].answer;
}

static int truth_is_damaged(const Row *r) {
    return is_part(r, "rows") || is_part(r, "config");
}

/* Whether a checksum covers what was damaged: every blob but a row's vector. */
static int has_checksum(const Damage *d) {
    return is_part(d->row, "pages") ||
           (d->column >= 0 && is_part(d->row, "log") &&
            (strcmp(d->row->column[d->column], "state") == 0 ||
             strcmp(d->row->column[d->column], "edits") == 0));
}

/* Queries and changes, on the connection that did the damage. */
static void probe(sqlite3 *db, const Damage *d, const char *table, uint64_t right) {
    int rc = SQLITE_OK, wrong = -1;
    const char *const *query = queries_of(table);
    for (int i = 0; query[i] != NULL; i++) {
        uint64_t got = ask(db, query[i], table, &rc);
        wrong = i < n_complete(table) && rc == SQLITE_OK && got != right ? i : wrong;
    }
    ask(db, "INSERT INTO @(@) VALUES('integrity-check')", table, &rc);
    int shown = (has_checksum(d) && !d->resummed) || rc == SQLITE_OK;
    if (wrong >= 0 && shown && !truth_is_damaged(d->row)) {
        fail(rc == SQLITE_OK ? "integrity-check passes, but a wrong answer"
                             : "a wrong answer in spite of checksums",
             query[wrong]);
    }
    const char *const *change = strcmp(table, "c") == 0 ? content_changes : changes;
    must_exec(db, "BEGIN");
    for (int i = 0; change[i] != NULL; i++) {
        ask(db, change[i], table, &rc);
        ask(db, query[n_complete(table)], table, &rc);
    }
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (!sqlite3_get_autocommit(db)) {
        must_exec(db, "ROLLBACK");
    }
    ask(db, query[0], table, &rc);
}

/* What a program does that only reads, and cannot write. */
static void look(const FsImage *damaged, const char *table) {
    static const char *const statements[] = {
        "PRAGMA table_list",
        "PRAGMA quick_check",
        "PRAGMA integrity_check",
        "PRAGMA table_xinfo(@)",
        "SELECT * FROM @ ORDER BY rowid DESC",
        "INSERT INTO @(@) VALUES('integrity-check')",
        0,
    };
    int rc = SQLITE_OK;
    fs_restore(damaged);
    sqlite3 *db = fixture_open(SQLITE_OPEN_READONLY);
    for (int i = 0; db != NULL && statements[i] != NULL; i++) {
        ask(db, statements[i], table, &rc);
    }
    const char *const *query = queries_of(table);
    for (int i = 0; db != NULL && query[i] != NULL; i++) {
        ask(db, query[i], table, &rc);
    }
    sqlite3_close(db);
}

/* `rebuild` and DROP, each on a connection that has seen nothing yet. */
static void repair(const Damage *d, const FsImage *damaged, const char *table,
                   uint64_t right) {
    char sql[128];
    int rc = SQLITE_OK;
    fs_restore(damaged);
    sqlite3 *db = fixture_must_open();
    ask(db, "INSERT INTO @(@) VALUES('rebuild')", table, &rc);
    if (!truth_is_damaged(d->row)) {
        const char *bad = rc == SQLITE_OK ? flaw(db) : sqlite3_errmsg(db);
        if (bad != NULL) {
            fail("rebuild", bad);
        } else if (ask(db, queries_of(table)[0], table, &rc) != right) {
            fail("rebuild", "rows were lost");
        }
    }
    put_name("DROP TABLE @", table, sql, sizeof sql);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK &&
        strstr(sqlite3_errmsg(db), "this version of vecsql reads") == NULL) {
        fail(sql, sqlite3_errmsg(db)); /* a newer format may have tables unknown to us */
    } else if (d->column < 0 && sqlite3_exec(db, "INSERT INTO docs(title) VALUES('x')",
                                             NULL, NULL, NULL) != SQLITE_OK) {
        fail("a trigger is left behind", sqlite3_errmsg(db));
    }
    sqlite3_close(db);
}

static void try_damage(const Damage *d) {
    const Row *r = d->row;
    FsImage damaged;
    const char *table = base_name(r);
    uint64_t right = right_answer(table);
    snprintf(current, sizeof current, "%s %s=%s, %s: %s%s", r->table, r->column[0],
             sqlite3_value_text(r->value[0]),
             d->column < 0 ? "row" : r->column[d->column], d->what,
             d->resummed ? ", checksums right" : "");
    fixture_deadline(10);
    fs_restore(&sound);
    sqlite3 *db = fixture_must_open();
    do_damage(db, d);
    fs_save(&damaged);
    probe(db, d, table, right);
    sqlite3_close(db);
    look(&damaged, table);
    repair(d, &damaged, table, right);
    fs_image_free(&damaged);
    fixture_deadline(0);
    cases_run++;
}

/* ---- the ways ------------------------------------------------------------------- */

static const char *const odd_values[] = {
    "NULL",
    "14",
    "0",
    "-1",
    "2147483648",
    "4294967301",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "'x'",
    "x''",
    "zeroblob(1000)",
};

static void blob_damage(Damage *d, unsigned char *copy, const unsigned char *blob,
                        size_t n, size_t step) {
    static const unsigned char patterns[] = {0x01, 0x80, 0xFF};
    static const uint32_t words[] = {0, 1, 39, 41, 0xFFFFFF, 0x7FFFFFFF, VS_NIL};
    const Row *r = d->row;
    int page = is_part(r, "pages"), state = strcmp(r->column[d->column], "state") == 0;
    int edits = strcmp(r->column[d->column], "edits") == 0;
    for (size_t at = cases_run % step; at < n; at += step) {
        size_t n_ways = sizeof patterns + sizeof words / sizeof *words;
        for (size_t way = 0; way < n_ways; way++) {
            for (int resum = 0; resum < 1 + (page || state || edits); resum++) {
                int word = way >= sizeof patterns;
                if ((word && (!resum || at + 4 > n)) || (step > 1 && way % 3 != at % 3)) {
                    continue;
                }
                memcpy(copy, blob, n);
                if (word) {
                    vs_put_u32(copy + at, words[way - sizeof patterns]);
                } else {
                    copy[at] ^= patterns[way];
                }
                snprintf(d->what, sizeof d->what, "byte %zu, way %zu", at, way);
                d->bytes = copy;
                d->n = n;
                d->resummed = resum;
                if (resum && page) {
                    resum_page(copy, n);
                } else if (resum && state) {
                    resum_state_of(r, copy, n);
                }
                try_damage(d);
            }
        }
    }
    for (size_t len = cases_run % step; len < n + 20; len += step) {
        memset(copy, 0, n + 20);
        memcpy(copy, blob, n);
        snprintf(d->what, sizeof d->what, "length %zu", len);
        d->n = len;
        d->bytes = copy;
        for (int resum = 0; resum < 1 + (page || state || edits); resum++) {
            d->resummed = resum;
            if (resum && page) {
                resum_page(copy, len);
            } else if (resum && state) {
                resum_state_of(r, copy, len);
            }
            try_damage(d);
        }
    }
}

static void enumerate(int i, int quick) {
    static unsigned char copy[70000];
    const Row *r = &rows[i];
    Damage d = {.row = r, .column = -1};
    snprintf(d.what, sizeof d.what, "deleted");
    try_damage(&d);
    for (d.column = 0; d.column < r->n; d.column++) {
        size_t n_odd = sizeof odd_values / sizeof *odd_values;
        for (size_t v = quick ? (size_t)(i + d.column) % 6 : 0; v < n_odd;
             v += quick ? 6 : 1) {
            d.value = odd_values[v];
            snprintf(d.what, sizeof d.what, "%s", d.value);
            try_damage(&d);
        }
        d.value = NULL;
        if (sqlite3_value_type(r->value[d.column]) != SQLITE_BLOB) {
            continue;
        }
        if (i > 0 && strcmp(rows[i - 1].table, r->table) == 0 &&
            sqlite3_value_type(rows[i - 1].value[d.column]) == SQLITE_BLOB) {
            d.bytes = sqlite3_value_blob(rows[i - 1].value[d.column]);
            d.n = (size_t)sqlite3_value_bytes(rows[i - 1].value[d.column]);
            snprintf(d.what, sizeof d.what, "that of the row before");
            try_damage(&d);
        }
        const unsigned char *blob = sqlite3_value_blob(r->value[d.column]);
        size_t n = (size_t)sqlite3_value_bytes(r->value[d.column]);
        blob_damage(&d, copy, blob, n, quick ? 97 : n > 64 ? 7 : 1);
        d.resummed = 0;
    }
}

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    signal(SIGPROF, died);
    signal(SIGSEGV, died);
    signal(SIGABRT, died);
    signal(SIGFPE, died);
    signal(SIGBUS, died);
    fixture_start();
    fixture_image("delete", &sound);
    fs_restore(&sound);
    sqlite3 *db = fixture_must_open();
    read_all_rows(db);
    sqlite3_close(db);
    check_format();
    sqlite3_hard_heap_limit64(HEAP_LIMIT);
    for (int i = 0, seen = 0; i < n_rows && failures < 30; i++) {
        if (argc > 2 && strcmp(argv[2], rows[i].table) != 0) {
            continue;
        }
        /* rows and maps are all alike */
        seen = i > 0 && strcmp(rows[i - 1].table, rows[i].table) == 0 ? seen + 1 : 0;
        int alike = is_part(&rows[i], "rows") || is_part(&rows[i], "map");
        if (!alike || seen < (quick ? 1 : 3)) {
            enumerate(i, quick);
        }
    }
    printf("damage: %d shadow rows, %ld cases, %ld failures\n", n_rows, cases_run,
           failures);
    for (int i = 0; i < n_rows; i++) {
        for (int c = 0; c < rows[i].n; c++) {
            sqlite3_value_free(rows[i].value[c]);
        }
    }
    fs_image_free(&sound);
    return failures != 0;
}
