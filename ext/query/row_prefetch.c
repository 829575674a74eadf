/*
 * Rows on their way into the processor's cache; see row_prefetch.h.
 *
 * Rowids mostly have no gaps, so the number of a cell is guessed from the rowids that its
 * page can hold, and a search mostly ends after two looks. Each step is done for all rows
 * before the next one, which needs what the first has asked for.
 */
#include "ext/query/row_prefetch.h"

#include "csrc/kernel/batch.h"
#include "ext/table/shadow.h"

#define INTERIOR 5 /* types of b-tree pages */
#define LEAF 13
#define MAX_LEVELS 8
#define LINE 64

typedef struct Tree {
    sqlite3_file *file;
    VsxRowTree known;
    uint32_t bytes; /* of a row */
} Tree;

/* Where the search for a row is. */
typedef struct Place {
    sqlite3_int64 rowid;
    sqlite3_int64 low, high;            /* the page holds rowids of (low, high], */
    int lowest, highest;                /* where these are known */
    uint32_t page;                      /* 0: nowhere */
    const volatile unsigned char *data; /* others may write it; NULL: not mapped */
    uint32_t n, guess; /* cells of the page, and which it probably is; n = 0: nowhere */
} Place;

static uint32_t two(const volatile unsigned char *p) {
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t four(const volatile unsigned char *p) {
    return two(p) << 16 | two(p + 2);
}

static sqlite3_int64 varint(const volatile unsigned char *p,
                            const volatile unsigned char *end) {
    sqlite3_uint64 value = 0;
    for (int i = 0; i < 9 && p < end; i++, p++) {
        unsigned byte = *p;
        if (i == 8) {
            return (sqlite3_int64)(value << 8 | byte);
        }
        value = value << 7 | (byte & 0x7F);
        if (byte < 0x80) {
            break;
        }
    }
    return (sqlite3_int64)value;
}

/* ---- pages ------------------------------------------------------------------------ */

static sqlite3_int64 offset(const Tree *t, uint32_t page) {
    return (sqlite3_int64)(page - 1) * t->known.page_bytes;
}

static void page_in(const Tree *t, Place *p) {
    void *data = NULL;
    if (p->page == 0 || p->page > t->known.pages ||
        t->file->pMethods->xFetch(t->file, offset(t, p->page), (int)t->known.page_bytes,
                                  &data) != SQLITE_OK) {
        data = NULL;
    }
    p->data = data;
    if (data != NULL) {
        VS_PREFETCH_FAR(data);
    }
}

static void page_out(const Tree *t, Place *p) {
    if (p->data != NULL) {
        t->file->pMethods->xUnfetch(t->file, offset(t, p->page),
                                    (void *)(uintptr_t)p->data);
        p->data = NULL;
    }
}

/* Where the cell pointers begin. */
static uint32_t pointers(int type) {
    return type == LEAF ? 8 : 12;
}

/* The i-th cell; there are four bytes of it at least. */
static const volatile unsigned char *cell(const Tree *t, const Place *p, int type,
                                          uint32_t i) {
    uint32_t at = two(p->data + pointers(type) + 2 * i);
    return p->data + (at < t->known.page_bytes - 4 ? at : 0);
}

static sqlite3_int64 key(const Tree *t, const Place *p, uint32_t i) {
    return varint(cell(t, p, INTERIOR, i) + 4, p->data + t->known.page_bytes);
}

/* ---- the steps -------------------------------------------------------------------- */

/* Counts the cells and guesses which it is. */
static void guess(const Tree *t, Place *p, int type) {
    p->n = 0;
    if (p->data == NULL || p->data[0] != type) {
        return;
    }
    uint32_t n = two(p->data + 3);
    if (n == 0 || pointers(type) + 2 * n > t->known.page_bytes) {
        return;
    }
    p->n = n;
    double low = (double)p->low, high = (double)p->high;
    if (type == INTERIOR && !p->lowest && !p->highest) { /* the root */
        low = (double)key(t, p, 0);
        high = (double)key(t, p, n - 1);
    } else if (!p->lowest) {
        low = high - n;
    } else if (!p->highest) {
        high = low + n;
    }
    double at = ((double)p->rowid - low - 1) * n / (high - low);
    p->guess = !(at > 0) ? 0 : at < n ? (uint32_t)at : n - 1;
    VS_PREFETCH_FAR((const void *)(uintptr_t)(p->data + pointers(type) + 2 * p->guess));
}

static VS_ALWAYS_INLINE void prefetch_cell(const Tree *t, const Place *p, int type,
                                           uint32_t i) {
    VS_PREFETCH_FAR((const void *)(uintptr_t)cell(t, p, type, i));
}

/* The cells that SQLite's binary search for the i-th looks at. */
static VS_ALWAYS_INLINE void prefetch_path(const Tree *t, const Place *p, int type,
                                           uint32_t i) {
    uint32_t from = 0, to = p->n;
    while (from < to) {
        uint32_t middle = from + (to - 1 - from) / 2, above = middle < i;
        prefetch_cell(t, p, type, middle);
        from = above ? middle + 1 : from;
        to = above ? to : middle;
    }
}

/* To the page below. */
static void descend(const Tree *t, Place *p) {
    uint32_t low = 0, high = p->n, middle = p->guess, below = 0;
    for (int first = 1; low < high; first = 0) {
        sqlite3_int64 k = key(t, p, middle);
        if (k < p->rowid) {
            low = middle + 1;
            p->low = k;
            p->lowest = 1;
            middle = first ? low : (low + high) / 2;
        } else {
            high = middle;
            p->high = k;
            p->highest = 1;
            middle = first && high > 0 ? high - 1 : (low + high) / 2;
        }
    }
    if (p->n > 0) {
        prefetch_path(t, p, INTERIOR, low);
        below = four(low < p->n ? cell(t, p, INTERIOR, low) : p->data + 8);
    }
    page_out(t, p);
    p->page = below;
}

/* The lines of the row, which begin with its cell, and what leads to it. */
static void prefetch_row(const Tree *t, Place *p) {
    if (p->n > 0) {
        const volatile unsigned char *row = cell(t, p, LEAF, p->guess),
                                     *end = p->data + t->known.page_bytes;
        prefetch_path(t, p, LEAF, p->guess);
        for (uint32_t i = LINE; i < t->bytes + LINE && row + i < end; i += LINE) {
            VS_PREFETCH_FAR((const void *)(uintptr_t)(row + i));
        }
    }
    page_out(t, p);
}

static void fetch(const Tree *t, Place *place, size_t n) {
    for (int level = 0; level <= t->known.levels; level++) {
        int type = level < t->known.levels ? INTERIOR : LEAF;
        for (size_t i = 0; i < n; i++) {
            page_in(t, &place[i]);
        }
        for (size_t i = 0; i < n; i++) {
            guess(t, &place[i], type);
        }
        for (size_t i = 0; type == INTERIOR && i < n; i++) {
            if (place[i].n > 0) {
                prefetch_cell(t, &place[i], type, place[i].guess);
            }
        }
        for (size_t i = 0; i < n; i++) {
            if (type == INTERIOR) {
                descend(t, &place[i]);
            } else {
                prefetch_row(t, &place[i]);
            }
        }
    }
}

/* ---- what is known of the tree ---------------------------------------------------- */

/* What a statement gives; 0 if it may not be asked (an authorizer). */
static int number(const VsxIndex *i, char *sql, uint32_t *out) {
    sqlite3_int64 value;
    int rc = vsx_ask_number(i->global->db, sql, &value);
    *out = value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
    return rc == SQLITE_AUTH || rc == SQLITE_ERROR ? SQLITE_OK : rc;
}

static int levels_of(const Tree *t) {
    Place p = {.page = t->known.root};
    int levels = -1;
    while (p.page != 0 && levels < MAX_LEVELS) {
        page_in(t, &p);
        guess(t, &p, INTERIOR);
        descend(t, &p);
        levels++;
    }
    return levels;
}

static int learn(VsxIndex *i, Tree *t) {
    VsxRowTree *known = &t->known;
    VSX_TRY(number(i, sqlite3_mprintf("PRAGMA \"%w\".page_size", i->schema),
                   &known->page_bytes));
    VSX_TRY(
        number(i, sqlite3_mprintf("PRAGMA \"%w\".page_count", i->schema), &known->pages));
    VSX_TRY(number(i,
                   sqlite3_mprintf("SELECT rootpage FROM \"%w\".sqlite_master "
                                   "WHERE type = 'table' AND name = %Q",
                                   i->schema, i->row_table),
                   &known->root));
    known->levels = known->page_bytes >= 512 ? levels_of(t) : 0;
    known->there = 1;
    i->row_tree = *known;
    return SQLITE_OK;
}

static int mapped(sqlite3_file *file) {
    void *data = NULL;
    if (file == NULL || file->pMethods == NULL || file->pMethods->iVersion < 3 ||
        file->pMethods->xFetch == NULL ||
        file->pMethods->xFetch(file, 0, 512, &data) != SQLITE_OK || data == NULL) {
        return 0;
    }
    file->pMethods->xUnfetch(file, 0, data);
    return 1;
}

/* *t: its levels are 0 if nothing can be fetched. */
static int open_tree(VsxVector *v, Tree *t) {
    VsxIndex *i = v->index;
    sqlite3 *db = i->global->db;
    const VsCodecParams *p = &v->graph->params.code;
    size_t bytes = vs_element_bytes(p->element, p->dims);
    unsigned version = 0;
    *t = (Tree){.bytes = (uint32_t)bytes};
    if (i->def->content != NULL || sqlite3_libversion_number() < 3034000 ||
        sqlite3_txn_state(db, i->schema) != SQLITE_TXN_READ ||
        sqlite3_file_control(db, i->schema, SQLITE_FCNTL_FILE_POINTER, &t->file) !=
            SQLITE_OK ||
        !mapped(t->file) ||
        sqlite3_file_control(db, i->schema, SQLITE_FCNTL_DATA_VERSION, &version) !=
            SQLITE_OK) {
        return SQLITE_OK;
    }
    if (i->row_tree.there && i->row_tree.version == version) {
        t->known = i->row_tree;
        return SQLITE_OK;
    }
    t->known.version = version;
    return learn(i, t);
}

int vsx_rows_prefetch(VsxVector *v, const sqlite3_int64 *rowid, size_t n) {
    Place place[VSX_PREFETCH];
    Tree tree;
    int rc = n > 1 ? open_tree(v, &tree) : SQLITE_OK;
    if (rc == SQLITE_OK && n > 1 && tree.known.levels > 0) {
        for (size_t i = 0; i < n; i++) {
            place[i] = (Place){.rowid = rowid[i], .page = tree.known.root};
        }
        fetch(&tree, place, n);
    }
    return rc;
}
