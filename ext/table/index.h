/*
 * What a connection knows of an index.
 *
 * One VsxIndex per virtual table and connection holds everything that outlives a
 * statement. It lives in a registry of the connection and not in sqlite3_vtab: DDL by
 * another connection, VACUUM or ROLLBACK TO give a second sqlite3_vtab for the same table
 * within one transaction, and both must see the same graph.
 */
#ifndef VSX_TABLE_INDEX_H
#define VSX_TABLE_INDEX_H

#include "csrc/graph/snapshot.h"
#include "ext/table/doubts.h"
#include "ext/table/schema.h"

typedef struct VsxRowmap VsxRowmap; /* rowmap.h */

typedef enum VsxSql {
    VSX_SQL_STATE,      /* newest log row: ver, stamp, state */
    VSX_SQL_STAMP,      /* stamp of one ver */
    VSX_SQL_LOG,        /* log rows above a ver */
    VSX_SQL_LOG_PUT,    /* write a log row */
    VSX_SQL_LOG_SIZES,  /* ver and size of edits, newest first */
    VSX_SQL_LOG_TRIM,   /* delete rows up to a ver */
    VSX_SQL_LOG_REMOVE, /* delete the row of a ver */
    VSX_SQL_PAGE,       /* one page: ver, data */
    VSX_SQL_PAGE_PUT,
    VSX_SQL_MAP, /* node of a rowid */
    VSX_SQL_MAP_PUT,
    VSX_SQL_MAP_DELETE,
    VSX_SQL_VECTOR, /* stored vector of a rowid */
    VSX_SQL_CHECK,  /* every row: rowid, node, vector */
    VSX_SQL_MAP_COUNT,
    VSX_SQL_POLL,  /* does nothing, but notices an interrupt */
    VSX_SQL_MODEL, /* the stored model of an epoch */
    VSX_SQL_MODEL_PUT,
    VSX_SQL_MODEL_TRIM, /* delete those of other epochs */
    VSX_SQL_PER_VECTOR  /* how many statements a vector column has */
} VsxSql;

typedef enum VsxRowSql {
    VSX_ROW_GET,     /* all columns of a rowid */
    VSX_ROW_EXISTS,  /* 1 if there is such a rowid */
    VSX_ROW_LAST,    /* highest rowid */
    VSX_ROW_FIRST,   /* lowest rowid */
    VSX_ROW_FIND,    /* rowid of a TEXT key */
    VSX_ROW_REPLACE, /* write a row, new or in the place of another */
    VSX_ROW_UPDATE,  /* change some columns, the rowid too */
    VSX_ROW_DELETE,
    VSX_ROW_COOKIE,   /* the schema's version */
    VSX_ROW_SNAPSHOT, /* holds a read transaction while it is not reset (visit.c) */
    VSX_ROW_STATEMENTS
} VsxRowSql;

typedef struct VsxIndex VsxIndex;

/* What the last query did (vecsql_stats). */
typedef struct VsxFigures {
    const char *plan;       /* walk, exact scan, filtered walk, stream, range, rows */
    sqlite3_int64 admitted; /* rows that pass its filter, -1 if nobody counted them */
    uint64_t evaluations;   /* distances of codes */
    uint64_t batches;       /* of a stream */
    uint64_t probes;        /* rows that SQLite was asked about one by one */
    uint64_t reads;         /* rows that were read one by one for their distance */
} VsxFigures;

typedef struct VsxVector {
    VsxIndex *index;
    int number;
    VsGraph *graph;
    VsHistory history;
    VsxRowmap *map; /* rowid -> node changes that are not in %_map yet */
    unsigned polls; /* for interrupts (loader.c) */
    int polling;
    int stale;                    /* the graph holds edits that were rolled back */
    int known;                    /* the graph stands for some state of the database */
    sqlite3_int64 mark, mark_ver; /* the log row of edits that are not flushed; 0: none */
    int poison; /* why a flush failed half way: nothing may commit before a rollback */
    sqlite3_int64 poison_ver, poison_stamp; /* the newest log row then */
    sqlite3_stmt *stmt[VSX_SQL_PER_VECTOR];
    struct VsxShape *shape; /* of the last filter: prepared statements (admit.c) */
    struct VsxNodes *nodes; /* rows of the last filter (admit.c) */
    void (*forget_filter)(struct VsxVector *v); /* drops both; NULL: there are none */
    struct VsxCache *cache; /* vectors of rows (vector_cache.h), or NULL */
    VsxFigures last_query;
} VsxVector;

typedef struct VsxEmbedder VsxEmbedder;

typedef struct VsxGlobal {
    sqlite3 *db;
    int refs; /* modules and functions that hold it */
    VsxIndex *first;
    VsxIndex *former;     /* those that others took the place of, still in use */
    sqlite3_uint64 marks; /* the last mark that was given */
    unsigned threads;     /* for linking, and for searching many at once */
    sqlite3_int64
        vector_cache;        /* bytes for vectors of rows, per vector column; < 0: auto */
    char *progress;          /* the user's function to call meanwhile; NULL: none */
    int vec0;                /* the module vec0 is registered besides */
    char *model[VSX_MODELS]; /* that embed texts here, by number (functions/embed.c) */
    VsxEmbedder *embedder;   /* its functions */
    int asking_model;        /* vecsql_embed looks whether the program has its own */
    struct VsxGlobal *next;  /* of another connection */
} VsxGlobal;

/* The b-tree of the row table, at a data version of the database (row_prefetch.c). */
typedef struct VsxRowTree {
    int there; /* it was looked at */
    unsigned version;
    uint32_t root, pages, page_bytes; /* pages: of the database */
    int levels;                       /* of interior pages; 0: none, or not known */
} VsxRowTree;

struct VsxIndex {
    VsxGlobal *global;
    VsxIndex *next;
    int refs;
    int dropped; /* no longer in the registry */
    char *schema, *table;
    char *rows;      /* the row table, quoted for SQL */
    char *row_table; /* its name, of a table of our own */
    VsxSchema *def;
    VsxVector vector[VSX_MAX_VECTORS];
    sqlite3_stmt *row_stmt[VSX_ROW_STATEMENTS];
    VsxRowTree row_tree;
    sqlite3_stmt *progress; /* calls the user's function (txn/linking.c) */
    int looked, followed;   /* whether triggers tell the changes of the content table */
    sqlite3_int64 cookie;   /* the version of the schema at that look */
    VsxDoubts *doubts;
    int linking; /* inside vs_link_pending: nobody else may change anything */
    int writing; /* inside our own SQL: its statement savepoints are not the user's */
    int load_rc; /* why the page loader failed */
    int refused; /* a statement fails with this because another failed half way before */
};

/* The index of schema.table, made if it is not known yet or if the table was just created;
 * counts a reference. `def` is taken over (and freed if an index is already there). */
int vsx_index_acquire(VsxGlobal *global, const char *schema, const char *table,
                      int create, VsxSchema *def, VsxIndex **out);
void vsx_index_release(VsxIndex *index);
/* Takes it out of the registry: the table was dropped, or is another one. */
void vsx_index_drop(VsxIndex *index);
/* A number that no other mark of this connection has, nor likely one of another. */
sqlite3_int64 vsx_new_mark(VsxGlobal *global);
/* The index whose edits have that mark, in the registry or out of it; NULL if none has. */
VsxIndex *vsx_index_marked(const VsxGlobal *global, sqlite3_int64 mark);
int vsx_index_rename(VsxIndex *index, const char *name);
void vsx_global_free(void *global);
/* All globals of the process, so that a second load into one connection finds the first:
 * put in when made, taken out by vsx_global_free. */
void vsx_global_remember(VsxGlobal *global);
const VsxGlobal *vsx_global_find(sqlite3 *db);
/* NULL if no such table is connected. */
VsxIndex *vsx_index_find(VsxGlobal *global, const char *schema, const char *table);

static inline const VsxColumn *vsx_column_of(const VsxVector *v) {
    return &v->index->def->column[v->index->def->vector[v->number]];
}

/* A virtual table object: there can be several of one index. */
typedef struct VsxTable {
    sqlite3_vtab base;
    VsxIndex *index;
} VsxTable;

#endif
