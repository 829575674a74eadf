/*
 * xUpdate: INSERT, UPDATE and DELETE.
 *
 * A single-row statement inside BEGIN has no statement journal: when xUpdate fails,
 * nobody takes back what it wrote. So it goes: check everything, change the graphs under
 * vs_begin, write one row of %_rows (one SQL statement, atomic by itself), and then only
 * what cannot fail (vs_done, the rowmap). If anything before fails, vs_undo puts the
 * graphs back, which cannot fail either.
 */
#include <limits.h>
#include <string.h>

#include "csrc/build/pending.h"
#include "csrc/build/nodes.h"
#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/dialect.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/table/doubts.h"
#include "ext/txn/txn.h"
#include "ext/txn/linking.h"
#include "ext/content/content.h"
#include "ext/write/update.h"
#include "ext/write/command.h"

/* What happens to one vector column. */
typedef struct VectorChange {
    VsxVec vector;        /* the new vector; n = 0: none */
    int keep;             /* an UPDATE leaves it alone */
    uint32_t old_node;    /* to delete: of the row itself, VS_NIL if none */
    uint32_t victim_node; /* to delete: of the row that is replaced */
    uint32_t new_node;
} VectorChange;

typedef struct Change {
    VsxTable *t;
    int has_old, has_new, replaces;
    sqlite3_int64 old_rowid, new_rowid;
    sqlite3_int64 victim; /* the row that is replaced */
    sqlite3_value **argv; /* declared columns, NULL for DELETE */
    VectorChange vector[VSX_MAX_VECTORS];
} Change;

/* ---- checking ------------------------------------------------------------------- */

static const VsxColumn *vector_column(const VsxIndex *index, int i) {
    return &index->def->column[index->def->vector[i]];
}

static int check_vector(Change *c, int i, sqlite3_value *value) {
    const VsxIndex *index = c->t->index;
    const VsxColumn *column = vector_column(index, i);
    VectorChange *change = &c->vector[i];
    if (sqlite3_value_nochange(value)) {
        change->keep = 1;
        return SQLITE_OK;
    }
    return index->def->dialect->vector(
        c->t, column, c->has_old ? VSX_UPDATED : VSX_INSERTED, value, &change->vector);
}

/* Vectors of all columns, and no value for a hidden column. */
static int check_values(Change *c) {
    const VsxIndex *index = c->t->index;
    static const char *const hidden[] = {"distance", "k", "ef_search", "exact"};
    for (int i = 0; i < VSX_COMMAND; i++) {
        if (sqlite3_value_type(c->argv[index->def->n_columns + i]) != SQLITE_NULL &&
            !sqlite3_value_nochange(c->argv[index->def->n_columns + i]) && !c->has_old) {
            return vsx_fail(c->t, SQLITE_ERROR,
                            "%s.%s: a value was given for a hidden column", index->table,
                            hidden[i]);
        }
    }
    for (int i = 0; i < index->def->n_vectors; i++) {
        VSX_TRY(check_vector(c, i, c->argv[index->def->vector[i]]));
    }
    return SQLITE_OK;
}

static int row_exists(VsxIndex *index, sqlite3_int64 rowid, int *out) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_row_stmt(index, VSX_ROW_EXISTS, &stmt));
    int rc = vsx_seen(stmt, 1, vsx_step_with(stmt, rowid));
    *out = rc == SQLITE_ROW;
    return vsx_reset(stmt, rc);
}

/* The key column wins over rowid, unless it is not what changed. */
static int choose_rowid(Change *c, sqlite3_value *rowid) {
    VsxIndex *index = c->t->index;
    const VsxSchema *def = index->def;
    sqlite3_value *given = rowid;
    if (def->key >= 0) {
        sqlite3_value *key = c->argv[def->key];
        int null = sqlite3_value_type(key) == SQLITE_NULL;
        if (!null && !vsx_rowid_value(key, &c->new_rowid)) {
            return vsx_fail(c->t, SQLITE_MISMATCH,
                            "%s.%s: expected an integer key, got '%s'", index->table,
                            def->column[def->key].name, sqlite3_value_text(key));
        }
        if (c->has_old && null) {
            return vsx_fail(c->t, SQLITE_MISMATCH, "%s.%s: a key cannot become NULL",
                            index->table, def->column[def->key].name);
        }
        if (!null && !(c->has_old && sqlite3_value_int64(key) == c->old_rowid)) {
            given = key;
        }
    }
    if (sqlite3_value_type(given) != SQLITE_NULL) {
        return vsx_rowid_value(given, &c->new_rowid)
                   ? SQLITE_OK
                   : vsx_fail(c->t, SQLITE_MISMATCH,
                              "%s.rowid: expected an integer, got '%s'", index->table,
                              sqlite3_value_text(given));
    }
    if (c->has_old) {
        return vsx_fail(c->t, SQLITE_MISMATCH, "%s.rowid: a key cannot become NULL",
                        index->table);
    }
    sqlite3_stmt *stmt = NULL;
    sqlite3_int64 last = 0;
    int rc = vsx_row_stmt(index, VSX_ROW_LAST, &stmt);
    rc = vsx_number(stmt, rc, &last);
    if (rc == SQLITE_OK && last == LLONG_MAX) {
        return vsx_fail(c->t, SQLITE_ERROR, "%s: no rowid is left above the highest",
                        index->table);
    }
    c->new_rowid = last + 1;
    return rc;
}

/* Another row has the new rowid: replace it if the statement says so. */
static int check_conflict(Change *c) {
    VsxIndex *index = c->t->index;
    const VsxSchema *def = index->def;
    int exists = 0;
    if (c->has_old && c->new_rowid == c->old_rowid) {
        return SQLITE_OK;
    }
    int rc = row_exists(index, c->new_rowid, &exists);
    if (rc != SQLITE_OK || !exists) {
        return rc;
    }
    if (sqlite3_vtab_on_conflict(index->global->db) != SQLITE_REPLACE) {
        return def->dialect->conflict(c->t,
                                      def->key >= 0 ? &def->column[def->key] : NULL);
    }
    c->replaces = 1;
    c->victim = c->new_rowid;
    return SQLITE_OK;
}

static int find_key(VsxIndex *index, sqlite3_value *key, int *found,
                    sqlite3_int64 *rowid) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_row_stmt(index, VSX_ROW_FIND, &stmt));
    int rc = sqlite3_bind_value(stmt, 1, key);
    rc = rc == SQLITE_OK ? vsx_seen(stmt, 2, sqlite3_step(stmt)) : rc;
    *found = rc == SQLITE_ROW;
    *rowid = *found ? sqlite3_column_int64(stmt, 0) : 0;
    rc = vsx_reset(stmt, rc);
    sqlite3_clear_bindings(stmt);
    return rc;
}

/* A row with that TEXT key is another row: replace it if the statement says so. Its rowid
 * is not ours, so it is a row of its own that goes (by the unique index of %_rows). */
static int check_text_key(Change *c, sqlite3_value *rowid) {
    VsxIndex *index = c->t->index;
    const VsxColumn *column = &index->def->column[index->def->text_key];
    sqlite3_value *key = c->argv[index->def->text_key];
    sqlite3_int64 other = 0;
    int found = 0;
    if (c->has_old ? c->new_rowid != c->old_rowid
                   : sqlite3_value_type(rowid) != SQLITE_NULL) {
        return vsx_fail(c->t, SQLITE_MISMATCH,
                        "%s.rowid: a table with a TEXT key chooses its rowids itself",
                        index->table);
    }
    if (sqlite3_value_nochange(key)) {
        return SQLITE_OK;
    }
    if (sqlite3_value_type(key) != SQLITE_TEXT) {
        return vsx_fail(c->t, SQLITE_MISMATCH, "%s.%s: expected a TEXT key, got %s",
                        index->table, column->name,
                        vsx_type_name(sqlite3_value_type(key)));
    }
    int rc = find_key(index, key, &found, &other);
    int same = found && c->has_old && other == c->old_rowid;
    const VsxDialect *dialect = index->def->dialect;
    if (rc == SQLITE_OK && dialect->fixed_key != NULL && c->has_old && !same) {
        return dialect->fixed_key(c->t);
    }
    if (rc != SQLITE_OK || !found || same) {
        return rc;
    }
    if (sqlite3_vtab_on_conflict(index->global->db) != SQLITE_REPLACE) {
        return dialect->conflict(c->t, column);
    }
    c->replaces = 1;
    c->victim = other;
    return SQLITE_OK;
}

/* Whether the row to change is still there: since the statement chose its rows, an UPDATE
 * OR REPLACE may have replaced it, or a function of the program may have deleted it. */
static int check_old(const Change *c, int *gone) {
    int exists = 1, rc = SQLITE_OK;
    if (c->has_old && c->has_new) {
        rc = row_exists(c->t->index, c->old_rowid, &exists);
    }
    *gone = !exists;
    return rc;
}

static int check_change(Change *c, sqlite3_value *rowid) {
    const VsxSchema *def = c->t->index->def;
    VSX_TRY(check_values(c));
    VSX_TRY(choose_rowid(c, rowid));
    VSX_TRY(def->text_key >= 0 ? check_text_key(c, rowid) : check_conflict(c));
    return def->dialect->check_row != NULL && !c->has_old
               ? def->dialect->check_row(c->t, c->argv, 1)
               : SQLITE_OK;
}

/* ---- changing ------------------------------------------------------------------- */

/* When the key changes, a vector that is kept moves along: read it, for it gets a new
 * node. */
static int read_kept(Change *c, int i) {
    return vsx_row_vector(&c->t->index->vector[i], c->old_rowid, &c->vector[i].vector,
                          NULL);
}

/* Finds the nodes that go, with the graph at the state of the database. */
static int find_nodes(Change *c, int i) {
    VsxVector *v = &c->t->index->vector[i];
    VectorChange *change = &c->vector[i];
    int moves = c->has_old && c->has_new && c->new_rowid != c->old_rowid;
    change->old_node = change->victim_node = change->new_node = VS_NIL;
    VSX_TRY(vsx_refresh(v));
    if (!change->keep || moves || c->replaces) {
        VSX_TRY(vsx_link_due(v));
    }
    if (change->keep && moves) {
        VSX_TRY(read_kept(c, i));
    }
    if (c->has_old && (!change->keep || moves)) {
        VSX_TRY(vsx_node_of(v, c->old_rowid, &change->old_node));
    }
    if (c->replaces) {
        VSX_TRY(vsx_node_of(v, c->victim, &change->victim_node));
    }
    if (change->old_node != VS_NIL || change->victim_node != VS_NIL ||
        change->vector.n > 0) {
        VSX_TRY(vsx_mark(v));
    }
    return vsx_rowmap_reserve(v->map, 3);
}

static VsStatus change_graph(const Change *c, VectorChange *change, VsGraph *g) {
    VsStatus st = VS_OK;
    vs_begin(g);
    if (change->old_node != VS_NIL) {
        st = vs_delete(g, change->old_node);
    }
    if (st == VS_OK && change->victim_node != VS_NIL) {
        st = vs_delete(g, change->victim_node);
    }
    if (st == VS_OK && change->vector.n > 0) {
        st = vs_insert_pending(g, c->new_rowid, change->vector.v, &change->new_node);
    }
    return st;
}

/* Cannot fail: the room is reserved. */
static void change_map(const Change *c, const VectorChange *change, VsxRowmap *map) {
    if (change->old_node != VS_NIL) {
        vsx_rowmap_put(map, c->old_rowid, VS_NIL);
    }
    if (change->victim_node != VS_NIL) {
        vsx_rowmap_put(map, c->victim, VS_NIL);
    }
    if (change->new_node != VS_NIL) {
        vsx_rowmap_put(map, c->new_rowid, change->new_node);
    }
}

static int bind_row(const Change *c, sqlite3_stmt *stmt) {
    const VsxSchema *def = c->t->index->def;
    int rc = sqlite3_bind_int64(stmt, 1, c->new_rowid);
    for (int i = 0; rc == SQLITE_OK && i < def->n_columns; i++) {
        const VsxColumn *column = &def->column[i];
        int at = column->stored + 1;
        if (column->role == VSX_KEY) {
            continue;
        }
        const VectorChange *change = &c->vector[column->vector];
        int is_vector = column->role == VSX_VECTOR;
        int keep = is_vector ? change->keep : sqlite3_value_nochange(c->argv[i]);
        if (is_vector && !keep && change->vector.n > 0) {
            rc = sqlite3_bind_blob64(
                stmt, at, change->vector.v,
                vs_element_bytes(change->vector.element, change->vector.n),
                SQLITE_STATIC);
        } else if (!is_vector && !keep) {
            rc = sqlite3_bind_value(stmt, at, c->argv[i]);
        }
        if (rc == SQLITE_OK && c->has_old) {
            rc = sqlite3_bind_int(stmt, def->n_stored + at, !keep);
        }
    }
    if (rc == SQLITE_OK && c->has_old) {
        rc = sqlite3_bind_int64(stmt, def->n_stored + 1, c->old_rowid);
    }
    return rc;
}

static int write_row(const Change *c) {
    sqlite3_stmt *stmt = NULL;
    VsxRowSql which = !c->has_new  ? VSX_ROW_DELETE
                      : c->has_old ? VSX_ROW_UPDATE
                                   : VSX_ROW_REPLACE;
    VSX_TRY(vsx_row_stmt(c->t->index, which, &stmt));
    int rc = c->has_new ? bind_row(c, stmt) : sqlite3_bind_int64(stmt, 1, c->old_rowid);
    return vsx_write_after(stmt, rc);
}

static int make_change(Change *c) {
    VsxIndex *index = c->t->index;
    int rc = SQLITE_OK, n = index->def->n_vectors, begun = 0;
    for (int i = 0; rc == SQLITE_OK && i < n; i++) {
        rc = find_nodes(c, i);
    }
    for (; rc == SQLITE_OK && begun < n; begun++) {
        rc = vsx_code(index,
                      change_graph(c, &c->vector[begun], index->vector[begun].graph));
    }
    rc = rc == SQLITE_OK ? write_row(c) : rc;
    for (int i = 0; i < begun; i++) {
        if (rc == SQLITE_OK) {
            vs_done(index->vector[i].graph);
            change_map(c, &c->vector[i], index->vector[i].map);
        } else {
            vs_undo(index->vector[i].graph);
        }
    }
    return rc;
}

/* ---- xUpdate -------------------------------------------------------------------- */

/* A statement that does not change a row: a command, or a trigger's word. *taken: it was
 * one. What else it says would be lost. */
static int special_insert(VsxTable *t, int argc, sqlite3_value **argv, int *taken) {
    sqlite3_value **hidden = argv + 2 + t->index->def->n_columns;
    int rc = SQLITE_OK, n_given = 0;
    int command = sqlite3_value_type(hidden[VSX_COMMAND]) != SQLITE_NULL;
    int content = t->index->def->content != NULL;
    int sync = content && sqlite3_value_type(hidden[VSX_SYNC]) != SQLITE_NULL;
    int doubt = content && sqlite3_value_type(hidden[VSX_REPLACED]) != SQLITE_NULL;
    for (int i = 1; i < argc; i++) {
        n_given += sqlite3_value_type(argv[i]) != SQLITE_NULL;
    }
    *taken = command || sync || doubt;
    if (*taken && n_given > 1) {
        rc = vsx_fail(t, SQLITE_ERROR, "%s: a command takes no other values",
                      t->index->table);
    } else if (*taken) {
        t->index->writing++;
        rc = command ? vsx_command(t, hidden[VSX_COMMAND])
             : sync  ? vsx_content_sync(t, hidden[VSX_SYNC])
                     : vsx_doubts_add(t->index->doubts,
                                      sqlite3_value_int64(hidden[VSX_REPLACED]));
        t->index->writing--;
    }
    return rc;
}

int vsx_update(sqlite3_vtab *base, int argc, sqlite3_value **argv, sqlite3_int64 *rowid) {
    VsxTable *t = (VsxTable *)base;
    const VsxSchema *def = t->index->def;
    Change c = {.t = t,
                .has_old = sqlite3_value_type(argv[0]) != SQLITE_NULL,
                .has_new = argc > 1,
                .old_rowid = sqlite3_value_int64(argv[0])};
    int rc = SQLITE_OK, taken = 0, gone = 0;
    if (t->index->linking) {
        return vsx_fail(t, SQLITE_LOCKED, "%s: a progress function cannot change it",
                        t->index->table);
    }
    if (c.has_new && !c.has_old) {
        rc = special_insert(t, argc, argv, &taken);
    }
    if (taken) {
        return vsx_explain(t, rc);
    }
    if (def->content != NULL) {
        return vsx_fail(t, SQLITE_READONLY,
                        "%s is an index over %s: change %s, and it follows",
                        t->index->table, def->content, def->content);
    }
    rc = vsx_usable(t);
    rc = rc == SQLITE_OK ? check_old(&c, &gone) : rc;
    if (rc == SQLITE_OK && !gone && c.has_new) {
        c.argv = argv + 2;
        rc = check_change(&c, argv[1]);
    }
    t->index->writing++;
    rc = rc == SQLITE_OK && !gone ? make_change(&c) : rc;
    t->index->writing--;
    if (rc == SQLITE_OK && c.has_new) {
        *rowid = c.new_rowid;
    }
    for (int i = 0; i < def->n_vectors; i++) {
        vsx_vector_free(&c.vector[i].vector);
    }
    return vsx_explain(t, rc);
}
