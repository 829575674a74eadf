/*
 * vec0: what belongs to the connection or to the whole table.
 *
 * A table that sqlite-vec itself made has other shadow tables. It is refused, so that
 * nothing is written beside them; `vecsql import` reads it.
 */
#include <string.h>

#include "ext/table/shadow.h"
#include "ext/vec0/vec0.h"

const VsxDialect vsx_vec0 = {
    .float32 = 1,
    .limit_is_k = 1,
    .key_after_k = 1,
    .last_ever = 1,
    .no_command = 1,
    .declaration = vsx_vec0_declaration,
    .vector = vsx_vec0_vector,
    .k = vsx_vec0_k,
    .conflict = vsx_vec0_conflict,
    .fixed_key = vsx_vec0_fixed_key,
    .check_row = vsx_vec0_check_row,
    .distance = vsx_vec0_distance,
    .tie = vsx_vec0_tie,
};

/* The version whose behaviour this module has. */
#define SQLITE_VEC_VERSION "v0.1.9"

static void vec_version(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc;
    (void)argv;
    sqlite3_result_text(ctx, SQLITE_VEC_VERSION, -1, SQLITE_STATIC);
}

static void vec_debug(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc;
    (void)argv;
    sqlite3_result_text(ctx,
                        "Version: " SQLITE_VEC_VERSION "\nDate: \nCommit: \n"
                        "Build flags: vecsql " VECSQL_VERSION,
                        -1, SQLITE_STATIC);
}

int vsx_vec0_functions(sqlite3 *db) {
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    VSX_TRY(sqlite3_create_function_v2(db, "vec_version", 0, flags, NULL, vec_version,
                                       NULL, NULL, NULL));
    return sqlite3_create_function_v2(db, "vec_debug", 0, flags, NULL, vec_debug, NULL,
                                      NULL, NULL);
}

int vsx_vec0_refuse(sqlite3 *db, const char *schema, const char *table, char **err) {
    sqlite3_int64 theirs;
    int rc = vsx_ask_number(
        db,
        sqlite3_mprintf("SELECT count(*) FROM \"%w\".sqlite_schema WHERE type = 'table' "
                        "AND name COLLATE NOCASE IN (%Q || '_chunks', %Q || '_rowids')",
                        schema, table, table),
        &theirs);
    if (rc == SQLITE_OK && theirs == 2) {
        *err = sqlite3_mprintf("vec0: table %s was made by sqlite-vec, and is left as it "
                               "is; make one of it that vecsql reads with: vecsql import",
                               table);
        rc = SQLITE_ERROR;
    }
    return rc;
}
