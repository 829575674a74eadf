/*
 * The search behind a cursor.
 *
 *     cursor.c    the arguments of the plan
 *     knn.c       one search; the distances of stored rows; a scan of them
 *     nearest.c   the n nearest, and all rows in order of distance
 *     rerank.c    from candidates of the index to rows with distances
 *     admit.c     which rows a filter admits, asked in the cheapest way that will do
 */
#ifndef VSX_QUERY_KNN_H
#define VSX_QUERY_KNN_H

#include "csrc/search/scan.h"
#include "ext/query/distance.h"
#include "ext/table/index.h"
#include "ext/query/reader.h"
#include "ext/query/filter.h"

typedef struct VsxResult {
    double distance;
    sqlite3_uint64
        tie; /* which of equal distances comes first, before the rowid says it */
    sqlite3_int64 rowid;
} VsxResult;

typedef struct VsxResults {
    VsxResult *at;
    size_t n, cap;
} VsxResults;

typedef struct VsxBounds {
    double low, high;
    int above, below; /* strictly */
} VsxBounds;

/* ---- admit.c --------------------------------------------------------------------- */

typedef enum VsxGate {
    VSX_GATE_OPEN,  /* no filter */
    VSX_GATE_SET,   /* rowid-in alone: the set is there */
    VSX_GATE_PROBE, /* SQLite is asked about each candidate */
    VSX_GATE_NODES  /* the filter was resolved to a bitmap of nodes */
} VsxGate;

/* A filter without its values: what SQLite was asked to prepare for it. */
typedef struct VsxShape {
    char *terms;
    int searched;        /* a b-tree finds the rows */
    sqlite3_stmt *probe; /* (rowid ?1, values from ?2) -> the vector, if the row passes */
    sqlite3_stmt
        *count; /* (limit ?1, values from ?2) -> rows that pass, ?1 at the most */
    sqlite3_stmt *resolve; /* (values from ?2) -> rowid, node of every row that passes */
} VsxShape;

/* The nodes that a filter admits, and what must be as it was for that to be true. */
typedef struct VsxNodes {
    int refs;
    VsAdmit admit;
    unsigned char *key; /* terms and values; NULL: not to be reused */
    size_t n_key;
    uint64_t ver, stamp;
    int changes;
    unsigned data_version;
} VsxNodes;

typedef struct VsxAdmission {
    VsxGate gate;
    VsxShape *shape;
    VsxNodes *nodes;
    uint64_t probes;
} VsxAdmission;

/* ---- knn.c ----------------------------------------------------------------------- */

#define VSX_ALL SIZE_MAX

/* What the index was asked for, and what it has found (nearest.c). */
typedef struct VsxRound {
    int there;
    VsCandidates found; /* sorted */
    size_t read;        /* of these, from the first */
    int proven;         /* every row up to found.reach is among them */
    int whole;          /* and there are no others */
    int rows;           /* the row table is to be read instead */
} VsxRound;

/* One search, and what it has given. */
typedef struct VsxKnn {
    VsxVector *vector;
    void *query;     /* of the column's element type */
    sqlite3_int64 k; /* as the statement gives it; < 0: it does not */
    size_t want;     /* rows at the most; VSX_ALL: any number, in order */
    size_t ef;
    size_t hint; /* of VSX_ALL: how many the reader is expected to take; 0: unknown */
    int exact;
    int single;  /* the filter names one row */
    int nothing; /* a bound, or the query, is NULL */
    VsxFilter filter;
    VsxBounds bounds;
    VsxReader reader;
    VsxTies ties;
    VsxResults result; /* all rows so far, in order */
    size_t at;         /* those before it are given */
    int complete;      /* nothing follows */

    VsxAdmission admission;
    int open;         /* the gate was chosen */
    VsxRound round;   /* of VSX_ALL: that is being read, */
    size_t asked;     /* for so many rows */
    int again;        /* the next is for as many */
    size_t chunk;     /* candidates that are read next */
    VsxResults held;  /* read, and not certain to come next */
    uint64_t changes; /* of the graph, when the search last looked */
    int moved;        /* rows were changed since the first look, */
    VsxRowmap *taken; /* and these had been found by then */
    VsxFigures figures;
} VsxKnn;

/* Finds the next rows. None are added when the search is over. */
int vsx_knn_more(VsxKnn *knn);
void vsx_knn_clear(VsxKnn *knn);

/* By distance, then tie, then rowid. */
int vsx_results_compare(const void *a, const void *b);
void vsx_results_sort(VsxResult *r, size_t n);
int vsx_within(const VsxBounds *b, double distance);
/* Distance to the vector that a statement gave. */
int vsx_value_distance(const VsxKnn *knn, sqlite3_value *value, double *out);
/* 1 if the table was changed since the search last looked / since it began. */
int vsx_knn_changed(const VsxKnn *knn);
int vsx_knn_moved(const VsxKnn *knn);
/* Distance to the stored vector of a row. *gone: there is none. The reader is to rest
 * before the cursor returns. */
int vsx_stored_distance(VsxKnn *knn, sqlite3_int64 rowid, double *out, int *gone);
/* Every admitted row within the bounds by its stored vector, in order, into `out`. */
int vsx_scan_rows(VsxKnn *knn, VsxResults *out);
int vsx_results_add(VsxResults *list, VsxResult r);

/* A result without its distance. */
VsxResult vsx_result(const VsxKnn *knn, sqlite3_int64 rowid);

/* ---- rerank.c --------------------------------------------------------------------- */

/* How far rows lie from where their codes say, in units of the candidates' spread: learnt
 * from the rows of one search that were read so far. */
typedef struct VsxErrors {
    double n, mean, squares;
} VsxErrors;

void vsx_errors_add(VsxErrors *e, const VsCandidate *c, double distance);
/* 1 if the row of a candidate is hardly nearer than `limit`. */
int vsx_errors_rule_out(const VsxErrors *e, const VsCandidate *c, double limit);

/* Brings what the cache has of the vectors of n candidates on its way from memory. */
VsStatus vsx_prefetch_cached(VsxVector *v, VsxReader *reader, const VsCandidate *found,
                             size_t n);

/* The rows of candidates. */
typedef struct VsxPick {
    size_t want;       /* the nearest, at the most */
    double reach;      /* and none farther */
    uint64_t patience; /* of probes: then it stops */
    VsxResults rows;   /* those that pass, sorted */
    double next; /* the nearest of those that pass and were too many; HUGE_VAL: none */
    size_t looked, passed; /* rows that were asked about, and that pass */
    int farther;           /* a candidate is farther than all of `want` rows */
    int beyond;            /* stopped: what follows is farther than the bounds allow */
    int impatient;         /* stopped: too many probes */
} VsxPick;

/* Candidates by `low`, nearest first, become rows. Whatever the outcome, the caller frees
 * pick->rows.at. */
int vsx_pick_rows(VsxKnn *knn, const VsCandidate *found, size_t n, VsxPick *pick);
/* One of them: `passes` if the filter and the bounds admit it; r->distance is set then. */
int vsx_pick_row(VsxKnn *knn, const VsCandidate *c, VsxResult *r, int *passes);
/* 1 for an order that left float32: the index cannot say how far the row is. */
int vsx_leaves_float32(float order);
/* Hits of a walk as candidates: how near they probably are at the least. */
VsStatus vsx_likely(VsGraph *g, const VsQuery *q, const VsHit *hits, size_t n,
                    VsCandidate *out);

/* ---- nearest.c ------------------------------------------------------------------- */

/* The knn->want nearest, or the next rows of all. */
int vsx_nearest(VsxKnn *knn);
/* The same from the rows alone, one after the other. */
int vsx_nearest_rows(VsxKnn *knn);

/* ---- admit.c --------------------------------------------------------------------- */

/* Chooses the gate. `enough`: so many admitted rows are too few to be worth a walk. */
int vsx_admit_open(VsxKnn *knn, size_t enough);
void vsx_admit_close(VsxKnn *knn);
/* Resolves the filter to nodes of the graph as it is now. */
int vsx_admit_resolve(VsxKnn *knn);
/* Whether a row passes; *known: its distance was found on the way. */
int vsx_admit_row(VsxKnn *knn, uint32_t node, sqlite3_int64 rowid, int *passes,
                  int *known, double *distance);
/* Probes after which resolving costs no more than going on. */
uint64_t vsx_admit_patience(const VsxKnn *knn);

#endif
