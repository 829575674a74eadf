/*
 * The full structural check: everything that graph.h promises, recomputed.
 */
#ifndef VS_GRAPH_VALIDATE_H
#define VS_GRAPH_VALIDATE_H

#include "csrc/graph/graph.h"

typedef enum VsFlaw {
    VS_FLAW_NONE = 0,
    VS_FLAW_PAGE,   /* a page is missing or damaged: kind, page */
    VS_FLAW_COUNT,  /* live, dead or root counters disagree with the nodes */
    VS_FLAW_STATUS, /* a node with an impossible status, level or age */
    VS_FLAW_LEVEL,  /* the level is not what the rowid's hash says */
    VS_FLAW_LINK,  /* a link out of range, to itself, twice, to a free node or too high */
    VS_FLAW_INDEG, /* in-link counters disagree with the lists */
    VS_FLAW_ROOT,  /* root marks, root list and older in-links disagree */
    VS_FLAW_ENTRY, /* the entry point is not a live node of the highest level */
    VS_FLAW_UNREACHABLE, /* a live node that no search can reach */
    VS_FLAW_FREE_LIST,   /* the free list is cyclic, too short or too long */
    VS_FLAW_RAW          /* RAW slots, their owners and their free list disagree */
} VsFlaw;

typedef struct VsFinding {
    VsFlaw flaw;
    VsPageKind kind; /* with VS_FLAW_PAGE */
    uint32_t page;
    uint32_t node; /* otherwise, where it applies; VS_NIL */
} VsFinding;

/* Looks at every slot. VS_OK with out->flaw the first flaw found, or VS_FLAW_NONE;
 * anything else means the check itself failed (VS_NOMEM, VS_IO, VS_INTERRUPT). */
VsStatus vs_validate(VsGraph *g, VsFinding *out);

/* A sentence fragment for a flaw: "a link is out of range". */
const char *vs_flaw_text(VsFlaw flaw);

#endif
