/*
 * Entry point of the loadable extension, and the module: connecting tables to the
 * registry.
 *
 * One copy of the library serves one SQLite library. The API pointer is a static variable
 * of the file; a second SQLite in the process (apsw's beside the stdlib's) that loads the
 * same file would overwrite it and memory of one would be freed by the other. So a second
 * one is refused, and the Python loader then loads a private copy of the file.
 */
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

#include <string.h>

#include "ext/table/index.h"
#include "ext/functions/functions.h"
#include "ext/query/search_many.h"
#include "ext/vec0/vec0.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/vector_cache.h"
#include "ext/table/doubts.h"
#include "ext/txn/txn.h"
#include "ext/content/content.h"
#include "ext/query/filter.h"
#include "ext/query/cursor.h"
#include "ext/write/update.h"
#include "ext/write/rebuild.h"
#include "ext/write/integrity.h"
#include "ext/write/commit.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#ifndef SQLITE_VTAB_INNOCUOUS
#define SQLITE_VTAB_INNOCUOUS 2
#endif

#define OLDEST_SQLITE 3038000

/* The module that a table belongs to. */
typedef enum Dialect { VECSQL, VEC0 } Dialect;

/* ---- create, connect, disconnect, destroy --------------------------------------- */

static int declare(sqlite3 *db, const VsxSchema *def, const char *table) {
    char *sql = def->dialect->declaration(def, table);
    int rc = sql == NULL ? SQLITE_NOMEM : sqlite3_declare_vtab(db, sql);
    sqlite3_free(sql);
    rc =
        rc == SQLITE_OK ? sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1) : rc;
    return rc == SQLITE_OK ? sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS) : rc;
}

/* The whole definition: what was declared, the content table's columns, the parameters as
 * they were resolved at creation. */
static int read_schema(sqlite3 *db, Dialect dialect, int create, int argc,
                       const char *const *argv, VsxSchema **out, char **err) {
    const char *schema = argv[1], *name = argv[2];
    VsxSchema *def = NULL;
    int rc = dialect == VEC0 ? vsx_vec0_refuse(db, schema, name, err) : SQLITE_OK;
    if (rc == SQLITE_OK) {
        rc = dialect == VEC0 ? vsx_vec0_parse(argc - 3, argv + 3, &def, err)
                             : vsx_schema_parse(name, argc - 3, argv + 3, &def, err);
    }
    if (rc == SQLITE_OK) {
        def->dialect = dialect == VEC0 ? &vsx_vec0 : &vsx_vecsql;
    }
    if (rc == SQLITE_OK && def->content != NULL) {
        rc = vsx_content_columns(db, schema, name, create, def, err);
        if (rc == SQLITE_OK && def->content_lost && create) {
            rc = SQLITE_ERROR;
        } else if (rc == SQLITE_OK) {
            sqlite3_free(*err); /* an index whose table is gone can still be dropped */
            *err = NULL;
        }
    }
    rc = rc == SQLITE_OK ? vsx_schema_place(def, err) : rc;
    rc = rc == SQLITE_OK && create ? vsx_shadow_create(db, schema, name, def, err) : rc;
    rc = rc == SQLITE_OK ? vsx_shadow_config(db, schema, name, def, err) : rc;
    if (rc != SQLITE_OK) {
        vsx_schema_free(def);
        return rc;
    }
    *out = def;
    return SQLITE_OK;
}

/* A new index over a content table takes in the rows that are there. */
static int take_in_content(VsxTable *t, char **err) {
    t->index->writing++;
    int rc = vsx_rebuild(t);
    t->index->writing--;
    if (rc != SQLITE_OK) {
        *err = sqlite3_mprintf("cannot index %s: %s", t->index->def->content,
                               t->base.zErrMsg != NULL
                                   ? t->base.zErrMsg
                                   : sqlite3_errmsg(t->index->global->db));
        sqlite3_free(t->base.zErrMsg);
        vsx_index_release(t->index);
    }
    return rc;
}

/* Says which table it is about, where that is not said. */
static void name_table(Dialect dialect, const char *table, char **err) {
    if (*err != NULL && (dialect != VEC0 || strncmp(*err, "vec0", 4) != 0)) {
        char *message =
            sqlite3_mprintf(dialect == VEC0 ? "vec0 constructor error: table %s: %s"
                                            : "vecsql: table %s: %s",
                            table, *err);
        sqlite3_free(*err);
        *err = message;
    }
}

/* What xCreate and xConnect are called with. */
typedef struct Call {
    sqlite3 *db;
    VsxGlobal *global;
    Dialect dialect;
    int create;
    int argc;
    const char *const *argv;
} Call;

static int open_copied(const Call *call, VsxTable *t, char **err) {
    const char *name = call->argv[2];
    VsxSchema *def = NULL;
    int rc = read_schema(call->db, call->dialect, call->create, call->argc, call->argv,
                         &def, err);
    if (rc == SQLITE_OK) {
        rc = declare(call->db, def, name);
        if (rc == SQLITE_OK) {
            rc = vsx_index_acquire(call->global, call->argv[1], name, call->create, def,
                                   &t->index);
        } else {
            vsx_schema_free(def);
        }
    }
    if (rc == SQLITE_OK && call->create && t->index->def->content != NULL) {
        rc = take_in_content(t, err);
    }
    if (rc != SQLITE_OK) {
        name_table(call->dialect, name, err);
    }
    return rc;
}

/* The arguments in one block. SQLite frees its own when a nested statement fails (or
 * only a read within it) and the schema is forgotten because of that. */
static const char **copy_arguments(int argc, const char *const *argv) {
    size_t bytes = (size_t)argc * sizeof *argv;
    for (int i = 0; i < argc; i++) {
        bytes += strlen(argv[i]) + 1;
    }
    const char **copy = sqlite3_malloc64(bytes);
    char *text = copy == NULL ? NULL : (char *)(copy + argc);
    for (int i = 0; text != NULL && i < argc; i++) {
        size_t n = strlen(argv[i]) + 1;
        copy[i] = memcpy(text, argv[i], n);
        text += n;
    }
    return copy;
}

static int open_table(const Call *call, sqlite3_vtab **out, char **err) {
    Call own = *call;
    const char **argv = copy_arguments(call->argc, call->argv);
    VsxTable *t = sqlite3_malloc64(sizeof *t);
    int rc = SQLITE_NOMEM;
    if (argv != NULL && t != NULL) {
        memset(t, 0, sizeof *t);
        own.argv = argv;
        rc = open_copied(&own, t, err);
    }
    if (rc == SQLITE_OK) {
        *out = &t->base;
    } else {
        sqlite3_free(t);
    }
    sqlite3_free(argv);
    return rc;
}

static int vtab_create(sqlite3 *db, void *aux, int argc, const char *const *argv,
                       sqlite3_vtab **out, char **err) {
    return open_table(&(Call){db, aux, VECSQL, 1, argc, argv}, out, err);
}

static int vtab_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **err) {
    return open_table(&(Call){db, aux, VECSQL, 0, argc, argv}, out, err);
}

static int vec0_create(sqlite3 *db, void *aux, int argc, const char *const *argv,
                       sqlite3_vtab **out, char **err) {
    return open_table(&(Call){db, aux, VEC0, 1, argc, argv}, out, err);
}

static int vec0_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **err) {
    return open_table(&(Call){db, aux, VEC0, 0, argc, argv}, out, err);
}

static int vtab_disconnect(sqlite3_vtab *base) {
    VsxTable *t = (VsxTable *)base;
    vsx_index_release(t->index);
    sqlite3_free(t->base.zErrMsg);
    sqlite3_free(t);
    return SQLITE_OK;
}

static int vtab_destroy(sqlite3_vtab *base) {
    VsxTable *t = (VsxTable *)base;
    VsxIndex *i = t->index;
    vsx_stmts_free(i);
    int rc = i->def->content != NULL ? vsx_content_detach(i) : SQLITE_OK;
    rc = rc != SQLITE_OK ? rc
                         : vsx_shadow_drop(i->global->db, i->schema, i->table, i->def);
    if (rc == SQLITE_OK) {
        vsx_index_drop(i);
        rc = vtab_disconnect(base);
    }
    return rc;
}

/* ---- transactions: the protocol is in txn.c ------------------------------------- */

static int vtab_begin(sqlite3_vtab *base) {
    (void)base;
    return SQLITE_OK;
}

static int vtab_sync(sqlite3_vtab *base) {
    VsxTable *t = (VsxTable *)base;
    return vsx_explain(t, vsx_commit(t->index));
}

static int vtab_commit(sqlite3_vtab *base) {
    vsx_ended(((VsxTable *)base)->index, 1);
    return SQLITE_OK;
}

static int vtab_rollback(sqlite3_vtab *base) {
    vsx_ended(((VsxTable *)base)->index, 0);
    return SQLITE_OK;
}

static int vtab_savepoint(sqlite3_vtab *base, int n) {
    VsxTable *t = (VsxTable *)base;
    (void)n;
    return t->index->writing ? SQLITE_OK : vsx_explain(t, vsx_flush(t->index, 0));
}

static int vtab_release(sqlite3_vtab *base, int n) {
    (void)base;
    (void)n;
    return SQLITE_OK;
}

static int vtab_rollback_to(sqlite3_vtab *base, int n) {
    VsxIndex *index = ((VsxTable *)base)->index;
    (void)n;
    if (!index->writing) {
        vsx_doubts_rolled_back(index->doubts);
    }
    return SQLITE_OK;
}

/* The command column is named after the table, and no other column may have that name: the
 * table could not be connected any more. */
static int check_new_name(VsxTable *t, const char *name) {
    const VsxSchema *def = t->index->def;
    int taken = !def->dialect->no_command && vsx_schema_reserved("", name);
    for (int i = 0; !def->dialect->no_command && i < def->n_columns; i++) {
        taken |= sqlite3_stricmp(name, def->column[i].name) == 0;
    }
    return taken ? vsx_fail(t, SQLITE_ERROR,
                            "%s cannot be renamed to %s: that is one of its columns; "
                            "choose another name",
                            t->index->table, name)
                 : SQLITE_OK;
}

static int vtab_rename(sqlite3_vtab *base, const char *name) {
    VsxTable *t = (VsxTable *)base;
    int rc = check_new_name(t, name);
    rc = rc == SQLITE_OK ? vsx_flush(t->index, 0) : rc;
    vsx_stmts_free(t->index);
    rc = rc == SQLITE_OK ? vsx_shadow_rename(t->index, name) : rc;
    rc = rc == SQLITE_OK ? vsx_index_rename(t->index, name) : rc;
    /* their text and their names hold the old name, also where legacy_alter_table is on */
    rc = rc == SQLITE_OK && t->index->def->content != NULL && !t->index->def->content_lost
             ? vsx_content_restore(t->index)
             : rc;
    return vsx_explain(t, rc);
}

/* ---- the module ----------------------------------------------------------------- */

/* sqlite3_module as of 3.44 (iVersion 4), which older headers do not have in full. */
typedef struct Module {
    int iVersion;
    int (*xCreate)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **, char **);
    int (*xConnect)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **,
                    char **);
    int (*xBestIndex)(sqlite3_vtab *, sqlite3_index_info *);
    int (*xDisconnect)(sqlite3_vtab *);
    int (*xDestroy)(sqlite3_vtab *);
    int (*xOpen)(sqlite3_vtab *, sqlite3_vtab_cursor **);
    int (*xClose)(sqlite3_vtab_cursor *);
    int (*xFilter)(sqlite3_vtab_cursor *, int, const char *, int, sqlite3_value **);
    int (*xNext)(sqlite3_vtab_cursor *);
    int (*xEof)(sqlite3_vtab_cursor *);
    int (*xColumn)(sqlite3_vtab_cursor *, sqlite3_context *, int);
    int (*xRowid)(sqlite3_vtab_cursor *, sqlite3_int64 *);
    int (*xUpdate)(sqlite3_vtab *, int, sqlite3_value **, sqlite3_int64 *);
    int (*xBegin)(sqlite3_vtab *);
    int (*xSync)(sqlite3_vtab *);
    int (*xCommit)(sqlite3_vtab *);
    int (*xRollback)(sqlite3_vtab *);
    int (*xFindFunction)(sqlite3_vtab *, int, const char *,
                         void (**)(sqlite3_context *, int, sqlite3_value **), void **);
    int (*xRename)(sqlite3_vtab *, const char *);
    int (*xSavepoint)(sqlite3_vtab *, int);
    int (*xRelease)(sqlite3_vtab *, int);
    int (*xRollbackTo)(sqlite3_vtab *, int);
    int (*xShadowName)(const char *);
    int (*xIntegrity)(sqlite3_vtab *, const char *, const char *, int, char **);
} Module;

/* iVersion may promise only what the library at hand knows. */
#define MODULE(version, create, connect, best_index, update) \
    {.iVersion = (version),                                  \
     .xCreate = (create),                                    \
     .xConnect = (connect),                                  \
     .xBestIndex = (best_index),                             \
     .xDisconnect = vtab_disconnect,                         \
     .xDestroy = vtab_destroy,                               \
     .xOpen = vsx_open,                                      \
     .xClose = vsx_close,                                    \
     .xFilter = vsx_filter,                                  \
     .xNext = vsx_next,                                      \
     .xEof = vsx_eof,                                        \
     .xColumn = vsx_column,                                  \
     .xRowid = vsx_rowid,                                    \
     .xUpdate = (update),                                    \
     .xBegin = vtab_begin,                                   \
     .xSync = vtab_sync,                                     \
     .xCommit = vtab_commit,                                 \
     .xRollback = vtab_rollback,                             \
     .xFindFunction = vsx_find_function,                     \
     .xRename = vtab_rename,                                 \
     .xSavepoint = vtab_savepoint,                           \
     .xRelease = vtab_release,                               \
     .xRollbackTo = vtab_rollback_to,                        \
     .xShadowName = vsx_shadow_name,                         \
     .xIntegrity = vsx_integrity}
#define VECSQL_MODULE(version) \
    MODULE(version, vtab_create, vtab_connect, vsx_best_index, vsx_update)
#define VEC0_MODULE(version) \
    MODULE(version, vec0_create, vec0_connect, vsx_vec0_best_index, vsx_vec0_update)

static const Module modules[][2] = {[VECSQL] = {VECSQL_MODULE(3), VECSQL_MODULE(4)},
                                    [VEC0] = {VEC0_MODULE(3), VEC0_MODULE(4)}};

static int register_module(VsxGlobal *global, const char *name, Dialect dialect) {
    const Module *module = &modules[dialect][sqlite3_libversion_number() >= 3044000];
    global->refs++;
    return sqlite3_create_module_v2(global->db, name,
                                    (const sqlite3_module *)(const void *)module, global,
                                    vsx_global_free);
}

/* Whether sqlite-vec has its functions in the connection. */
static int has_sqlite_vec(sqlite3 *db) {
    sqlite3_stmt *stmt = NULL;
    int found = sqlite3_prepare_v2(db, "SELECT vec_version()", -1, &stmt, NULL);
    sqlite3_finalize(stmt);
    return found == SQLITE_OK;
}

static int register_all(sqlite3 *db, Dialect dialect) {
    VsxGlobal *global = sqlite3_malloc64(sizeof *global);
    if (global == NULL) {
        return SQLITE_NOMEM;
    }
    *global = (VsxGlobal){.db = db,
                          .refs = 1,
                          .threads = 1,
                          .vec0 = dialect == VEC0,
                          .vector_cache = VSX_CACHE_AUTO};
    vsx_global_remember(global);
    int rc = vsx_register_functions(db, dialect == VEC0 ? VSX_VEC0 : VSX_NATIVE);
    rc = rc == SQLITE_OK ? vsx_register_embed(global) : rc;
    rc = rc == SQLITE_OK ? vsx_register_match(db) : rc;
    rc = rc == SQLITE_OK ? vsx_register_list(db) : rc;
    rc = rc == SQLITE_OK ? register_module(global, "vecsql", VECSQL) : rc;
    rc = rc == SQLITE_OK ? vsx_register_stats(global) : rc;
    rc = rc == SQLITE_OK ? vsx_register_search(global) : rc;
    rc = rc == SQLITE_OK ? vsx_register_recall(global) : rc;
    if (dialect == VEC0) {
        rc = rc == SQLITE_OK ? vsx_vec0_functions(db) : rc;
        rc = rc == SQLITE_OK ? register_module(global, "vec0", VEC0) : rc;
    }
    vsx_global_free(global); /* the modules hold it now */
    return rc;
}

/* Written once, under a mutex: other threads may be at work with it already. 0 if it is
 * another SQLite's. */
static int remember_api(const sqlite3_api_routines *api) {
    sqlite3_mutex *mutex = api->mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
    api->mutex_enter(mutex);
    if (sqlite3_api == NULL) {
        SQLITE_EXTENSION_INIT2(api);
    }
    int ours = sqlite3_api == api;
    api->mutex_leave(mutex);
    return ours;
}

static int load(sqlite3 *db, Dialect dialect, char **err,
                const sqlite3_api_routines *api) {
    if (api->libversion_number() < OLDEST_SQLITE) {
        *err = api->mprintf("vecsql needs SQLite 3.38 or newer, this is %s",
                            api->libversion());
        return SQLITE_ERROR;
    }
    if (!remember_api(api)) {
        *err = api->mprintf(
            "vecsql: this file is already loaded by another SQLite library of the "
            "process; load a copy of it");
        return SQLITE_ERROR;
    }
    /* nothing that needs the database: it may be locked or damaged while we are loaded */
    const VsxGlobal *loaded = vsx_global_find(db);
    if (loaded != NULL && (loaded->vec0 || dialect == VECSQL)) {
        return SQLITE_OK;
    }
    if (dialect == VEC0 && (loaded != NULL || has_sqlite_vec(db))) {
        *err = sqlite3_mprintf(
            loaded != NULL ? "vecsql: loaded already without vec0; load it with vec0 "
                             "into a new connection"
                           : "vecsql: sqlite-vec is loaded already; one connection "
                             "cannot hold both");
        return SQLITE_ERROR;
    }
    return register_all(db, dialect);
}

EXPORT int sqlite3_vecsql_init(sqlite3 *db, char **err, const sqlite3_api_routines *api);
EXPORT int sqlite3_vecsqlvec0_init(sqlite3 *db, char **err,
                                   const sqlite3_api_routines *api);

int sqlite3_vecsql_init(sqlite3 *db, char **err, const sqlite3_api_routines *api) {
    return load(db, VECSQL, err, api);
}

/* Registers the module vec0 besides (docs/howto/sqlite-vec.md). */
int sqlite3_vecsqlvec0_init(sqlite3 *db, char **err, const sqlite3_api_routines *api) {
    return load(db, VEC0, err, api);
}
