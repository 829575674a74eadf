/* Stored vectors, row after row; see stored.h. */
#include "ext/query/reader.h"

#include <string.h>

#include "ext/table/shadow.h"
#include "ext/table/loader.h"

static size_t vector_bytes(const VsxVector *v) {
    const VsCodecParams *p = &v->graph->params.code;
    return vs_element_bytes(p->element, p->dims);
}

void vsx_reader_rest(VsxReader *r) {
    sqlite3_blob_close(r->blob);
    r->blob = NULL;
    r->cache = NULL;
    r->asked = 0;
}

void vsx_reader_free(VsxReader *r) {
    vsx_reader_rest(r);
    sqlite3_free(r->room);
    r->room = NULL;
}

/* *done is 0 if a statement has to say what there is. */
static int read_blob(VsxReader *r, const VsxVector *v, sqlite3_int64 rowid, int *done) {
    const VsxIndex *i = v->index;
    int bytes = (int)vector_bytes(v);
    int rc = r->blob != NULL
                 ? sqlite3_blob_reopen(r->blob, rowid)
                 : sqlite3_blob_open(i->global->db, i->schema, i->row_table,
                                     vsx_column_of(v)->source, rowid, 0, &r->blob);
    if (rc == SQLITE_OK && sqlite3_blob_bytes(r->blob) != bytes) {
        rc = SQLITE_CORRUPT_VTAB;
    }
    rc = rc == SQLITE_OK ? sqlite3_blob_read(r->blob, r->room, bytes, 0) : rc;
    if (rc != SQLITE_OK) {
        sqlite3_blob_close(r->blob); /* a handle that failed moves no more */
        r->blob = NULL;
    }
    *done = rc != SQLITE_ERROR && rc != SQLITE_ABORT;
    return *done ? rc : SQLITE_OK;
}

static int read_statement(VsxReader *r, VsxVector *v, sqlite3_int64 rowid, int *found) {
    VsxVec vector;
    int rc = vsx_row_vector(v, rowid, &vector, NULL);
    *found = vector.n > 0;
    if (*found) {
        memcpy(r->room, vector.v, vector_bytes(v));
    }
    vsx_vector_free(&vector);
    return rc;
}

int vsx_reader_get(VsxReader *r, VsxVector *v, sqlite3_int64 rowid, const void **out) {
    int done = 0, found = 1, rc = SQLITE_OK;
    if (r->room == NULL && (r->room = sqlite3_malloc64(vector_bytes(v))) == NULL) {
        return SQLITE_NOMEM;
    }
    if (v->index->def->content == NULL && sqlite3_blob_open != NULL) {
        rc = read_blob(r, v, rowid, &done);
    }
    if (rc == SQLITE_OK && !done) {
        rc = read_statement(r, v, rowid, &found);
    }
    *out = rc == SQLITE_OK && found ? r->room : NULL;
    return rc;
}

VsxCache *vsx_reader_cache(VsxReader *r, VsxVector *v) {
    if (!r->asked) {
        r->cache = vsx_cache_of(v);
        r->asked = 1;
    }
    return r->cache;
}

int vsx_reader_node(VsxReader *r, VsxVector *v, VsxNodeRow row, const void **out,
                    int *read) {
    VsxCache *cache = vsx_reader_cache(r, v);
    *out = cache != NULL ? vsx_cache_get(cache, row.node, row.seq) : NULL;
    *read = *out == NULL;
    int rc = *read ? vsx_reader_get(r, v, row.rowid, out) : SQLITE_OK;
    if (*read && rc == SQLITE_OK && *out != NULL && cache != NULL) {
        vsx_cache_put(cache, row.node, row.seq, *out);
    }
    return rc;
}
