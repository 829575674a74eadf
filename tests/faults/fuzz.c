/*
 * Risk: an input that nobody thought of.
 *
 *     fuzz quick|full CORPUS [TARGET]    replays CORPUS/TARGET.pack, then mutates it
 *     fuzz replay TARGET FILE...         inputs that libFuzzer has left
 *     python tests/faults/fuzz.py        libFuzzer, guided by coverage (make soak)
 *
 * Five targets: what is on disk (edits of a log row and bytes of a page, their checksums
 * made right), the text or blob of a vector, the arguments of CREATE VIRTUAL TABLE, an SQL
 * script, a sequence of operations, after which all answers must equal brute force. No
 * input may crash, hang, or take more than 64 MB. A pack is inputs one after another, each
 * behind its length in two bytes, low byte first.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checksums.h"
#include "fixture.h"

#define MAX_INPUT 4096

/* Every kind of table; and one alone, for what needs no more and shall be fast. */
static FsImage sound, small;

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

/* The first byte chooses. */
static void fuzz_disk(sqlite3 *db, const unsigned char *data, size_t n) {
    (data[0] & 1 ? fuzz_page : fuzz_edits)(db, data + 1, n - 1);
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

static const char *text_of(const unsigned char *data, size_t n) {
    static char text[MAX_INPUT + 1];
    memcpy(text, data, n);
    text[n] = '\0';
    return text;
}

static void fuzz_create(sqlite3 *db, const unsigned char *data, size_t n) {
    const char *text = text_of(data, n);
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

static void fuzz_script(sqlite3 *db, const unsigned char *data, size_t n) {
    sqlite3_set_authorizer(db, deny, NULL);
    sqlite3_progress_handler(db, 200000, too_long, NULL);
    try_sql(db, text_of(data, n));
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

static const struct Target {
    const char *name;
    void (*run)(sqlite3 *db, const unsigned char *data, size_t n);
    FsImage *image;
} targets[] = {{"disk", fuzz_disk, &small},
               {"vector", fuzz_vector, &small},
               {"create", fuzz_create, &small},
               {"script", fuzz_script, &sound},
               {"operations", fuzz_operations, &small}};

typedef struct Target Target;

static const Target *target_of(const char *name) {
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (name != NULL && strcmp(name, targets[i].name) == 0) {
            return &targets[i];
        }
    }
    fixture_fatal(name == NULL ? "(no target)" : name, "is no target");
}

static void run_input(const Target *target, const unsigned char *data, size_t n) {
    if (n < 1 || n > MAX_INPUT) {
        return;
    }
    fs_restore(target->image);
    sqlite3 *db = fixture_must_open();
    target->run(db, data, n);
    sqlite3_close(db);
}

static void start(void) {
    fixture_start();
    fixture_image("delete", &sound);
    sqlite3 *db = fixture_must_open();
    must_exec(db, "DROP TABLE c; DROP TABLE f; DROP TABLE w; DROP TABLE y; DROP TABLE z; "
                  "DROP TABLE other; VACUUM");
    sqlite3_close(db);
    fs_save(&small);
    sqlite3_hard_heap_limit64(64 << 20);
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n) {
    static const Target *target;
    if (target == NULL) {
        target = target_of(getenv("FUZZ_TARGET"));
        start();
    }
    run_input(target, data, n);
    return 0;
}

#else

static unsigned long long random_state = 11;

static unsigned random_below(unsigned n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static unsigned char input[MAX_INPUT + 64];
static size_t input_length;

static void mutate(void) {
    unsigned char *data = input;
    for (unsigned i = 0; i <= random_below(6); i++) {
        unsigned n = (unsigned)input_length, at = random_below(n);
        switch (random_below(5)) {
        case 0:
            data[at] = (unsigned char)random_below(256);
            break;
        case 1: /* a piece again, somewhere else */
            memmove(data + at, data + random_below(n), random_below(24));
            break;
        case 2:
            data[at] ^= (unsigned char)(1u << random_below(8));
            break;
        case 3:
            input_length = 1 + random_below(n + 40 < MAX_INPUT ? n + 40 : MAX_INPUT);
            break;
        default:
            data[at] = (unsigned char)"[](),='\"%;0-9.eE \xff"[random_below(18)];
        }
    }
}

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

/* The whole file; ended by fixture_fatal where it cannot be read. */
static unsigned char *read_file(const char *name, size_t *n) {
    static unsigned char bytes[4 << 20];
    FILE *f = fopen(name, "rb");
    if (f == NULL) {
        fixture_fatal(name, "cannot be read");
    }
    *n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    return bytes;
}

static void run_one(const Target *target, const unsigned char *data, size_t n,
                    int as_is) {
    input_length = n < MAX_INPUT ? n : MAX_INPUT;
    memset(input, 0, sizeof input);
    memcpy(input, data, input_length);
    if (!as_is) {
        mutate();
    }
    fixture_deadline(10);
    run_input(target, input, input_length);
    fixture_deadline(0);
}

/* Each input of the pack, and `mutants` mutants of one after another. */
static void run_pack(const Target *target, const char *corpus, long mutants) {
    char name[1024];
    size_t size, n = 0;
    snprintf(name, sizeof name, "%s/%s.pack", corpus, target->name);
    const unsigned char *pack = read_file(name, &size);
    long inputs = 0, runs = 0;
    for (size_t at = 0; at + 2 < size; at += 2 + n, inputs++) {
        n = pack[at] | (size_t)pack[at + 1] << 8;
        if (n == 0 || n > size - at - 2) {
            fixture_fatal(name, "is no pack");
        }
        run_one(target, pack + at + 2, n, 1);
    }
    for (size_t at = 0; inputs > 0 && runs < mutants; at += 2 + n, runs++) {
        at = at + 2 < size ? at : 0;
        n = pack[at] | (size_t)pack[at + 1] << 8;
        run_one(target, pack + at + 2, n, 0);
    }
    printf("%-12s %5ld inputs of the corpus, %6ld mutated\n", target->name, inputs, runs);
}

int main(int argc, char **argv) {
    const char *how = argc > 2 ? argv[1] : "";
    long mutants = strcmp(how, "quick") == 0  ? 300
                   : strcmp(how, "full") == 0 ? 12000
                                              : -1;
    signal(SIGPROF, died);
    signal(SIGSEGV, died);
    signal(SIGABRT, died);
    signal(SIGFPE, died);
    start();
    if (strcmp(how, "replay") == 0) {
        for (int i = 3; i < argc; i++) {
            size_t n;
            const unsigned char *bytes = read_file(argv[i], &n);
            run_one(target_of(argv[2]), bytes, n, 1);
        }
    } else if (mutants >= 0) {
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
            if (argc < 4 || &targets[i] == target_of(argv[3])) {
                run_pack(&targets[i], argv[2], mutants);
            }
        }
    } else {
        fixture_fatal("usage",
                      "fuzz quick|full CORPUS [TARGET], fuzz replay TARGET FILE...");
    }
    fs_image_free(&sound);
    fs_image_free(&small);
    return 0;
}

#endif
