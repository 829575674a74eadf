/*
 * Tables that table-valued functions read: found by name, and held still meanwhile.
 */
#ifndef VSX_QUERY_VISIT_H
#define VSX_QUERY_VISIT_H

#include "ext/table/index.h"

/* A table that a function reads. The statement that called the function holds no read
 * transaction on it, so a visit does: everything until its end sees one snapshot, and no
 * read takes locks of its own. The statement of a visit is kept for the next one: while SQLite
 * did not have to prepare it again the schema is as it was, and the name need not be looked up
 * (25 of 55 us of a vecsql_search with one query). */
typedef struct VsxVisit {
    VsxIndex *index;
    sqlite3_stmt *snapshot;
} VsxVisit;

/* Visits a table by the name that a user gives: of main or temp, or schema.table. It is
 * connected if it was not. SQLITE_ERROR and a message (sqlite3_mprintf) if there is none.
 * *out is to be closed in any case. */
int vsx_visit(VsxGlobal *global, const char *name, VsxVisit *out, char **err);
int vsx_visit_index(VsxIndex *index, VsxVisit *out);
void vsx_visit_end(VsxVisit *visit);

/* Its vector column by name; NULL: the only one. SQLITE_ERROR and a message likewise. */
int vsx_find_vector(VsxIndex *index, const char *name, VsxVector **out, char **err);

#endif
