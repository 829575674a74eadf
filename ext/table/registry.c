/* The indexes of a connection, found by schema and table; see index.h. */
#include <string.h>

#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/vector_cache.h"
#include "ext/table/shadow.h"
#include "ext/table/page_caches.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/table/doubts.h"

static int same_params(const VsxSchema *a, const VsxSchema *b) {
    if (a->n_columns != b->n_columns || a->n_vectors != b->n_vectors ||
        a->key != b->key || a->text_key != b->text_key ||
        a->content_lost != b->content_lost || a->config_lost != b->config_lost ||
        a->dialect != b->dialect || a->chunk_size != b->chunk_size ||
        sqlite3_stricmp(a->content, b->content) != 0 ||
        sqlite3_stricmp(a->triggers, b->triggers) != 0 ||
        sqlite3_stricmp(a->detached, b->detached) != 0) {
        return 0;
    }
    for (int i = 0; i < a->n_columns; i++) {
        const VsxColumn *x = &a->column[i], *y = &b->column[i];
        if (x->role != y->role || x->stored != y->stored || x->indexed != y->indexed ||
            x->generated != y->generated || x->strict != y->strict ||
            x->partition != y->partition || strcmp(x->name, y->name) != 0 ||
            sqlite3_stricmp(x->collation, y->collation) != 0 ||
            memcmp(&x->params, &y->params, sizeof x->params) != 0) {
            return 0;
        }
    }
    return 1;
}

static void index_free(VsxIndex *index) {
    vsx_stmts_free(index);
    for (int i = 0; i < index->def->n_vectors; i++) {
        VsxVector *v = &index->vector[i];
        if (v->graph != NULL) {
            vs_history_clear(v->graph, &v->history);
        }
        vsx_cache_free(v);
        vsx_page_cache_close(v->graph);
        vsx_rowmap_free(v->map);
    }
    vsx_schema_free(index->def);
    sqlite3_free(index->schema);
    sqlite3_free(index->table);
    sqlite3_free(index->rows);
    sqlite3_free(index->row_table);
    vsx_doubts_free(index->doubts);
    sqlite3_free(index);
}

static int index_new(VsxGlobal *global, const char *schema, const char *table,
                     VsxSchema *def, VsxIndex **out) {
    VsxIndex *index = sqlite3_malloc64(sizeof *index);
    if (index == NULL) {
        vsx_schema_free(def);
        return SQLITE_NOMEM;
    }
    memset(index, 0, sizeof *index);
    index->global = global;
    index->def = def;
    index->refs = 1;
    index->schema = sqlite3_mprintf("%s", schema);
    index->table = sqlite3_mprintf("%s", table);
    index->rows = vsx_rows_name(schema, table, def);
    index->row_table = sqlite3_mprintf("%s_rows", table);
    index->doubts = vsx_doubts_new();
    int rc = index->schema == NULL || index->table == NULL || index->rows == NULL ||
                     index->row_table == NULL || index->doubts == NULL
                 ? SQLITE_NOMEM
                 : SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < def->n_vectors; i++) {
        VsxVector *v = &index->vector[i];
        v->index = index;
        v->number = i;
        v->map = vsx_rowmap_new();
        VsHooks hooks = vsx_hooks(v);
        VsStatus st = vs_graph_open(&vsx_alloc, &def->column[def->vector[i]].params,
                                    &hooks, &v->graph);
        rc = v->map == NULL ? SQLITE_NOMEM : vsx_code(index, st);
        if (rc == SQLITE_OK) {
            vsx_page_cache_join(index, v->graph);
        }
    }
    if (rc != SQLITE_OK) {
        index_free(index);
        return rc;
    }
    *out = index;
    return SQLITE_OK;
}

static VsxIndex **list_of(VsxIndex *index) {
    return index->dropped ? &index->global->former : &index->global->first;
}

static void list_add(VsxIndex *index) {
    VsxIndex **list = list_of(index);
    index->next = *list;
    *list = index;
}

static void list_remove(VsxIndex *index) {
    VsxIndex **at = list_of(index);
    while (*at != index) {
        at = &(*at)->next;
    }
    *at = index->next;
}

static VsxIndex *find(VsxIndex *list, const char *schema, const char *table) {
    while (list != NULL && (sqlite3_stricmp(list->schema, schema) != 0 ||
                            sqlite3_stricmp(list->table, table) != 0)) {
        list = list->next;
    }
    return list;
}

VsxIndex *vsx_index_find(VsxGlobal *global, const char *schema, const char *table) {
    return find(global->first, schema, table);
}

static VsxIndex *marked(VsxIndex *list, sqlite3_int64 mark) {
    for (; list != NULL; list = list->next) {
        for (int i = 0; i < list->def->n_vectors; i++) {
            if (list->vector[i].mark == mark) {
                return list;
            }
        }
    }
    return NULL;
}

VsxIndex *vsx_index_marked(const VsxGlobal *global, sqlite3_int64 mark) {
    VsxIndex *found = marked(global->former, mark);
    return found != NULL ? found : marked(global->first, mark);
}

sqlite3_int64 vsx_new_mark(VsxGlobal *global) {
    if (global->marks == 0) {
        sqlite3_randomness(sizeof global->marks, &global->marks);
    }
    do {
        global->marks++;
    } while (global->marks == 0);
    return (sqlite3_int64)global->marks;
}

int vsx_index_acquire(VsxGlobal *global, const char *schema, const char *table,
                      int create, VsxSchema *def, VsxIndex **out) {
    VsxIndex *known = find(global->first, schema, table);
    if (known != NULL && !create && same_params(known->def, def)) {
        vsx_schema_free(def);
        for (int i = 0; i < known->def->n_vectors; i++) {
            vsx_cache_clear(&known->vector[i]); /* the table may be another one */
        }
        known->refs++;
        *out = known;
        return SQLITE_OK;
    }
    if (known != NULL) {
        vsx_index_drop(known); /* another table has taken the name */
    }
    VSX_TRY(index_new(global, schema, table, def, out));
    const VsxIndex *former = create ? NULL : find(global->former, schema, table);
    list_add(*out);
    if (former != NULL) {
        vsx_doubts_take_over(&(*out)->doubts, former->doubts);
    }
    return SQLITE_OK;
}

void vsx_index_drop(VsxIndex *index) {
    if (!index->dropped) {
        list_remove(index);
        index->dropped = 1;
        list_add(index);
    }
}

void vsx_index_release(VsxIndex *index) {
    if (--index->refs == 0) {
        list_remove(index);
        index_free(index);
    }
}

int vsx_index_rename(VsxIndex *index, const char *name) {
    char *table = sqlite3_mprintf("%s", name);
    char *rows = vsx_rows_name(index->schema, name, index->def);
    char *row_table = sqlite3_mprintf("%s_rows", name);
    if (table == NULL || rows == NULL || row_table == NULL) {
        sqlite3_free(table);
        sqlite3_free(rows);
        sqlite3_free(row_table);
        return SQLITE_NOMEM;
    }
    vsx_stmts_free(index); /* their text holds the old name */
    sqlite3_free(index->table);
    sqlite3_free(index->rows);
    sqlite3_free(index->row_table);
    index->table = table;
    index->rows = rows;
    index->row_table = row_table;
    return SQLITE_OK;
}

/* The connections that this copy of the library is loaded into; the mutex is SQLite's
 * for applications. */
static VsxGlobal *connections;

static sqlite3_mutex *enter(void) {
    sqlite3_mutex *mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
    sqlite3_mutex_enter(mutex);
    return mutex;
}

void vsx_global_remember(VsxGlobal *global) {
    sqlite3_mutex *mutex = enter();
    global->next = connections;
    connections = global;
    sqlite3_mutex_leave(mutex);
}

const VsxGlobal *vsx_global_find(sqlite3 *db) {
    sqlite3_mutex *mutex = enter();
    const VsxGlobal *global = connections;
    while (global != NULL && global->db != db) {
        global = global->next;
    }
    sqlite3_mutex_leave(mutex);
    return global;
}

static void forget(const VsxGlobal *global) {
    sqlite3_mutex *mutex = enter();
    VsxGlobal **at = &connections;
    while (*at != global) {
        at = &(*at)->next;
    }
    *at = global->next;
    sqlite3_mutex_leave(mutex);
}

void vsx_global_free(void *aux) {
    VsxGlobal *global = aux;
    if (--global->refs == 0) {
        forget(global);
        sqlite3_free(global->progress);
        for (int i = 0; i < VSX_MODELS; i++) {
            sqlite3_free(global->model[i]);
        }
        sqlite3_free(global);
    }
}
