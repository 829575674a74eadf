/*
 * Many queries at once; see search_many.h.
 *
 * The walks go on several threads (threads=n). Distances come from the stored vectors,
 * which only the thread of the connection may read: it does so between two walks of its
 * own, for the queries whose walks are done. So reading and walking overlap, and nobody
 * waits for anybody until the end.
 */
#include "ext/query/search_many.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/search/readers.h"
#include "ext/query/rerank_many.h"
#include "ext/table/errors.h"
#include "csrc/search/search.h"

/* Queries between two calls of the reader pool, and what they may find: bounds the memory. */
#define BLOCK 4096
#define BLOCK_HITS ((size_t)1 << 20)
/* Queries whose rows are read together while others walk. The more, the less a row costs:
 * without other threads they are a whole block. */
#define SHARE 512
/* Rows that an exact scan leaves to be read, more than k: many where all distances are much
 * the same (94 for k = 10 are too few for half the queries on 20,000 rows of random 384); and
 * room for the candidates that it has on the way. */
#define SCAN_MARGIN(k) (4 * (k) + 256)
#define SCAN_ROOM 4096

typedef struct Many {
    VsxVector *v;
    const unsigned char *queries; /* of the block */
    size_t stride, n, k, ef;
    size_t k_live;      /* k, or all */
    int scans;          /* answers are exact, as those of a cursor are then */
    size_t ask;         /* candidates of each: codes order roughly, the rows decide */
    size_t at_once;     /* queries whose rows are read together */
    VsHit *hits;        /* of each worker that walks */
    VsScanRoom scan;    /* of the first worker that scans; the others follow */
    VsCandidate *found; /* `ask` for each query */
    VsxAsked *asked;    /* each */
    VsShared *walked;   /* of each: what it found is there */
    size_t taken;       /* all before it have their results */
    VsxResult *row;     /* room for `ask` of each that is read at once */
    VsxReader reader;
    VsxReads reads;
    VsxResult *results;
    size_t *n_results; /* of each */
    int rc;            /* why reading stopped */
} Many;

/* ---- one query -------------------------------------------------------------------- */

static VsStatus walk(const Many *m, VsGraph *g, unsigned worker, const VsQuery *q,
                     VsCandidate *found, size_t *n) {
    VsHit *hits = m->hits + worker * m->ask;
    VsStatus st = vs_search(g, q, m->ask, m->ef, hits, n);
    return st == VS_OK ? vsx_likely(g, q, hits, *n, found) : st;
}

/* VS_RANGE if there are more candidates than `ask`. */
static VsStatus scan(const Many *m, VsGraph *g, unsigned worker, const VsQuery *q,
                     VsCandidate *found, size_t *n) {
    VsScanRoom room = m->scan;
    room.found += worker * room.cap;
    room.high += worker * m->k_live;
    VS_TRY(vs_scan_within(g, q, m->k_live, &room, n));
    if (*n > m->ask) {
        return VS_RANGE;
    }
    memcpy(found, room.found, *n * sizeof *found);
    return VS_OK;
}

static VsStatus answer_one(void *ctx, VsGraph *g, unsigned worker, size_t i) {
    Many *m = ctx;
    VsQuery q;
    VsxAsked *a = &m->asked[i];
    VsCandidate *found = m->found + i * m->ask;
    *a = (VsxAsked){
        .query = m->queries + i * m->stride, .found = found, .proven = m->scans};
    VsStatus st = vs_query_set(g, a->query, &q);
    if (st == VS_OK) {
        st = (m->scans ? scan : walk)(m, g, worker, &q, found, &a->n);
    }
    if (m->scans && st == VS_RANGE) {
        a->n = 0;
        a->unknown = 1;
        st = VS_OK;
    }
    vs_shared_set(&m->walked[i], 1);
    return st;
}

/* The search of a cursor, for queries that are not answered otherwise: vectors so long that
 * their squares leave float32, rows that a content table has lost, a walk that saw more rows
 * at the last distance than it may give, a scan that left more rows to read than there is
 * room for. */
static int ask_a_cursor(const Many *m, size_t i, VsxResult *out, size_t *found) {
    VsxKnn knn = {.vector = m->v,
                  .query = sqlite3_malloc64(m->stride),
                  .k = (sqlite3_int64)m->k,
                  .want = m->k,
                  .ef = m->ef,
                  .bounds = {.low = -HUGE_VAL, .high = HUGE_VAL}};
    int rc = knn.query == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK) {
        memcpy(knn.query, m->queries + i * m->stride, m->stride);
        rc = vsx_knn_more(&knn);
    }
    if (rc == SQLITE_OK) {
        *found = knn.result.n;
        if (*found > 0) {
            memcpy(out, knn.result.at, *found * sizeof *out);
        }
    }
    vsx_knn_clear(&knn);
    return rc;
}

/* The results of the next n queries. */
static int take(Many *m, size_t n) {
    for (size_t i = 0; i < n; i++) {
        m->asked[m->taken + i].row = m->row + i * m->ask;
    }
    int rc = vsx_rerank_many(m->v, &m->reader, m->asked + m->taken, n, m->k, &m->reads);
    for (size_t end = m->taken + n; rc == SQLITE_OK && m->taken < end; m->taken++) {
        const VsxAsked *a = &m->asked[m->taken];
        VsxResult *out = m->results + m->taken * m->k;
        if (a->lost || a->unknown) {
            rc = ask_a_cursor(m, m->taken, out, &m->n_results[m->taken]);
        } else {
            memcpy(out, a->row, a->n_row * sizeof *out);
            m->n_results[m->taken] = a->n_row;
        }
    }
    return rc;
}

/* Takes the queries in order, as soon as so many walks are done as are read at once. */
static VsStatus attend(void *ctx) {
    Many *m = ctx;
    size_t end = m->taken + m->at_once < m->n ? m->taken + m->at_once : m->n;
    size_t done = m->taken;
    while (m->rc == SQLITE_OK && done < end && vs_shared_get(&m->walked[done]) != 0) {
        done++;
    }
    if (m->rc == SQLITE_OK && done == end && done > m->taken) {
        m->rc = take(m, done - m->taken);
    }
    return m->rc == SQLITE_OK ? VS_OK : VS_IO;
}

/* ---- all of them ------------------------------------------------------------------- */

static int search_block(Many *m, VsReaders *readers) {
    m->taken = 0;
    memset(m->walked, 0, m->n * sizeof *m->walked);
    VsStatus st = vs_readers_run(
        readers, m->n, vs_search_room(m->v->graph, m->ask, m->ef), answer_one, m);
    if (m->rc == SQLITE_OK && st != VS_OK) {
        return vsx_code(m->v->index, st);
    }
    while (attend(m) == VS_OK && m->taken < m->n) {
    }
    return m->rc;
}

static int search_blocks(Many *m, VsReaders *readers, size_t n, size_t block) {
    const unsigned char *queries = m->queries;
    VsxResult *results = m->results;
    size_t *n_results = m->n_results;
    for (size_t at = 0; at < n; at += block) {
        m->n = n - at < block ? n - at : block;
        m->queries = queries + at * m->stride;
        m->results = results + at * m->k;
        m->n_results = n_results + at;
        VSX_TRY(search_block(m, readers));
    }
    return SQLITE_OK;
}

static int reserve(Many *m, size_t block, unsigned threads) {
    m->row = sqlite3_malloc64((m->at_once * m->ask + 1) * sizeof *m->row);
    m->hits = sqlite3_malloc64((threads * m->ask + 1) * sizeof *m->hits);
    m->scan.cap = m->scans ? m->ask + SCAN_ROOM : 0;
    m->scan.found = sqlite3_malloc64((threads * m->scan.cap + 1) * sizeof(VsCandidate));
    m->scan.high = sqlite3_malloc64((threads * m->k_live + 1) * sizeof(float));
    m->found = sqlite3_malloc64((block * m->ask + 1) * sizeof *m->found);
    m->asked = sqlite3_malloc64(block * sizeof *m->asked);
    m->walked = sqlite3_malloc64(block * sizeof *m->walked);
    return m->row == NULL || m->hits == NULL || m->found == NULL || m->asked == NULL ||
                   m->walked == NULL || m->scan.found == NULL || m->scan.high == NULL
               ? SQLITE_NOMEM
               : SQLITE_OK;
}

static void release(Many *m) {
    vsx_reader_free(&m->reader);
    sqlite3_free(m->reads.at);
    sqlite3_free(m->reads.keys);
    sqlite3_free(m->row);
    sqlite3_free(m->hits);
    sqlite3_free(m->scan.found);
    sqlite3_free(m->scan.high);
    sqlite3_free(m->found);
    sqlite3_free(m->asked);
    sqlite3_free(m->walked);
}

int vsx_search_many(VsxVector *v, const void *queries, size_t n, size_t k, size_t ef,
                    VsxResult *results, size_t *found) {
    const VsCodecParams *code = &v->graph->params.code;
    VsReaders readers;
    Many m = {.v = v,
              .queries = queries,
              .stride = vs_element_bytes(code->element, code->dims),
              .k = k,
              .ef = ef > 0 ? ef : v->graph->state.ef_search,
              .results = results,
              .n_results = found};
    size_t live = v->graph->state.n_live;
    if (n == 0 || k == 0 || live == 0) {
        memset(found, 0, n * sizeof *found);
        return SQLITE_OK;
    }
    m.k_live = k < live ? k : live;
    m.scans = code->codec != VS_CODEC_PQ && /* as a cursor decides */
              vs_search_scans(v->graph, k, m.ef, live);
    m.ask =
        m.scans ? m.k_live + SCAN_MARGIN(m.k_live) : v->graph->codec->candidates(k, m.ef);
    m.ask = m.ask > k ? m.ask : k + 1; /* one more tells of a tie */
    m.ask = m.ask < live ? m.ask : live;
    size_t block = BLOCK_HITS / m.ask < BLOCK ? BLOCK_HITS / m.ask : BLOCK;
    block = block < 1 ? 1 : block < n ? block : n;
    /* a walk for so many allocates: that is for the thread of the connection */
    unsigned threads = !m.scans && m.ask > VS_SCAN_SORTED ? 1 : v->index->global->threads;
    m.at_once = threads > 1 && block > SHARE ? SHARE : block;
    int rc = reserve(&m, block, threads);
    if (rc == SQLITE_OK && m.scans) {
        rc = vsx_code(v->index, vs_scan_ready(v->graph));
    }
    if (rc == SQLITE_OK) {
        rc = vsx_code(v->index, vs_readers_open(v->graph, threads, &readers));
        if (rc == SQLITE_OK) {
            readers.attend = attend;
            rc = search_blocks(&m, &readers, n, block);
        }
        vs_readers_close(&readers);
    }
    release(&m);
    return rc;
}
