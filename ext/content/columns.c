/* Which table an index is over, its key and its columns; see content.h. */
#include <string.h>

#include "ext/content/internal.h"
#include "ext/table/shadow.h"
#include "ext/content/content.h"

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

int vsx_bind_names(sqlite3_stmt *stmt, const char *schema, const char *table) {
    int rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    return rc == SQLITE_OK ? sqlite3_bind_text(stmt, 2, schema, -1, SQLITE_STATIC) : rc;
}

int vsx_one_text(sqlite3 *db, char *sql, char **out) {
    int rc = vsx_ask_text(db, sql, out);
    return rc == SQLITE_ERROR || (rc & 0xFF) == SQLITE_CORRUPT ? SQLITE_OK : rc;
}

/* Looked up by name alone: asked about its columns, a virtual table would be connected,
 * and it may be one of ours, or the index itself. */
static int kind_of(sqlite3 *db, const char *schema, const char *table, Kind *out) {
    char *found = NULL;
    int rc = vsx_one_text(
        db,
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
    return vsx_one_text(
        db,
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
        rc = vsx_one_text(
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
    rc = rc == SQLITE_OK ? vsx_bind_names(stmt, schema, content) : rc;
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
    rc = rc == SQLITE_OK ? vsx_bind_names(stmt, schema, def->content) : rc;
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
