/*
 * An index in memory, without SQLite: the C interface that the Python package binds.
 * vecsql/_core_build.py reads the block below; vecsql.Index is made of it.
 *
 * The index holds a graph: codes, links, and for each row the node that it has. The
 * vectors stay with the caller, in one matrix with a vector for each row (row r begins at
 * vectors + r * dims). The caller passes it to each call and may move it between calls.
 *
 * A row is a number that the caller chooses, from 0 to below 2^31. Small numbers cost
 * least: the index keeps 4 bytes for each number up to the largest.
 *
 * One thread calls an index at a time. Functions that can fail return a VsStatus
 * (status.h), 0 for success.
 *
 * Invariants: a row has at most one live node. The vector of a row that has one is finite,
 * and it does not change until the row is removed.
 */
#ifndef VS_MEMORY_MEMORY_INDEX_H
#define VS_MEMORY_MEMORY_INDEX_H

#include <stddef.h>
#include <stdint.h>

/* cffi:begin */
typedef struct VsMemoryIndex VsMemoryIndex;

/* Name of the kernels in use: "avx2" or "scalar". */
const char *vs_kernels_name(void);

/* metric: 0 l2, 1 cosine, 2 dot; kind: 0 hnsw, 1 flat; codec: 0 none, 1 sq8, 2 pq. NULL:
 * no memory or a value out of range. */
VsMemoryIndex *vs_memory_open(uint32_t dims, int metric, int kind, int codec, uint32_t m,
                              uint32_t ef_construction);
void vs_memory_close(VsMemoryIndex *index);

/* Threads for adding and searching; 1 at first. Changes nothing but time. */
void vs_memory_threads(VsMemoryIndex *index, unsigned threads);

/* Adds n rows, none of which is there yet. When it fails some rows may have been added:
 * vs_memory_has tells which. */
int vs_memory_add(VsMemoryIndex *index, const float *vectors, const int64_t *rows,
                  size_t n);
/* Removes a row; VS_RANGE if it is not there. */
int vs_memory_remove(VsMemoryIndex *index, const float *vectors, int64_t row);
int vs_memory_has(const VsMemoryIndex *index, int64_t row);

/* The first of n vectors that has a NaN or an infinity, n if all are finite. If `unit` is
 * not NULL it gets the vectors at length 1; a zero vector stays zero. */
size_t vs_memory_prepare(const float *vectors, size_t n, uint32_t dims, float *unit);

typedef struct VsMemorySearch {
    const float *queries; /* n of them, row by row */
    size_t n;
    size_t k;  /* answers for each query */
    size_t ef; /* length of the beam */
    /* Candidates are compared by these in the end. NULL: by their codes. */
    const float *vectors;
    /* NULL: the graph is searched. Else exactly these rows are compared, by `vectors`. */
    const int64_t *rows;
    size_t n_rows;
    /* 1: distances as hnswlib has them. l2 is squared, dot is 1 - dot; cosine is 1 - dot
     * too, for vectors of length 1. Needs `vectors`. */
    int as_hnswlib;
    /* Results, n * k of each. A query that finds fewer fills up with row -1. */
    int64_t *found;
    float *distances;
} VsMemorySearch;

/* The k nearest rows of each query, nearest first. */
int vs_memory_search(VsMemoryIndex *index, const VsMemorySearch *search);

/* The graph as bytes, to be restored later: vs_memory_image_size bounds their number, and
 * vs_memory_image writes *len of them. */
size_t vs_memory_image_size(VsMemoryIndex *index);
int vs_memory_image(VsMemoryIndex *index, unsigned char *out, size_t room, size_t *len);
/* Gives a new index the graph of an image. Its parameters must be those of the index that
 * made it. VS_CORRUPT: the image is damaged, or has other rows than the n_rows given; the
 * index is then only good for closing. */
int vs_memory_restore(VsMemoryIndex *index, const unsigned char *image, size_t len,
                      const int64_t *rows, size_t n_rows);

/* Distance evaluations so far. */
uint64_t vs_memory_evaluations(const VsMemoryIndex *index);

/* NULL if every invariant holds, else what does not. */
const char *vs_memory_validate(VsMemoryIndex *index);
/* cffi:end */

#endif
