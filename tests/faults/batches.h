/*
 * Many queries in one call, against brute force over the rows of the same transaction.
 *
 * Brute force is done here, in C, from the vectors that the connection sees: not with the
 * functions of the extension, and not through its index.
 */
#ifndef FAULTS_BATCHES_H
#define FAULTS_BATCHES_H

#include <sqlite3.h>
#include <stddef.h>

typedef struct Batch {
    const char *table; /* with a column `embedding` of three floats */
    size_t n, k, ef;
    int walks; /* the table is searched along its graph: a few neighbours may be missed */
} Batch;

/* The first thing wrong with the answer to random queries, NULL if nothing is. A
 * transaction must be open. `locked` if the rows could not be read for a lock. */
const char *batch_flaw(sqlite3 *db, const Batch *b, unsigned *random);

#endif
