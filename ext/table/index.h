/*
 * The extension's internal header, in sections by implementing file.
 *
 * One VsxIndex per virtual table and connection holds everything that outlives a
 * statement. It lives in a registry of the connection and not in sqlite3_vtab: DDL by
 * another connection, VACUUM or ROLLBACK TO give a second sqlite3_vtab for the same table
 * within one transaction, and both must see the same graph.
 */
#ifndef VSX_TABLE_INDEX_H
#define VSX_TABLE_INDEX_H

#include "csrc/graph/graph.h"
#include "csrc/graph/log.h"
#include "csrc/search/search.h"
#include "csrc/graph/snapshot.h"
#include "ext/base/sqlite_api.h"
#include "ext/base/value.h"

#ifndef VECSQL_VERSION
#define VECSQL_VERSION "0.1.0"
#endif

/* ---- schema.c: what CREATE VIRTUAL TABLE declares ------------------------------- */

#define VSX_MAX_VECTORS 16
#define VSX_MAX_COLUMNS 1000

typedef enum VsxRole {
    VSX_KEY,      /* id INTEGER PRIMARY KEY: the rowid under another name */
    VSX_TEXT_KEY, /* id TEXT PRIMARY KEY: a unique column; the rowid is ours to choose */
    VSX_VECTOR,   /* embedding FLOAT[n] ... */
    VSX_METADATA, /* filterable */
    VSX_AUXILIARY /* +body TEXT */
} VsxRole;

typedef struct VsxColumn {
    char *name;
    char *type; /* declared type as written, "" if none */
    VsxRole role;
    int indexed;  /* metadata with a b-tree of its own: `indexed` and `partition key` */
    int stored;   /* column of the row statements (0 is the rowid) */
    char *source; /* its name in the row table, quoted for SQL; while parsing: source= */
    char *collation; /* NULL: BINARY */
    int vector;      /* number among the vector columns */
    int found;       /* a vector column: the content table has its source */
    int generated;   /* and computes it */
    VsParams params; /* of a vector column */
    unsigned given;  /* which of them were declared (schema.c) */
    int strict;      /* vec0: what a value must be (VsxStrict in vec0.h) */
    int partition;   /* vec0: declared as a partition key */
} VsxColumn;

typedef struct VsxSchema {
    VsxColumn *column;
    int n_columns;
    int key;      /* column number of the INTEGER key, -1 if none */
    int text_key; /* the same of a TEXT key */
    int vector[VSX_MAX_VECTORS];
    int n_vectors;
    int n_stored;        /* columns of the row table that we know, the rowid included */
    char *content;       /* content=: the table whose rows are indexed; NULL: %_rows */
    char *content_rowid; /* its integer key */
    char *triggers;      /* what the names of its triggers begin with (content.c) */
    char *detached;      /* it has none on purpose (content.c) */
    int content_lost;    /* that table, or a vector column of it, does not exist */
    int config_lost;     /* %_config is damaged */
    int format;          /* that the file had when it was opened */
    int vec0;            /* a table of the module vec0 */
    int chunk_size;      /* vec0: chunk_size= */
} VsxSchema;

/* Hidden columns follow the declared ones in this order. The command column is named
 * after the table; vecsql_sync and vecsql_replaced, through which the triggers speak, are
 * there with content= only. */
enum {
    VSX_DISTANCE,
    VSX_K,
    VSX_EF_SEARCH,
    VSX_EXACT,
    VSX_COMMAND,
    VSX_SYNC,
    VSX_REPLACED
};

/* Parses the arguments of CREATE VIRTUAL TABLE (argv[3..]). *err says what is wrong. With
 * table = NULL no name is reserved. The
 * columns of a content table are not in yet: vsx_content_columns adds them, and
 * vsx_schema_place completes the schema. */
int vsx_schema_parse(const char *table, int argc, const char *const *argv,
                     VsxSchema **out, char **err);
int vsx_schema_place(VsxSchema *schema, char **err);
void vsx_schema_free(VsxSchema *schema);
/* 1 if a column of that name would hide one of ours. */
int vsx_schema_reserved(const char *table, const char *name);
/* The statement for sqlite3_declare_vtab; NULL when out of memory. */
char *vsx_schema_declaration(const VsxSchema *schema, const char *table);
/* Resolved parameters of a vector column as one line of text, and back: what %_config
 * keeps, so that a change of defaults never touches an existing table. */
char *vsx_params_text(const VsxColumn *column);
int vsx_params_parse(const char *text, VsxColumn *column);
const char *vsx_metric_name(VsMetric metric);

/* ---- registry.c: indexes of a connection ---------------------------------------- */

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
    VSX_ROW_COOKIE, /* the schema's version */
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
    unsigned polls; /* for interrupts (link.c) */
    int polling;
    int stale;                    /* the graph holds edits that were rolled back */
    int known;                    /* the graph stands for some state of the database */
    sqlite3_int64 mark, mark_ver; /* the log row of edits that are not flushed; 0: none */
    int poison; /* why a flush failed half way: nothing may commit before a rollback */
    sqlite3_int64 poison_ver, poison_stamp; /* the newest log row then */
    sqlite3_stmt *stmt[VSX_SQL_PER_VECTOR];
    struct VsxShape *shape; /* of the last filter: prepared statements (admit.c) */
    struct VsxNodes *nodes; /* rows of the last filter (admit.c) */
    struct VsxCache *cache; /* vectors of rows (vector_cache.h), or NULL */
    VsxFigures last_query;
} VsxVector;

typedef struct VsxEmbedder VsxEmbedder;

typedef struct VsxGlobal {
    sqlite3 *db;
    int refs; /* modules and functions that hold it */
    VsxIndex *first;
    VsxIndex *former;           /* those that others took the place of, still in use */
    sqlite3_uint64 marks;       /* the last mark that was given */
    unsigned threads;           /* for linking, and for searching many at once */
    sqlite3_int64 vector_cache; /* bytes for vectors of rows, per vector column */
    char *progress;             /* the user's function to call meanwhile; NULL: none */
    int vec0;                   /* the module vec0 is registered besides */
    char *model[VSX_MODELS];    /* that embed texts here, by number (functions_embed.c) */
    VsxEmbedder *embedder;      /* its functions */
    int asking_model;           /* vecsql_embed looks whether the program has its own */
    struct VsxGlobal *next;     /* of another connection */
} VsxGlobal;

/* The b-tree of the row table, at a data version of the database (row_fetch.c). */
typedef struct VsxRowTree {
    int there; /* it was looked at */
    unsigned version;
    uint32_t root, pages, page_bytes; /* pages: of the database */
    int levels;                       /* of interior pages; 0: none, or not known */
} VsxRowTree;

/* Rows that may have been replaced (content.c). Definitions of a table that follow one another
 * in a transaction share them: any of them may be gone before the next one comes. */
typedef struct VsxDoubts {
    int refs;
    sqlite3_int64 *row;
    size_t n, settled, cap;
} VsxDoubts;

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
    sqlite3_stmt *progress; /* calls the user's function (link.c) */
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

/* A virtual table object: there can be several of one index. */
typedef struct VsxTable {
    sqlite3_vtab base;
    VsxIndex *index;
} VsxTable;

/* Keeps a hostile schema from putting a virtual table in the place of another one. */
#ifdef SQLITE_PREPARE_NO_VTAB
#define VSX_NO_VTAB SQLITE_PREPARE_NO_VTAB
#else
#define VSX_NO_VTAB 0x04
#endif

/* ---- shadow.c: all SQL on shadow tables ----------------------------------------- */

int vsx_shadow_create(sqlite3 *db, const char *schema, const char *table,
                      const VsxSchema *def, char **err);
int vsx_shadow_drop(sqlite3 *db, const char *schema, const char *table,
                    const VsxSchema *def);
int vsx_shadow_rename(VsxIndex *index, const char *name);
int vsx_shadow_name(const char *suffix);
/* The name of the first shadow table that does not exist, to be freed; NULL: none. */
int vsx_shadow_missing(const VsxIndex *index, char **out);
/* Writes %_config anew from the definition. */
int vsx_shadow_configure(VsxIndex *index);
/* Makes the file one of `format`, if it is of an older one. */
int vsx_shadow_upgrade(VsxIndex *index, int format);
/* Reads %_config into the definition (parameters as they were resolved at creation). */
int vsx_shadow_config(sqlite3 *db, const char *schema, const char *table, VsxSchema *def,
                      char **err);
/* The row table and the name of its rowid, quoted for SQL. */
char *vsx_rows_name(const char *schema, const char *table, const VsxSchema *def);
const char *vsx_rowid_name(const VsxSchema *def);
/* A prepared statement, made on first use; reset it after use with vsx_reset. */
int vsx_stmt(VsxVector *v, VsxSql which, sqlite3_stmt **out);
int vsx_row_stmt(VsxIndex *index, VsxRowSql which, sqlite3_stmt **out);
/* Binds ?1 and steps: SQLITE_ROW, SQLITE_DONE, or an error. */
int vsx_step_with(sqlite3_stmt *stmt, sqlite3_int64 value);
/* The authorizer of a program may answer SQLITE_IGNORE: then a column reads as NULL, a
 * SELECT gives no rows and a statement does nothing. Whoever goes by what is not there has
 * to know. SQLITE_AUTH if a column of a statement that was stepped is not what it reads;
 * each of the first n must be a column with a declared type. */
int vsx_seen(sqlite3_stmt *stmt, int n, int rc);
/* Executes a statement that writes, with its parameters bound, and clears them. After an
 * error `rc` it only resets and clears, and returns that. */
int vsx_write(sqlite3_stmt *stmt);
int vsx_write_after(sqlite3_stmt *stmt, int rc);
/* Resets; returns rc if that is an error, else what the statement's last step failed
 * with. */
int vsx_reset(sqlite3_stmt *stmt, int rc);
void vsx_stmts_free(VsxIndex *index);
int vsx_exec(sqlite3 *db, const char *format, ...);
/* SQL text with the names of the index in place: every "%w" pair is schema, table. */
sqlite3_stmt *vsx_prepare(const VsxIndex *index, int *rc, char *sql);

/* ---- content.c: the rows are those of an ordinary table ------------------------- */

/* Finds the content table and adds its columns to the schema. */
int vsx_content_columns(sqlite3 *db, const char *schema, const char *table, int create,
                        VsxSchema *def, char **err);
/* Makes the triggers that keep the index in step anew. / Drops them. */
int vsx_content_attach(VsxIndex *index);
int vsx_content_detach(VsxIndex *index);
/* The command `attach`: undoes `detach`, and brings the index up to date. */
int vsx_content_take_back(VsxTable *t);
/* Drops them for good: the program syncs the rows itself. Triggers whose names begin with
 * `others` note the changes, if that is not "". */
int vsx_content_let_go(VsxTable *t, const char *others);
/* Makes the triggers anew unless they were let go, and remembers the table by its name. */
int vsx_content_restore(VsxIndex *index);
/* Whether triggers tell every change of the content table. */
int vsx_content_followed(VsxIndex *index, int *followed);
/* A row that the running statement may replace. / Syncs all such rows. */
int vsx_content_doubt(VsxTable *t, sqlite3_value *rowid);
int vsx_content_settle(VsxIndex *index);
/* Rows in doubt: none / those of another definition of the table. */
VsxDoubts *vsx_doubts_new(void);
void vsx_doubts_free(VsxDoubts *doubts);
void vsx_content_inherit(VsxIndex *index, const VsxIndex *former);
/* After a rollback to a savepoint / the end of a transaction. */
void vsx_content_rolled_back(VsxIndex *index, int whole);
/* Index what the content table holds under a rowid now, or nothing if it holds nothing.
 * An error names the row if that is no vector of the column. */
int vsx_content_sync(VsxTable *t, sqlite3_value *rowid);
/* An error that names the rows of the content table whose value is neither NULL nor a
 * vector of its column. SQLITE_OK for a table with rows of its own. */
int vsx_content_check(VsxTable *t);
/* An error that says so if the content table is gone, or the configuration. */
int vsx_usable(VsxTable *t);
/* The same, and an error if changes of the content table were missed. Every road that
 * answers from the index asks one of these. *why is the message. */
int vsx_searchable(VsxTable *t);
int vsx_index_searchable(VsxIndex *index, char **why);

/* ---- shelves.c: pages that the connections of this process share ------------------ */

/* Where they lie: any thread may give back. Tests put faults into it. */
extern VsAlloc vsx_shelf_alloc;
/* The shelf of the file of `schema` for pages like those of the graph: from now on the
 * graph's. None, if that is no file of a name or there is no memory: all works without. */
void vsx_shelf_join(const VsxIndex *index, VsGraph *graph);
/* Closes the graph and leaves its shelf. */
void vsx_shelf_close(VsGraph *graph);

/* ---- stats.c -------------------------------------------------------------------- */

/* Registers the table-valued function vecsql_stats. */
int vsx_register_stats(VsxGlobal *global);

/* ---- functions_embed.c: the host program's models ------------------------------- */

int vsx_register_embed(VsxGlobal *global);
/* The model that embeds a column, NULL if none is known; the caller frees it. */
int vsx_model_of(const VsxIndex *index, const char *column, char **out);
/* SQLITE_ERROR, and a message, if another model has embedded the query than the rows. */
int vsx_check_embedder(const VsxIndex *index, const char *column, sqlite3_value *query,
                       char **err);

/* ---- txn.c: coherence with the database ----------------------------------------- */

/* Makes the graph of a vector column what the database says at this moment. Called at the
 * start of every statement that reads or writes it. */
int vsx_refresh(VsxVector *v);
/* Before the first edit after vsx_refresh: writes the row by which the edits are known to
 * stand. Does nothing if it is there. */
int vsx_mark(VsxVector *v);
/* Writes everything that was not flushed. `commit`: the pages may be folded too. */
int vsx_flush(VsxIndex *index, int commit);
/* xSync: links the rows that wait and writes everything. */
int vsx_commit(VsxIndex *index);
/* xCommit and xRollback: the transaction is over. */
void vsx_ended(VsxIndex *index, int committed);
/* Drops everything that was not flushed: the transaction is gone. Cannot fail. */
void vsx_discard(VsxIndex *index);
/* Brings the pages on disk up to date with the log. */
int vsx_fold(VsxVector *v);
/* Forgets what is known of the database: the next refresh reads everything anew. */
void vsx_unknown(VsxVector *v);
/* A graph of its own, as the database holds it now, for checking what is on disk. */
int vsx_open_fresh(VsxVector *v, VsGraph **out);
/* Something is half done: nothing is read or committed while the newest log row is that
 * one (ver -1: there is none). */
void vsx_poison(VsxVector *v, int rc, sqlite3_int64 ver, sqlite3_int64 stamp);
/* The node that a row of the map (NULL: there is none) and the changes that wait give for
 * a rowid, VS_NIL if none. SQLITE_CORRUPT_VTAB if that node is not the row's. */
int vsx_map_entry(VsxVector *v, sqlite3_int64 rowid, sqlite3_stmt *row, int column,
                  uint32_t *node);
/* Node of a rowid in *node, VS_NIL if it has none. */
int vsx_node_of(VsxVector *v, sqlite3_int64 rowid, uint32_t *node);
VsHooks vsx_hooks(VsxVector *v);

/* ---- link.c: linking rows that wait ---------------------------------------------- */

/* Links the pending rows, all of them / if so many wait that it is due. The graph must be
 * what the database says (vsx_refresh); they mark it (vsx_mark). */
int vsx_link(VsxVector *v);
int vsx_link_due(VsxVector *v);
/* Those of all columns, before a commit. Rows can wait though nothing is unflushed: a
 * savepoint flushed them, and a rollback to it may have taken others back. So the state
 * row is asked first. Where it cannot be read and nothing is unflushed, they go on
 * waiting: what others have written in the transaction commits. */
int vsx_link_all(VsxIndex *index);
/* Hook of the graph: 1 if the running work is to end. */
int vsx_poll(void *vector);
/* Commands: threads=n, progress=function (empty: none), warm. */
int vsx_set_threads(VsxTable *t, const char *text);
int vsx_set_progress(VsxTable *t, const char *name);
int vsx_warm(VsxTable *t);

/* ---- filter.c: which rows a query admits ---------------------------------------- */

#define VSX_COLLATION_MAX 64

typedef struct VsxTerm {
    int stored;                        /* column of the row table, 0: the rowid */
    char op[12];                       /* of the plan word: ">=" */
    int literal;                       /* the other side has no affinity */
    char collation[VSX_COLLATION_MAX]; /* "": the column's */
    int either;                        /* that or the column's */
    sqlite3_value **value;             /* the argument, or all values of an IN */
    int n_values;
} VsxTerm;

/* The arguments of a plan, kept for as long as the cursor may search again. */
typedef struct VsxFilter {
    VsxTerm *term;
    int n_terms;
    VsxRowmap *rowids; /* of rowid-in; NULL if there is none */
} VsxFilter;

/* Registers vecsql_list, by which our statements read the values of a long IN. */
int vsx_register_list(sqlite3 *db);
/* 1 if an IN has so many values that a statement should run once, not once a row. */
int vsx_filter_is_long(const VsxFilter *f);
/* 1 if `column = value` depends on the affinity of what the value came from. */
int vsx_affinity_matters(const VsxColumn *column);
/* 1 if a comparison can be read in several ways: the filter admits what any of them does. */
int vsx_filter_is_ambiguous(const VsxFilter *f, const VsxSchema *def);
/* Adds the predicate of a plan word; SQLITE_OK also for values that admit nothing. */
int vsx_filter_add(VsxFilter *f, const char *word, size_t len, sqlite3_value *arg);
void vsx_filter_clear(VsxFilter *f);
int vsx_filter_is_empty(const VsxFilter *f);
/* The terms as SQL on the row table `r`, " AND (r.c1 = ?3) ", parameters from ?first on;
 * NULL: no memory. vsx_filter_bind binds their values. */
char *vsx_filter_terms(const VsxFilter *f, const VsxIndex *index, int first);
int vsx_filter_bind(const VsxFilter *f, sqlite3_stmt *stmt, int first);
/* A statement that gives (rowid, vector) of every admitted row with a vector. rowid-in is
 * not part of it: ask vsx_filter_has. The caller finalises it. */
int vsx_filter_rows(const VsxFilter *f, VsxVector *v, sqlite3_stmt **out);
int vsx_filter_has(const VsxFilter *f, sqlite3_int64 rowid);
/* A statement that gives the next `limit` rowids that pass from `from` on (that one
 * included), upwards or downwards. The caller finalises it. */
int vsx_filter_scan(const VsxFilter *f, VsxIndex *index, int down, sqlite3_int64 from,
                    int limit, sqlite3_stmt **out);

/* ---- admit.c -------------------------------------------------------------------- */

/* Drops what is kept of the last filter of a vector column. */
void vsx_admit_forget(VsxVector *v);

/* ---- vector.c ------------------------------------------------------------------------
 */

/* A stored value as the vector of a column. SQLITE_CORRUPT_VTAB if it is none. */
int vsx_stored_vector(const VsxVector *v, sqlite3_value *value, VsxVec *out);
/* Makes the index hold `vector` (n = 0: nothing) for a rowid, in memory. `old` is the
 * node that it has for it now; vsx_set_vector looks that up. */
int vsx_put_vector(VsxVector *v, sqlite3_int64 rowid, uint32_t old, const VsxVec *vector);
int vsx_set_vector(VsxVector *v, sqlite3_int64 rowid, const VsxVec *vector);

/* 1 and the rowid if a value is one: an integer, or what compares equal to one. */
int vsx_rowid_value(sqlite3_value *value, sqlite3_int64 *out);

/* ---- vtab objects --------------------------------------------------------------- */

/* plan.c */
int vsx_best_index(sqlite3_vtab *base, sqlite3_index_info *info);
/* cursor.c */
int vsx_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out);
int vsx_close(sqlite3_vtab_cursor *base);
int vsx_filter(sqlite3_vtab_cursor *base, int num, const char *plan, int argc,
               sqlite3_value **argv);
int vsx_next(sqlite3_vtab_cursor *base);
int vsx_eof(sqlite3_vtab_cursor *base);
int vsx_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int i);
int vsx_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid);
int vsx_register_match(sqlite3 *db);
int vsx_find_function(sqlite3_vtab *base, int argc, const char *name,
                      void (**function)(sqlite3_context *, int, sqlite3_value **),
                      void **arg);
/* update.c */
int vsx_update(sqlite3_vtab *base, int argc, sqlite3_value **argv, sqlite3_int64 *rowid);
/* command.c */
int vsx_command(VsxTable *t, sqlite3_value *command);
/* rebuild.c: builds the index of every vector column anew from the row table. */
int vsx_rebuild(VsxTable *t);
/* The same of one vector column; the caller flushes. */
int vsx_rebuild_vector(VsxVector *v);
/* integrity.c */
int vsx_integrity(sqlite3_vtab *base, const char *schema, const char *table, int flags,
                  char **err);
/* Checks and returns in *report the first thing wrong, NULL if all is well. */
int vsx_check(VsxIndex *index, int quick, char **report);

/* ---- errors.c ------------------------------------------------------------------- */

/* SQLite's code for a status of the core. VS_RANGE: no node number or age is left. SQLite
 * says SQLITE_TOOBIG where a limit of the connection stops a statement. */
#define VSX_USED_UP (SQLITE_TOOBIG | 1 << 8)
int vsx_code(const VsxIndex *index, VsStatus st);
/* Sets the message of the virtual table and returns rc. */
int vsx_fail(VsxTable *t, int rc, const char *format, ...);
/* What a code means to the user, to be freed; NULL: the code says it all. */
char *vsx_reason(VsxIndex *index, int rc);
/* Adds a message to a code that has none yet (SQLITE_CORRUPT_VTAB and the like). */
int vsx_explain(VsxTable *t, int rc);

#endif
