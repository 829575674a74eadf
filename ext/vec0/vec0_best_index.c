/*
 * vec0: xBestIndex. Which constraints a nearest-neighbour query may have, and which of
 * them count before k.
 *
 * Only the checks are here; the plan is made by vsx_best_index, which takes LIMIT for k in
 * a vec0 table and leaves OFFSET alone: SQLite then asks again without LIMIT, and the
 * query is refused for want of it, as in sqlite-vec.
 */
#include "ext/vec0/vec0.h"
#include "ext/table/errors.h"
#include "ext/query/cursor.h"

#ifndef SQLITE_INDEX_CONSTRAINT_LIMIT
#define SQLITE_INDEX_CONSTRAINT_LIMIT 73
#define SQLITE_INDEX_CONSTRAINT_OFFSET 74
#endif

typedef struct Terms {
    VsxTable *t;
    const VsxSchema *def;
    sqlite3_index_info *info;
    int match, k, limit, rowid_in; /* constraint numbers, -1 if none */
} Terms;

static int refuse(Terms *p, const char *message) {
    return vsx_fail(p->t, SQLITE_ERROR, "%s", message);
}

static const VsxColumn *column_of(const Terms *p, int i) {
    int column = p->info->aConstraint[i].iColumn;
    return column >= 0 && column < p->def->n_columns ? &p->def->column[column] : NULL;
}

static int is_limit(int op) {
    return op == SQLITE_INDEX_CONSTRAINT_LIMIT || op == SQLITE_INDEX_CONSTRAINT_OFFSET;
}

/* Finds MATCH, k, LIMIT and the key IN. */
static int find_terms(Terms *p) {
    for (int i = 0; i < p->info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
        const VsxColumn *column = column_of(p, i);
        int equal = c->op == SQLITE_INDEX_CONSTRAINT_EQ;
        if (!c->usable) {
            continue;
        }
        if (c->op == SQLITE_INDEX_CONSTRAINT_LIMIT) {
            p->limit = i;
        } else if (c->op == SQLITE_INDEX_CONSTRAINT_MATCH && column != NULL &&
                   column->role == VSX_VECTOR) {
            if (p->match >= 0) {
                return refuse(p,
                              "only 1 MATCH operator is allowed in a single vec0 query");
            }
            p->match = i;
        } else if (equal && c->iColumn == p->def->n_columns + VSX_K) {
            p->k = i;
        } else if (equal && column != NULL &&
                   (column->role == VSX_KEY || column->role == VSX_TEXT_KEY) &&
                   sqlite3_vtab_in(p->info, i, -1)) {
            if (p->rowid_in >= 0) {
                return refuse(p, "only 1 'rowid in (..)' operator is allowed in a single "
                                 "vec0 query");
            }
            p->rowid_in = i;
        }
    }
    return SQLITE_OK;
}

static int check_shape(Terms *p) {
    const sqlite3_index_info *info = p->info;
    if (p->limit < 0 && p->k < 0) {
        return refuse(p,
                      "A LIMIT or 'k = ?' constraint is required on vec0 knn queries.");
    }
    if (p->limit >= 0 && p->k >= 0) {
        return refuse(p, "Only LIMIT or 'k =?' can be provided, not both");
    }
    if (info->nOrderBy > 1) {
        return refuse(p,
                      "Only a single 'ORDER BY distance' clause is allowed on vec0 KNN "
                      "queries");
    }
    if (info->nOrderBy == 1 &&
        info->aOrderBy[0].iColumn != p->def->n_columns + VSX_DISTANCE) {
        return refuse(p,
                      "Only a single 'ORDER BY distance' clause is allowed on vec0 KNN "
                      "queries, not on other columns");
    }
    if (info->nOrderBy == 1 && info->aOrderBy[0].desc) {
        return refuse(p, "Only ascending in ORDER BY distance clause is supported, DESC "
                         "is not supported yet.");
    }
    for (int i = 0; i < info->nConstraint; i++) {
        const VsxColumn *column = column_of(p, i);
        if (info->aConstraint[i].usable && !is_limit(info->aConstraint[i].op) &&
            column != NULL && column->role == VSX_AUXILIARY) {
            return refuse(p, "An illegal WHERE constraint was provided on a vec0 "
                             "auxiliary column in a KNN query.");
        }
    }
    return SQLITE_OK;
}

static int is_comparison(int op) {
    return op == SQLITE_INDEX_CONSTRAINT_EQ || op == SQLITE_INDEX_CONSTRAINT_GT ||
           op == SQLITE_INDEX_CONSTRAINT_LE || op == SQLITE_INDEX_CONSTRAINT_LT ||
           op == SQLITE_INDEX_CONSTRAINT_GE || op == SQLITE_INDEX_CONSTRAINT_NE;
}

static int check_metadata(Terms *p, int i, int strict) {
    int op = p->info->aConstraint[i].op;
    if (op == SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(p->info, i, -1) &&
        (strict == VSX_FLOAT || strict == VSX_BOOLEAN)) {
        return refuse(p, "'xxx in (...)' is only available on INTEGER or TEXT metadata "
                         "columns.");
    }
    if (!is_comparison(op)) {
        return refuse(
            p, "An illegal WHERE constraint was provided on a vec0 metadata column in a "
               "KNN query. Only one of EQUALS, GREATER_THAN, LESS_THAN_OR_EQUAL, "
               "LESS_THAN, GREATER_THAN_OR_EQUAL, NOT_EQUALS is allowed.");
    }
    if (strict == VSX_BOOLEAN && op != SQLITE_INDEX_CONSTRAINT_EQ &&
        op != SQLITE_INDEX_CONSTRAINT_NE) {
        return refuse(p, "ONLY EQUALS (=) or NOT_EQUALS (!=) operators are allowed on "
                         "boolean metadata columns.");
    }
    return SQLITE_OK;
}

static int check_distance(Terms *p, int op) {
    return op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE ||
                   op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE
               ? SQLITE_OK
               : refuse(p, "Illegal WHERE constraint on distance column in a KNN query. "
                           "Only one of GT, GE, LT, LE constraints are allowed.");
}

/* Operators, by the kind of the column. */
static int check_constraint(Terms *p, int i) {
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    const VsxColumn *column = column_of(p, i);
    if (!c->usable || is_limit(c->op)) {
        return SQLITE_OK;
    }
    if (c->iColumn == p->def->n_columns + VSX_DISTANCE) {
        return check_distance(p, c->op);
    }
    return column != NULL && column->role == VSX_METADATA && !column->partition
               ? check_metadata(p, i, column->strict)
               : SQLITE_OK;
}

int vsx_vec0_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    VsxTable *t = (VsxTable *)base;
    Terms p = {t, t->index->def, info, -1, -1, -1, -1};
    int rc = find_terms(&p);
    if (rc == SQLITE_OK && p.match >= 0) {
        rc = check_shape(&p);
        for (int i = 0; rc == SQLITE_OK && i < info->nConstraint; i++) {
            rc = check_constraint(&p, i);
        }
    }
    return rc == SQLITE_OK ? vsx_best_index(base, info) : rc;
}

int vsx_vec0_k(VsxTable *t, sqlite3_value *value, sqlite3_int64 *k) {
    *k = sqlite3_value_int64(value); /* what is no number is 0, and gives no rows */
    if (*k < 0) {
        return vsx_fail(t, SQLITE_ERROR,
                        "k value in knn queries must be greater than or equal to 0.");
    }
    if (*k > VSX_VEC0_MAX_K) {
        return vsx_fail(t, SQLITE_ERROR,
                        "k value in knn query too large, provided %lld and the limit is "
                        "%d",
                        *k, VSX_VEC0_MAX_K);
    }
    return SQLITE_OK;
}
