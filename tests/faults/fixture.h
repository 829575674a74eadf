/*
 * What the fault harnesses share: a database with every kind of table, cases that run
 * every kind of statement on it, and the oracle that says what may be there afterwards.
 *
 * The oracle is SQLite's promise put to work: a statement that failed did nothing, one
 * that succeeded did everything. So after a run with faults the database must equal one
 * in which only the statements that succeeded were ever executed, and each of those must
 * have returned the same rows.
 */
#ifndef FAULTS_FIXTURE_H
#define FAULTS_FIXTURE_H

#include <sqlite3.h>
#include <stdint.h>

#include "memfs.h"

#define MAX_STEPS 12
#define MAX_TABLES 32
#define DATABASE "a.db"

/* A few statements that belong together. */
typedef struct Case {
    const char *name;
    const char *sql[MAX_STEPS];
} Case;

extern const Case cases[];
extern const int n_cases;

/* Statements that make the database of the cases: one each of hnsw, flat, two vector
 * columns, content=; small pages so that a few rows make many. */
extern const char *const setup[];

/* What became of a case. Bit i of a mask is its statement i. */
typedef struct Run {
    unsigned kept;   /* succeeded, and no rollback took them back */
    unsigned doubt;  /* failed as one unit, for the last time: with an error of the disk,
                        or an interrupt, they may still have come true */
    unsigned open;   /* the transaction that no ROLLBACK could end, for want of memory */
    int rc;          /* the first error */
    char error[256]; /* its message */
    uint64_t result[MAX_STEPS]; /* digest of the rows that a kept statement returned */
} Run;

/* Starts SQLite with vecsql in every connection, and on the memory file system. */
void fixture_start(void);
/* The same on real files, in a new directory, which becomes the working directory. */
void fixture_start_on_disk(void);
void fixture_end_on_disk(void);
/* A new connection to DATABASE; NULL if that failed (then nothing is open). */
sqlite3 *fixture_open(int flags);
/* Like that, and may not fail. */
sqlite3 *fixture_must_open(void);
/* Ends the program with a message. */
_Noreturn void fixture_fatal(const char *what, const char *detail);

/* Executes and may not fail. */
void must_exec(sqlite3 *db, const char *sql);
/* Digest of the rows of a query. *rc is its error, or SQLITE_OK. */
uint64_t digest(sqlite3 *db, const char *sql, int *rc);

/* Makes the database of `setup`, where there is none; and an image of it in memory. */
void fixture_build(const char *journal);
void fixture_image(const char *journal, FsImage *out);

/* Runs the statements of the mask. */
void run_case(sqlite3 *db, const Case *c, unsigned mask, Run *out);

/* Digest of all rows of all tables; *rc is the first error. */
uint64_t contents(sqlite3 *db, int *rc);
/* The first thing wrong with the database, NULL if nothing is: the integrity checks, and
 * every form of nearest neighbours against brute force in SQL. */
const char *flaw(sqlite3 *db);

/* The part about neighbours, for one table with a column `embedding` of three floats: all
 * rows in order of distance, by every way, equal those of SQL. vec0 knows one way. */
const char *neighbours(sqlite3 *db, const char *table, const char *query, int vec0);

/* Opens the files as they are and looks at everything: the first thing wrong, NULL if
 * nothing is, and then the contents. Remembers what it has looked at. */
const char *inspect_files(uint64_t *contents);

/* Without faults: what the statements of a mask lead to, from an image. */
typedef struct Expected {
    uint64_t contents;
    Run run;
} Expected;
const Expected *replay(const FsImage *image, const Case *c, unsigned mask);
/* Forgets what it knows; called between cases. */
void replay_reset(void);

/* 0 if the run led to what it may have led to, on its own connection (which is closed
 * then) and on a new one; else a message is printed. `doubt`: the last unit that
 * failed may have come true. */
int judge(const char *where, const FsImage *image, const Case *c, Run *run, sqlite3 *db,
          int doubt);

/* SIGPROF after so many seconds of CPU time, not of a clock: a busy machine is no hang.
 * 0: none. */
void fixture_deadline(int seconds);

#endif
