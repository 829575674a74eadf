/* See fixture.h. */
#include <sys/time.h>
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* vecsql, and the module vec0 besides. */
int sqlite3_vecsqlvec0_init(sqlite3 *db, char **err, const void *api);

_Noreturn void fixture_fatal(const char *what, const char *detail) {
    fprintf(stderr, "%s: %s\n", what, detail);
    exit(2);
}

void fixture_start(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    sqlite3_initialize();
    fs_register();
    sqlite3_auto_extension((void (*)(void))sqlite3_vecsqlvec0_init);
}

static char directory[] = "/tmp/vecsql-faults-XXXXXX";

void fixture_start_on_disk(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) {
        fixture_fatal(directory, "cannot be made");
    }
    sqlite3_initialize();
    sqlite3_auto_extension((void (*)(void))sqlite3_vecsqlvec0_init);
}

void fixture_end_on_disk(void) {
    static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, DATABASE "%s", suffix[i]);
        (void)unlink(name);
    }
    if (rmdir(directory) != 0) {
        perror(directory);
    }
}

sqlite3 *fixture_open(int flags) {
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(DATABASE, &db, flags, NULL) != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

sqlite3 *fixture_must_open(void) {
    sqlite3 *db = fixture_open(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (db == NULL) {
        fixture_fatal("open", "failed without a fault");
    }
    return db;
}

void must_exec(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fixture_fatal(sql, sqlite3_errmsg(db));
    }
}

/* ---- digests -------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) * 0x100000001B3u;
    }
    return (h ^ n) * 0x100000001B3u;
}

static uint64_t mix_value(uint64_t h, sqlite3_stmt *stmt, int i) {
    int type = sqlite3_column_type(stmt, i);
    h = mix(h, &type, sizeof type);
    if (type == SQLITE_FLOAT) {
        char text[32]; /* the last digits of a distance depend on how it is computed */
        float x = (float)sqlite3_column_double(stmt, i); /* vec0 rounds to float32 */
        snprintf(text, sizeof text, "%.4f", (double)x);
        return mix(h, text, strlen(text));
    }
    const void *bytes = type == SQLITE_BLOB ? sqlite3_column_blob(stmt, i)
                                            : (const void *)sqlite3_column_text(stmt, i);
    return mix(h, bytes, (size_t)sqlite3_column_bytes(stmt, i));
}

uint64_t digest(sqlite3 *db, const char *sql, int *rc) {
    uint64_t h = 0xCBF29CE484222325u;
    sqlite3_stmt *stmt = NULL;
    *rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    while (*rc == SQLITE_OK && (*rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *rc = SQLITE_OK;
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            h = mix_value(h, stmt, i);
        }
    }
    int final = sqlite3_finalize(stmt);
    *rc = *rc == SQLITE_DONE ? final : *rc;
    return h;
}

/* ---- running -------------------------------------------------------------------- */

void fixture_build(const char *journal) {
    char sql[64];
    sqlite3 *db = fixture_must_open();
    must_exec(db, "PRAGMA page_size = 512");
    must_exec(db, "PRAGMA synchronous = OFF");
    snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s", journal);
    must_exec(db, sql);
    for (int i = 0; setup[i] != NULL; i++) {
        must_exec(db, setup[i]);
    }
    const char *bad = flaw(db);
    if (bad != NULL) {
        fixture_fatal("the database before any fault", bad);
    }
    sqlite3_close(db);
}

void fixture_image(const char *journal, FsImage *out) {
    FsImage empty = {.n = 0};
    fs_restore(&empty);
    fixture_build(journal);
    fs_save(out);
}

/* Bookkeeping of a statement that failed. `unit`: the statements of the open transaction,
 * 0 outside of one. */
static void failed(sqlite3 *db, Run *out, int i, int rc, unsigned *unit, int is_commit) {
    if (out->rc == SQLITE_OK) {
        out->rc = rc;
        snprintf(out->error, sizeof out->error, "%s", sqlite3_errmsg(db));
    }
    out->result[i] = 0;
    int mistake = rc == SQLITE_ERROR || (rc & 0xFF) == SQLITE_CONSTRAINT; /* its own */
    out->doubt = mistake ? out->doubt : 1u << i;
    if (*unit == 0) {
        return;
    }
    if (is_commit && !sqlite3_get_autocommit(db)) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (sqlite3_get_autocommit(db)) { /* everything since BEGIN is gone */
        out->doubt = *unit | 1u << i;
        out->kept &= ~*unit;
        *unit = 0;
    }
}

void run_case(sqlite3 *db, const Case *c, unsigned mask, Run *out) {
    unsigned unit = 0;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < MAX_STEPS && c->sql[i] != NULL; i++) {
        if (!(mask >> i & 1)) {
            continue;
        }
        int rc = SQLITE_OK, is_commit = strcmp(c->sql[i], "COMMIT") == 0;
        int was_open = !sqlite3_get_autocommit(db);
        out->result[i] = digest(db, c->sql[i], &rc);
        if (rc != SQLITE_OK) {
            failed(db, out, i, rc, &unit, is_commit);
            continue;
        }
        out->kept |= 1u << i;
        unit = sqlite3_get_autocommit(db) ? 0 : (was_open ? unit : 0) | 1u << i;
    }
    out->open = sqlite3_get_autocommit(db) ? 0 : unit;
}

/* ---- the oracle ----------------------------------------------------------------- */

/* Names of the tables of a kind, one after another, each ended by 0. */
static int table_names(sqlite3 *db, const char *where, char names[MAX_TABLES][64]) {
    char sql[256];
    sqlite3_stmt *stmt = NULL;
    int n = 0;
    snprintf(sql, sizeof sql,
             "SELECT name FROM sqlite_schema WHERE type = 'table' AND %s ORDER BY name",
             where);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return -1;
    }
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && n < MAX_TABLES) {
        snprintf(names[n++], 64, "%s", (const char *)sqlite3_column_text(stmt, 0));
    }
    return sqlite3_finalize(stmt) == SQLITE_OK ? n : -1;
}

#define INDEXES \
    "(sql LIKE 'CREATE VIRTUAL TABLE%USING vecsql%' OR sql LIKE '%USING vec0%')"
#define TABLES "(" INDEXES " OR name IN ('docs', 'other'))"

uint64_t contents(sqlite3 *db, int *rc) {
    char names[MAX_TABLES][64], sql[512];
    int n = table_names(db, TABLES, names);
    uint64_t h = 0;
    *rc = n < 0 ? SQLITE_ERROR : SQLITE_OK;
    for (int i = 0; i < n && *rc == SQLITE_OK; i++) {
        snprintf(sql, sizeof sql, "SELECT rowid, * FROM %.63s ORDER BY rowid", names[i]);
        uint64_t part = digest(db, sql, rc);
        h = mix(h, names[i], strlen(names[i]));
        h = mix(h, &part, sizeof part);
    }
    return h;
}

static const char *remember(const char *what, const char *table, const char *detail) {
    static _Thread_local char text[1200];
    snprintf(text, sizeof text, "%.64s: %.500s: %.500s", table, what, detail);
    return text;
}

const char *neighbours(sqlite3 *db, const char *table, const char *query, int vec0) {
    static const char *const way[] = {"AND k = 1000", "AND k = 1000 AND exact = 1", ""};
    char sql[512];
    int rc = SQLITE_OK;
    snprintf(sql, sizeof sql,
             "SELECT rowid, vec_distance_l2(embedding, '%s') AS d FROM %.63s "
             "WHERE embedding IS NOT NULL ORDER BY d, rowid",
             query, table);
    uint64_t want = digest(db, sql, &rc);
    for (int i = 0; rc == SQLITE_OK && i < (vec0 ? 1 : 3); i++) {
        snprintf(sql, sizeof sql,
                 "WITH a AS MATERIALIZED (SELECT rowid AS r, distance AS d FROM %.63s "
                 "WHERE embedding MATCH '%s' %s) SELECT r, d FROM a ORDER BY d, r",
                 table, query, way[i]);
        uint64_t got = digest(db, sql, &rc);
        if (rc == SQLITE_OK && got != want) {
            return remember("not the nearest neighbours", table, sql);
        }
    }
    return rc == SQLITE_OK ? NULL : remember(sql, table, sqlite3_errmsg(db));
}

const char *flaw(sqlite3 *db) {
    char names[MAX_TABLES][64], sql[256];
    int n = table_names(db, "sql LIKE 'CREATE VIRTUAL TABLE%USING vecsql%'", names);
    int n_vec0 = n < 0 ? n : table_names(db, "sql LIKE '%USING vec0%'", names + n);
    if (n_vec0 < 0) {
        return remember("cannot read the schema", "", sqlite3_errmsg(db));
    }
    for (int i = 0; i < n + n_vec0; i++) {
        snprintf(sql, sizeof sql, "INSERT INTO %.63s(%.63s) VALUES('integrity-check')",
                 names[i], names[i]);
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
            return remember("integrity-check", names[i], sqlite3_errmsg(db));
        }
        const char *bad = neighbours(db, names[i], "[7,-8,1]", i >= n);
        if (bad != NULL) {
            return bad;
        }
    }
    int rc = SQLITE_OK;
    static uint64_t ok;
    ok = ok != 0 ? ok : digest(db, "SELECT 'ok'", &rc);
    if (digest(db, "PRAGMA integrity_check", &rc) != ok) {
        return remember("PRAGMA integrity_check", "main", sqlite3_errmsg(db));
    }
    return NULL;
}

#define MAX_MASKS 256

static struct {
    unsigned mask[MAX_MASKS];
    Expected expected[MAX_MASKS];
    int n;
} known;

void replay_reset(void) {
    known.n = 0;
}

const Expected *replay(const FsImage *image, const Case *c, unsigned mask) {
    for (int i = 0; i < known.n; i++) {
        if (known.mask[i] == mask) {
            return &known.expected[i];
        }
    }
    if (known.n == MAX_MASKS) {
        known.n = 0;
    }
    FsImage now;
    fs_save(&now);
    fs_restore(image);
    Expected *e = &known.expected[known.n];
    known.mask[known.n++] = mask;
    sqlite3 *db = fixture_must_open();
    run_case(db, c, mask, &e->run);
    int rc = SQLITE_OK;
    e->contents = contents(db, &rc);
    if (rc != SQLITE_OK) {
        fixture_fatal("replay", sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    fs_restore(&now);
    fs_image_free(&now);
    return e;
}

/* What the files hold, so that the same is not looked at twice. */
static uint64_t files_hash(void) {
    FsImage now;
    uint64_t h = 1;
    fs_save(&now);
    for (int i = 0; i < now.n; i++) {
        const FsFile *f = &now.file[i];
        h = mix(h, f->name, strlen(f->name));
        for (size_t at = 0; at + 8 <= f->size; at += 8) {
            uint64_t word;
            memcpy(&word, f->data + at, 8);
            h = (h ^ word) * 0x9E3779B97F4A7C15u;
            h ^= h >> 29;
        }
    }
    fs_image_free(&now);
    return h;
}

/* The same of an open database, which it closes. */
static const char *inspect(sqlite3 *db, uint64_t *out) {
    int rc = SQLITE_OK;
    const char *bad = flaw(db);
    *out = bad == NULL ? contents(db, &rc) : 0;
    bad = rc == SQLITE_OK ? bad : remember("cannot read", "rows", sqlite3_errmsg(db));
    if (sqlite3_close(db) != SQLITE_OK) { /* statements of ours that nobody finalised */
        sqlite3_stmt *left = sqlite3_next_stmt(db, NULL);
        bad = remember("cannot be closed", "open",
                       left == NULL ? sqlite3_errmsg(db) : sqlite3_sql(left));
        sqlite3_close_v2(db);
    }
    return bad;
}

const char *inspect_files(uint64_t *out) {
    static struct {
        uint64_t files, contents;
    } seen[1024];
    uint64_t files = files_hash();
    size_t at = files % 1024;
    if (seen[at].files != files) {
        sqlite3 *db = fixture_open(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
        const char *bad = db == NULL ? "cannot be opened" : inspect(db, out);
        if (bad != NULL) {
            return bad;
        }
        seen[at].files = files;
        seen[at].contents = *out;
    }
    *out = seen[at].contents;
    return NULL;
}

static const char *compare_with(const Expected *want, const Run *run, uint64_t got) {
    if (got != want->contents) {
        return "a statement was half done, lost or came twice";
    }
    for (int i = 0; i < MAX_STEPS; i++) {
        if ((run->kept >> i & 1) && run->result[i] != want->run.result[i]) {
            return "a statement succeeded with other rows";
        }
    }
    return NULL;
}

static const char *compare(const FsImage *image, const Case *c, const Run *run,
                           uint64_t got, int doubt) {
    const char *bad = compare_with(replay(image, c, run->kept), run, got);
    if (bad != NULL && doubt &&
        compare_with(replay(image, c, run->kept | run->doubt), run, got) == NULL) {
        return NULL;
    }
    return bad;
}

int judge(const char *where, const FsImage *image, const Case *c, Run *run, sqlite3 *db,
          int doubt) {
    const char *bad = NULL;
    if (!sqlite3_get_autocommit(db)) {
        must_exec(db, "ROLLBACK");
        run->kept &= ~run->open;
    }
    for (int fresh = 0; fresh < 2 && bad == NULL; fresh++) {
        uint64_t got = 0;
        bad = fresh ? inspect_files(&got) : inspect(db, &got);
        bad = bad != NULL ? bad : compare(image, c, run, got, doubt);
        if (bad != NULL) {
            printf("FAILED  %s, case \"%s\", kept %x, %s, error %d %s: %s\n", where,
                   c->name, run->kept, fresh ? "new connection" : "same connection",
                   run->rc, run->error, bad);
        }
    }
    return bad != NULL;
}

void fixture_deadline(int seconds) {
    struct itimerval timer = {{0, 0}, {seconds, 0}};
    setitimer(ITIMER_PROF, &timer, NULL);
}
