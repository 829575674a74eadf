/*
 * The model of an index: what its codec learnt from the rows, and when it learns anew.
 *
 * The state names the model by (epoch, hash); the stored form lies in %_model under its
 * epoch. So a model commits, rolls back and reaches other connections like everything
 * else: when the state names another one than the graph has at hand, it is read anew.
 *
 * A codec that learns is fitted when the first row comes, and again each time the number
 * of live rows has grown fourfold, up to VS_FITTED_ROWS: early ranges come from few rows,
 * and re-coding few rows costs nothing. If the new range is much like the old one, the old
 * model stays. Later, when samples hardly grow any more, only `optimize` fits again, if too
 * many rows left the range. A rebuild knows all rows before it codes the first: it fits once,
 * on a sample of all.
 *
 * Fitting is part of the statement that inserts (vs_begin .. vs_done): codes are changed
 * by vs_edit, so a failure half way is undone with the rest. Rows are read through the
 * hook `vector`; the code of a dead node, or of a row that cannot be read, is computed
 * from its old code.
 */
#ifndef VS_GRAPH_FIT_H
#define VS_GRAPH_FIT_H

#include "csrc/graph/graph.h"

#define VS_FITTED_ROWS 16384u

/* Makes g->model the one that the state names (NULL if the codec learns nothing). Called
 * before anything is coded or compared. */
VsStatus vs_model_ready(VsGraph *g);

/* To be called before a row is coded: fits the model if it is due. `v`: the vector that
 * comes, the first one has no other to learn from. */
VsStatus vs_model_before_insert(VsGraph *g, const void *v);

/* Writes the code of a vector and returns what the node keeps of its error (vs_error).
 * A row that left the range is counted; *far: by far. The model must be ready. */
uint16_t vs_model_encode(VsGraph *g, const void *v, unsigned char *code, int *far);

/* 1 if an error of that length is so many times (as squares) as large as those that the model expects:
 * a row leaves the range, a row or a query lies far outside. */
#define VS_LEAVES 4
#define VS_FAR 64
int vs_model_leaves(const VsCodecParams *params, const VsModel *m, float error,
                    float times);

/* 1 if so many rows left the range that fitting anew is worth re-coding everything. */
int vs_model_stale(const VsGraph *g);

/* Fits on a sample of the live rows and codes every node anew. */
VsStatus vs_model_refit(VsGraph *g, const void *v);

/* Vectors taken evenly from so many rows. */
typedef struct VsSample {
    const float *v; /* n * dims */
    size_t n;
    uint32_t rows;
} VsSample;

/* How many vectors the codec wants to see; 0: it learns nothing. */
size_t vs_model_sample_size(const VsGraph *g);
/* Fits on rows that are to come, as if they were there: between vs_begin and vs_done, like
 * the others. */
VsStatus vs_model_learn(VsGraph *g, const VsSample *sample);

/* The model that the next flush has to store, NULL if there is none. */
const VsModel *vs_model_unsaved(const VsGraph *g);
void vs_model_saved(VsGraph *g);

#endif
