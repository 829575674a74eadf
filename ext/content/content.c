/*
 * content=docs: the rows are those of an ordinary table.
 *
 * The index then has no %_rows. Its columns are those of the content table, its
 * predicates run there, and distances come from the vectors there. Triggers on the
 * content table keep it in step; they say only which row to look at:
 *
 *     insert         AFTER INSERT             vecsql_sync = new.id
 *     delete         AFTER DELETE             vecsql_sync = old.id
 *     update         AFTER UPDATE OF vector   vecsql_sync = new.id
 *     move           AFTER UPDATE, other id   vecsql_sync = old.id, then new.id
 *     unique_insert  BEFORE INSERT            vecsql_replaced = rows with a unique value
 *     unique_update  BEFORE UPDATE            of the new row
 *
 * `SET rowid = 9` names no column of the table, so no UPDATE OF sees it: hence `move`. A
 * generated column is never named: then `update` compares the old vector with the new, and
 * `unique_update` the old row.
 *
 * REPLACE removes the rows that have a unique value of the new row, and fires no delete
 * trigger for them unless recursive_triggers is on. So `unique_*` name them before they
 * go, and the next word of a trigger or the commit looks whether they have gone. (Before an
 * INSERT that names no key, new.id is -1, which can be the key of another row.) Unique
 * indexes over expressions or a part of the rows are not looked at, nor are those that are
 * created later: `rebuild` makes the triggers anew. Rows that go unseen are skipped by
 * searches (knn.c), named by integrity-check and removed by rebuild.
 *
 * Syncing reads what the content table holds under that rowid now and makes the index
 * agree, so it can be done at any time, any number of times, and can say nothing false.
 * The triggers speak to hidden columns of fixed names, not to the one named after the
 * table, so they go on working after ALTER TABLE RENAME.
 *
 * Three settings in %_config belong to this:
 *
 *     triggers   the names of the triggers are this and "_vecsql_insert" and so on
 *     content    the table, where that is not the declared one: it was renamed
 *     detached   the triggers were dropped on purpose, so that SQLites without this
 *                extension can write the table (the command `detach`). The value is the
 *                prefix of other triggers that note the changes, "" if there are none.
 *
 * A table that is made anew (CREATE new, INSERT SELECT, DROP old, RENAME: what migrations
 * do) loses its triggers, and the index would go stale without a word. So a search looks
 * for them whenever the schema has changed since it looked last, and refuses to answer if
 * they are not all there. Only `rebuild` makes them again: rows may have changed. `attach`
 * undoes `detach` and nothing else. It compares all rows with the index first, unless
 * triggers noted the changes meanwhile, and rebuilds the index if any has changed.
 *
 * The vector of a column is in the content table's column of its name, or in the one that
 * `source=other` names: so an index can be replaced by one over another column without a
 * change to the queries.
 */
#include <string.h>

#include "ext/table/index.h"
#include "ext/base/rowmap.h"

/* The first three are those without which changes are lost. */
static const char *const events[] = {"insert", "delete",        "update",
                                     "move",   "unique_insert", "unique_update"};
enum { N_EVENTS = 6, VITAL = 3 };

/* ---- columns -------------------------------------------------------------------- */

static int find_column(const VsxSchema *def, const char *name) {
    int i = 0;
    while (i < def->n_columns && sqlite3_stricmp(def->column[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* The column of the content table that a vector column reads. */
static const char *source_of(const VsxColumn *c) {
    return c->source != NULL ? c->source : c->name;
}

/* Is it the column of the content table that a vector column reads: the one that source=
 * names, or else the one of its own name? */
static int is_source(VsxSchema *def, const char *name, int generated) {
    for (int i = 0; i < def->n_columns; i++) {
        VsxColumn *c = &def->column[i];
        if (c->role == VSX_VECTOR && sqlite3_stricmp(source_of(c), name) == 0) {
            c->found = 1;
            c->generated = generated;
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

/* ---- which table -------------------------------------------------------------- */

typedef enum Kind { NO_TABLE, ORDINARY, VIEW, VIRTUAL } Kind;

static int bind_names(sqlite3_stmt *stmt, const char *schema, const char *table) {
    int rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    return rc == SQLITE_OK ? sqlite3_bind_text(stmt, 2, schema, -1, SQLITE_STATIC) : rc;
}

/* One value of a query about the schema, in *out; NULL if it gives none. Errors that say
 * that a table is missing or damaged are none here. */
static int one_text(sqlite3 *db, char *sql, char **out) {
    sqlite3_stmt *stmt = NULL;
    *out = NULL;
    int rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v3(db, sql, -1, VSX_NO_VTAB, &stmt, NULL);
    sqlite3_free(sql);
    if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW &&
        sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        *out = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
        rc = *out == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_OK ? final : rc;
    return rc == SQLITE_ERROR || (rc & 0xFF) == SQLITE_CORRUPT ? SQLITE_OK : rc;
}

/* Looked up by name alone: asked about its columns, a virtual table would be connected,
 * and it may be one of ours, or the index itself. */
static int kind_of(sqlite3 *db, const char *schema, const char *table, Kind *out) {
    char *found = NULL;
    int rc =
        one_text(db,
                 sqlite3_mprintf("SELECT CASE WHEN type = 'view' THEN 'v' WHEN "
                                 "rootpage > 0 THEN 't' ELSE 'x' END FROM "
                                 "\"%w\".sqlite_schema WHERE name = %Q COLLATE NOCASE "
                                 "AND type IN ('table', 'view')",
                                 schema, table),
                 &found);
    *out = found == NULL   ? NO_TABLE
           : *found == 't' ? ORDINARY
           : *found == 'v' ? VIEW
                           : VIRTUAL;
    sqlite3_free(found);
    return rc;
}

static int setting(sqlite3 *db, const char *schema, const char *table, const char *key,
                   char **out) {
    return one_text(db,
                    sqlite3_mprintf("SELECT value FROM \"%w\".\"%w_config\" WHERE key = "
                                    "%Q AND typeof(value) = 'text'",
                                    schema, table, key),
                    out);
}

/* What %_config says. The table may have another name than the declared one: where there
 * is no table of that name, that of the triggers' table: ALTER TABLE takes them along. */
static int read_settings(sqlite3 *db, const char *schema, const char *table,
                         VsxSchema *def) {
    char *name = NULL;
    Kind kind = NO_TABLE;
    int rc = setting(db, schema, table, "triggers", &def->triggers);
    rc = rc == SQLITE_OK ? setting(db, schema, table, "detached", &def->detached) : rc;
    rc = rc == SQLITE_OK ? setting(db, schema, table, "content", &name) : rc;
    if (rc == SQLITE_OK && name == NULL) {
        name = sqlite3_mprintf("%s", def->content);
    }
    rc = rc == SQLITE_OK && name != NULL ? kind_of(db, schema, name, &kind) : rc;
    if (rc == SQLITE_OK && kind == NO_TABLE) {
        char *renamed = NULL;
        rc = one_text(
            db,
            sqlite3_mprintf("SELECT tbl_name FROM \"%w\".sqlite_schema WHERE type = "
                            "'trigger' AND name COLLATE NOCASE IN ('%q_vecsql_insert', "
                            "'%q_queue_insert', '%q_insert')",
                            schema, def->triggers == NULL ? table : def->triggers, table,
                            def->detached == NULL ? "" : def->detached),
            &renamed);
        if (renamed != NULL) {
            sqlite3_free(name);
            name = renamed;
        }
    }
    if (rc == SQLITE_OK && name != NULL) {
        sqlite3_free(def->content);
        def->content = name;
        return SQLITE_OK;
    }
    sqlite3_free(name);
    return rc == SQLITE_OK ? SQLITE_NOMEM : rc;
}

/* ---- its key and its columns ------------------------------------------------------ */

/* Why a table has no key that an index can go by; *key is the column if it has one. Only
 * an INTEGER PRIMARY KEY is the rowid, unique, and stays when the file is vacuumed.
 * Declared DESC it is not the rowid: it has a b-tree of its own then. */
static int find_key(sqlite3 *db, const char *schema, const char *content, char **key,
                    const char **why) {
    static const char sql[] =
        "SELECT max(name), count(*), upper(max(type)), (SELECT count(*) FROM "
        "pragma_index_list(?1, ?2) WHERE origin = 'pk') FROM pragma_table_xinfo(?1, ?2) "
        "WHERE pk > 0";
    sqlite3_stmt *stmt = NULL;
    *key = NULL;
    *why = "it has no INTEGER PRIMARY KEY";
    int rc = sqlite3_table_column_metadata(db, schema, content, "_rowid_", NULL, NULL,
                                           NULL, NULL, NULL);
    if (rc == SQLITE_ERROR) {
        *why = "it is WITHOUT ROWID";
        return SQLITE_OK;
    }
    rc = rc == SQLITE_OK ? sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) : rc;
    rc = rc == SQLITE_OK ? bind_names(stmt, schema, content) : rc;
    if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW &&
        sqlite3_column_int(stmt, 1) == 1 &&
        sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 2), "INTEGER") == 0) {
        *why =
            "its key is not the rowid: INTEGER PRIMARY KEY DESC is a column of its own";
        if (sqlite3_column_int(stmt, 3) == 0) {
            *key = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
            rc = *key == NULL ? SQLITE_NOMEM : SQLITE_OK;
        }
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

/* Takes the key over as content_rowid; *why if it is not the one that was named. */
static void take_key(VsxSchema *def, char *key, const char **why) {
    *why = NULL;
    if (def->content_rowid != NULL && sqlite3_stricmp(def->content_rowid, key) != 0 &&
        sqlite3_stricmp(def->content_rowid, "rowid") != 0) {
        *why = "its INTEGER PRIMARY KEY has another name";
        sqlite3_free(key);
        return;
    }
    sqlite3_free(def->content_rowid);
    def->content_rowid = key;
}

/* Generated columns are columns like others. */
static int read_columns(sqlite3 *db, const char *schema, const char *table,
                        VsxSchema *def) {
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db,
                                "SELECT name, type, hidden FROM "
                                "pragma_table_xinfo(?1, ?2) WHERE hidden <> 1",
                                -1, &stmt, NULL);
    rc = rc == SQLITE_OK ? bind_names(stmt, schema, def->content) : rc;
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        const char *type = (const char *)sqlite3_column_text(stmt, 1);
        if (name == NULL || type == NULL) {
            rc = SQLITE_NOMEM;
        } else if (!is_source(def, name, sqlite3_column_int(stmt, 2) > 1) &&
                   find_column(def, name) == def->n_columns &&
                   !vsx_schema_reserved(table, name)) {
            rc = add_column(db, schema, def, name, type);
        }
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

/* What is wrong with the content table, in *why: NULL if nothing is. */
static int examine(sqlite3 *db, const char *schema, const char *table, VsxSchema *def,
                   const char **why) {
    static const char *const kinds[] = {[NO_TABLE] = "there is no such table",
                                        [VIEW] = "it is a view",
                                        [VIRTUAL] = "it is a virtual table"};
    Kind kind = NO_TABLE;
    char *key = NULL;
    int n_vectors = def->n_columns;
    int rc = kind_of(db, schema, def->content, &kind);
    if (rc != SQLITE_OK || kind != ORDINARY) {
        *why = kinds[kind];
        return rc;
    }
    rc = find_key(db, schema, def->content, &key, why);
    if (rc == SQLITE_OK && key != NULL) {
        take_key(def, key, why);
    }
    rc = rc == SQLITE_OK ? read_columns(db, schema, table, def) : rc;
    for (int i = 0; rc == SQLITE_OK && *why == NULL && i < n_vectors; i++) {
        *why = def->column[i].found ? NULL : "a vector column is not in it";
    }
    return rc;
}

int vsx_content_columns(sqlite3 *db, const char *schema, const char *table, int create,
                        VsxSchema *def, char **err) {
    const char *why = NULL;
    int rc = create ? SQLITE_OK : read_settings(db, schema, table, def);
    rc = rc == SQLITE_OK ? examine(db, schema, table, def, &why) : rc;
    def->content_lost = rc == SQLITE_OK && why != NULL;
    if (def->content_lost) {
        *err = sqlite3_mprintf("content table %s.%s: expected a table with %s%s and "
                               "every vector column of the index; %s",
                               schema, def->content,
                               def->content_rowid == NULL ? "an INTEGER PRIMARY KEY"
                                                          : "the INTEGER PRIMARY KEY ",
                               def->content_rowid == NULL ? "" : def->content_rowid, why);
        return *err == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    return rc;
}

/* ---- whether it is followed ------------------------------------------------------- */

/* How many of the vital triggers PREFIX_insert and so on the content table has. */
static int count_triggers(const VsxIndex *i, const char *prefix, int *out) {
    char *n = NULL;
    int rc = one_text(i->global->db,
                      sqlite3_mprintf("SELECT count(*) FROM \"%w\".sqlite_schema WHERE "
                                      "type = 'trigger' AND tbl_name = %Q COLLATE NOCASE "
                                      "AND name COLLATE NOCASE IN ('%q_%q', '%q_%q', "
                                      "'%q_%q')",
                                      i->schema, i->def->content, prefix, events[0],
                                      prefix, events[1], prefix, events[2]),
                      &n);
    *out = n != NULL ? n[0] - '0' : 0;
    sqlite3_free(n);
    return rc;
}

/* Whether triggers tell every change: our own; those that `detach` was told of; those that
 * the Python package puts in the place of ours, under a name made of the index's. */
static int look_for_triggers(VsxIndex *i, int *followed) {
    const VsxSchema *def = i->def;
    char *own = sqlite3_mprintf("%s_vecsql", def->triggers == NULL ? "" : def->triggers);
    char *queue = sqlite3_mprintf("%s_queue", i->table);
    const char *other = def->detached == NULL ? queue : def->detached;
    int n = VITAL, rc = own == NULL || queue == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK && (def->detached == NULL || *def->detached != '\0')) {
        rc = def->detached == NULL ? count_triggers(i, own, &n) : SQLITE_OK;
        rc = rc == SQLITE_OK && (def->detached != NULL || n < VITAL)
                 ? count_triggers(i, other, &n)
                 : rc;
    }
    *followed = n == VITAL;
    sqlite3_free(own);
    sqlite3_free(queue);
    return rc;
}

int vsx_content_followed(VsxIndex *index, int *followed) {
    sqlite3_stmt *stmt = NULL;
    sqlite3_int64 cookie = 0;
    int rc = vsx_row_stmt(index, VSX_ROW_COOKIE, &stmt);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        cookie = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
        rc = vsx_reset(stmt, rc);
    }
    if (rc == SQLITE_OK && (!index->looked || index->cookie != cookie)) {
        rc = look_for_triggers(index, &index->followed);
        index->looked = rc == SQLITE_OK;
        index->cookie = cookie;
    }
    *followed = index->followed;
    return rc;
}

/* An error, and why, if the content table is gone or the configuration is. */
static int examine_index(const VsxIndex *i, char **why) {
    if (i->def->config_lost) {
        *why = sqlite3_mprintf(
            "%s.%s: its configuration is damaged; the rows are kept: INSERT INTO "
            "%s(%s) VALUES('rebuild') makes the index anew as it is declared",
            i->schema, i->table, i->table, i->table);
        return SQLITE_CORRUPT_VTAB;
    }
    if (i->def->content_lost) {
        *why = sqlite3_mprintf("%s.%s: its content table %s, or a column that the index "
                               "needs, does not exist any more",
                               i->schema, i->table, i->def->content);
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

int vsx_index_searchable(VsxIndex *i, char **why) {
    int followed = 1, rc = examine_index(i, why);
    if (rc == SQLITE_OK && i->def->content != NULL) {
        rc = vsx_content_followed(i, &followed);
    }
    if (rc == SQLITE_OK && !followed) {
        *why = sqlite3_mprintf("%s.%s has missed changes of %s, which lost its triggers "
                               "(a migration makes a table anew): INSERT INTO %s(%s) "
                               "VALUES('rebuild') indexes its rows and makes them again",
                               i->schema, i->table, i->def->content, i->table, i->table);
        rc = SQLITE_ERROR;
    }
    return rc;
}

static int refuse(VsxTable *t, int rc, char *why) {
    if (why != NULL) {
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = why;
    }
    return rc;
}

int vsx_usable(VsxTable *t) {
    char *why = NULL;
    int rc = examine_index(t->index, &why);
    return refuse(t, rc, why);
}

int vsx_searchable(VsxTable *t) {
    char *why = NULL;
    int rc = vsx_index_searchable(t->index, &why);
    return refuse(t, rc, why);
}

/* ---- triggers ------------------------------------------------------------------- */

static int attach_one(const VsxIndex *i, int event, const char *when, const char *body) {
    return vsx_exec(i->global->db,
                    "CREATE TRIGGER \"%w\".\"%w_vecsql_%s\" %s BEGIN %s END", i->schema,
                    i->def->triggers, events[event], when, body);
}

/* The vectors of an UPDATE, as the head of a trigger: OF their columns, or, where one is
 * computed, a comparison of them all. */
static char *update_head(const VsxSchema *def) {
    sqlite3_str *of = sqlite3_str_new(NULL), *differ = sqlite3_str_new(NULL);
    int generated = 0;
    for (int i = 0; i < def->n_vectors; i++) {
        const VsxColumn *c = &def->column[def->vector[i]];
        generated |= c->generated;
        sqlite3_str_appendf(of, i == 0 ? "%s" : ", %s", c->source);
        sqlite3_str_appendf(differ, "%sold.%s IS NOT new.%s", i == 0 ? "" : " OR ",
                            c->source, c->source);
    }
    char *names = sqlite3_str_finish(of), *condition = sqlite3_str_finish(differ);
    char *head =
        names == NULL || condition == NULL ? NULL
        : generated
            ? sqlite3_mprintf("AFTER UPDATE ON \"%w\" WHEN %s", def->content, condition)
            : sqlite3_mprintf("AFTER UPDATE OF %s ON \"%w\"", names, def->content);
    sqlite3_free(names);
    sqlite3_free(condition);
    return head;
}

/* Appends the statement that names the rows with the values of `new` in a unique index,
 * which REPLACE would remove; nothing for an index over expressions. `of`: the columns that
 * are in any of them. */
static int name_replaced(const VsxIndex *i, const char *unique, int droppable,
                         sqlite3_str *body, sqlite3_str *of) {
    const char *key = vsx_rowid_name(i->def);
    sqlite3_stmt *stmt = NULL;
    sqlite3_str *where = sqlite3_str_new(NULL);
    int plain = 1, n = 0;
    int rc = sqlite3_prepare_v2(i->global->db,
                                "SELECT name, coll FROM pragma_index_xinfo(?1, ?2) WHERE "
                                "key ORDER BY seqno",
                                -1, &stmt, NULL);
    rc = rc == SQLITE_OK ? bind_names(stmt, i->schema, unique) : rc;
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        const char *collation = (const char *)sqlite3_column_text(stmt, 1);
        plain &= name != NULL && collation != NULL;
        if (plain) {
            sqlite3_str_appendf(where, "%s\"%w\" = new.\"%w\" COLLATE \"%w\"",
                                n == 0 ? "" : " AND ", name, name, collation);
            sqlite3_str_appendf(of, "%s\"%w\"", sqlite3_str_length(of) == 0 ? "" : ", ",
                                name);
            n++;
        }
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_OK ? final : rc;
    char *condition = sqlite3_str_finish(where);
    if (rc == SQLITE_OK && plain && n > 0) {
        sqlite3_str_appendf(body,
                            "INSERT INTO \"%w\"(vecsql_replaced) SELECT %s FROM \"%w\" "
                            "WHERE %s AND (%s IS NOT new.%s OR new.%s = -1)",
                            i->table, key, i->def->content, condition, key, key, key);
        if (droppable) { /* without the index it would read the whole table */
            sqlite3_str_appendf(
                body, " AND EXISTS (SELECT 1 FROM %s WHERE type = 'index' AND name = %Q)",
                sqlite3_stricmp(i->schema, "temp") == 0 ? "sqlite_temp_schema"
                                                        : "sqlite_schema",
                unique);
        }
        sqlite3_str_appendall(body, "; ");
    }
    sqlite3_free(condition);
    return rc;
}

/* The UPDATEs that can give a row another unique value, as the head of a trigger: OF the
 * columns of unique indexes. An UPDATE never names a generated column, so where the table has
 * one, all columns are compared. Before an UPDATE, SQLite computes generated columns from
 * those columns alone that the trigger names or the statement sets: hence old and new, too. */
static char *unique_head(const VsxIndex *i, const char *of, int *rc) {
    sqlite3_stmt *stmt = NULL;
    sqlite3_str *differ = sqlite3_str_new(NULL);
    int generated = 0;
    *rc = sqlite3_prepare_v2(i->global->db,
                             "SELECT name, hidden FROM pragma_table_xinfo(?1, ?2)", -1,
                             &stmt, NULL);
    *rc = *rc == SQLITE_OK ? bind_names(stmt, i->schema, i->def->content) : *rc;
    while (*rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        if (name == NULL) {
            *rc = SQLITE_NOMEM;
        } else if (sqlite3_column_int(stmt, 1) != 0) {
            generated = 1;
        } else {
            sqlite3_str_appendf(differ, "%sold.\"%w\" IS NOT new.\"%w\"",
                                sqlite3_str_length(differ) == 0 ? "" : " OR ", name,
                                name);
        }
    }
    int final = sqlite3_finalize(stmt);
    *rc = *rc == SQLITE_OK ? final : *rc;
    char *condition = sqlite3_str_finish(differ), *head = NULL;
    if (*rc == SQLITE_OK && condition != NULL && of != NULL) {
        head = generated ? sqlite3_mprintf("BEFORE UPDATE ON \"%w\" WHEN %s",
                                           i->def->content, condition)
                         : sqlite3_mprintf("BEFORE UPDATE OF %s ON \"%w\"", of,
                                           i->def->content);
        *rc = head == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    sqlite3_free(condition);
    return head;
}

/* The triggers before a row comes, if the table has unique indexes. */
static int attach_unique(const VsxIndex *i) {
    sqlite3_stmt *stmt = NULL;
    sqlite3_str *body = sqlite3_str_new(NULL), *of = sqlite3_str_new(NULL);
    int rc =
        sqlite3_prepare_v2(i->global->db,
                           "SELECT name, origin = 'c' FROM pragma_index_list(?1, ?2) "
                           "WHERE \"unique\" AND NOT partial ORDER BY name",
                           -1, &stmt, NULL);
    rc = rc == SQLITE_OK ? bind_names(stmt, i->schema, i->def->content) : rc;
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        rc = name == NULL ? SQLITE_NOMEM
                          : name_replaced(i, name, sqlite3_column_int(stmt, 1), body, of);
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_OK ? final : rc;
    int any = sqlite3_str_length(body) > 0;
    char *statements = sqlite3_str_finish(body), *columns = sqlite3_str_finish(of);
    if (rc == SQLITE_OK && any) {
        char *insert = sqlite3_mprintf("BEFORE INSERT ON \"%w\"", i->def->content);
        char *update = unique_head(i, columns, &rc);
        if (rc == SQLITE_OK) {
            rc = statements == NULL || insert == NULL || update == NULL
                     ? SQLITE_NOMEM
                     : attach_one(i, 4, insert, statements);
        }
        rc = rc == SQLITE_OK ? attach_one(i, 5, update, statements) : rc;
        sqlite3_free(insert);
        sqlite3_free(update);
    }
    sqlite3_free(statements);
    sqlite3_free(columns);
    return rc;
}

/* The three or four that tell changes. */
static int attach_changes(const VsxIndex *i) {
    const char *content = i->def->content, *key = vsx_rowid_name(i->def);
    char *added =
        sqlite3_mprintf("INSERT INTO \"%w\"(vecsql_sync) VALUES(new.%s);", i->table, key);
    char *removed =
        sqlite3_mprintf("INSERT INTO \"%w\"(vecsql_sync) VALUES(old.%s);", i->table, key);
    char *both = sqlite3_mprintf("%s%s", removed, added);
    char *head[4] = {sqlite3_mprintf("AFTER INSERT ON \"%w\"", content),
                     sqlite3_mprintf("AFTER DELETE ON \"%w\"", content),
                     update_head(i->def),
                     sqlite3_mprintf("AFTER UPDATE ON \"%w\" WHEN old.%s IS NOT new.%s",
                                     content, key, key)};
    const char *const body[4] = {added, removed, added, both};
    int rc = added == NULL || removed == NULL || both == NULL ? SQLITE_NOMEM : SQLITE_OK;
    for (int e = 0; e < 4; e++) {
        rc = rc == SQLITE_OK && head[e] == NULL ? SQLITE_NOMEM : rc;
        rc = rc == SQLITE_OK ? attach_one(i, e, head[e], body[e]) : rc;
        sqlite3_free(head[e]);
    }
    sqlite3_free(added);
    sqlite3_free(removed);
    sqlite3_free(both);
    return rc;
}

/* A name for the triggers that no other index's have: the index may have one that another
 * index had when its triggers were made. */
static int choose_name(VsxIndex *i) {
    char *used = NULL;
    int rc = SQLITE_OK, taken = 1;
    for (int n = 1; rc == SQLITE_OK && taken; n++) {
        sqlite3_free(i->def->triggers);
        i->def->triggers = n == 1 ? sqlite3_mprintf("%s", i->table)
                                  : sqlite3_mprintf("%s_%d", i->table, n);
        rc =
            i->def->triggers == NULL
                ? SQLITE_NOMEM
                : one_text(i->global->db,
                           sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema WHERE "
                                           "type = 'trigger' AND name COLLATE NOCASE >= "
                                           "'%q_vecsql_' AND name COLLATE NOCASE < "
                                           "'%q_vecsql`'",
                                           i->schema, i->def->triggers, i->def->triggers),
                           &used);
        taken = used != NULL;
        sqlite3_free(used);
        used = NULL;
    }
    return rc;
}

static int put_setting(const VsxIndex *i, const char *key, const char *value) {
    return vsx_exec(i->global->db,
                    value == NULL ? "DELETE FROM \"%w\".\"%w_config\" WHERE key = %Q"
                                  : "REPLACE INTO \"%w\".\"%w_config\" VALUES(%Q, %Q)",
                    i->schema, i->table, key, value);
}

static int drop_triggers(const VsxIndex *i, const char *name) {
    int rc = SQLITE_OK;
    for (int e = 0; rc == SQLITE_OK && e < N_EVENTS; e++) {
        rc = vsx_exec(i->global->db, "DROP TRIGGER IF EXISTS \"%w\".\"%w_vecsql_%s\"",
                      i->schema, name, events[e]);
    }
    return rc;
}

/* The old ones go last: a statement that fails in a transaction leaves them as they were,
 * for xUpdate has no statement journal. So the new ones have another name. */
int vsx_content_attach(VsxIndex *index) {
    char *old = index->def->triggers;
    const char *old_name = old != NULL ? old : index->table;
    index->def->triggers = NULL;
    int rc = choose_name(index);
    rc = rc == SQLITE_OK ? attach_changes(index) : rc;
    rc = rc == SQLITE_OK ? attach_unique(index) : rc;
    rc = rc == SQLITE_OK ? put_setting(index, "content", index->def->content) : rc;
    rc = rc == SQLITE_OK ? put_setting(index, "triggers", index->def->triggers) : rc;
    rc = rc == SQLITE_OK ? put_setting(index, "detached", NULL) : rc;
    index->looked = 0;
    if (rc != SQLITE_OK) {
        if (index->def->triggers != NULL) {
            drop_triggers(index, index->def->triggers);
        }
        sqlite3_free(index->def->triggers);
        index->def->triggers = old;
        return rc;
    }
    sqlite3_free(index->def->detached);
    index->def->detached = NULL;
    if (sqlite3_stricmp(old_name, index->def->triggers) != 0) {
        rc = drop_triggers(index, old_name);
    }
    sqlite3_free(old);
    return rc;
}

int vsx_content_detach(VsxIndex *index) {
    index->looked = 0;
    return drop_triggers(index, index->def->triggers != NULL ? index->def->triggers
                                                             : index->table);
}

/* Says so first: an index that lost triggers and does not say so answers nothing, and one
 * that says so and has some left is in step. */
int vsx_content_let_go(VsxTable *t, const char *others) {
    VsxIndex *i = t->index;
    char *detached = sqlite3_mprintf("%s", others);
    int rc = detached == NULL ? SQLITE_NOMEM : put_setting(i, "detached", others);
    rc = rc == SQLITE_OK ? vsx_content_detach(i) : rc;
    if (rc == SQLITE_OK) {
        sqlite3_free(i->def->detached);
        i->def->detached = detached;
    } else {
        put_setting(i, "detached", i->def->detached);
        sqlite3_free(detached);
    }
    return rc;
}

/* Whether the index has what the rows say, although its triggers were let go: those that
 * were named in their place tell every change, or else all rows are compared. */
static int stayed_in_step(VsxIndex *i, int *in_step) {
    char *report = NULL;
    int rc = SQLITE_OK;
    *in_step = 0;
    if (*i->def->detached != '\0') {
        rc = vsx_content_followed(i, in_step);
    }
    if (rc == SQLITE_OK && !*in_step) {
        rc = vsx_check(i, 0, &report);
        *in_step = report == NULL;
        sqlite3_free(report);
    }
    return rc;
}

int vsx_content_take_back(VsxTable *t) {
    VsxIndex *i = t->index;
    int in_step = 1;
    int rc = i->def->detached == NULL ? vsx_searchable(t) : vsx_usable(t);
    if (rc == SQLITE_OK && i->def->detached != NULL) {
        rc = stayed_in_step(i, &in_step);
    }
    rc = rc == SQLITE_OK && !in_step ? vsx_rebuild(t) : rc;
    return rc == SQLITE_OK ? vsx_content_attach(i) : rc;
}

int vsx_content_restore(VsxIndex *index) {
    return index->def->detached != NULL
               ? put_setting(index, "content", index->def->content)
               : vsx_content_attach(index);
}

/* ---- syncing -------------------------------------------------------------------- */

static const VsxColumn *column_of(const VsxVector *v) {
    return &v->index->def->column[v->index->def->vector[v->number]];
}

/* What the content table holds under a rowid. NULL is a row without a vector, which is left
 * out, as is one that is not there. *bad: anything else that is no vector of the column. */
static int read_vector(VsxVector *v, sqlite3_int64 rowid, VsxVec *out, char **bad) {
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(v, VSX_SQL_VECTOR, &stmt);
    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = vsx_step_with(stmt, rowid);
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        rc = vsx_vector_stored(sqlite3_column_value(stmt, 0), &column_of(v)->params.code,
                               out, bad);
    }
    return vsx_reset(stmt, rc);
}

/* Both columns or none. */
static int sync_row(VsxIndex *i, sqlite3_int64 rowid, const VsxVector **at, char **bad) {
    VsxVec vector[VSX_MAX_VECTORS] = {{0}};
    int rc = SQLITE_OK, n = i->def->n_vectors;
    for (int v = 0; rc == SQLITE_OK && v < n; v++) {
        *at = &i->vector[v];
        rc = read_vector(&i->vector[v], rowid, &vector[v], bad);
    }
    for (int v = 0; rc == SQLITE_OK && v < n; v++) {
        rc = vsx_set_vector(&i->vector[v], rowid, &vector[v]);
    }
    for (int v = 0; v < n; v++) {
        vsx_vector_free(&vector[v]);
    }
    return rc;
}

#define NAMED_ROWS 10 /* of those that are wrong */

/* Adds a row to the message; the reason of the first only. */
static int name_row(VsxTable *t, const VsxVector *v, sqlite3_int64 rowid, int n,
                    const char *err) {
    if (n == 1) {
        vsx_fail(t, SQLITE_ERROR, "row %lld of %s.%s: %s", rowid, t->index->def->content,
                 column_of(v)->name, err);
    } else if (n <= NAMED_ROWS) {
        char *more = sqlite3_mprintf(n == 2 ? "%s; also rows %lld" : "%s, %lld",
                                     t->base.zErrMsg, rowid);
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = more;
    }
    return t->base.zErrMsg == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int check_column(VsxTable *t, VsxVector *v) {
    sqlite3_stmt *stmt = NULL;
    VsxFilter none = {0};
    int bad = 0, rc = vsx_filter_rows(&none, v, &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        VsxVec vector = {0};
        char *err = NULL;
        rc = vsx_vector_stored(sqlite3_column_value(stmt, 1), &column_of(v)->params.code,
                               &vector, &err);
        vsx_vector_free(&vector);
        if (rc == SQLITE_ERROR) {
            rc = name_row(t, v, sqlite3_column_int64(stmt, 0), ++bad, err);
        }
        sqlite3_free(err);
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_DONE ? final : rc;
    if (rc == SQLITE_OK && bad > NAMED_ROWS) {
        char *more = sqlite3_mprintf("%s and %d more", t->base.zErrMsg, bad - NAMED_ROWS);
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = more;
    }
    return rc == SQLITE_OK && bad > 0 ? SQLITE_ERROR : rc;
}

int vsx_content_check(VsxTable *t) {
    const VsxSchema *def = t->index->def;
    int rc = SQLITE_OK;
    for (int i = 0; def->content != NULL && !def->content_lost && rc == SQLITE_OK &&
                    i < def->n_vectors;
         i++) {
        rc = check_column(t, &t->index->vector[i]);
    }
    return rc;
}

/* Rows that were about to be replaced when a trigger said so: which of them have gone?
 * They stay in the list until the transaction ends, for a rollback may bring their entries
 * back without the rows. */
int vsx_content_settle(VsxIndex *i) {
    VsxDoubts *d = i->doubts;
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && d->settled < d->n) {
        const VsxVector *at = NULL;
        char *bad = NULL;
        rc = sync_row(i, d->row[d->settled], &at, &bad);
        rc = bad != NULL ? SQLITE_OK : rc; /* it is there: a trigger's statement fails */
        sqlite3_free(bad);
        d->settled += rc == SQLITE_OK;
    }
    return rc;
}

VsxDoubts *vsx_doubts_new(void) {
    VsxDoubts *d = sqlite3_malloc64(sizeof *d);
    if (d != NULL) {
        *d = (VsxDoubts){.refs = 1};
    }
    return d;
}

void vsx_doubts_free(VsxDoubts *d) {
    if (d != NULL && --d->refs == 0) {
        sqlite3_free(d->row);
        sqlite3_free(d);
    }
}

void vsx_content_inherit(VsxIndex *index, const VsxIndex *former) {
    vsx_doubts_free(index->doubts);
    index->doubts = former->doubts;
    index->doubts->refs++;
    index->doubts->settled = 0;
}

void vsx_content_rolled_back(VsxIndex *index, int whole) {
    index->doubts->settled = 0;
    index->doubts->n = whole ? 0 : index->doubts->n;
}

int vsx_content_doubt(VsxTable *t, sqlite3_value *rowid) {
    VsxDoubts *d = t->index->doubts;
    if (d->n == d->cap) {
        size_t cap = d->cap == 0 ? 16 : 2 * d->cap;
        sqlite3_int64 *grown = sqlite3_realloc64(d->row, cap * sizeof *grown);
        if (grown == NULL) {
            return SQLITE_NOMEM;
        }
        d->row = grown;
        d->cap = cap;
    }
    d->row[d->n++] = sqlite3_value_int64(rowid);
    return SQLITE_OK;
}

int vsx_content_sync(VsxTable *t, sqlite3_value *rowid) {
    int rc = vsx_usable(t);
    rc = rc == SQLITE_OK ? vsx_content_settle(t->index) : rc;
    if (rc == SQLITE_OK && sqlite3_value_type(rowid) != SQLITE_INTEGER) {
        rc = vsx_fail(t, SQLITE_MISMATCH, "%s: vecsql_sync needs an integer rowid",
                      t->index->table);
    }
    if (rc == SQLITE_OK) {
        const VsxVector *at = NULL;
        char *bad = NULL;
        rc = sync_row(t->index, sqlite3_value_int64(rowid), &at, &bad);
        if (bad != NULL) {
            rc = vsx_fail(t, rc, "row %lld of %s.%s: %s", sqlite3_value_int64(rowid),
                          t->index->def->content, column_of(at)->name, bad);
        }
        sqlite3_free(bad);
    }
    return rc;
}
