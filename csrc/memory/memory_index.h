/*
 * The C interface that the Python package binds (vecsql/_core_build.py reads the block
 * below): an index in memory, without SQLite, to measure and test the core by itself.
 *
 * An index is used by one thread at a time. Rowids are 0, 1, 2, ... in order of
 * insertion. Functions that can fail return a VsStatus (status.h), 0 for success.
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

/* Adds n vectors, n * dims floats row by row. The index keeps their codes only: a codec
 * that learns does so from the vectors of the running call. */
int vs_memory_add(VsMemoryIndex *index, const float *vectors, size_t n);
int vs_memory_delete(VsMemoryIndex *index, uint32_t node);

/* The k nearest of each of n queries: rowids and distances, n * k of them row by row. A
 * query that finds fewer fills up with rowid -1. `vectors`: all that were added, row by
 * row, which the best codes are compared by in the end; NULL: the distances are those of
 * the codes. */
int vs_memory_search(VsMemoryIndex *index, const float *queries, size_t n, size_t k,
                     size_t ef, const float *vectors, int64_t *rowids, float *distances);

/* Distance evaluations so far. */
uint64_t vs_memory_evaluations(const VsMemoryIndex *index);

/* NULL if every invariant holds, else what does not. */
const char *vs_memory_validate(VsMemoryIndex *index);
/* cffi:end */

#endif
