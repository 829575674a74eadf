/*
 * The triggers that tell the changes of a content table; see content.h.
 *
 * Questions about the schema go through pragma_index_xinfo and its like, which are virtual
 * tables: so they are prepared without VSX_NO_VTAB. Where an error is undone, the first one
 * is returned: what undoing fails with adds nothing to it.
 */
#include <string.h>

#include "ext/content/internal.h"
#include "ext/table/shadow.h"
#include "ext/content/content.h"

const char *const vsx_events[VSX_EVENTS] = {"insert", "delete",        "update",
                                            "move",   "unique_insert", "unique_update"};

static int attach_one(const VsxIndex *i, int event, const char *when, const char *body) {
    return vsx_exec(i->global->db,
                    "CREATE TRIGGER \"%w\".\"%w_vecsql_%s\" %s BEGIN %s END", i->schema,
                    i->def->triggers, vsx_events[event], when, body);
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
    rc = rc == SQLITE_OK ? vsx_bind_names(stmt, i->schema, unique) : rc;
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
    *rc = *rc == SQLITE_OK ? vsx_bind_names(stmt, i->schema, i->def->content) : *rc;
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
    rc = rc == SQLITE_OK ? vsx_bind_names(stmt, i->schema, i->def->content) : rc;
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
        rc = i->def->triggers == NULL
                 ? SQLITE_NOMEM
                 : vsx_one_text(
                       i->global->db,
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
    for (int e = 0; e < VSX_EVENTS; e++) {
        VSX_TRY(vsx_exec(i->global->db, "DROP TRIGGER IF EXISTS \"%w\".\"%w_vecsql_%s\"",
                         i->schema, name, vsx_events[e]));
    }
    return SQLITE_OK;
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

int vsx_content_restore(VsxIndex *index) {
    return index->def->detached != NULL
               ? put_setting(index, "content", index->def->content)
               : vsx_content_attach(index);
}
