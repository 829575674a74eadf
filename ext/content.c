/*
 * content=docs: the rows are those of an ordinary table.
 *
 * The index then has no %_rows. Its columns are those of the content table, its
 * predicates run there, and distances come from the vectors there. Triggers on the
 * content table keep it in step; they say only which row to look at:
 *
 *     AFTER INSERT                INSERT INTO idx(vecsql_sync) VALUES(new.id)
 *     AFTER DELETE                INSERT INTO idx(vecsql_sync) VALUES(old.id)
 *     AFTER UPDATE OF id, vector  both
 *
 * Syncing reads what the content table holds under that rowid now and makes the index
 * agree, so it can be done at any time, any number of times, and can say nothing false.
 * They speak to a hidden column of fixed name, not to the one named after the table, so
 * they go on working after ALTER TABLE RENAME.
 *
 * SQLite fires no delete trigger for a row that REPLACE removes because of another UNIQUE
 * column, unless recursive_triggers is on. And a program may drop the triggers, so that
 * SQLites without this extension can write the table, and sync the rows by itself.
 * Searches skip rows that have gone, or have lost their vector, in either way (knn.c),
 * integrity-check names them, rebuild removes them.
 *
 * The vector of a column is in the content table's column of its name, or in the one that
 * `source=other` names: so an index can be replaced by one over another column without a
 * change to the queries.
 */
#include <string.h>

#include "ext.h"

static const char *const events[] = {"insert", "delete", "update"};

/* ---- columns -------------------------------------------------------------------- */

static int find_column(const VsxSchema *def, const char *name) {
    int i = 0;
    while (i < def->n_columns && sqlite3_stricmp(def->column[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* Is it the column of the content table that a vector column reads: the one that source=
 * names, or else the one of its own name? */
static int is_source(const VsxSchema *def, const char *name) {
    for (int i = 0; i < def->n_columns; i++) {
        const VsxColumn *c = &def->column[i];
        if (c->role == VSX_VECTOR &&
            sqlite3_stricmp(c->source != NULL ? c->source : c->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int add_column(sqlite3 *db, const char *schema, VsxSchema *def, const char *name,
                      const char *type) {
    const char *collation = NULL;
    VsxColumn *grown = sqlite3_realloc64(
        def->column, ((sqlite3_uint64)def->n_columns + 1) * sizeof *grown);
    if (grown == NULL) {
        return SQLITE_NOMEM;
    }
    def->column = grown;
    VsxColumn *c = &grown[def->n_columns++];
    memset(c, 0, sizeof *c);
    int is_key =
        def->content_rowid != NULL && sqlite3_stricmp(name, def->content_rowid) == 0;
    c->role = is_key ? VSX_KEY : VSX_METADATA;
    c->name = sqlite3_mprintf("%s", name);
    c->type = sqlite3_mprintf("%s", is_key ? "INTEGER" : type);
    int rc = sqlite3_table_column_metadata(db, schema, def->content, name, NULL,
                                           &collation, NULL, NULL, NULL);
    if (rc == SQLITE_OK && collation != NULL &&
        sqlite3_stricmp(collation, "BINARY") != 0) {
        c->collation = sqlite3_mprintf("%s", collation);
        rc = c->collation == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    if (rc == SQLITE_ERROR) {
        rc = SQLITE_OK; /* of a view, which is refused for having no rowids */
    }
    return c->name == NULL || c->type == NULL ? SQLITE_NOMEM : rc;
}

/* Whether a table has a rowid (another name of its INTEGER PRIMARY KEY, if it has one):
 * a WITHOUT ROWID table has not. Not asked of pragma_table_list, which connects every
 * virtual table, ours included, and swallows what fails in that. */
static int has_rowid(sqlite3 *db, const char *schema, const char *table, int *out) {
    int rc = sqlite3_table_column_metadata(db, schema, table, "_rowid_", NULL, NULL, NULL,
                                           NULL, NULL);
    *out = rc == SQLITE_OK;
    return rc == SQLITE_ERROR ? SQLITE_OK : rc;
}

/* The INTEGER PRIMARY KEY of the content table: only that is the rowid, unique, and stays
 * when the file is vacuumed. *out is NULL if it has none. */
static int find_key(sqlite3 *db, const char *schema, const char *content, char **out) {
    static const char sql[] =
        "SELECT max(name) FROM pragma_table_info(?1, ?2) WHERE pk > 0 "
        "HAVING count(*) = 1 AND upper(max(type)) = 'INTEGER'";
    sqlite3_stmt *stmt = NULL;
    int rowid = 0;
    *out = NULL;
    int rc = has_rowid(db, schema, content, &rowid);
    rc = rc == SQLITE_OK ? sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) : rc;
    if (rc == SQLITE_OK && rowid) {
        sqlite3_bind_text(stmt, 1, content, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, schema, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW) {
            *out = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
            rc = *out == NULL ? SQLITE_NOMEM : SQLITE_OK;
        }
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

int vsx_content_columns(sqlite3 *db, const char *schema, const char *table,
                        VsxSchema *def, char **err) {
    sqlite3_stmt *stmt = NULL;
    int found = 0, n_vectors = def->n_columns;
    char *key = NULL;
    int rc = find_key(db, schema, def->content, &key);
    int has_key = key != NULL && (def->content_rowid == NULL ||
                                  sqlite3_stricmp(def->content_rowid, key) == 0 ||
                                  sqlite3_stricmp(def->content_rowid, "rowid") == 0);
    if (has_key) {
        sqlite3_free(def->content_rowid);
        def->content_rowid = key;
    } else {
        sqlite3_free(key);
    }
    rc = rc != SQLITE_OK
             ? rc
             : sqlite3_prepare_v2(db, "SELECT name, type FROM pragma_table_info(?1, ?2)",
                                  -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, def->content, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, schema, -1, SQLITE_STATIC);
    }
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        const char *type = (const char *)sqlite3_column_text(stmt, 1);
        if (name == NULL || type == NULL) {
            rc = SQLITE_NOMEM;
        } else if (is_source(def, name)) {
            found++;
        } else if (find_column(def, name) == def->n_columns &&
                   !vsx_schema_reserved(table, name)) {
            rc = add_column(db, schema, def, name, type);
        }
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_OK ? final : rc;
    def->content_lost = rc == SQLITE_OK && (found < n_vectors || !has_key);
    if (def->content_lost) {
        *err = sqlite3_mprintf("content table %s.%s: expected a table with %s%s and "
                               "every vector column of the index",
                               schema, def->content,
                               def->content_rowid == NULL ? "an INTEGER PRIMARY KEY"
                                                          : "the INTEGER PRIMARY KEY ",
                               def->content_rowid == NULL ? "" : def->content_rowid);
        return *err == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    return rc;
}

int vsx_usable(VsxTable *t) {
    const VsxIndex *i = t->index;
    if (i->def->config_lost) {
        return vsx_fail(
            t, SQLITE_CORRUPT_VTAB,
            "%s.%s: its configuration is damaged; the rows are kept: INSERT INTO "
            "%s(%s) VALUES('rebuild') makes the index anew as it is declared",
            i->schema, i->table, i->table, i->table);
    }
    return i->def->content_lost ? vsx_fail(t, SQLITE_ERROR,
                                           "%s.%s: its content table %s, or a column "
                                           "that the index needs, does "
                                           "not exist any more",
                                           i->schema, i->table, i->def->content)
                                : SQLITE_OK;
}

/* ---- triggers ------------------------------------------------------------------- */

static int attach_one(const VsxIndex *i, const char *event, const char *of,
                      const char *body) {
    return vsx_exec(
        i->global->db,
        "CREATE TRIGGER \"%w\".\"%w_vecsql_%s\" AFTER %s%s ON \"%w\" BEGIN %s END",
        i->schema, i->table, event, event, of, i->def->content, body);
}

int vsx_content_attach(VsxIndex *index) {
    const VsxSchema *def = index->def;
    const char *key = vsx_rowid_name(def);
    sqlite3_str *of = sqlite3_str_new(index->global->db);
    sqlite3_str_appendall(of, " OF ");
    if (def->key >= 0) {
        sqlite3_str_appendf(of, "%s, ", key);
    }
    for (int i = 0; i < def->n_vectors; i++) {
        sqlite3_str_appendf(of, i == 0 ? "%s" : ", %s",
                            def->column[def->vector[i]].source);
    }
    char *columns = sqlite3_str_finish(of);
    char *added = sqlite3_mprintf("INSERT INTO \"%w\"(vecsql_sync) VALUES(new.%s);",
                                  index->table, key);
    char *removed = sqlite3_mprintf("INSERT INTO \"%w\"(vecsql_sync) VALUES(old.%s);",
                                    index->table, key);
    char *both = sqlite3_mprintf("%s%s", removed, added);
    int rc = columns == NULL || added == NULL || removed == NULL || both == NULL
                 ? SQLITE_NOMEM
                 : SQLITE_OK;
    rc = rc == SQLITE_OK ? attach_one(index, events[0], "", added) : rc;
    rc = rc == SQLITE_OK ? attach_one(index, events[1], "", removed) : rc;
    rc = rc == SQLITE_OK ? attach_one(index, events[2], columns, both) : rc;
    /* the names of the triggers outlive a renaming of the index */
    rc = rc == SQLITE_OK
             ? vsx_exec(index->global->db,
                        "REPLACE INTO \"%w\".\"%w_config\" VALUES('triggers', %Q)",
                        index->schema, index->table, index->table)
             : rc;
    sqlite3_free(columns);
    sqlite3_free(added);
    sqlite3_free(removed);
    sqlite3_free(both);
    return rc;
}

/* The name that the triggers were made under: that of the configuration, which outlives a
 * renaming; where that is lost, the table's. */
static int trigger_name(VsxIndex *index, char **out) {
    sqlite3_stmt *stmt = NULL;
    char *sql =
        sqlite3_mprintf("SELECT value FROM \"%w\".\"%w_config\" WHERE key = 'triggers'",
                        index->schema, index->table);
    int rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v2(index->global->db, sql, -1, &stmt, NULL);
    sqlite3_free(sql);
    const char *name = index->table;
    if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW &&
        sqlite3_column_type(stmt, 0) == SQLITE_TEXT) {
        name = (const char *)sqlite3_column_text(stmt, 0);
    }
    *out = sqlite3_mprintf("%s", name);
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_OK ? final : rc;
    rc = rc == SQLITE_ERROR || (rc & 0xFF) == SQLITE_CORRUPT ? SQLITE_OK : rc;
    return rc == SQLITE_OK && *out == NULL ? SQLITE_NOMEM : rc;
}

int vsx_content_detach(VsxIndex *index) {
    char *name = NULL;
    int rc = trigger_name(index, &name);
    for (int e = 0; rc == SQLITE_OK && e < 3; e++) {
        rc = vsx_exec(index->global->db, "DROP TRIGGER IF EXISTS \"%w\".\"%w_vecsql_%s\"",
                      index->schema, name, events[e]);
    }
    sqlite3_free(name);
    return rc;
}

/* ---- syncing -------------------------------------------------------------------- */

static int sync_vector(VsxTable *t, VsxVector *v, sqlite3_int64 rowid) {
    VsxVec vector = {0};
    sqlite3_stmt *stmt = NULL;
    char *err = NULL;
    const VsxColumn *column = &t->index->def->column[t->index->def->vector[v->number]];
    int rc = vsx_stmt(v, VSX_SQL_VECTOR, &stmt);
    if (rc != SQLITE_OK) {
        return rc;
    }
    sqlite3_bind_int64(stmt, 1, rowid);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        rc = vsx_vector_stored(sqlite3_column_value(stmt, 0), &column->params.code,
                               &vector, &err);
        if (rc == SQLITE_ERROR) {
            rc = vsx_fail(t, rc, "%s.%s: %s", t->index->def->content, column->name, err);
        }
        sqlite3_free(err);
    }
    rc = vsx_reset(stmt, rc);
    rc = rc == SQLITE_OK ? vsx_set_vector(v, rowid, &vector) : rc;
    vsx_vector_free(&vector);
    return rc;
}

int vsx_content_sync(VsxTable *t, sqlite3_value *rowid) {
    int rc = vsx_usable(t);
    if (rc == SQLITE_OK && sqlite3_value_type(rowid) != SQLITE_INTEGER) {
        rc = vsx_fail(t, SQLITE_MISMATCH, "%s: vecsql_sync needs an integer rowid",
                      t->index->table);
    }
    for (int i = 0; rc == SQLITE_OK && i < t->index->def->n_vectors; i++) {
        rc = sync_vector(t, &t->index->vector[i], sqlite3_value_int64(rowid));
    }
    return rc;
}
