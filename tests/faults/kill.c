/*
 * Risk: a process that is killed leaves a file that lost a commit, has half of one, or
 * whose index is not that of its rows.
 *
 *     kill [quick|full]
 *
 * A child runs commits one after another and acknowledges each through a pipe; the parent
 * kills it with SIGKILL at a random moment, opens the file, and finds the commits that
 * were acknowledged, or one more, with every check of fixture.h passed. The next child
 * goes on from there. WAL and rollback journal; 40 kills in quick, 1,000 in full.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

#define STEPS 120

/* Commit number i. */
static void step_sql(int i, char *out, size_t cap) {
    static const char *const template[] = {
        "INSERT INTO t(id, embedding, tag) VALUES(1000 + @, '[1,2,3]', 'one')",
        "INSERT INTO t(id, embedding) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT "
        "i + 1 FROM n WHERE i < 60) SELECT 2000 + i, printf('[%d,%d,%d]', (i + @) % 7, "
        "i * @ % 11, i % 13) FROM n",
        "DELETE FROM t WHERE id % 7 = @ % 7 AND id < 1000",
        "UPDATE t SET embedding = printf('[%d,1,2]', @) WHERE id % 5 = 1",
        "INSERT INTO t(t) VALUES('optimize')",
        "UPDATE docs SET embedding = vec_f32(printf('[%d,1,2]', @)) WHERE id < 6",
        "BEGIN; INSERT INTO t(id, embedding) VALUES(3000 + @, '[2,2,2]'); SAVEPOINT s; "
        "DELETE FROM t; ROLLBACK TO s; INSERT INTO f(id, embedding) VALUES(3000 + @, "
        "'[2,2,2]'); COMMIT",
        "INSERT INTO t(t) VALUES('rebuild')",
        "DELETE FROM t WHERE id BETWEEN 2000 AND 2999",
        "INSERT OR REPLACE INTO w(id, embedding, other) VALUES(5, printf('[%d,1,2]', @), "
        "'[1,2]')",
        "BEGIN; DELETE FROM t; DELETE FROM docs; ROLLBACK",
        "INSERT OR REPLACE INTO t(id, embedding, tag) SELECT i, '[4,5,6]', 'again' FROM "
        "(SELECT value AS i FROM json_each('[1,2,3,4,5,6,7,8,9,10]'))",
    };
    size_t n = 0;
    for (const char *p = template[i % 12]; *p != '\0'; p++) {
        n += (size_t)snprintf(out + n, cap - n, *p == '@' ? "%d" : "%c",
                              *p == '@' ? i : *p);
    }
}

static uint64_t after[STEPS + 1]; /* contents after that many commits */

static void remove_database(void) {
    (void)unlink(DATABASE);
    (void)unlink(DATABASE "-wal");
    (void)unlink(DATABASE "-shm");
    (void)unlink(DATABASE "-journal");
}

/* Kills are no power failures: what was written stays. */
static sqlite3 *open_for_work(void) {
    sqlite3 *db = fixture_must_open();
    sqlite3_busy_timeout(db, 10000);
    must_exec(db, "PRAGMA synchronous = OFF");
    must_exec(db, "PRAGMA cache_size = 20");
    must_exec(db, "PRAGMA wal_autocheckpoint = 100");
    return db;
}

static void learn_contents(void) {
    char sql[512];
    int rc = SQLITE_OK;
    sqlite3 *db = open_for_work();
    after[0] = contents(db, &rc);
    for (int i = 0; i < STEPS; i++) {
        step_sql(i, sql, sizeof sql);
        must_exec(db, sql);
        after[i + 1] = contents(db, &rc);
    }
    if (rc != SQLITE_OK) {
        fixture_fatal("workload", sqlite3_errmsg(db));
    }
    sqlite3_close(db);
}

static _Noreturn void child(int from, int acks) {
    char sql[512];
    sqlite3 *db = open_for_work();
    for (int i = from; i < STEPS; i++) {
        step_sql(i, sql, sizeof sql);
        must_exec(db, sql);
        if (write(acks, "", 1) != 1) {
            _exit(1);
        }
    }
    for (;;) {
        pause();
    }
}

/* Starts a child at commit `from`, kills it, and returns how many commits it
 * acknowledged. */
static int run_and_kill(int from) {
    int pipes[2], acknowledged = from;
    char byte;
    if (pipe(pipes) != 0) {
        fixture_fatal("pipe", "failed");
    }
    pid_t pid = fork();
    if (pid < 0) {
        fixture_fatal("fork", "failed");
    }
    if (pid == 0) {
        close(pipes[0]);
        child(from, pipes[1]);
    }
    close(pipes[1]);
    int some = rand() % 12;
    for (int i = 0; i < some && acknowledged < STEPS; i++) {
        if (read(pipes[0], &byte, 1) != 1) {
            fixture_fatal("child", "died by itself");
        }
        acknowledged++;
    }
    struct timespec wait = {0, rand() % 4000 * 1000L};
    nanosleep(&wait, NULL); /* a random moment */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(pipes[0], &byte, 1) == 1) {
        acknowledged++;
    }
    close(pipes[0]);
    return acknowledged;
}

/* The number of commits in the file; -1 if that is not as it must be. */
static int commits_found(int acknowledged) {
    uint64_t got = 0;
    int rc = SQLITE_OK;
    sqlite3 *db = fixture_must_open();
    const char *bad = flaw(db);
    got = contents(db, &rc);
    for (int i = acknowledged + 1; bad == NULL && i >= acknowledged; i--) {
        if (i <= STEPS && got == after[i]) {
            sqlite3_close(db);
            return i;
        }
    }
    printf("FAILED  after %d acknowledged commits: %s\n", acknowledged,
           bad != NULL ? bad : "a commit is lost or there in part");
    sqlite3_close(db);
    return -1;
}

int main(int argc, char **argv) {
    static const char *const journals[] = {"wal", "delete"};
    int kills = argc > 1 && strcmp(argv[1], "quick") == 0 ? 20 : 500;
    int failures = 0, total = 0;
    fixture_start_on_disk();
    srand(7);
    for (int j = 0; j < 2; j++) {
        remove_database();
        fixture_build(journals[j]);
        learn_contents();
        int at = STEPS;
        for (int i = 0; i < kills && failures < 5; i++, total++) {
            if (at < 0 || at >= STEPS) {
                remove_database();
                fixture_build(journals[j]);
                at = 0;
            }
            at = commits_found(run_and_kill(at));
            failures += at < 0;
        }
    }
    printf("kill: %d kills, %d failures\n", total, failures);
    fixture_end_on_disk();
    return failures != 0;
}
