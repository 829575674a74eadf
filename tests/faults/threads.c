/*
 * Risk: connections of several threads or processes share something that they must not,
 * or one sees an index that is not that of the rows it sees.
 *
 *     threads [quick|full] [processes]
 *
 * Writers and readers on one file, each with its own connection: in threads of this
 * process (under ThreadSanitizer in the slow tier), which share the pages that they read,
 * and as processes. One of them checkpoints, rebuilds, drops, creates and vacuums. A reader's
 * transaction sees rows and neighbours of one snapshot: all ways of searching equal
 * brute force over the rows that the same transaction sees. Batches of queries walk on
 * threads of their own (vecsql_search), while the connection's thread reads rows between
 * its walks; they see what their own transaction wrote. In the end the file is sound.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batches.h"
#include "fixture.h"

#define WRITERS 2
#define READERS 5
#define ALL (WRITERS + 1 + READERS) /* one that upheaves */

static int rounds;

/* Lock errors are part of the game: the transaction is given up. So is a schema that others
 * changed twice while a statement was prepared: a table that is being connected cannot
 * read its configuration then, and SQLite prepares once more, not for ever. */
static int attempt(sqlite3 *db, const char *sql) {
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if ((rc & 0xFF) == SQLITE_BUSY || (rc & 0xFF) == SQLITE_LOCKED ||
        rc == SQLITE_SCHEMA) {
        return 0;
    }
    if (rc != SQLITE_OK && rc != SQLITE_CONSTRAINT_ROWID && rc != SQLITE_CONSTRAINT &&
        rc != SQLITE_CONSTRAINT_PRIMARYKEY) {
        fixture_fatal(sql, sqlite3_errmsg(db));
    }
    return rc == SQLITE_OK;
}

/* The same of a message. */
static int is_wrong(const char *bad) {
    return bad != NULL && strstr(bad, "locked") == NULL &&
           strstr(bad, "schema has changed") == NULL;
}

/* A batch of more queries than the rows of which are read at once (search_many.c), or of
 * a few; on a table that is walked, or on one that is scanned. */
static void search_some(sqlite3 *db, unsigned *random) {
    static const Batch batches[] = {
        {"b", 700, 4, 20, 1}, {"b", 50, 20, 0, 1},  {"b", 40, 5, 2000, 0},
        {"t", 700, 5, 0, 0},  {"t", 30, 100, 0, 0}, {"c", 30, 4, 0, 0},
        {"f", 600, 3, 0, 0},
    };
    static const size_t n = sizeof batches / sizeof *batches;
    const Batch *b = &batches[(size_t)rand_r(random) % n];
    const char *bad = batch_flaw(db, b, random);
    if (is_wrong(bad)) {
        printf("%zu queries to %s, k %zu, ef %zu\n", b->n, b->table, b->k, b->ef);
        fixture_fatal("a batch", bad);
    }
}

static void write_some(sqlite3 *db, unsigned *random) {
    static const char *const work[] = {
        "INSERT OR REPLACE INTO t(id, embedding) VALUES(%d, '[1,2,3]')",
        "INSERT OR REPLACE INTO t(id, embedding) WITH RECURSIVE n(i) AS (SELECT %d UNION "
        "ALL SELECT i + 1 FROM n WHERE i %% 10 > 0) SELECT i, printf('[%%d,%%d,3]', i %% "
        "7, i %% 11) FROM n",
        "DELETE FROM t WHERE id > %d",
        "UPDATE t SET embedding = '[5,5,5]' WHERE id = %d",
        "SAVEPOINT s; DELETE FROM t WHERE id < %d; ROLLBACK TO s; RELEASE s",
        "UPDATE docs SET embedding = vec_f32('[5,5,5]') WHERE id = %d %% 12",
        "INSERT INTO t(t) SELECT 'optimize' WHERE %d %% 3 = 0",
        "CREATE TABLE IF NOT EXISTS x%d(a)",
        "UPDATE b SET embedding = printf('[%%d,%%d,5]', id %% 13, id %% 29) WHERE id %% "
        "100 = %d",
        "DELETE FROM b WHERE id %% 80 = %d",
        "INSERT OR REPLACE INTO b(id, embedding) WITH RECURSIVE n(i) AS (SELECT 10 * %d "
        "UNION ALL SELECT i + 1 FROM n WHERE (i + 1) %% 60 > 0) SELECT i, "
        "printf('[%%d,%%d,%%d]', i %% 17, i %% 23, i %% 31) FROM n",
        "INSERT OR REPLACE INTO b(id, embedding) VALUES(%d %% 5, '[1e24,2,3]')",
        "INSERT INTO b(b) SELECT 'optimize' WHERE %d %% 9 = 0",
    };
    char sql[300];
    if (!attempt(db, "BEGIN IMMEDIATE")) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        const char *text = work[(size_t)rand_r(random) % (sizeof work / sizeof *work)];
        snprintf(sql, sizeof sql, text, rand_r(random) % 80);
        attempt(db, sql);
    }
    if (rand_r(random) % 4 == 0) {
        search_some(db, random);
    }
    if (rand_r(random) % 4 == 0 || !attempt(db, "COMMIT")) {
        must_exec(db, "ROLLBACK");
    }
}

#define DROPPED                                                                          \
    "CREATE VIRTUAL TABLE d USING vecsql(embedding FLOAT[3] codec=sq8 m=4);"             \
    "INSERT INTO d(rowid, embedding) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "        \
    "SELECT i + 1 FROM n WHERE i < 60) SELECT i, printf('[%d,%d,%d]', i, i % 5, i % 3) " \
    "FROM n;"

/* What gives everybody other pages. */
static void upheave(sqlite3 *db, unsigned *random) {
    static const char *const work[] = {
        "INSERT INTO t(t) VALUES('rebuild')",
        "INSERT INTO t(t) VALUES('optimize')",
        "INSERT INTO c(c) VALUES('optimize')",
        "VACUUM",
        "BEGIN IMMEDIATE; DROP TABLE d; " DROPPED "COMMIT",
        "BEGIN IMMEDIATE; INSERT INTO t(t) VALUES('rebuild'); "
        "DELETE FROM t WHERE id > 60; ROLLBACK",
        "UPDATE d SET embedding = '[4,4,4]' WHERE rowid % 7 = 3",
    };
    attempt(db, work[(size_t)rand_r(random) % (sizeof work / sizeof *work)]);
    if (!sqlite3_get_autocommit(db)) {
        must_exec(db, "ROLLBACK");
    }
}

static void read_some(sqlite3 *db, unsigned *random) {
    char query[64];
    const char *bad = NULL;
    snprintf(query, sizeof query, "[%d,%d,%d]", rand_r(random) % 9, rand_r(random) % 9,
             rand_r(random) % 9);
    if (attempt(db, "BEGIN")) {
        int which = rand_r(random) % 4;
        bad = neighbours(db, which == 0 ? "c" : which == 1 ? "d" : "t", query, 0);
        bad = bad != NULL ? bad : neighbours(db, "t", query, 0);
        if (rand_r(random) % 2 == 0) {
            search_some(db, random);
        }
        must_exec(db, "ROLLBACK");
    }
    if (is_wrong(bad)) {
        fixture_fatal("a snapshot", bad);
    }
}

static sqlite3 *open_plain(void) {
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(DATABASE, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        fixture_fatal("open", sqlite3_errmsg(db));
    }
    sqlite3_busy_timeout(db, 20000);
    must_exec(db, "PRAGMA synchronous = OFF; PRAGMA mmap_size = 100000000");
    return db;
}

static sqlite3 *open_shared(void) {
    sqlite3 *db = open_plain();
    attempt(db, "INSERT INTO b(b) VALUES('threads=3')"); /* else it searches alone */
    return db;
}

/* A table that is large enough to be searched along its graph. */
static void build(const char *journal) {
    fixture_build(journal);
    sqlite3 *db = open_plain();
    must_exec(db, "CREATE VIRTUAL TABLE b USING vecsql(id INTEGER PRIMARY KEY, embedding "
                  "FLOAT[3] codec=sq8 m=8)");
    must_exec(db, "INSERT INTO b(id, embedding) WITH RECURSIVE n(i) AS (SELECT 1 UNION "
                  "ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, printf('[%d,%d,%d]', "
                  "i % 17, i % 23, i % 31) FROM n");
    must_exec(db, DROPPED);
    sqlite3_close(db);
}

static void *work(void *arg) {
    unsigned random = (unsigned)(size_t)arg;
    int writer = random < WRITERS, upheaver = random == WRITERS;
    sqlite3 *db = open_shared();
    for (int i = 0; i < rounds; i++) {
        if (writer) {
            write_some(db, &random);
        } else if (upheaver) {
            upheave(db, &random);
        } else {
            read_some(db, &random);
        }
        if (i % 50 == 49) { /* a connection that knows nothing */
            sqlite3_close(db);
            db = open_shared();
        }
    }
    sqlite3_close(db);
    return NULL;
}

static void run_threads(void) {
    pthread_t thread[ALL];
    for (size_t i = 0; i < ALL; i++) {
        if (pthread_create(&thread[i], NULL, work, (void *)i) != 0) {
            fixture_fatal("pthread_create", "failed");
        }
    }
    for (size_t i = 0; i < ALL; i++) {
        pthread_join(thread[i], NULL);
    }
}

static int run_processes(void) {
    int failures = 0;
    for (size_t i = 0; i < ALL; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            work((void *)i);
            _exit(0);
        }
    }
    for (size_t i = 0; i < ALL; i++) {
        int status = 0;
        wait(&status);
        failures += status != 0;
    }
    return failures;
}

int main(int argc, char **argv) {
    static const char *const journals[] = {"wal", "delete"};
    int failures = 0;
    rounds = argc > 1 && strcmp(argv[1], "quick") == 0 ? 60 : 1500;
    fixture_start_on_disk();
    for (int processes = 0; processes < 2; processes++) {
        for (int j = 0; j < 2; j++) {
            if (argc > 2 && (strcmp(argv[2], "processes") == 0) != processes) {
                continue;
            }
            build(journals[j]);
            if (processes) {
                failures += run_processes();
            } else {
                run_threads();
            }
            sqlite3 *db = fixture_must_open();
            const char *bad = flaw(db);
            sqlite3_close(db);
            if (bad != NULL) {
                printf("FAILED  in the end, %s: %s\n", journals[j], bad);
            }
            failures += bad != NULL;
            printf("%-8s %s: %d rounds each of %d writers, %d readers and an upheaver\n",
                   journals[j], processes ? "processes" : "threads", rounds, WRITERS,
                   READERS);
            (void)unlink(DATABASE);
            (void)unlink(DATABASE "-wal");
            (void)unlink(DATABASE "-shm");
        }
    }
    fixture_end_on_disk();
    printf("threads: %d failures\n", failures);
    return failures != 0;
}
