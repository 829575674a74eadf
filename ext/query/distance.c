/* The distances of a table, and the order of equal ones; see distance.h. */
#include "ext/query/distance.h"

#include "csrc/vector/metric.h"
#include "ext/table/shadow.h"

double vsx_distance(const VsxVector *v, const void *query, const void *stored) {
    const VsCodecParams *p = &v->graph->params.code;
    const VsxDialect *dialect = v->index->def->dialect;
    double distance =
        dialect->distance != NULL
            ? dialect->distance(p->metric, p->element, stored, query, p->dims)
            : vs_metric_distance(p->metric, p->element, query, stored, p->dims);
    return dialect->float32 ? (double)(float)distance : distance;
}

/* Sums of whole numbers are exact in any order; other sums are the dialect's own. */
int vsx_order_distance(const VsxVector *v, float order, double *out) {
    const VsCodecParams *p = &v->graph->params.code;
    const VsxDialect *dialect = v->index->def->dialect;
    int whole = p->element == VS_INT8 || p->element == VS_BIT;
    if ((dialect->distance != NULL && !whole) || !vs_order_tells(p, order, out)) {
        return 0;
    }
    *out = dialect->float32 ? (double)(float)*out : *out;
    return 1;
}

int vsx_ties_open(VsxIndex *index, VsxTies *out) {
    sqlite3_stmt *stmt = NULL;
    const VsxSchema *def = index->def;
    *out = (VsxTies){.dialect = def->dialect, .chunk = (sqlite3_uint64)def->chunk_size};
    for (int i = 0; i < def->n_columns; i++) {
        out->chunk = def->column[i].partition ? 0 : out->chunk;
    }
    if (def->dialect->tie == NULL) {
        return SQLITE_OK;
    }
    sqlite3_int64 first = 0;
    int rc = vsx_row_stmt(index, VSX_ROW_FIRST, &stmt);
    rc = vsx_number(stmt, rc, &first);
    out->first = (sqlite3_uint64)first;
    return rc;
}

sqlite3_uint64 vsx_tie(const VsxTies *ties, sqlite3_int64 rowid) {
    return ties->dialect->tie != NULL ? ties->dialect->tie(ties, rowid) : 0;
}
