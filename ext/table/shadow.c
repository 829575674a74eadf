/*
 * Shadow tables: their creation, and every SQL statement on them.
 *
 *     T_config  key, value             format, page_bytes, vector0.. (parameters)
 *     T_rows    rowid, c1, c2, ...     the rows, vectors last; none with content=
 *     T_map0    rowid, node            one of these four for each vector column
 *     T_pages0  page, ver, data        page = kind << 32 | number; bytes in csrc/store/pages.h
 *     T_log0    ver, stamp, state, edits    newest row: the state; csrc/graph/log.h
 *     T_model0  epoch, data            what the codec learnt; csrc/graph/fit.h
 *
 * Suffixes hold no underscore, so that SQLite takes the tables for shadow tables and
 * protects them under SQLITE_DBCONFIG_DEFENSIVE. Statements are prepared on first use,
 * inside the callback that needs them: in defensive mode the right to write is decided
 * then. VSX_NO_VTAB keeps a hostile schema from putting a virtual table in the place of a
 * shadow table.
 */
#include <string.h>

#include "ext/table/index.h"
#include "ext/table/shadow.h"
#include "ext/table/dialect.h"

#define FORMAT 2

/* Room that a database page leaves for a stored page: its cell and record headers take
 * the rest. */
#define PAGE_OVERHEAD 48

static int pragma_page_size(sqlite3 *db, const char *schema, sqlite3_int64 *out) {
    int rc = vsx_ask_number(db, sqlite3_mprintf("PRAGMA \"%w\".page_size", schema), out);
    *out = *out == 0 ? 4096 : *out;
    return rc;
}

/* ---- create, drop, rename ------------------------------------------------------- */

static int name_taken(sqlite3 *db, const char *schema, const char *name,
                      sqlite3_int64 *taken) {
    return vsx_ask_number(
        db,
        sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema WHERE name = %Q", schema,
                        name),
        taken);
}

/* Nobody uses the name of such an index, and ALTER TABLE RENAME leaves it behind under
 * the old one: so the first that is free will do. */
static int create_index(sqlite3 *db, const char *schema, const char *table,
                        const VsxColumn *c) {
    sqlite3_int64 taken = 1;
    int rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && taken; i++) {
        char *name = sqlite3_mprintf("%s_rows_c%d_%d", table, c->stored, i);
        rc = name == NULL ? SQLITE_NOMEM : name_taken(db, schema, name, &taken);
        if (rc == SQLITE_OK && !taken) {
            rc = vsx_exec(db, "CREATE%s INDEX \"%w\".\"%w\" ON \"%w_rows\"(c%d)",
                          c->role == VSX_TEXT_KEY ? " UNIQUE" : "", schema, name, table,
                          c->stored);
        }
        sqlite3_free(name);
    }
    return rc;
}

static int create_indexes(sqlite3 *db, const char *schema, const char *table,
                          const VsxSchema *def) {
    for (int i = 0; i < def->n_columns; i++) {
        if (def->column[i].indexed) {
            VSX_TRY(create_index(db, schema, table, &def->column[i]));
        }
    }
    return SQLITE_OK;
}

static int create_rows(sqlite3 *db, const char *schema, const char *table,
                       const VsxSchema *def) {
    sqlite3_str *sql = sqlite3_str_new(db);
    sqlite3_str_appendf(sql,
                        "CREATE TABLE \"%w\".\"%w_rows\"(rowid INTEGER PRIMARY KEY%s",
                        schema, table, def->dialect->last_ever ? " AUTOINCREMENT" : "");
    for (int vectors = 0; vectors < 2; vectors++) {
        for (int i = 0; i < def->n_columns; i++) {
            const VsxColumn *c = &def->column[i];
            if (c->role != VSX_KEY && (c->role == VSX_VECTOR) == vectors) {
                sqlite3_str_appendf(sql, ", c%d %s", c->stored,
                                    vectors ? "BLOB" : c->type);
                if (c->collation != NULL) {
                    sqlite3_str_appendf(sql, " COLLATE \"%w\"", c->collation);
                }
            }
        }
    }
    sqlite3_str_appendall(sql, ")");
    char *text = sqlite3_str_finish(sql);
    int rc = text == NULL ? SQLITE_NOMEM : vsx_exec(db, "%s", text);
    sqlite3_free(text);
    return rc == SQLITE_OK ? create_indexes(db, schema, table, def) : rc;
}
static int create_vector(sqlite3 *db, const char *schema, const char *table, int i) {
    return vsx_exec(
        db,
        "CREATE TABLE \"%w\".\"%w_map%d\"(rowid INTEGER PRIMARY KEY, node INTEGER);"
        "CREATE TABLE \"%w\".\"%w_pages%d\"(page INTEGER PRIMARY KEY, ver INTEGER,"
        " data BLOB);"
        "CREATE TABLE \"%w\".\"%w_log%d\"(ver INTEGER PRIMARY KEY, stamp INTEGER,"
        " state BLOB, edits BLOB);"
        "CREATE TABLE \"%w\".\"%w_model%d\"(epoch INTEGER PRIMARY KEY, data BLOB)",
        schema, table, i, schema, table, i, schema, table, i, schema, table, i);
}

static int write_config(sqlite3 *db, const char *schema, const char *table,
                        const VsxSchema *def) {
    sqlite3_int64 page_size;
    int rc = pragma_page_size(db, schema, &page_size);
    rc = rc != SQLITE_OK
             ? rc
             : vsx_exec(
                   db,
                   "CREATE TABLE IF NOT EXISTS \"%w\".\"%w_config\"(key TEXT PRIMARY KEY,"
                   " value) WITHOUT ROWID;"
                   "REPLACE INTO \"%w\".\"%w_config\" VALUES('format', %d),"
                   "('page_bytes', %d)",
                   schema, table, schema, table, FORMAT, (int)page_size - PAGE_OVERHEAD);
    for (int i = 0; rc == SQLITE_OK && i < def->n_vectors; i++) {
        char *params = vsx_params_text(&def->column[def->vector[i]]);
        rc =
            params == NULL
                ? SQLITE_NOMEM
                : vsx_exec(db, "REPLACE INTO \"%w\".\"%w_config\" VALUES('vector%d', %Q)",
                           schema, table, i, params);
        sqlite3_free(params);
    }
    return rc;
}

int vsx_shadow_create(sqlite3 *db, const char *schema, const char *table,
                      const VsxSchema *def, char **err) {
    int rc = write_config(db, schema, table, def);
    rc = rc == SQLITE_OK && def->content == NULL ? create_rows(db, schema, table, def)
                                                 : rc;
    for (int i = 0; rc == SQLITE_OK && i < def->n_vectors; i++) {
        rc = create_vector(db, schema, table, i);
    }
    if (rc != SQLITE_OK) {
        *err = sqlite3_mprintf("cannot make the shadow tables: %s", sqlite3_errmsg(db));
    }
    return rc;
}

int vsx_shadow_configure(VsxIndex *index) {
    VSX_TRY(write_config(index->global->db, index->schema, index->table, index->def));
    index->def->config_lost = 0;
    index->def->format = FORMAT;
    return SQLITE_OK;
}

int vsx_shadow_upgrade(VsxIndex *index, int format) {
    if (index->def->format >= format) {
        return SQLITE_OK;
    }
    return vsx_exec(index->global->db,
                    "UPDATE \"%w\".\"%w_config\" SET value = %d WHERE key = 'format' AND "
                    "value < %d",
                    index->schema, index->table, format, format);
}

#define SUFFIX_MAX 16

/* The suffix of shadow table n of a definition; 0 if there are no more. */
static int nth_suffix(const VsxSchema *def, int n, char *suffix) {
    static const char *const per[] = {"map", "pages", "log", "model"};
    int fixed = def->content == NULL ? 2 : 1, i = n - fixed;
    if (i < 0) {
        sqlite3_snprintf(SUFFIX_MAX, suffix, "%s", n == 0 ? "config" : "rows");
    } else {
        sqlite3_snprintf(SUFFIX_MAX, suffix, "%s%d", per[i % 4], i / 4);
    }
    return i < 4 * def->n_vectors;
}

/* Calls `sql` ("%w" schema, "%w" table, "%s" suffix, and "%w" new name if not NULL) for
 * every shadow table. */
static int for_each_table(sqlite3 *db, const char *schema, const char *table,
                          const VsxSchema *def, const char *sql, const char *name) {
    char suffix[SUFFIX_MAX];
    for (int n = 0; nth_suffix(def, n, suffix); n++) {
        VSX_TRY(vsx_exec(db, sql, schema, table, suffix, name, suffix));
    }
    return SQLITE_OK;
}

int vsx_shadow_missing(const VsxIndex *index, char **out) {
    char suffix[SUFFIX_MAX];
    sqlite3_int64 there = 1;
    int rc = SQLITE_OK;
    *out = NULL;
    for (int n = 0; rc == SQLITE_OK && there && nth_suffix(index->def, n, suffix); n++) {
        char *name = sqlite3_mprintf("%s_%s", index->table, suffix);
        rc = name == NULL ? SQLITE_NOMEM
                          : name_taken(index->global->db, index->schema, name, &there);
        if (rc == SQLITE_OK && !there) {
            *out = name;
        } else {
            sqlite3_free(name);
        }
    }
    return rc;
}

int vsx_shadow_drop(sqlite3 *db, const char *schema, const char *table,
                    const VsxSchema *def) {
    return for_each_table(db, schema, table, def, "DROP TABLE IF EXISTS \"%w\".\"%w_%s\"",
                          NULL);
}

int vsx_shadow_rename(VsxIndex *index, const char *name) {
    return for_each_table(index->global->db, index->schema, index->table, index->def,
                          "ALTER TABLE \"%w\".\"%w_%s\" RENAME TO \"%w_%s\"", name);
}

int vsx_shadow_name(const char *suffix) {
    static const char *const numbered[] = {"map", "pages", "log", "model"};
    if (sqlite3_stricmp(suffix, "config") == 0 || sqlite3_stricmp(suffix, "rows") == 0) {
        return 1;
    }
    for (int i = 0; i < 4; i++) {
        size_t len = strlen(numbered[i]);
        const char *digits = suffix + len;
        if (sqlite3_strnicmp(suffix, numbered[i], (int)len) == 0 && *digits >= '0' &&
            *digits <= '9' &&
            (digits[1] == '\0' ||
             (digits[1] >= '0' && digits[1] <= '9' && digits[2] == '\0'))) {
            return 1;
        }
    }
    return 0;
}

/* ---- config --------------------------------------------------------------------- */

/* The text of a column. Only NULL is damage; without memory there is no text either. */
static int read_text(sqlite3_stmt *stmt, int column, const char **out) {
    int type = sqlite3_column_type(stmt, column);
    *out = (const char *)sqlite3_column_text(stmt, column);
    return *out != NULL          ? SQLITE_OK
           : type == SQLITE_NULL ? SQLITE_CORRUPT_VTAB
                                 : SQLITE_NOMEM;
}

static int apply_config(VsxSchema *def, const char *key, sqlite3_stmt *stmt,
                        int *format) {
    if (strcmp(key, "format") == 0) {
        *format = sqlite3_column_int(stmt, 1);
    } else if (strcmp(key, "page_bytes") == 0) {
        int bytes = sqlite3_column_int(stmt, 1);
        if (bytes < 256 || bytes > 65536) {
            return SQLITE_CORRUPT_VTAB;
        }
        for (int i = 0; i < def->n_vectors; i++) {
            def->column[def->vector[i]].params.page_bytes = (uint32_t)bytes;
        }
    }
    for (int i = 0; i < def->n_vectors; i++) {
        char name[16];
        sqlite3_snprintf(sizeof name, name, "vector%d", i);
        if (strcmp(key, name) == 0) {
            const char *text = NULL;
            int rc = read_text(stmt, 1, &text);
            return rc == SQLITE_OK ? vsx_params_parse(text, &def->column[def->vector[i]])
                                   : rc;
        }
    }
    return SQLITE_OK;
}

/* Without a configuration: what the declaration and the database say. */
static int config_default(sqlite3 *db, const char *schema, VsxSchema *def) {
    sqlite3_int64 page_size;
    int rc = pragma_page_size(db, schema, &page_size);
    for (int i = 0; i < def->n_vectors; i++) {
        def->column[def->vector[i]].params.page_bytes =
            (uint32_t)(page_size - PAGE_OVERHEAD);
    }
    def->config_lost = 1;
    return rc;
}

int vsx_shadow_config(sqlite3 *db, const char *schema, const char *table, VsxSchema *def,
                      char **err) {
    sqlite3_stmt *stmt = NULL;
    int format = 0, known = 0;
    char *sql =
        sqlite3_mprintf("SELECT key, value FROM \"%w\".\"%w_config\"", schema, table);
    int rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v3(db, sql, -1, VSX_NO_VTAB, &stmt, NULL);
    sqlite3_free(sql);
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *key = NULL;
        rc = read_text(stmt, 0, &key);
        rc = rc == SQLITE_OK ? apply_config(def, key, stmt, &format) : rc;
        known++;
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_OK ? final : rc;
    if (rc == SQLITE_OK && format > FORMAT) {
        *err = sqlite3_mprintf(
            "table %s has format %d; this version of vecsql reads format %d", table,
            format, FORMAT);
        return SQLITE_ERROR;
    }
    def->format = format;
    /* Damage does not keep the table from being connected, or it could not be dropped. */
    int lost = rc == SQLITE_OK && (format < 1 || known < 2 + def->n_vectors);
    if (lost || rc == SQLITE_ERROR || (rc & 0xFF) == SQLITE_CORRUPT) {
        return config_default(db, schema, def);
    }
    if (rc != SQLITE_OK) {
        *err = sqlite3_mprintf("cannot read %s_config: %s", table, sqlite3_errmsg(db));
    }
    return rc;
}

/* ---- prepared statements -------------------------------------------------------- */

sqlite3_stmt *vsx_prepare(const VsxIndex *index, int *rc, char *sql) {
    sqlite3_stmt *stmt = NULL;
    *rc = sql == NULL
              ? SQLITE_NOMEM
              : sqlite3_prepare_v3(index->global->db, sql, -1,
                                   SQLITE_PREPARE_PERSISTENT | VSX_NO_VTAB, &stmt, NULL);
    sqlite3_free(sql);
    return stmt;
}

/* Statements on the row table and the map of a vector column. */
static char *row_vector_sql(const VsxVector *v, VsxSql which) {
    const VsxIndex *i = v->index;
    const char *column = vsx_column_of(v)->source;
    const char *key = vsx_rowid_name(i->def);
    return which == VSX_SQL_VECTOR
               ? sqlite3_mprintf("SELECT r.%s FROM %s r WHERE r.%s = ?1", column, i->rows,
                                 key)
               : sqlite3_mprintf("SELECT r.%s, m.node, r.%s FROM %s r LEFT JOIN "
                                 "\"%w\".\"%w_map%d\" m ON m.rowid = r.%s",
                                 key, column, i->rows, i->schema, i->table, v->number,
                                 key);
}

int vsx_stmt(VsxVector *v, VsxSql which, sqlite3_stmt **out) {
    static const char *const sql[VSX_SQL_PER_VECTOR] = {
        [VSX_SQL_STATE] =
            "SELECT ver, stamp, state FROM \"%w\".\"%w_log%d\" ORDER BY ver DESC LIMIT 1",
        [VSX_SQL_STAMP] = "SELECT stamp FROM \"%w\".\"%w_log%d\" WHERE ver = ?1",
        [VSX_SQL_LOG] = "SELECT ver, stamp, state, edits FROM \"%w\".\"%w_log%d\" "
                        "WHERE ver > ?1 ORDER BY ver",
        [VSX_SQL_LOG_PUT] = "REPLACE INTO \"%w\".\"%w_log%d\" VALUES(?1, ?2, ?3, ?4)",
        [VSX_SQL_LOG_SIZES] =
            "SELECT ver, length(edits) FROM \"%w\".\"%w_log%d\" ORDER BY ver DESC",
        [VSX_SQL_LOG_TRIM] = "DELETE FROM \"%w\".\"%w_log%d\" WHERE ver <= ?1",
        [VSX_SQL_LOG_REMOVE] = "DELETE FROM \"%w\".\"%w_log%d\" WHERE ver = ?1",
        [VSX_SQL_PAGE] = "SELECT ver, data FROM \"%w\".\"%w_pages%d\" WHERE page = ?1",
        [VSX_SQL_PAGE_PUT] = "REPLACE INTO \"%w\".\"%w_pages%d\" VALUES(?1, ?2, ?3)",
        [VSX_SQL_MAP] = "SELECT node, rowid FROM \"%w\".\"%w_map%d\" WHERE rowid = ?1",
        [VSX_SQL_MAP_PUT] = "REPLACE INTO \"%w\".\"%w_map%d\" VALUES(?1, ?2)",
        [VSX_SQL_MAP_DELETE] = "DELETE FROM \"%w\".\"%w_map%d\" WHERE rowid = ?1",
        [VSX_SQL_POLL] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
                         "LIMIT 20) SELECT count(*) FROM c",
        [VSX_SQL_MODEL] = "SELECT data FROM \"%w\".\"%w_model%d\" WHERE epoch = ?1",
        [VSX_SQL_MODEL_PUT] = "REPLACE INTO \"%w\".\"%w_model%d\" VALUES(?1, ?2)",
        [VSX_SQL_MODEL_TRIM] = "DELETE FROM \"%w\".\"%w_model%d\" WHERE epoch <> ?1",
        [VSX_SQL_MAP_COUNT] = "SELECT count(*) FROM \"%w\".\"%w_map%d\"",
    };
    int rc = SQLITE_OK;
    const VsxIndex *i = v->index;
    if (v->stmt[which] == NULL) {
        char *text = sql[which] == NULL
                         ? row_vector_sql(v, which)
                         : sqlite3_mprintf(sql[which], i->schema, i->table, v->number);
        v->stmt[which] = vsx_prepare(v->index, &rc, text);
    }
    *out = v->stmt[which];
    return rc;
}

const char *vsx_rowid_name(const VsxSchema *def) {
    return def->key >= 0 && def->content != NULL ? def->column[def->key].source : "rowid";
}

char *vsx_rows_name(const char *schema, const char *table, const VsxSchema *def) {
    return def->content != NULL ? sqlite3_mprintf("\"%w\".\"%w\"", schema, def->content)
                                : sqlite3_mprintf("\"%w\".\"%w_rows\"", schema, table);
}

/* "REPLACE INTO rows VALUES(?1, ..., ?n)". */
static char *row_replace_sql(const VsxIndex *index) {
    sqlite3_str *sql = sqlite3_str_new(index->global->db);
    sqlite3_str_appendf(sql, "REPLACE INTO %s VALUES(?1", index->rows);
    for (int i = 1; i < index->def->n_stored; i++) {
        sqlite3_str_appendf(sql, ", ?%d", i + 1);
    }
    sqlite3_str_appendall(sql, ")");
    return sqlite3_str_finish(sql);
}

/* ?1 is the new rowid, ?(n + 1) the old. Column i becomes ?(i + 1) where ?(n + 1 + i) is
 * true and stays otherwise. A row that has the new rowid already is replaced. */
static char *row_update_sql(const VsxIndex *index) {
    sqlite3_str *sql = sqlite3_str_new(index->global->db);
    sqlite3_str_appendf(sql, "UPDATE OR REPLACE %s SET rowid = ?1", index->rows);
    int n = index->def->n_stored;
    for (int i = 1; i < n; i++) {
        sqlite3_str_appendf(sql, ", c%d = CASE WHEN ?%d THEN ?%d ELSE c%d END", i,
                            n + 1 + i, i + 1, i);
    }
    sqlite3_str_appendf(sql, " WHERE rowid = ?%d", n + 1);
    return sqlite3_str_finish(sql);
}

/* All columns in the order of VsxColumn.stored. Names are qualified: SQLite takes an
 * unknown "name" for a string, but never an unknown r."name". */
static char *row_get_sql(const VsxIndex *index) {
    const VsxSchema *def = index->def;
    sqlite3_str *sql = sqlite3_str_new(index->global->db);
    sqlite3_str_appendf(sql, "SELECT r.%s", vsx_rowid_name(def));
    for (int stored = 1; stored < def->n_stored; stored++) {
        for (int i = 0; i < def->n_columns; i++) {
            if (def->column[i].stored == stored) {
                sqlite3_str_appendf(sql, ", r.%s", def->column[i].source);
            }
        }
    }
    sqlite3_str_appendf(sql, " FROM %s r WHERE r.%s = ?1", index->rows,
                        vsx_rowid_name(def));
    return sqlite3_str_finish(sql);
}

/* The rowid after which a new row comes. */
static char *row_last_sql(const VsxIndex *index) {
    if (index->def->dialect->last_ever) {
        return sqlite3_mprintf("SELECT max(seq) FROM \"%w\".sqlite_sequence WHERE "
                               "name = %Q || '_rows'",
                               index->schema, index->table);
    }
    return sqlite3_mprintf("SELECT max(r.%s) FROM %s r", vsx_rowid_name(index->def),
                           index->rows);
}

static char *row_sql(const VsxIndex *index, VsxRowSql which) {
    const char *rows = index->rows;
    switch (which) {
    case VSX_ROW_GET:
        return row_get_sql(index);
    case VSX_ROW_EXISTS:
        return sqlite3_mprintf("SELECT r.%s FROM %s r WHERE r.%s = ?1",
                               vsx_rowid_name(index->def), rows,
                               vsx_rowid_name(index->def));
    case VSX_ROW_LAST:
        return row_last_sql(index);
    case VSX_ROW_FIRST:
        return sqlite3_mprintf("SELECT min(r.%s) FROM %s r", vsx_rowid_name(index->def),
                               rows);
    case VSX_ROW_COOKIE:
        return sqlite3_mprintf("PRAGMA \"%w\".schema_version", index->schema);
    case VSX_ROW_SNAPSHOT:
        return sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema LIMIT 1",
                               index->schema);
    case VSX_ROW_FIND:
        return sqlite3_mprintf("SELECT rowid, %s FROM %s WHERE %s = ?1",
                               index->def->column[index->def->text_key].source, rows,
                               index->def->column[index->def->text_key].source);
    case VSX_ROW_REPLACE:
        return row_replace_sql(index);
    case VSX_ROW_UPDATE:
        return row_update_sql(index);
    default:
        return sqlite3_mprintf("DELETE FROM %s WHERE rowid = ?1", rows);
    }
}

int vsx_row_stmt(VsxIndex *index, VsxRowSql which, sqlite3_stmt **out) {
    int rc = SQLITE_OK;
    if (index->row_stmt[which] == NULL) {
        index->row_stmt[which] = vsx_prepare(index, &rc, row_sql(index, which));
    }
    *out = index->row_stmt[which];
    return rc;
}

int vsx_map_count(VsxVector *v, sqlite3_int64 *out) {
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(v, VSX_SQL_MAP_COUNT, &stmt);
    return vsx_number(stmt, rc, out);
}

int vsx_write_with(VsxVector *v, VsxSql which, sqlite3_int64 value) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, which, &stmt));
    VSX_TRY(sqlite3_bind_int64(stmt, 1, value));
    return vsx_write(stmt);
}

void vsx_stmts_free(VsxIndex *index) {
    for (int i = 0; i < index->def->n_vectors; i++) {
        if (index->vector[i].forget_filter != NULL) {
            index->vector[i].forget_filter(&index->vector[i]);
        }
        for (int j = 0; j < VSX_SQL_PER_VECTOR; j++) {
            sqlite3_finalize(index->vector[i].stmt[j]);
            index->vector[i].stmt[j] = NULL;
        }
    }
    for (int j = 0; j < VSX_ROW_STATEMENTS; j++) {
        sqlite3_finalize(index->row_stmt[j]);
        index->row_stmt[j] = NULL;
    }
    sqlite3_finalize(index->progress);
    index->progress = NULL;
}
