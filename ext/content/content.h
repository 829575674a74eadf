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
#ifndef VSX_CONTENT_CONTENT_H
#define VSX_CONTENT_CONTENT_H

#include "ext/table/index.h"

/* Finds the content table and adds its columns to the schema. */
int vsx_content_columns(sqlite3 *db, const char *schema, const char *table, int create,
                        VsxSchema *def, char **err);
/* Makes the triggers that keep the index in step anew. / Drops them. */
int vsx_content_attach(VsxIndex *index);
int vsx_content_detach(VsxIndex *index);
/* Drops them for good: the program syncs the rows itself. Triggers whose names begin with
 * `others` note the changes, if that is not "". */
int vsx_content_let_go(VsxTable *t, const char *others);
/* Makes the triggers anew unless they were let go, and remembers the table by its name. */
int vsx_content_restore(VsxIndex *index);
/* Whether triggers tell every change of the content table. */
int vsx_content_followed(VsxIndex *index, int *followed);
/* Syncs the rows in doubt: those that may have been replaced. */
int vsx_content_settle(VsxIndex *index);
/* Index what the content table holds under a rowid now, or nothing if it holds nothing.
 * An error names the row if that is no vector of the column. */
int vsx_content_sync(VsxTable *t, sqlite3_value *rowid);
/* An error that says so if the content table is gone, or the configuration. */
int vsx_usable(VsxTable *t);
/* The same, and an error if changes of the content table were missed. Every road that
 * answers from the index asks one of these. *why is the message. */
int vsx_searchable(VsxTable *t);
int vsx_index_searchable(VsxIndex *index, char **why);

#endif
