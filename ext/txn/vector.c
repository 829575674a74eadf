/*
 * One vector of one column: making the index hold it for a rowid.
 */
#include "csrc/build/pending.h"
#include "csrc/build/nodes.h"
#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/errors.h"
#include "ext/txn/txn.h"
#include "ext/txn/linking.h"
#include "ext/txn/vector.h"

int vsx_put_vector(VsxVector *v, sqlite3_int64 rowid, uint32_t old,
                   const VsxVec *vector) {
    uint32_t node = VS_NIL;
    VSX_TRY(vsx_link_due(v));
    VSX_TRY(vsx_rowmap_reserve(v->map, 1));
    if (old != VS_NIL || vector->n > 0) {
        VSX_TRY(vsx_mark(v));
    }
    if (old == VS_NIL && vector->n == 0) {
        return SQLITE_OK;
    }
    vs_begin(v->graph);
    VsStatus st = old != VS_NIL ? vs_delete(v->graph, old) : VS_OK;
    if (st == VS_OK && vector->n > 0) {
        st = vs_insert_pending(v->graph, rowid, vector->v, &node);
    }
    if (st == VS_OK) {
        vs_done(v->graph);
        vsx_rowmap_put(v->map, rowid, node);
    } else {
        vs_undo(v->graph);
    }
    return vsx_code(v->index, st);
}

int vsx_set_vector(VsxVector *v, sqlite3_int64 rowid, const VsxVec *vector) {
    uint32_t old = VS_NIL;
    VSX_TRY(vsx_refresh(v));
    VSX_TRY(vsx_node_of(v, rowid, &old));
    return vsx_put_vector(v, rowid, old, vector);
}
