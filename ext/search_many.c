/*
 * Many queries at once; see search_many.h.
 *
 * The walks go on several threads (threads=n). Distances come from the stored vectors,
 * which only the thread of the connection may read: it does so between two walks of its
 * own, for the queries whose walks are done. So reading and walking overlap, and nobody
 * waits for anybody until the end.
 */
#include "search_many.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/team.h"

/* Queries between two calls of the team: bounds the memory for hits. */
#define BLOCK 4096

typedef struct Many {
    VsxVector *v;
    const unsigned char *queries; /* of the block */
    size_t stride, n, k, ef;
    size_t ask;       /* hits of each: the codec orders roughly, the rows decide */
    VsHit *hits;      /* `ask` for each */
    size_t *n_hits;   /* of each */
    VsShared *walked; /* of each: its hits are there */
    size_t taken;     /* all before it have their results */
    VsxResult *row;   /* room for `ask` */
    VsxResult *results;
    size_t *found;
    int rc; /* why reading stopped */
} Many;

/* ---- names ----------------------------------------------------------------------- */

static VsxIndex *try_schema(VsxGlobal *global, const char *schema, const char *table) {
    /* an unknown table is no error that the user should see twice */
    return vsx_exec(global->db, "SELECT 1 FROM \"%w\".\"%w\" LIMIT 0", schema, table) ==
                   SQLITE_OK
               ? vsx_index_find(global, schema, table)
               : NULL;
}

int vsx_visit(VsxGlobal *global, const char *name, VsxVisit *out, char **err) {
    *out = (VsxVisit){0};
    VsxIndex *index = try_schema(global, "main", name);
    index = index == NULL ? try_schema(global, "temp", name) : index;
    const char *dot = strchr(name, '.');
    if (index == NULL && dot != NULL) {
        char *schema = sqlite3_mprintf("%.*s", (int)(dot - name), name);
        if (schema == NULL) {
            return SQLITE_NOMEM;
        }
        index = try_schema(global, schema, dot + 1);
        sqlite3_free(schema);
    }
    if (index == NULL) {
        *err = sqlite3_mprintf("there is no vecsql table %s", name);
        return SQLITE_ERROR;
    }
    return vsx_visit_index(index, out);
}

int vsx_visit_index(VsxIndex *index, VsxVisit *out) {
    int rc = SQLITE_OK;
    index->refs++;
    out->index = index;
    out->snapshot = vsx_prepare(
        index, &rc,
        sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema LIMIT 1", index->schema));
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(out->snapshot); /* and is not reset until the end */
        rc = rc == SQLITE_ROW ? SQLITE_OK : vsx_reset(out->snapshot, rc);
    }
    return rc;
}

void vsx_visit_end(VsxVisit *visit) {
    sqlite3_finalize(visit->snapshot);
    if (visit->index != NULL) {
        vsx_index_release(visit->index);
    }
    *visit = (VsxVisit){0};
}

int vsx_find_vector(VsxIndex *index, const char *name, VsxVector **out, char **err) {
    const VsxSchema *def = index->def;
    for (int i = 0; i < def->n_vectors; i++) {
        const char *column = def->column[def->vector[i]].name;
        if (name == NULL ? def->n_vectors == 1 : sqlite3_stricmp(column, name) == 0) {
            *out = &index->vector[i];
            return SQLITE_OK;
        }
    }
    *err = name == NULL
               ? sqlite3_mprintf("%s has %d vector columns; name one", index->table,
                                 def->n_vectors)
               : sqlite3_mprintf("%s has no vector column %s", index->table, name);
    return SQLITE_ERROR;
}

/* ---- one query -------------------------------------------------------------------- */

static VsStatus walk(void *ctx, VsGraph *g, unsigned worker, size_t i) {
    Many *m = ctx;
    VsQuery q;
    (void)worker;
    VsStatus st = vs_query_set(g, m->queries + i * m->stride, &q);
    m->n_hits[i] = 0;
    VsHit *hits = m->hits + i * m->ask;
    int scans = g->params.code.codec != VS_CODEC_PQ && /* as a cursor decides */
                vs_search_scans(g, m->k, m->ef, NULL);
    if (st == VS_OK) {
        st = scans ? vs_scan(g, &q, m->ask, NULL, hits, &m->n_hits[i])
                   : vs_search(g, &q, m->ask, m->ef, NULL, hits, &m->n_hits[i]);
    }
    vs_shared_set(&m->walked[i], 1);
    return st;
}

/* The search of a cursor, for what the walk cannot answer: vectors so long that their
 * squares leave float32, rows that a content table has lost. */
static int ask_a_cursor(const Many *m, size_t i, VsxResult *out, size_t *found) {
    VsxKnn knn = {.vector = m->v,
                  .query = sqlite3_malloc64(m->stride),
                  .k = (sqlite3_int64)m->k,
                  .ef = m->ef,
                  .bounds = {.low = -HUGE_VAL, .high = HUGE_VAL}};
    int rc = knn.query == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK) {
        memcpy(knn.query, m->queries + i * m->stride, m->stride);
        rc = vsx_knn_more(&knn);
    }
    if (rc == SQLITE_OK) {
        *found = knn.n < m->k ? knn.n : m->k;
        memcpy(out, knn.result, *found * sizeof *out);
    }
    vsx_knn_clear(&knn);
    return rc;
}

static int take_hits(const Many *m, size_t i) {
    VsxKnn knn = {.vector = m->v, .query = (void *)(size_t)(m->queries + i * m->stride)};
    const VsHit *hits = m->hits + i * m->ask;
    VsxResult *out = m->row;
    size_t n = m->n_hits[i], *found = &m->found[i];
    int gone = 0, rc = SQLITE_OK;
    for (size_t h = 0; rc == SQLITE_OK && h < n && !gone; h++) {
        const VsNode *node = NULL;
        VsStatus st = vs_node(m->v->graph, hits[h].node, &node);
        if (st != VS_OK) {
            return vsx_code(m->v->index, st);
        }
        out[h].rowid = node->rowid;
        gone = vsx_leaves_float32(hits[h].order);
        rc = gone
                 ? SQLITE_OK
                 : vsx_hit_distance(&knn, &hits[h], node->rowid, &out[h].distance, &gone);
    }
    if (rc == SQLITE_OK && gone) {
        return ask_a_cursor(m, i, m->results + i * m->k, found);
    }
    vsx_results_sort(out, n);
    *found = n < m->k ? n : m->k;
    memcpy(m->results + i * m->k, out, *found * sizeof *out);
    return rc;
}

/* Takes the queries in order, as far as their walks are done. */
static VsStatus attend(void *ctx) {
    Many *m = ctx;
    while (m->rc == SQLITE_OK && m->taken < m->n &&
           vs_shared_get(&m->walked[m->taken]) != 0) {
        m->rc = take_hits(m, m->taken++);
    }
    return m->rc == SQLITE_OK ? VS_OK : VS_IO;
}

/* ---- all of them ------------------------------------------------------------------- */

static int search_block(Many *m, VsTeam *team) {
    m->taken = 0;
    memset(m->walked, 0, m->n * sizeof *m->walked);
    VsStatus st =
        vs_team_run(team, m->n, vs_search_room(m->v->graph, m->ask, m->ef), walk, m);
    if (m->rc != SQLITE_OK) {
        return m->rc;
    }
    if (st != VS_OK) {
        return vsx_code(m->v->index, st);
    }
    (void)attend(m);
    return m->rc;
}

static int search_blocks(Many *m, VsTeam *team, size_t n) {
    int rc = SQLITE_OK;
    const unsigned char *queries = m->queries;
    VsxResult *results = m->results;
    size_t *found = m->found;
    for (size_t at = 0; rc == SQLITE_OK && at < n; at += BLOCK) {
        m->n = n - at < BLOCK ? n - at : BLOCK;
        m->queries = queries + at * m->stride;
        m->results = results + at * m->k;
        m->found = found + at;
        rc = search_block(m, team);
    }
    return rc;
}

int vsx_search_many(VsxVector *v, const void *queries, size_t n, size_t k, size_t ef,
                    VsxResult *results, size_t *found) {
    const VsCodecParams *code = &v->graph->params.code;
    VsTeam team;
    size_t block = n < BLOCK ? n : BLOCK;
    Many m = {.v = v,
              .queries = queries,
              .stride = vs_element_bytes(code->element, code->dims),
              .k = k,
              .ef = ef > 0 ? ef : v->graph->state.ef_search,
              .results = results,
              .found = found};
    if (n == 0 || k == 0) {
        memset(found, 0, n * sizeof *found);
        return SQLITE_OK;
    }
    size_t live = v->graph->state.n_live;
    m.ask = v->graph->codec->candidates(k);
    m.ask = m.ask < live ? m.ask : live;
    m.row = sqlite3_malloc64((m.ask + 1) * sizeof *m.row);
    m.hits = sqlite3_malloc64((block * m.ask + 1) * sizeof *m.hits);
    m.n_hits = sqlite3_malloc64(block * sizeof *m.n_hits);
    m.walked = sqlite3_malloc64(block * sizeof *m.walked);
    /* a scan for so many allocates: that is for the thread of the connection */
    unsigned threads = m.ask > VS_SCAN_SORTED ? 1 : v->index->global->threads;
    int rc = m.row == NULL || m.hits == NULL || m.n_hits == NULL || m.walked == NULL
                 ? SQLITE_NOMEM
                 : vsx_code(v->index, vs_team_open(v->graph, threads, &team));
    if (rc == SQLITE_OK) {
        team.attend = attend;
        rc = search_blocks(&m, &team, n);
        vs_team_close(&team);
    }
    sqlite3_free(m.row);
    sqlite3_free(m.hits);
    sqlite3_free(m.n_hits);
    sqlite3_free(m.walked);
    return rc;
}
