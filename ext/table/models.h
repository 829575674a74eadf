/*
 * Which model has embedded the rows of a column.
 */
#ifndef VSX_TABLE_MODELS_H
#define VSX_TABLE_MODELS_H

#include "ext/table/index.h"

/* The model that embeds a column, NULL if none is known; the caller frees it. */
int vsx_model_of(const VsxIndex *index, const char *column, char **out);
/* SQLITE_ERROR, and a message, if another model has embedded the query than the rows. */
int vsx_check_embedder(const VsxIndex *index, const char *column, sqlite3_value *query,
                       char **err);

#endif
