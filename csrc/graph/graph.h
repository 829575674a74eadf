/*
 * The graph: its parameters, state, slots, and the one way to change it.
 *
 * A VsGraph is one vector index in memory. Its contents are the six slot arrays of
 * pages.h plus a VsState of counters; both are values: vs_history_* (snapshot.h) keeps
 * older ones by stamp.
 *
 * Nodes. Node ids are dense, 0..n_nodes-1. A node is LIVE; DEAD (a tombstone: still
 * walked, never returned, gone once nothing links to it); or FREE (on the free list that
 * begins at free_head). Each slot holds the out-links of layer 0; the lists of upper
 * layers are a chain of UPPER slots. A list is filled from the front and ends at its
 * capacity or at the first VS_NIL.
 *
 * Reachability is an invariant, not a hope. Every node has an age (seq, given at
 * insertion). For every LIVE node either some older LIVE node links to it in layer 0
 * (indeg_old > 0), or it is a root: listed in the ROOT slots and offered to every search
 * of layer 0. By induction over age every LIVE node can be reached from the roots. The
 * oldest node is always a root; others are rare. (Without such an invariant hnswlib loses
 * 3.35 % of SIFT1M in 3,000 rounds of 5 % churn; data of MN-RU, arXiv 2407.07871.)
 *
 * indeg counts the in-links of a node on all layers, so that a tombstone is freed exactly
 * when the last link to it goes.
 *
 * Changes. Everything is written by vs_edit: it copies the page if it is shared,
 * remembers the old bytes (undo) and the new (redo). A statement is vs_begin .. vs_done;
 * on any failure between vs_undo puts every byte and counter back and cannot fail. The
 * redo bytes (edit.h) are what a small commit appends to the log (log.h).
 */
#ifndef VS_GRAPH_GRAPH_H
#define VS_GRAPH_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "csrc/base/alloc.h"
#include "csrc/codec/codec.h"
#include "csrc/store/edit.h"
#include "csrc/store/overlay.h"
#include "csrc/store/pages.h"
#include "csrc/graph/scratch.h"
#include "csrc/store/page_cache.h"

#define VS_MODELS 4       /* kept at hand: the one in use, and those that undo may need */
#define VS_MAX_EF 100000u /* of ef_search and ef_construction */
#define VS_MAX_LEVEL 15
#define VS_MIN_M 2
#define VS_MAX_M 128
/* Codes that a scan reads in the time of one place of a walk's beam. A walk computes some 14
 * distances for each place, at random; in a scan, where codes come one after another, one
 * costs a third. An exact answer (scan.h) costs little more. */
#define VS_SCAN_FACTOR 32

typedef enum VsIndexKind { VS_HNSW = 0, VS_FLAT = 1 } VsIndexKind;

typedef struct VsParams {
    VsCodecParams code;       /* dims, metric, codec */
    VsIndexKind kind;         /* flat keeps nodes without links and scans their codes */
    uint32_t m;               /* links a node chooses; layer 0 holds up to 2 m */
    uint32_t ef_construction; /* candidates looked at per layer and insertion */
    uint32_t ef_search;       /* length of the beam of a search, where a table begins */
    uint32_t page_bytes;      /* largest stored page, so that one fits a database page */
} VsParams;

/* Counters that change with the graph. Stored in the newest log row. */
typedef struct VsState {
    uint64_t ver;            /* flushes so far */
    uint64_t stamp;          /* hash of everything that led here */
    uint64_t checkpoint_ver; /* pages on disk include the edits up to this ver */
    uint32_t checkpointed[VS_PAGE_KINDS]; /* pages of each kind that exist on disk */
    uint32_t n_nodes;                     /* node ids given out: live + dead + free */
    uint32_t n_live;
    uint32_t n_dead;
    uint32_t free_head; /* first FREE node, VS_NIL if none; chained through `upper` */
    uint32_t next_seq;
    uint32_t entry; /* where a search begins, VS_NIL if n_live == 0 */
    uint32_t max_level;
    uint32_t n_upper; /* UPPER slots given out */
    uint32_t
        upper_free; /* first free UPPER slot, VS_NIL if none; chained through `next` */
    uint32_t n_roots;
    uint32_t cursor; /* node at which the next consolidation step begins */
    uint32_t
        ef_search;   /* a setting, here so that it commits and rolls back with the rest */
    uint32_t epoch;  /* of the codec's model; 0: none yet */
    uint32_t fitted; /* live rows when the model was last fitted */
    uint32_t clipped;  /* rows coded since that left its range */
    uint64_t model;    /* its hash */
    uint32_t n_raw;    /* RAW slots given out */
    uint32_t raw_free; /* first free RAW slot, VS_NIL if none (raw.h) */
    uint32_t raw_rows; /* RAW slots in use */
    float blur;        /* how far codes misplace neighbours, of what they lose (blur.h) */
    uint32_t judged;   /* nodes that were linked of late, */
    uint32_t blurred;  /* and those whose codes did not tell neighbours apart (raw.h) */
} VsState;

enum {
    VS_LIVE = 1,
    VS_DEAD = 2,
    VS_FREE = 3,
    VS_STATUS_MASK = 3,
    VS_IS_ROOT = 4,
    VS_PENDING = 8 /* live, a root, with empty lists: to be linked (build/pending.h) */
};

/* A NODE slot. In memory 24 bytes and the links; see pages.h for the stored form. */
typedef struct VsNode {
    int64_t rowid;
    uint32_t seq;   /* age: smaller is older */
    uint32_t upper; /* UPPER slot of layer 1, VS_NIL if level 0; FREE: next free node */
    uint16_t indeg; /* in-links on all layers */
    uint16_t indeg_old; /* in-links in layer 0 from older live nodes */
    uint8_t level;
    uint8_t flags;
    uint16_t error; /* bound of what the code loses of the vector (fit.h) */
} VsNode;

#define VS_NODE_STORED 24u
#define VS_UPPER_HEAD 4u /* next u32, then the links */
#define VS_RAW_HEAD 4u
#define VS_RAW_FREE 0x80000000u
#define VS_RAW_NONE 0x7FFFFFFFu /* below the top bit: no further free slot */

/* What a graph asks of its owner. */
typedef struct VsHooks {
    /* Finds the stored page: *blob stays valid until load_done. *blob NULL: there is no
     * such row. VS_IO when it cannot be read (the owner keeps the reason). */
    VsStatus (*load)(void *ctx, VsPageKind kind, uint32_t page,
                     const unsigned char **blob, size_t *len, uint64_t *ver);
    void (*load_done)(void *ctx);
    /* The stored model of an epoch; the rest as with load. */
    VsStatus (*load_model)(void *ctx, uint32_t epoch, const unsigned char **blob,
                           size_t *len);
    /* Writes the vector of a row as it is stored (of the element type); *found 0: there
     * is none that could be one. May be NULL. */
    VsStatus (*vector)(void *ctx, int64_t rowid, void *out, int *found);
    int (*interrupted)(void *ctx);  /* polled during long work; may be NULL */
    unsigned (*threads)(void *ctx); /* how many may work; NULL: one */
    void *ctx;
} VsHooks;

typedef struct VsGraph {
    VsAlloc alloc;
    VsParams params;
    VsCodecParams apart; /* as params.code, but l2 under dot: how far rows are apart */
    const VsCodec *codec;
    VsHooks hooks;
    VsGeometry geo[VS_PAGE_KINDS];

    const VsModel *model; /* of the codec, once vs_model_ready was called (fit.h) */
    VsModel *models[VS_MODELS];
    int model_unsaved;

    VsState state;
    VsTable table[VS_PAGE_KINDS];
    VsOverlay *overlay;

    /* not yet flushed */
    VsBuffer redo;
    int redo_overflow; /* too much for a log row: the flush writes pages instead */
    VsPageRef *dirty;  /* pages touched since the last flush */
    size_t n_dirty, cap_dirty;
    uint64_t period;       /* flush period, the mark of pages in `dirty`; from 1 */
    int changed;           /* something was edited since the last flush */
    uint32_t root_changes; /* how often a node became a root, or was one no more */

    /* the running statement */
    VsBuffer undo;
    int in_statement; /* between vs_begin and vs_done or vs_undo */
    VsState undo_state;
    size_t undo_redo_len;
    int undo_changed;

    VsScratch *scratch;
    uint64_t
        changes; /* begun since it was opened: what is equal to this has not changed */
} VsGraph;

/* A new empty graph. hooks may be all NULL: then it lives in memory only. */
VsStatus vs_graph_open(const VsAlloc *alloc, const VsParams *params, const VsHooks *hooks,
                       VsGraph **out);
void vs_graph_close(VsGraph *g);

/* Empties the graph in memory and takes `state` for its contents on disk: pages are
 * loaded when touched. Used to open, and to start over after any doubt. */
VsStatus vs_graph_reset(VsGraph *g, const VsState *state);

/* From now on its pages lie on that page cache, which has to outlive it. */
void vs_graph_share(VsGraph *g, VsPageCache *page_cache);

/* The state of an index that never held a row: stamp is a hash of the parameters. */
VsState vs_state_initial(const VsParams *params);

/* VS_CORRUPT if the state counts pages that neither the disk nor the log can have: a
 * false count must not cost memory. Asked when the overlay is complete. */
VsStatus vs_graph_judge(const VsGraph *g);

/* Slots of a kind that exist in `state`. */
uint32_t vs_slots_used(const VsState *state, VsPageKind kind);

/* The page that holds the slot, loaded if need be (VS_IO, VS_CORRUPT, VS_NOMEM). */
VsStatus vs_page_touch(VsGraph *g, VsPageKind kind, uint32_t page);

/* Pointer to a slot for reading; valid until the next vs_edit of that page, load or flush. */
static inline const unsigned char *vs_slot_loaded(const VsGraph *g, VsPageKind kind,
                                                  uint32_t slot) {
    const VsGeometry *geo = &g->geo[kind];
    uint32_t page = vs_page_of(geo, slot);
    const unsigned char *data = vs_table_get(&g->table[kind], page);
    return data == NULL ? NULL
                        : data + (size_t)(slot - page * geo->per_page) * geo->slot_size;
}
/* The same when its page has to be loaded first. */
VsStatus vs_slot_load(VsGraph *g, VsPageKind kind, uint32_t slot,
                      const unsigned char **out);
/* The one or the other. */
static inline VsStatus vs_slot(VsGraph *g, VsPageKind kind, uint32_t slot,
                               const unsigned char **out) {
    *out = vs_slot_loaded(g, kind, slot);
    return *out != NULL ? VS_OK : vs_slot_load(g, kind, slot, out);
}

static inline VsStatus vs_node(VsGraph *g, uint32_t node, const VsNode **out) {
    const unsigned char *p = NULL;
    VsStatus st = node < g->state.n_nodes ? vs_slot(g, VS_NODE, node, &p) : VS_CORRUPT;
    *out = (const VsNode *)(const void *)p;
    return st;
}

/* The out-links of a node on a layer it has (0..level): where they are, and how many fit.
 */
typedef struct VsList {
    VsPageKind kind;
    uint32_t slot;
    uint32_t offset; /* of the first link in the slot */
    uint32_t cap;
    const uint32_t *links;
} VsList;
VsStatus vs_list(VsGraph *g, uint32_t node, uint32_t layer, VsList *out);
uint32_t vs_list_length(const VsList *list);
static inline int vs_list_holds(const VsList *list, uint32_t node) {
    for (uint32_t i = 0; i < list->cap && list->links[i] != VS_NIL; i++) {
        if (list->links[i] == node) {
            return 1;
        }
    }
    return 0;
}

/* Changes len bytes at `offset` of a slot. The slot may be one past the last: arrays
 * grow. */
VsStatus vs_edit(VsGraph *g, VsPageKind kind, uint32_t slot, uint32_t offset,
                 const void *bytes, uint32_t len);

/* A statement: everything between is taken back by vs_undo, which cannot fail. */
void vs_begin(VsGraph *g);
void vs_undo(VsGraph *g);
void vs_done(VsGraph *g);

/* Forgets all edits that were not flushed: the graph is again what `state` and the pages
 * say. The caller has to put a snapshot in their place or reset. */
void vs_forget(VsGraph *g);

int vs_interrupted(const VsGraph *g);

/* Level of a row: from a hash of its rowid, P(level >= l) = m^-l (Malkov & Yashunin 2018,
 * section 4.1, with integer thresholds, so that it is the same everywhere and in any
 * order). */
uint32_t vs_level_of(const VsParams *params, int64_t rowid);

/* VS_CORRUPT unless what a slot says lies inside the arrays of `state`: checked for every
 * page that comes from disk, so that a walk needs no further checks. */
VsStatus vs_page_judge(const VsGraph *g, VsPageKind kind, uint32_t page,
                       const unsigned char *data);
VsStatus vs_slot_judge(const VsGraph *g, VsPageKind kind, const unsigned char *slot);

#endif
