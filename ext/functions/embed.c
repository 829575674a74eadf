/*
 * embed(text): a vector made by a model that the host program has.
 *
 * The program registers vecsql_embed(text, model, checksum), which answers for each of its
 * models, and then names them: vecsql_embedder(name, model) makes name(text) a function that
 * asks vecsql_embed and marks the vector with the model, by a subtype that counts the models
 * of the connection. So a search can refuse a query that another model embedded than its
 * rows (the index's model is what the Python package keeps in vecsql_indexes).
 *
 * Until the program has registered its own, embed and vecsql_embed say what is missing.
 */
#include <string.h>

#include "ext/table/index.h"
#include "ext/functions/functions.h"

#define FLAGS (SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS)

/* A function name(text), as long as SQLite has it. */
struct VsxEmbedder {
    VsxGlobal *global; /* counted */
    VsxEmbedder *next;
    int number; /* of the model, in global->model; -1: none yet */
    char name[];
};

static void no_embedder(sqlite3_context *ctx, const void *model) {
    vsx_function_fail(
        ctx,
        "this connection has no embedder%s%s: in Python, vecsql.register_embedder(db)",
        model == NULL ? "" : " for the model ", model == NULL ? "" : model);
}

/* The program's own vecsql_embed has three parameters, and this one any number. So SQLite
 * prefers the program's, which is a new function and replaces none: SQLite replaces a function
 * only while no statement runs. A statement that was prepared before comes here still. */
static void no_models(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxGlobal *global = sqlite3_user_data(ctx);
    sqlite3 *db = sqlite3_context_db_handle(ctx);
    sqlite3_stmt *stmt = NULL;
    if (argc != 3 || global->asking_model) {
        no_embedder(ctx, argc > 1 ? sqlite3_value_text(argv[1]) : NULL);
        return;
    }
    global->asking_model = 1;
    int rc = sqlite3_prepare_v2(db, "SELECT vecsql_embed(?1, ?2, ?3)", -1, &stmt, NULL);
    for (int i = 0; i < argc && rc == SQLITE_OK; i++) {
        rc = sqlite3_bind_value(stmt, i + 1, argv[i]);
    }
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    global->asking_model = 0;
    if (rc == SQLITE_ROW) {
        sqlite3_result_value(ctx, sqlite3_column_value(stmt, 0));
    } else {
        sqlite3_result_error(ctx, sqlite3_errmsg(db), -1);
        sqlite3_result_error_code(ctx, rc);
    }
    sqlite3_finalize(stmt);
}

/* ---- name(text) ------------------------------------------------------------------- */

static void embed(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const VsxEmbedder *e = sqlite3_user_data(ctx);
    sqlite3 *db = sqlite3_context_db_handle(ctx);
    sqlite3_stmt *stmt = NULL;
    int type = sqlite3_value_type(argv[0]);
    (void)argc;
    if (type == SQLITE_NULL && e->number >= 0) {
        return;
    }
    if (e->number < 0) {
        no_embedder(ctx, NULL);
        return;
    }
    if (type != SQLITE_TEXT) {
        vsx_function_fail(ctx, "%s() takes text, got %s: %s(CAST(x AS TEXT))", e->name,
                          vsx_type_name(type), e->name);
        return;
    }
    int rc = sqlite3_prepare_v2(db, "SELECT vecsql_embed(?1, ?2, NULL)", -1, &stmt, NULL);
    rc = rc == SQLITE_OK ? sqlite3_bind_value(stmt, 1, argv[0]) : rc;
    rc = rc == SQLITE_OK
             ? sqlite3_bind_text(stmt, 2, e->global->model[e->number], -1, SQLITE_STATIC)
             : rc;
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    if (rc == SQLITE_ROW) {
        sqlite3_result_value(ctx, sqlite3_column_value(stmt, 0));
        sqlite3_result_subtype(ctx, VSX_SUBTYPE_EMBEDDED + (unsigned)e->number);
    } else {
        sqlite3_result_error(ctx, sqlite3_errmsg(db), -1);
        sqlite3_result_error_code(ctx, rc);
    }
    sqlite3_finalize(stmt);
}

/* SQLite drops the function. */
static void embedder_free(void *aux) {
    VsxEmbedder *e = aux, **at = &e->global->embedder;
    while (*at != e) {
        at = &(*at)->next;
    }
    *at = e->next;
    vsx_global_free(e->global);
    sqlite3_free(e);
}

static int embedder_create(VsxGlobal *global, const char *name, int number) {
    size_t size = strlen(name) + 1;
    VsxEmbedder *e = sqlite3_malloc64(sizeof *e + size);
    if (e == NULL) {
        return SQLITE_NOMEM;
    }
    *e = (VsxEmbedder){global, global->embedder, number};
    memcpy(e->name, name, size);
    global->embedder = e;
    global->refs++; /* SQLite calls embedder_free also if it refuses the function */
    return sqlite3_create_function_v2(global->db, name, 1, FLAGS | SQLITE_RESULT_SUBTYPE,
                                      e, embed, NULL, NULL, embedder_free);
}

/* The number of a model, a new one if need be; -1 if memory is lacking, VSX_MODELS if there
 * are too many. */
static int number_of(VsxGlobal *global, const char *model) {
    int i = 0;
    while (i < VSX_MODELS && global->model[i] != NULL &&
           strcmp(global->model[i], model) != 0) {
        i++;
    }
    if (i < VSX_MODELS && global->model[i] == NULL) {
        global->model[i] = sqlite3_mprintf("%s", model);
        return global->model[i] == NULL ? -1 : i;
    }
    return i;
}

/* vecsql_embedder(name, model): 1, or 0 if the connection has too many models, or another
 * function of that name, which SQLite replaces only while no statement runs. */
static void vecsql_embedder(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxGlobal *global = sqlite3_user_data(ctx);
    const char *name = (const char *)sqlite3_value_text(argv[0]);
    const char *model = (const char *)sqlite3_value_text(argv[1]);
    (void)argc;
    if (name == NULL || model == NULL) {
        vsx_function_fail(ctx, "call it as vecsql_embedder('name', 'model')");
        return;
    }
    int number = number_of(global, model), rc = SQLITE_OK;
    VsxEmbedder *e = global->embedder;
    while (e != NULL && sqlite3_stricmp(e->name, name) != 0) {
        e = e->next;
    }
    if (number < 0) {
        rc = SQLITE_NOMEM;
    } else if (number == VSX_MODELS) {
        rc = SQLITE_BUSY;
    } else if (e != NULL) {
        e->number = number;
    } else {
        rc = embedder_create(global, name, number);
    }
    if (rc == SQLITE_OK || rc == SQLITE_BUSY) {
        sqlite3_result_int(ctx, rc == SQLITE_OK);
    } else {
        sqlite3_result_error_code(ctx, rc);
    }
}

/* ---- registration --------------------------------------------------------------------- */

/* Whether the connection has a function, which probe calls. */
static int is_known(sqlite3 *db, const char *probe) {
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, probe, -1, &stmt, NULL);
    sqlite3_finalize(stmt);
    return rc == SQLITE_OK;
}

int vsx_register_embed(VsxGlobal *global) {
    sqlite3 *db = global->db;
    int rc = SQLITE_OK;
    if (!is_known(db, "SELECT embed(NULL)")) {
        rc = embedder_create(global, "embed", -1);
    }
    if (rc == SQLITE_OK && !is_known(db, "SELECT vecsql_embed(NULL, NULL, NULL)")) {
        global->refs++;
        rc = sqlite3_create_function_v2(db, "vecsql_embed", -1, FLAGS, global, no_models,
                                        NULL, NULL, vsx_global_free);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    global->refs++;
    rc = sqlite3_create_function_v2(db, "vecsql_embedder", 2,
                                    SQLITE_UTF8 | SQLITE_DIRECTONLY, global,
                                    vecsql_embedder, NULL, NULL, vsx_global_free);
    /* An automatic extension must not leave the error of a probe: sqlite3_open would
     * return it. This clears it, and reads nothing. */
    return rc == SQLITE_OK ? sqlite3_exec(db, "", NULL, NULL, NULL) : rc;
}
