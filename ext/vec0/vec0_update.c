/*
 * vec0: xUpdate. Checks the values of a row as sqlite-vec does, then lets vsx_update make
 * the change.
 *
 * Where sqlite-vec ignores a change without a word (a new INTEGER key, a vector set to
 * NULL) or refuses one because it does not know what changed (any column, in a table with
 * a partition key), vsx_update does what the statement says.
 */
#include <string.h>

#include "ext/vec0/vec0.h"
#include "ext/table/errors.h"
#include "ext/write/update.h"

static const char *type_name(int type) {
    static const char *const names[] = {[SQLITE_INTEGER] = "INTEGER",
                                        [SQLITE_FLOAT] = "FLOAT",
                                        [SQLITE_TEXT] = "TEXT",
                                        [SQLITE_BLOB] = "BLOB",
                                        [SQLITE_NULL] = "NULL"};
    return names[type];
}

static int strict_type(int strict) {
    static const int types[] = {[VSX_TEXT] = SQLITE_TEXT,
                                [VSX_INTEGER] = SQLITE_INTEGER,
                                [VSX_FLOAT] = SQLITE_FLOAT,
                                [VSX_BLOB] = SQLITE_BLOB,
                                [VSX_BOOLEAN] = SQLITE_INTEGER};
    return types[strict];
}

static int check_metadata(VsxTable *t, const VsxColumn *c, sqlite3_value *value) {
    static const char *const expected[] = {[VSX_TEXT] = "text for TEXT",
                                           [VSX_INTEGER] = "integer for INTEGER",
                                           [VSX_FLOAT] = "float for FLOAT"};
    int type = sqlite3_value_type(value);
    int right = type == strict_type(c->strict);
    if (c->strict == VSX_BOOLEAN) {
        sqlite3_int64 n = sqlite3_value_int64(value);
        return right && (n == 0 || n == 1)
                   ? SQLITE_OK
                   : vsx_fail(t, SQLITE_ERROR,
                              "Expected 0 or 1 for BOOLEAN metadata column %s", c->name);
    }
    return right
               ? SQLITE_OK
               : vsx_fail(t, SQLITE_ERROR, "Expected %s metadata column %s, received %s",
                          expected[c->strict], c->name, type_name(type));
}

static int check_partition(VsxTable *t, const VsxColumn *c, sqlite3_value *value) {
    int type = sqlite3_value_type(value);
    if (type == SQLITE_NULL || type == strict_type(c->strict)) {
        return SQLITE_OK;
    }
    return vsx_fail(t, SQLITE_ERROR,
                    "Parition key type mismatch: The partition key column %s has type "
                    "%s, but %s was provided.",
                    c->name, type_name(strict_type(c->strict)), type_name(type));
}

static int check_auxiliary(VsxTable *t, const VsxColumn *c, sqlite3_value *value) {
    int type = sqlite3_value_type(value);
    if (type == SQLITE_NULL || type == strict_type(c->strict)) {
        return SQLITE_OK;
    }
    return vsx_fail(t, SQLITE_CONSTRAINT,
                    "Auxiliary column type mismatch: The auxiliary column %s has type "
                    "%s, but %s was provided.",
                    c->name, type_name(strict_type(c->strict)), type_name(type));
}

static int check_key(VsxTable *t, const VsxColumn *c, sqlite3_value *value) {
    int type = sqlite3_value_type(value);
    if (sqlite3_value_nochange(value)) {
        return SQLITE_OK;
    }
    if (c->strict == VSX_TEXT && type != SQLITE_TEXT) {
        return vsx_fail(t, SQLITE_ERROR,
                        "The %s virtual table was declared with a TEXT primary key, but "
                        "a non-TEXT value was provided in an INSERT.",
                        t->index->table);
    }
    if (c->strict == VSX_INTEGER && type != SQLITE_INTEGER && type != SQLITE_NULL) {
        return vsx_fail(t, SQLITE_ERROR,
                        "Only integers are allows for primary key values on %s",
                        t->index->table);
    }
    return SQLITE_OK;
}

static int check_partitions(VsxTable *t, sqlite3_value **value) {
    const VsxSchema *def = t->index->def;
    for (int i = 0; i < def->n_columns; i++) {
        if (def->column[i].partition && !sqlite3_value_nochange(value[i])) {
            VSX_TRY(check_partition(t, &def->column[i], value[i]));
        }
    }
    return SQLITE_OK;
}

/* sqlite-vec does not look at the type of an auxiliary column in an UPDATE. */
int vsx_vec0_check_row(VsxTable *t, sqlite3_value **value, int insert) {
    const VsxSchema *def = t->index->def;
    int rc = SQLITE_OK;
    for (int role = VSX_AUXILIARY; rc == SQLITE_OK && role >= VSX_METADATA; role--) {
        for (int i = 0; rc == SQLITE_OK && i < def->n_columns; i++) {
            const VsxColumn *c = &def->column[i];
            if ((int)c->role != role || c->partition ||
                (!insert && sqlite3_value_nochange(value[i]))) {
                continue;
            }
            if (role == VSX_METADATA) {
                rc = check_metadata(t, c, value[i]);
            } else if (insert) {
                rc = check_auxiliary(t, c, value[i]);
            }
        }
    }
    return rc;
}

static int check_hidden(VsxTable *t, sqlite3_value **hidden) {
    static const char *const names[] = {[VSX_DISTANCE] = "distance", [VSX_K] = "k"};
    for (int i = VSX_DISTANCE; i <= VSX_K; i++) {
        if (sqlite3_value_type(hidden[i]) != SQLITE_NULL) {
            return vsx_fail(t, SQLITE_ERROR,
                            "A value was provided for the hidden \"%s\" column.",
                            names[i]);
        }
    }
    return SQLITE_OK;
}

int vsx_vec0_update(sqlite3_vtab *base, int argc, sqlite3_value **argv,
                    sqlite3_int64 *rowid) {
    VsxTable *t = (VsxTable *)base;
    int n = t->index->def->n_columns, rc = SQLITE_OK;
    int insert = argc > 1 && sqlite3_value_type(argv[0]) == SQLITE_NULL;
    int command = insert && sqlite3_value_type(argv[2 + n + VSX_COMMAND]) != SQLITE_NULL;
    if (argc > 1 && !command) {
        rc = check_partitions(t, argv + 2);
        rc = rc == SQLITE_OK && insert ? check_hidden(t, argv + 2 + n) : rc;
        rc = rc == SQLITE_OK ? check_key(t, &t->index->def->column[0], argv[2]) : rc;
        rc = rc == SQLITE_OK && !insert ? vsx_vec0_check_row(t, argv + 2, 0) : rc;
    }
    return rc == SQLITE_OK ? vsx_update(base, argc, argv, rowid) : rc;
}

/* sqlite-vec's code is SQLITE_ERROR; SQLite acts upon OR IGNORE, OR FAIL and OR ROLLBACK
 * only when it sees SQLITE_CONSTRAINT. */
int vsx_vec0_conflict(VsxTable *t, const VsxColumn *c) {
    (void)c;
    int plain = sqlite3_vtab_on_conflict(t->index->global->db) == SQLITE_ABORT;
    return vsx_fail(t, plain ? SQLITE_ERROR : SQLITE_CONSTRAINT,
                    "UNIQUE constraint failed on %s primary key", t->index->table);
}

int vsx_vec0_fixed_key(VsxTable *t) {
    return vsx_fail(t, SQLITE_ERROR,
                    "UPDATEs on vec0 primary key values are not allowed.");
}
