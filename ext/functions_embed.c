/*
 * embed(text) and vecsql_embed(text, model, checksum), for as long as the host program,
 * which has the models, has not registered its own.
 */
#include "functions.h"

static void no_embedder(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const void *model = argc > 1 ? sqlite3_value_text(argv[1]) : NULL;
    char *message = sqlite3_mprintf(
        "this connection has no embedder%s%s: in Python, vecsql.register_embedder(db)",
        model == NULL ? "" : " for the model ", model == NULL ? "" : model);
    if (message == NULL) {
        sqlite3_result_error_nomem(ctx);
    } else {
        sqlite3_result_error(ctx, message, -1);
    }
    sqlite3_free(message);
}

/* Registers a function unless the connection has one of its name and arguments (probe
 * calls it). */
static int register_missing(sqlite3 *db, const char *name, int n_args,
                            const char *probe) {
    sqlite3_stmt *stmt = NULL;
    int known = sqlite3_prepare_v2(db, probe, -1, &stmt, NULL) == SQLITE_OK;
    sqlite3_finalize(stmt);
    if (known) {
        return SQLITE_OK;
    }
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    int rc = sqlite3_create_function_v2(db, name, n_args, flags, NULL, no_embedder, NULL,
                                        NULL, NULL);
    /* An automatic extension must not leave the error of the probe: sqlite3_open would
     * return it. This clears it, and reads nothing. */
    return rc == SQLITE_OK ? sqlite3_exec(db, "", NULL, NULL, NULL) : rc;
}

int vsx_register_embed(sqlite3 *db) {
    int rc = register_missing(db, "embed", 1, "SELECT embed(NULL)");
    return rc == SQLITE_OK ? register_missing(db, "vecsql_embed", 3,
                                              "SELECT vecsql_embed(NULL, NULL, NULL)")
                           : rc;
}
