/*
 * The end of a transaction: xSync links the rows that wait and writes everything (txn.c), for
 * the index that stands for the table now.
 */
#include "ext/write/commit.h"

#include "ext/table/shadow.h"
#include "ext/table/doubts.h"
#include "ext/txn/txn.h"
#include "ext/txn/linking.h"
#include "ext/content/content.h"

/* The index that stands for the table now: another definition of it may have taken the
 * place of this one. NULL if none is connected. */
static VsxIndex *present(VsxIndex *index) {
    return index->dropped ? vsx_index_find(index->global, index->schema, index->table)
                          : index;
}

/* Connects the table anew if the schema has changed since. */
static VsxIndex *reconnected(VsxIndex *index) {
    int rc = vsx_exec(index->global->db, "SELECT 1 FROM \"%w\".\"%w\" LIMIT 0",
                      index->schema, index->table);
    return rc == SQLITE_OK ? present(index) : index;
}

/* Asks the content table about the rows in doubt, under the name that it has now. */
static int settle(VsxIndex **index) {
    if ((*index)->doubts->settled == (*index)->doubts->n) {
        return SQLITE_OK;
    }
    *index = reconnected(*index);
    VsxIndex *i = *index;
    if (i == NULL || i->def->content == NULL || i->def->content_lost) {
        return SQLITE_OK; /* no search answers from it */
    }
    i->writing++;
    int rc = vsx_content_settle(i);
    i->writing--;
    return rc;
}

int vsx_commit(VsxIndex *index) {
    VsxIndex *now = present(index);
    int rc = now != index ? vsx_flush(index, 1) : SQLITE_OK;
    if (rc == SQLITE_OK && now != NULL) {
        rc = settle(&now);
        rc = now != NULL ? vsx_excuse(now, rc) : rc;
    }
    if (rc == SQLITE_OK && now != NULL) {
        rc = vsx_excuse(now, vsx_link_all(now));
        rc = rc == SQLITE_OK ? vsx_flush(now, 1) : rc;
    }
    return rc;
}

void vsx_ended(VsxIndex *index, int committed) {
    VsxIndex *now = present(index);
    vsx_doubts_clear(index->doubts);
    if (now != NULL) {
        vsx_doubts_clear(now->doubts);
    }
    if (!committed) {
        vsx_discard(index);
    }
    for (int i = 0; committed && i < index->def->n_vectors; i++) {
        vs_history_trim(index->vector[i].graph, &index->vector[i].history);
    }
}
