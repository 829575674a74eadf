/*
 * From codes to distances for many queries at once (rerank.c does it for one).
 *
 * The rows of all queries are read in order of rowid, each once whoever wants it: a page of
 * the table is found once and its neighbour next, where the rows of one query lie all over
 * the table (0.4 to 0.7 us a row instead of 1.5 on MiniLM-384). Two rounds: the k likeliest
 * rows of each query, then those that may be nearer than the k-th of these.
 */
#ifndef VSX_QUERY_RERANK_MANY_H
#define VSX_QUERY_RERANK_MANY_H

#include "csrc/base/sort.h"
#include "ext/query/knn.h"

/* One query and what its walk has found. */
typedef struct VsxAsked {
    const void *query;
    const VsCandidate *found; /* by `low` */
    size_t n;
    VsxResult *row; /* room for n */
    int unknown;    /* `found` holds nothing: ask a cursor */
    int lost;     /* a row is not there, no code can order it, or a walk cannot tell which
                       of equal distances come first: ask a cursor */
    int proven;   /* no row but those found can be among the k nearest */
    size_t n_row; /* afterwards: the up to k nearest are at row[0..n_row), sorted */
    VsxErrors errors;
} VsxAsked;

/* `reads`: room that grows and is kept for the next call; whoever has it frees `at` and
 * `keys`. */
typedef struct VsxReads {
    struct VsxRead *at;
    VsKeyed *keys; /* to sort by: twice as many */
    VsxTies ties;
    size_t n, cap;
} VsxReads;

int vsx_rerank_many(VsxVector *v, VsxReader *reader, VsxAsked *asked, size_t n, size_t k,
                    VsxReads *reads);

#endif
