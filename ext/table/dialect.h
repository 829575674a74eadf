/*
 * Where the modules differ. Tables of `vecsql` and of `vec0` are the same but for what their
 * dialect says; a NULL in it means that there is nothing to do.
 *
 * The dialect of vec0 lies in ext/vec0, and nothing below that folder names it.
 */
#ifndef VSX_TABLE_DIALECT_H
#define VSX_TABLE_DIALECT_H

#include "ext/table/index.h"

/* What a vector of a statement is for. */
typedef enum VsxUse { VSX_INSERTED, VSX_UPDATED, VSX_QUERIED } VsxUse;

/* What gives the tie of a row: which of equal distances comes first. */
typedef struct VsxTies {
    const VsxDialect *dialect;
    sqlite3_uint64 first; /* the lowest rowid */
    sqlite3_uint64 chunk; /* rows of a chunk, 0: all are one */
} VsxTies;

struct VsxDialect {
    int float32;    /* distances are float32, and bounds are compared with them as such */
    int limit_is_k; /* LIMIT is the k of a query, and k cannot be read */
    int key_after_k; /* key = value is tested on the k nearest */
    int last_ever;   /* a row without a key follows the highest that there ever was */
    int no_command; /* no column is named after the table; MATCH on its right is SQLite's */

    /* The statement for sqlite3_declare_vtab; NULL when out of memory. */
    char *(*declaration)(const VsxSchema *schema, const char *table);
    /* A vector that a statement gives for a column. The caller frees *out; n = 0: none.
     * Any error has its message in the table. */
    int (*vector)(VsxTable *t, const VsxColumn *c, VsxUse use, sqlite3_value *value,
                  VsxVec *out);
    /* The k of a query. NULL: any whole number that is not negative. */
    int (*k)(VsxTable *t, sqlite3_value *value, sqlite3_int64 *k);
    /* Another row has the value of the key column `c` (NULL: the rowid): the error. */
    int (*conflict)(VsxTable *t, const VsxColumn *c);
    /* An UPDATE changes a TEXT key: the error. NULL: it may. */
    int (*fixed_key)(VsxTable *t);
    /* The values of a new row. NULL: all are right. */
    int (*check_row)(VsxTable *t, sqlite3_value **value, int insert);
    /* NULL: vs_metric_distance. */
    double (*distance)(VsMetric metric, VsElement element, const void *a, const void *b,
                       size_t dims);
    /* NULL: 0 for all rows, whose rowids decide. */
    sqlite3_uint64 (*tie)(const VsxTies *ties, sqlite3_int64 rowid);
};

/* That of the module vecsql. */
extern const VsxDialect vsx_vecsql;

#endif
