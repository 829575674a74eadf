/* The command `attach`; see attach.h. */
#include "ext/write/attach.h"

#include "ext/table/errors.h"
#include "ext/content/content.h"
#include "ext/query/filter.h"
#include "ext/write/rebuild.h"
#include "ext/write/integrity.h"

/* Whether the index has what the rows say, although its triggers were let go: those that
 * were named in their place tell every change, or else all rows are compared. */
static int stayed_in_step(VsxIndex *i, int *in_step) {
    char *report = NULL;
    int rc = SQLITE_OK;
    *in_step = 0;
    if (*i->def->detached != '\0') {
        rc = vsx_content_followed(i, in_step);
    }
    if (rc == SQLITE_OK && !*in_step) {
        rc = vsx_check(i, 0, &report);
        *in_step = report == NULL;
        sqlite3_free(report);
    }
    return rc;
}

int vsx_content_take_back(VsxTable *t) {
    VsxIndex *i = t->index;
    int in_step = 1;
    int rc = i->def->detached == NULL ? vsx_searchable(t) : vsx_usable(t);
    if (rc == SQLITE_OK && i->def->detached != NULL) {
        rc = stayed_in_step(i, &in_step);
    }
    rc = rc == SQLITE_OK && !in_step ? vsx_rebuild(t) : rc;
    return rc == SQLITE_OK ? vsx_content_attach(i) : rc;
}
