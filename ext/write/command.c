/*
 * Commands: INSERT INTO t(t) VALUES('rebuild' | 'optimize' | 'warm' | 'integrity-check' |
 * 'train' | 'ef_search=n' | 'threads=n' | 'progress=function' | 'vector_cache=n'), and over
 * a content table 'attach' | 'detach' | 'detach=prefix'.
 */
#include <stdlib.h>
#include <string.h>

#include "csrc/build/nodes.h"
#include "csrc/graph/fit.h"
#include "ext/table/index.h"
#include "ext/table/vector_cache.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/txn/txn.h"
#include "ext/txn/linking.h"
#include "ext/content/content.h"
#include "ext/write/command.h"
#include "ext/write/rebuild.h"
#include "ext/write/integrity.h"
#include "ext/write/attach.h"

/* ---- optimize ------------------------------------------------------------------- */

/* Whether the connection wants nothing of deleted rows to stay in the file. */
static int wants_erasure(const VsxIndex *index, int *out) {
    sqlite3_int64 number;
    int rc = vsx_ask_number(index->global->db,
                            sqlite3_mprintf("PRAGMA \"%w\".secure_delete", index->schema),
                            &number);
    *out = number != 0;
    return rc;
}

/* Codes the rows anew when many have left the range of the model, or when it must not
 * remember rows that have gone, and takes all tombstones out. */
static int tidy(VsxVector *v, int erase) {
    VsGraph *g = v->graph;
    int fits = g->codec->fit != NULL && g->state.n_live > 0;
    vs_begin(g);
    VsStatus st = vs_model_stale(g) || (erase && fits) ? vs_model_refit(g, NULL) : VS_OK;
    if (st == VS_OK && g->params.kind == VS_HNSW) {
        st = vs_consolidate(g, g->state.n_nodes);
    }
    if (st == VS_OK) {
        vs_done(g);
    } else {
        vs_undo(g);
    }
    g->changed |= erase; /* a new log row takes the place of the old ones */
    return vsx_code(v->index, st);
}

/* Leaves the newest row of the log alone. */
static int trim_all(VsxVector *v) {
    return vsx_write_with(v, VSX_SQL_LOG_TRIM, (sqlite3_int64)v->graph->state.ver - 1);
}

/* Nodes that have room in the file: those that were given out, or, of a graph that was
 * emptied, at least those of its pages. */
static uint32_t places(const VsGraph *g) {
    uint32_t pages = g->state.checkpointed[VS_NODE];
    uint32_t stored = pages > 0 ? (pages - 1) * g->geo[VS_NODE].per_page + 1 : 0;
    return stored > g->state.n_nodes ? stored : g->state.n_nodes;
}

/* The places of deleted rows wait to be used again. Where they are more than those of the
 * rows, or where nothing of them may stay, the index is made anew from the rows, which
 * costs at most as much as making those that are left. */
static int optimize_vector(VsxVector *v, int erase) {
    VSX_TRY(vsx_refresh(v));
    uint32_t live = v->graph->state.n_live, empty = places(v->graph) - live;
    if (live == 0 || empty > (erase ? 0 : live)) {
        VSX_TRY(vsx_rebuild_vector(v));
    } else {
        VSX_TRY(vsx_link(v));
        VSX_TRY(vsx_mark(v));
        VSX_TRY(tidy(v, erase));
    }
    VSX_TRY(vsx_flush(v->index, 1));
    VSX_TRY(vsx_checkpoint(v));
    if (erase) {
        VSX_TRY(trim_all(v));
    }
    vs_history_push(v->graph, &v->history);
    return SQLITE_OK;
}

static int optimize(VsxTable *t) {
    VsxIndex *index = t->index;
    int erase = 0;
    VSX_TRY(vsx_usable(t));
    VSX_TRY(vsx_content_settle(index));
    VSX_TRY(wants_erasure(index, &erase));
    for (int i = 0; i < index->def->n_vectors; i++) {
        VSX_TRY(optimize_vector(&index->vector[i], erase));
    }
    return SQLITE_OK;
}

/* ---- other commands ------------------------------------------------------------- */

/* Fits the codecs to the rows that are there now, and codes them all anew. */
static int train(VsxTable *t) {
    VsxIndex *index = t->index;
    int rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < index->def->n_vectors; i++) {
        VsxVector *v = &index->vector[i];
        VsGraph *g = v->graph;
        rc = vsx_refresh(v);
        int fits = g->codec->fit != NULL && g->state.n_live > 0;
        rc = rc == SQLITE_OK && fits ? vsx_mark(v) : rc;
        if (rc == SQLITE_OK && fits) {
            vs_begin(g);
            VsStatus st = vs_model_refit(g, NULL);
            if (st == VS_OK) {
                vs_done(g);
            } else {
                vs_undo(g);
            }
            rc = vsx_code(index, st);
        }
    }
    return rc;
}

static int set_ef_search(VsxTable *t, const char *text) {
    VsxIndex *index = t->index;
    char *end = NULL;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 1 || n > 100000) {
        return vsx_fail(t, SQLITE_ERROR,
                        "%s: ef_search must be from 1 to 100000, not '%s'", index->table,
                        text);
    }
    for (int i = 0; i < index->def->n_vectors; i++) {
        VsGraph *g = index->vector[i].graph;
        VSX_TRY(vsx_refresh(&index->vector[i]));
        VSX_TRY(vsx_mark(&index->vector[i]));
        g->state.ef_search = (uint32_t)n;
        g->changed = 1; /* a flush without edits */
    }
    return SQLITE_OK;
}

int vsx_command(VsxTable *t, sqlite3_value *value) {
    const char *text = (const char *)sqlite3_value_text(value);
    char *report = NULL;
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    if (strcmp(text, "rebuild") == 0) {
        return vsx_rebuild(t);
    }
    if (t->index->def->content != NULL && strcmp(text, "attach") == 0) {
        return vsx_content_take_back(t);
    }
    if (t->index->def->content != NULL && strcmp(text, "detach") == 0) {
        return vsx_content_let_go(t, "");
    }
    if (t->index->def->content != NULL && strncmp(text, "detach=", 7) == 0) {
        return vsx_content_let_go(t, text + 7);
    }
    if (strcmp(text, "optimize") == 0) {
        return optimize(t);
    }
    if (strcmp(text, "integrity-check") == 0) {
        int rc = vsx_check(t->index, 0, &report);
        if (rc == SQLITE_OK && report != NULL) {
            rc = vsx_fail(t, SQLITE_CORRUPT_VTAB, "%s", report);
            sqlite3_free(report);
        }
        return rc;
    }
    if (strcmp(text, "train") == 0) {
        return train(t);
    }
    if (strncmp(text, "ef_search=", 10) == 0) {
        return set_ef_search(t, text + 10);
    }
    if (strncmp(text, "threads=", 8) == 0) {
        return vsx_set_threads(t, text + 8);
    }
    if (strncmp(text, "progress=", 9) == 0) {
        return vsx_set_progress(t, text + 9);
    }
    if (strncmp(text, "vector_cache=", 13) == 0) {
        return vsx_set_vector_cache(t, text + 13);
    }
    if (strcmp(text, "warm") == 0) {
        return vsx_warm(t);
    }
    return vsx_fail(t, SQLITE_ERROR,
                    "%s: unknown command '%s'; expected rebuild, optimize, train, warm, "
                    "integrity-check, ef_search=n, threads=n, progress=function or "
                    "vector_cache=n",
                    t->index->table, text);
}
