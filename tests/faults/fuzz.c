/*
 * Risk: an input that nobody thought of.
 *
 *     fuzz [quick|full] [file...]      replays files, then mutates built-in seeds
 *     clang -fsanitize=fuzzer,address,undefined -DLIBFUZZER ...    (make fuzz)
 *
 * The first byte of an input chooses the target, the rest is for it: edits of a log row
 * and a page, their checksums made right; the text of a vector; the arguments of CREATE
 * VIRTUAL TABLE; an SQL script; a sequence of operations, after which all answers must
 * equal brute force. No input may crash, hang, or take more than 64 MB.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checksums.h"
#include "fixture.h"

#define MAX_INPUT 4096

static FsImage sound;

static void try_sql(sqlite3 *db, const char *sql) {
    if ((sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xFF) == SQLITE_NOMEM) {
        fixture_fatal(sql, "out of memory");
    }
}

static void use_table(sqlite3 *db) {
    static const char *const uses[] = {
        "SELECT rowid, distance FROM t WHERE embedding MATCH '[1,2,3]' AND k = 50",
        "SELECT rowid FROM t WHERE embedding MATCH '[1,2,3]' ORDER BY distance LIMIT 3",
        "SELECT count(*) FROM t WHERE embedding MATCH '[1,2,3]' AND exact = 1",
        "INSERT INTO t(id, embedding) VALUES(900, '[1,2,3]')",
        "UPDATE t SET embedding = '[1,1,1]' WHERE id = 5",
        "DELETE FROM t WHERE id < 9",
        "INSERT INTO t(t) VALUES('optimize')",
        "INSERT INTO t(t) VALUES('integrity-check')",
        "INSERT INTO t(t) VALUES('rebuild')",
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        try_sql(db, uses[i]);
    }
}

static void bind_and_run(sqlite3 *db, const char *sql, const void *bytes, size_t n,
                         int text) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        if (text) {
            sqlite3_bind_text(stmt, 1, bytes, (int)n, SQLITE_STATIC);
        } else {
            sqlite3_bind_blob(stmt, 1, bytes, (int)n, SQLITE_STATIC);
        }
        while (sqlite3_step(stmt) == SQLITE_ROW) {
        }
    }
    sqlite3_finalize(stmt);
}

static void fuzz_edits(sqlite3 *db, const unsigned char *data, size_t n) {
    unsigned char state[1024];
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(db,
                       "SELECT ver, stamp, state FROM t_log0 ORDER BY ver DESC LIMIT 1",
                       -1, &stmt, NULL);
    if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_bytes(stmt, 2) < 1024) {
        size_t len = (size_t)sqlite3_column_bytes(stmt, 2);
        memcpy(state, sqlite3_column_blob(stmt, 2), len);
        resum_edits(sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1), data, n,
                    state, len);
        sqlite3_finalize(stmt);
        bind_and_run(db,
                     "UPDATE t_log0 SET edits = ?1 WHERE ver = (SELECT max(ver) FROM "
                     "t_log0)",
                     data, n, 0);
        bind_and_run(db,
                     "UPDATE t_log0 SET state = ?1 WHERE ver = (SELECT max(ver) FROM "
                     "t_log0)",
                     state, len, 0);
        use_table(db);
    } else {
        fixture_fatal("t_log0", "the format has moved: adapt fuzz.c");
    }
}

/* The first two bytes choose page and offset, the others go there. */
static void fuzz_page(sqlite3 *db, const unsigned char *data, size_t n) {
    static unsigned char page[70000];
    char sql[128];
    sqlite3_stmt *stmt = NULL;
    if (n < 3) {
        return;
    }
    snprintf(sql, sizeof sql,
             "SELECT page, data FROM t_pages0 ORDER BY page LIMIT 1 "
             "OFFSET %d %% (SELECT count(*) FROM t_pages0)",
             data[0]);
    sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        fixture_fatal(sql, "no page");
    }
    sqlite3_int64 number = sqlite3_column_int64(stmt, 0);
    size_t len = (size_t)sqlite3_column_bytes(stmt, 1);
    memcpy(page, sqlite3_column_blob(stmt, 1), len);
    sqlite3_finalize(stmt);
    size_t at = (VS_PAGE_HEADER + data[1] * 2u) % len, left = len - at;
    memcpy(page + at, data + 2, n - 2 < left ? n - 2 : left);
    resum_page(page, len);
    snprintf(sql, sizeof sql, "UPDATE t_pages0 SET data = ?1 WHERE page = %lld",
             (long long)number);
    bind_and_run(db, sql, page, len, 0);
    use_table(db);
}

static void fuzz_vector(sqlite3 *db, const unsigned char *data, size_t n) {
    static const char *const uses[] = {
        "SELECT vec_to_json(vec_normalize(?1))",
        "SELECT vec_length(?1), vec_to_json(vec_quantize_binary(?1))",
        "SELECT vec_to_json(vec_int8(?1))",
        "SELECT vec_to_json(vec_f16(?1))",
        "SELECT vec_distance_l2(?1, ?1), vec_distance_cosine(?1, '[1,2,3]')",
        "SELECT sum(value) FROM vec_each(?1)",
        "INSERT INTO t(id, embedding) VALUES(900, ?1)",
        "SELECT id FROM t WHERE embedding MATCH ?1 AND k = 3",
        "INSERT INTO t(t) VALUES(?1)",
        "SELECT vecsql_search('t', 'embedding', ?1, 3)",
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        bind_and_run(db, uses[i], data, n, 1);
        bind_and_run(db, uses[i], data, n, 0);
    }
}

static void fuzz_create(sqlite3 *db, const char *text) {
    static char sql[MAX_INPUT + 64];
    for (int vec0 = 0; vec0 < 2; vec0++) {
        snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE q USING %s(%s)",
                 vec0 ? "vec0" : "vecsql", text);
        try_sql(db, sql);
        try_sql(db, "INSERT INTO q(rowid, embedding) VALUES(1, '[1,2,3]')");
        try_sql(db, "SELECT * FROM q");
        try_sql(db, "DROP TABLE IF EXISTS q");
    }
}

static int deny(void *arg, int action, const char *a, const char *b, const char *c,
                const char *d) {
    (void)arg, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK;
}

static int too_long(void *arg) {
    (void)arg;
    return 1;
}

static void fuzz_script(sqlite3 *db, const char *text) {
    sqlite3_set_authorizer(db, deny, NULL);
    sqlite3_progress_handler(db, 200000, too_long, NULL);
    try_sql(db, text);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_set_authorizer(db, NULL, NULL);
}

/* Each byte is an operation on one of 16 rows. */
static void fuzz_operations(sqlite3 *db, const unsigned char *data, size_t n) {
    static const char *const op[] = {
        "INSERT OR REPLACE INTO t(id, embedding) VALUES(%d, '[%d,2,1]')",
        "INSERT OR IGNORE INTO t(id, embedding) VALUES(%d, '[%d,0,1]')",
        "DELETE FROM t WHERE id = %d OR id = %d + 20",
        "UPDATE t SET embedding = '[%d,%d,0]' WHERE id %% 5 = 0",
        "UPDATE OR REPLACE t SET id = %d WHERE id = %d + 1",
        "SAVEPOINT s; DELETE FROM t WHERE id > %d + %d; ROLLBACK TO s; RELEASE s",
        "BEGIN; INSERT INTO t(id, embedding) VALUES(%d + 500, '[%d,1,1]')",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT u",
        "ROLLBACK TO u",
        "RELEASE u",
        "INSERT INTO t(t) VALUES('optimize')",
        "INSERT INTO t(t) VALUES('rebuild')",
        "CREATE TABLE IF NOT EXISTS x%d%d(a)",
        "INSERT INTO t(id, embedding) VALUES(%d + 700, '[%d]')",
    };
    char sql[256];
    for (size_t i = 0; i < n && i < 200; i++) {
        snprintf(sql, sizeof sql, op[data[i] & 15], data[i] >> 4, data[i] >> 4);
        try_sql(db, sql);
    }
    if (!sqlite3_get_autocommit(db)) {
        try_sql(db, data[0] & 1 ? "COMMIT" : "ROLLBACK");
    }
    const char *bad = flaw(db);
    if (bad != NULL) {
        fprintf(stderr, "operations: %s\n", bad);
        abort();
    }
}

static void run_input(const unsigned char *data, size_t n) {
    static char text[MAX_INPUT + 1];
    if (n < 1 || n > MAX_INPUT) {
        return;
    }
    fs_restore(&sound);
    sqlite3 *db = fixture_must_open();
    memcpy(text, data + 1, n - 1);
    text[n - 1] = '\0';
    switch (data[0] % 6) {
    case 0:
        fuzz_edits(db, data + 1, n - 1);
        break;
    case 1:
        fuzz_page(db, data + 1, n - 1);
        break;
    case 2:
        fuzz_vector(db, data + 1, n - 1);
        break;
    case 3:
        fuzz_create(db, text);
        break;
    case 4:
        fuzz_script(db, text);
        break;
    default:
        if (n > 1) {
            fuzz_operations(db, data + 1, n - 1);
        }
    }
    sqlite3_close(db);
}

static void start(void) {
    fixture_start();
    fixture_image("delete", &sound);
    sqlite3_hard_heap_limit64(64 << 20);
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n) {
    static int started;
    if (!started) {
        start();
        started = 1;
    }
    run_input(data, n);
    return 0;
}

#else

/* '0'..'5' chooses the target: '0' % 6 is 0. */
static const char *const seeds[] = {
    "0\x01\x02\x00\x04\x05\x00\x00\x00",
    "1\x03\x20\xff\xff\xff",
    "2[1, 2.5e3, -0.1]",
    "2[1,2,3]",
    "3embedding float[3] distance_metric=cosine index=hnsw m=4 codec=sq8, tag text",
    "3id integer primary key, embedding float[3] codec=pq pq_m=3, a text indexed, +b",
    "3content=docs, content_rowid=id, embedding float[3] ef_construction=20 nav_bits=4",
    "4SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 3 AND tag = 'tag1'",
    "4UPDATE t SET embedding = vec_f32('[1,2,3]') WHERE id IN (1,2); SELECT * FROM y",
    "4SELECT * FROM vecsql_stats('t'); INSERT INTO w SELECT * FROM w WHERE id < 3;",
    "5\x10\x21\x32\x06\x44\x09\x55\x0a\x07\x0c\x0d",
    "5\x06\x10\x20\x09\x33\x0a\x0b\x08\x06\x07",
};

static unsigned long long random_state = 11;

static unsigned random_below(unsigned n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static size_t mutate(unsigned char *data, size_t n) {
    for (unsigned i = 0; i <= random_below(6); i++) {
        unsigned at = 1 + random_below((unsigned)n);
        switch (random_below(5)) {
        case 0:
            data[at] = (unsigned char)random_below(256);
            break;
        case 1: /* a piece again, somewhere else */
            memmove(data + at, data + 1 + random_below((unsigned)n), random_below(24));
            break;
        case 2:
            data[at] ^= (unsigned char)(1u << random_below(8));
            break;
        case 3:
            n = 1 + random_below((unsigned)n + 40);
            break;
        default:
            data[at] = (unsigned char)"[](),='\"%;0-9.eE \xff"[random_below(17)];
        }
    }
    return n;
}

static unsigned char input[MAX_INPUT];
static size_t input_length;

static void died(int sig) {
    static const char text[] = "\nFAILED  the input, in hexadecimal: ";
    ssize_t done = write(1, text, sizeof text - 1);
    for (size_t i = 0; i < input_length; i++) {
        done += write(1, &"0123456789abcdef"[input[i] >> 4], 1);
        done += write(1, &"0123456789abcdef"[input[i] & 15], 1);
    }
    (void)done;
    _exit(sig == SIGPROF ? 3 : 4);
}

static void replay_file(const char *name) {
    FILE *f = fopen(name, "rb");
    if (f == NULL) {
        fixture_fatal(name, "cannot be read");
    }
    input_length = fread(input, 1, sizeof input, f);
    fclose(f);
    run_input(input, input_length);
}

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    long runs = 0;
    signal(SIGPROF, died);
    signal(SIGSEGV, died);
    signal(SIGABRT, died);
    signal(SIGFPE, died);
    start();
    for (int i = 2; i < argc; i++, runs++) {
        replay_file(argv[i]);
    }
    for (long i = 0; i < (quick ? 1200 : 60000); i++, runs++) {
        const char *seed = seeds[(size_t)i % (sizeof seeds / sizeof *seeds)];
        memset(input, 0, sizeof input);
        input_length = strlen(seed);
        memcpy(input, seed, input_length);
        input_length = mutate(input, input_length);
        fixture_deadline(10);
        run_input(input, input_length);
        fixture_deadline(0);
    }
    fs_image_free(&sound);
    printf("fuzz: %ld inputs\n", runs);
    return 0;
}

#endif
