/*
 * xBestIndex: which constraints a query gives us, and the plan as text.
 *
 * The plan is a line of words in idxStr, so that EXPLAIN QUERY PLAN shows it and xFilter
 * reads it. The first word is the kind; each later word takes one argument of xFilter:
 *
 *     scan                  all rows, in order of rowid
 *     point rowid=          one row
 *     knn:N match ...       nearest rows by vector column number N, in order of distance
 *
 *     k=  ef=  exact=       the hidden columns
 *     limit  offset         hints for the size of the first batch, never a bound
 *     rowid=  rowid-in      admitted rows
 *     cI=  cI<  cI<=  cI>  cI>=  cI<>  cI-is  cI-isnot  cI-like  cI-glob  cI-null
 *     cI-notnull  cI-in     a predicate on column I of the row table, evaluated there
 *     on NAME               ends the line: the vector column, for the reader
 *
 * The costs steer rather than tell the truth (SQLite would not discount a streamed table
 * by LIMIT): a walk costs what a LIMIT query would, so that it wins in joins unless the
 * other side is known to give very few rows.
 */
#include <string.h>

#include "ext.h"

#ifndef SQLITE_INDEX_CONSTRAINT_LIMIT
#define SQLITE_INDEX_CONSTRAINT_LIMIT 73
#define SQLITE_INDEX_CONSTRAINT_OFFSET 74
#endif

typedef struct Plan {
    const VsxSchema *def;
    sqlite3_index_info *info;
    sqlite3_str *text;
    int n_args;
    int k_given;
    int match;    /* constraint number, -1 if none */
    int by_rowid; /* a rowid = is part of the plan */
} Plan;

static void use(Plan *p, int constraint, int omit) {
    p->info->aConstraintUsage[constraint].argvIndex = ++p->n_args;
    p->info->aConstraintUsage[constraint].omit = (unsigned char)omit;
}

static int is_rowid(const VsxSchema *def, int column) {
    return column == -1 || (def->key >= 0 && column == def->key);
}

static const char *operator_word(int op) {
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
        return "=";
    case SQLITE_INDEX_CONSTRAINT_LT:
        return "<";
    case SQLITE_INDEX_CONSTRAINT_LE:
        return "<=";
    case SQLITE_INDEX_CONSTRAINT_GT:
        return ">";
    case SQLITE_INDEX_CONSTRAINT_GE:
        return ">=";
    case SQLITE_INDEX_CONSTRAINT_NE:
        return "<>";
    case SQLITE_INDEX_CONSTRAINT_IS:
        return "-is";
    case SQLITE_INDEX_CONSTRAINT_ISNOT:
        return "-isnot";
    case SQLITE_INDEX_CONSTRAINT_LIKE:
        return "-like";
    case SQLITE_INDEX_CONSTRAINT_GLOB:
        return "-glob";
    case SQLITE_INDEX_CONSTRAINT_ISNULL:
        return "-null";
    case SQLITE_INDEX_CONSTRAINT_ISNOTNULL:
        return "-notnull";
    default:
        return NULL;
    }
}

/* A predicate on a column of the row table. */
static void use_filter(Plan *p, int i) {
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    const VsxColumn *column = &p->def->column[c->iColumn];
    const char *word = operator_word(c->op);
    const char *collation = sqlite3_vtab_collation(p->info, i);
    if (word == NULL || column->role == VSX_VECTOR || p->n_args >= VSX_MAX_TERMS ||
        sqlite3_stricmp(collation == NULL ? "BINARY" : collation,
                        column->collation == NULL ? "BINARY" : column->collation) != 0) {
        return;
    }
    int pattern =
        c->op == SQLITE_INDEX_CONSTRAINT_LIKE || c->op == SQLITE_INDEX_CONSTRAINT_GLOB;
    if (c->op == SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(p->info, i, -1)) {
        sqlite3_vtab_in(p->info, i, 1);
        word = "-in";
    }
    use(p, i, !pattern);
    sqlite3_str_appendf(p->text, " c%d%s", column->stored, word);
}

static void use_rowid(Plan *p, int i) {
    if (p->info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ) {
        return;
    }
    if (sqlite3_vtab_in(p->info, i, -1)) {
        sqlite3_vtab_in(p->info, i, 1);
        use(p, i, 1);
        sqlite3_str_appendall(p->text, " rowid-in");
    } else if (!p->k_given) {
        /* With k a single rowid filters afterwards: k counts the neighbours that a join
         * offers. */
        use(p, i, 1);
        sqlite3_str_appendall(p->text, " rowid=");
        p->by_rowid = 1;
    }
}

/* One constraint beside MATCH. */
static void use_constraint(Plan *p, int i) {
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    static const char *const hidden[] = {NULL, " k=", " ef=", " exact="};
    int h = c->iColumn - p->def->n_columns;
    if (!c->usable || i == p->match) {
        return;
    }
    int limit = c->op == SQLITE_INDEX_CONSTRAINT_LIMIT;
    if (p->def->vec0 && limit) {
        use(p, i, 1);
        sqlite3_str_appendall(p->text, " k=");
    } else if (p->def->vec0 && c->op == SQLITE_INDEX_CONSTRAINT_OFFSET) {
        return; /* SQLite asks again, without LIMIT (vec0_plan.c) */
    } else if (limit || c->op == SQLITE_INDEX_CONSTRAINT_OFFSET) {
        use(p, i, 0);
        sqlite3_str_appendall(p->text, limit ? " limit" : " offset");
    } else if (is_rowid(p->def, c->iColumn)) {
        use_rowid(p, i);
    } else if (h >= VSX_K && h <= VSX_EXACT && c->op == SQLITE_INDEX_CONSTRAINT_EQ) {
        use(p, i, 1);
        sqlite3_str_appendall(p->text, hidden[h]);
    } else if (h < 0 && c->iColumn >= 0) {
        use_filter(p, i);
    }
}

static int order_is_distance(const VsxSchema *def, const sqlite3_index_info *info) {
    return info->nOrderBy == 1 &&
           info->aOrderBy[0].iColumn == def->n_columns + VSX_DISTANCE &&
           !info->aOrderBy[0].desc;
}

static void plan_knn(Plan *p) {
    sqlite3_index_info *info = p->info;
    int column = info->aConstraint[p->match].iColumn;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        p->k_given |= c->usable && c->iColumn == p->def->n_columns + VSX_K &&
                      c->op == SQLITE_INDEX_CONSTRAINT_EQ;
        p->k_given |= c->usable && p->def->vec0 && c->op == SQLITE_INDEX_CONSTRAINT_LIMIT;
    }
    sqlite3_str_appendf(p->text, "knn:%d match", p->def->column[column].vector);
    use(p, p->match, 1);
    for (int i = 0; i < info->nConstraint; i++) {
        use_constraint(p, i);
    }
    info->orderByConsumed = order_is_distance(p->def, info);
    /* above half of a walk: in an OR two single rows must not cost less than one walk,
     * for SQLite would then ask for them without the MATCH */
    info->estimatedCost = p->by_rowid ? 60 : 100;
    info->estimatedRows = p->by_rowid ? 1 : 10;
    info->idxFlags = p->by_rowid ? SQLITE_INDEX_SCAN_UNIQUE : 0;
}

static void plan_rows(Plan *p) {
    sqlite3_index_info *info = p->info;
    int point = -1;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (c->usable && c->op == SQLITE_INDEX_CONSTRAINT_EQ &&
            is_rowid(p->def, c->iColumn)) {
            point = i;
        }
    }
    if (point >= 0) {
        use(p, point, 1);
        sqlite3_str_appendall(p->text, "point rowid=");
        info->estimatedCost = 5;
        info->estimatedRows = 1;
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
        return;
    }
    sqlite3_str_appendall(p->text, "scan");
    info->estimatedCost = 1e6;
    info->estimatedRows = 100000;
    info->orderByConsumed = info->nOrderBy == 1 &&
                            is_rowid(p->def, info->aOrderBy[0].iColumn) &&
                            !info->aOrderBy[0].desc;
}

/* The mask of columns that xColumn will be asked for, in an int: bit 30 stands for all
 * from 30 on. */
static int columns_used(sqlite3_uint64 mask) {
    return (int)(mask & 0x3FFFFFFF) | (mask >> 30 != 0 ? 1 << 30 : 0);
}

int vsx_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    VsxTable *t = (VsxTable *)base;
    Plan p = {.def = t->index->def, .info = info, .match = -1};
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (c->op != SQLITE_INDEX_CONSTRAINT_MATCH) {
            continue;
        }
        int on_vector = c->iColumn >= 0 && c->iColumn < p.def->n_columns &&
                        p.def->column[c->iColumn].role == VSX_VECTOR;
        if (!on_vector && p.def->vec0) {
            continue; /* SQLite has words for it */
        }
        if (!on_vector) {
            return vsx_fail(t, SQLITE_ERROR,
                            "%s: MATCH needs a vector column on its left",
                            t->index->table);
        }
        if (!c->usable) {
            return SQLITE_CONSTRAINT; /* the query vector comes from a table further out
                                       */
        }
        if (p.match >= 0) {
            return vsx_fail(t, SQLITE_ERROR, "%s: only one MATCH in a query",
                            t->index->table);
        }
        p.match = i;
    }
    p.text = sqlite3_str_new(t->index->global->db);
    if (p.match >= 0) {
        plan_knn(&p);
    } else {
        plan_rows(&p);
    }
    if (p.match >= 0) {
        sqlite3_str_appendf(p.text, " on %s",
                            p.def->column[info->aConstraint[p.match].iColumn].name);
    }
    info->idxNum = columns_used(info->colUsed);
    info->idxStr = sqlite3_str_finish(p.text);
    info->needToFreeIdxStr = 1;
    return info->idxStr == NULL ? SQLITE_NOMEM : SQLITE_OK;
}
