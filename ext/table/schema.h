/*
 * What CREATE VIRTUAL TABLE declares.
 */
#ifndef VSX_TABLE_SCHEMA_H
#define VSX_TABLE_SCHEMA_H

#include "csrc/graph/graph.h"
#include "ext/base/value.h"

#define VSX_MAX_VECTORS 16
#define VSX_MAX_COLUMNS 1000

typedef enum VsxRole {
    VSX_KEY,      /* id INTEGER PRIMARY KEY: the rowid under another name */
    VSX_TEXT_KEY, /* id TEXT PRIMARY KEY: a unique column; the rowid is ours to choose */
    VSX_VECTOR,   /* embedding FLOAT[n] ... */
    VSX_METADATA, /* filterable */
    VSX_AUXILIARY /* +body TEXT */
} VsxRole;

typedef struct VsxDialect VsxDialect;

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
    int strict;      /* what a value must be (VsxStrict in vec0.h) */
    int partition;   /* declared as a partition key */
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
    char *triggers;      /* what the names of its triggers begin with (ext/content) */
    char *detached;      /* it has none on purpose (ext/content) */
    int content_lost;    /* that table, or a vector column of it, does not exist */
    int config_lost;     /* %_config is damaged */
    int format;          /* that the file had when it was opened */
    const VsxDialect *dialect; /* of its module (dialect.h) */
    int chunk_size;            /* chunk_size= */
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
 * table = NULL no name is reserved. The dialect is for the caller to set. The
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

#endif
