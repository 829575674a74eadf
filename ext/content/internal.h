/*
 * What the files of this folder share: names of triggers, and queries about the schema.
 */
#ifndef VSX_CONTENT_INTERNAL_H
#define VSX_CONTENT_INTERNAL_H

#include "ext/content/content.h"

/* Triggers by number; vsx_events has their names. The first three are those without which
 * changes are lost. */
enum { VSX_EVENTS = 6, VSX_VITAL = 3 };
extern const char *const vsx_events[VSX_EVENTS];

/* Binds ?1 to a table and ?2 to its schema. */
int vsx_bind_names(sqlite3_stmt *stmt, const char *schema, const char *table);
/* One value of a query about the schema, in *out; NULL if it gives none. Frees sql. Errors
 * that say that a table is missing or damaged are none here. */
int vsx_one_text(sqlite3 *db, char *sql, char **out);

#endif
