/*
 * xBestIndex: which constraints a query gives us, and the plan as text.
 *
 * The plan is a line of words in idxStr, so that EXPLAIN QUERY PLAN shows it and xFilter
 * reads it. The first word is the kind; each later word takes one argument of xFilter:
 *
 *     scan | scan-desc      the rows that pass, in order of rowid
 *     point rowid=          one row
 *     knn:N match ...       nearest rows by vector column number N, in order of distance
 *
 *     k=  ef=  exact=       the hidden columns
 *     limit=                no more rows are asked for
 *     limit  offset         how far the rows will probably be read
 *     d<  d<=  d>  d>=  d=  bounds of the distance
 *     rowidOP               a predicate on the rowid, evaluated on the row table
 *     cIOP                  the same on column I; OP is = < <= > >= <> -is -isnot -like
 *                           -glob -null -notnull -in; after it may follow "!" (the other
 *                           side is a literal) and "@NAME" (the collation, where it is not
 *                           the column's) or "|NAME" (that or the column's)
 *     recheck  on NAME      end the line and take no argument: SQLite will call match()
 *                           too; the vector column, for the reader
 *
 * With k= or limit= a search gives the nearest rows at once, else all rows in order of
 * distance (nearest.c). Which of walk and scan it becomes is chosen in xFilter, when it is
 * known how many rows pass.
 *
 * LIMIT counts rows behind everything that SQLite tests itself. So limit= is there only if
 * nothing is left to test: one table, every constraint taken and not tested again (but for
 * an affinity: that is seen when the values are there), none that waits for another table,
 * no OFFSET, and rows in the order that is asked for. OFFSET is left to SQLite, so that
 * every page of a statement comes from one order.
 *
 * The costs steer rather than tell the truth (SQLite would not discount a streamed table
 * by LIMIT): a walk costs what a LIMIT query would, so that it wins in joins unless the
 * other side is known to give very few rows.
 *
 * What SQLite compares again. A value arrives as it is; whether the expression that it
 * came from has an affinity, which decides how `text_column = value` compares, is known
 * only of literals. For others the filter admits what either reading admits (filter.c)
 * and SQLite, not told to omit its own test, keeps what is right. So it is with <> and
 * IS NOT, of which SQLite does not tell the collation.
 */
#include <string.h>

#include "ext/table/index.h"
#include "ext/table/errors.h"
#include "ext/query/filter.h"
#include "ext/query/cursor.h"
#include "ext/table/dialect.h"

#ifndef SQLITE_INDEX_CONSTRAINT_LIMIT
#define SQLITE_INDEX_CONSTRAINT_LIMIT 73
#define SQLITE_INDEX_CONSTRAINT_OFFSET 74
#endif

/* Of later constraints SQLite does not omit its own test (where.c, "i<16"). */
enum { FIRST_NOT_OMITTED = 16 };

typedef struct Plan {
    const VsxSchema *def;
    sqlite3_index_info *info;
    sqlite3_str *text;
    int n_args;
    int k_given;
    int match;    /* constraint number, -1 if none */
    int by_rowid; /* the plan gives one row */
    int by_key;   /* a TEXT key = */
    int asks;     /* a column or the rowid = what is not known yet */
    int tests;    /* SQLite tests something itself, and not for an affinity only */
} Plan;

static void use(Plan *p, int constraint, int omit) {
    p->info->aConstraintUsage[constraint].argvIndex = ++p->n_args;
    p->info->aConstraintUsage[constraint].omit = (unsigned char)omit;
}

static int is_rowid(const VsxSchema *def, int column) {
    return column == -1 || (def->key >= 0 && column == def->key);
}

static int is_key(const VsxSchema *def, int column) {
    return is_rowid(def, column) || (column >= 0 && column == def->text_key);
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

/* A collation as a word of the plan can hold it. */
static int plain_name(const char *name) {
    size_t n = strlen(name);
    return n > 0 && n < VSX_COLLATION_MAX && strcspn(name, " !@|\"'") == n;
}

/* The operator of a constraint, "-in" for an IN that we take as a whole; NULL: not ours.
 */
static const char *take_operator(const Plan *p, int i) {
    int op = p->info->aConstraint[i].op;
    if (op == SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(p->info, i, -1)) {
        sqlite3_vtab_in(p->info, i, 1);
        return "-in";
    }
    return operator_word(op);
}

static int is_pattern(int op) {
    return op == SQLITE_INDEX_CONSTRAINT_LIKE || op == SQLITE_INDEX_CONSTRAINT_GLOB;
}

static int compares_values(int op) {
    return !is_pattern(op) && op != SQLITE_INDEX_CONSTRAINT_ISNULL &&
           op != SQLITE_INDEX_CONSTRAINT_ISNOTNULL;
}

/* SQLite does not tell the collation of these. BINARY admits enough: values that any
 * collation tells apart differ in their bytes. */
static int is_difference(int op) {
    return op == SQLITE_INDEX_CONSTRAINT_NE || op == SQLITE_INDEX_CONSTRAINT_ISNOT;
}

static const char *collation_of(const VsxColumn *column) {
    return column->collation == NULL ? "BINARY" : column->collation;
}

/* The other side is a literal: it has no affinity, and waits for no other table. */
static int is_literal(const Plan *p, int i) {
    sqlite3_value *value = NULL;
    return sqlite3_vtab_rhs_value(p->info, i, &value) == SQLITE_OK && value != NULL;
}

/* A predicate on a column of the row table. *indexed is set if a b-tree serves it. */
static void use_filter(Plan *p, int i, int *indexed) {
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    const VsxColumn *column = &p->def->column[c->iColumn];
    const char *collation = sqlite3_vtab_collation(p->info, i);
    int values = compares_values(c->op), differs = is_difference(c->op);
    collation = collation == NULL || differs ? "BINARY" : collation;
    if (column->role == VSX_VECTOR || operator_word(c->op) == NULL ||
        (values && !plain_name(collation))) {
        return;
    }
    int known = values && is_literal(p, i);
    const char *word = take_operator(p, i);
    int own = !values || sqlite3_stricmp(collation, collation_of(column)) == 0;
    int asks = strcmp(word, "=") == 0 && !known;
    /* of `(a, b) IN (...)`, whose b = ? this may be, SQLite tells the collation of a */
    int either = asks && !own && !p->k_given;
    int again = differs || is_pattern(c->op) || either;
    use(p, i, !again && (known || !values || !vsx_affinity_matters(column)));
    p->tests |= again;
    sqlite3_str_appendf(p->text, " c%d%s%s", column->stored, word, known ? "!" : "");
    p->asks |= asks;
    if (!own) {
        sqlite3_str_appendf(p->text, "%c%s", either ? '|' : '@', collation);
    }
    p->by_key |= column->role == VSX_TEXT_KEY && strcmp(word, "=") == 0 && own;
    *indexed |= column->indexed && own && !differs;
}

static void use_rowid(Plan *p, int i, int *indexed) {
    int op = p->info->aConstraint[i].op;
    if (operator_word(op) == NULL) {
        return;
    }
    const char *word = take_operator(p, i);
    use(p, i, !is_pattern(op));
    p->tests |= is_pattern(op);
    sqlite3_str_appendf(p->text, " rowid%s", word);
    *indexed |= !is_pattern(op);
    if (strcmp(word, "=") == 0) {
        int known = is_literal(p, i);
        p->by_rowid |= known || !p->k_given;
        p->asks |= !known;
    }
}

/* SQLite compares the distance again, unless that is float32. */
static void use_distance(Plan *p, int i) {
    int op = p->info->aConstraint[i].op;
    if (op == SQLITE_INDEX_CONSTRAINT_EQ || op == SQLITE_INDEX_CONSTRAINT_LT ||
        op == SQLITE_INDEX_CONSTRAINT_LE || op == SQLITE_INDEX_CONSTRAINT_GT ||
        op == SQLITE_INDEX_CONSTRAINT_GE) {
        use(p, i, p->def->dialect->float32);
        p->tests = 1;
        sqlite3_str_appendf(p->text, " d%s", operator_word(op));
    }
}

static int is_limit(int op) {
    return op == SQLITE_INDEX_CONSTRAINT_LIMIT || op == SQLITE_INDEX_CONSTRAINT_OFFSET;
}

/* One constraint beside MATCH, LIMIT and OFFSET. */
static void use_constraint(Plan *p, int i) {
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    static const char *const hidden[] = {NULL, " k=", " ef=", " exact="};
    int h = c->iColumn - p->def->n_columns, indexed = 0, before = p->n_args;
    if (i == p->match || is_limit(c->op)) {
        return;
    }
    if (!c->usable) {
        p->tests = 1; /* it waits for another table */
    } else if (p->def->dialect->key_after_k && is_key(p->def, c->iColumn) &&
               !sqlite3_vtab_in(p->info, i, -1)) {
        p->tests = 1;
    } else if (is_rowid(p->def, c->iColumn)) {
        use_rowid(p, i, &indexed);
    } else if (h >= VSX_K && h <= VSX_EXACT && c->op == SQLITE_INDEX_CONSTRAINT_EQ) {
        use(p, i, 1);
        sqlite3_str_appendall(p->text, hidden[h]);
    } else if (h == VSX_DISTANCE) {
        use_distance(p, i);
    } else if (h < 0 && c->iColumn >= 0) {
        use_filter(p, i, &indexed);
    }
    p->tests |= p->n_args == before;
}

/* LIMIT and OFFSET, when all others are known. */
static void use_limits(Plan *p) {
    const sqlite3_index_info *info = p->info;
    int offset = 0;
    for (int i = 0; i < info->nConstraint; i++) {
        offset |= info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_OFFSET;
    }
    int ends = !p->tests && !offset && (info->nOrderBy == 0 || info->orderByConsumed);
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        int limit = c->op == SQLITE_INDEX_CONSTRAINT_LIMIT;
        if (!c->usable || !is_limit(c->op)) {
            continue;
        }
        if (p->def->dialect->limit_is_k && limit) {
            use(p, i, 1);
            sqlite3_str_appendall(p->text, " k=");
        } else if (!p->def->dialect
                        ->limit_is_k) { /* there SQLite asks again, without LIMIT */
            use(p, i, 0);
            sqlite3_str_appendall(p->text, !limit ? " offset"
                                           : ends ? " limit="
                                                  : " limit");
        }
    }
}

/* Rows come by (distance, rowid). */
static int order_is_distance(const VsxSchema *def, sqlite3_index_info *info) {
    return info->nOrderBy > 0 &&
           info->aOrderBy[0].iColumn == def->n_columns + VSX_DISTANCE &&
           !info->aOrderBy[0].desc &&
           (info->nOrderBy == 1 ||
            (is_rowid(def, info->aOrderBy[1].iColumn) && !info->aOrderBy[1].desc));
}

/* k counts once. For `(a, b) IN (...)` SQLite offers `a =` and `b =` and would search once
 * for each row of the list. It does not say so, but asks again without them: that plan has
 * to cost less. */
static void plan_knn(Plan *p) {
    sqlite3_index_info *info = p->info;
    int column = info->aConstraint[p->match].iColumn;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        p->k_given |= c->usable && c->iColumn == p->def->n_columns + VSX_K &&
                      c->op == SQLITE_INDEX_CONSTRAINT_EQ;
        p->k_given |= c->usable && p->def->dialect->limit_is_k &&
                      c->op == SQLITE_INDEX_CONSTRAINT_LIMIT;
    }
    sqlite3_str_appendf(p->text, "knn:%d match", p->def->column[column].vector);
    use(p, p->match, 1);
    for (int i = 0; i < info->nConstraint; i++) {
        use_constraint(p, i);
    }
    info->orderByConsumed = order_is_distance(p->def, info);
    use_limits(p);
    /* above half of a walk: in an OR two single rows must not cost less than one walk,
     * for SQLite would then ask for them without the MATCH */
    info->estimatedCost = p->by_rowid ? 60 : p->k_given && p->asks ? 110 : 100;
    info->estimatedRows = p->by_rowid ? 1 : 10;
    info->idxFlags = p->by_rowid ? SQLITE_INDEX_SCAN_UNIQUE : 0;
    if (p->match >= FIRST_NOT_OMITTED) {
        sqlite3_str_appendall(p->text, " recheck");
    }
    sqlite3_str_appendf(p->text, " on %s", p->def->column[column].name);
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
    int by_rowid = info->nOrderBy == 1 && is_rowid(p->def, info->aOrderBy[0].iColumn);
    int indexed = 0, filters = 0;
    sqlite3_str_appendall(p->text,
                          by_rowid && info->aOrderBy[0].desc ? "scan-desc" : "scan");
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        int before = p->n_args;
        if (c->usable && is_rowid(p->def, c->iColumn)) {
            use_rowid(p, i, &indexed);
        } else if (c->usable && c->iColumn >= 0 && c->iColumn < p->def->n_columns &&
                   operator_word(c->op) != NULL) {
            use_filter(p, i, &indexed);
        }
        filters += p->n_args - before;
    }
    /* nothing is known of the table: a million rows, of which an index finds 1 % */
    info->estimatedRows = p->by_key     ? 1
                          : indexed     ? 10000
                          : filters > 0 ? 100000
                                        : 1000000;
    info->estimatedCost = p->by_key ? 10 : indexed ? 3e4 : 3e6;
    info->idxFlags = p->by_key ? SQLITE_INDEX_SCAN_UNIQUE : 0;
    info->orderByConsumed = by_rowid;
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
        if (!on_vector && p.def->dialect->no_command) {
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
    info->idxNum = columns_used(info->colUsed);
    info->idxStr = sqlite3_str_finish(p.text);
    info->needToFreeIdxStr = 1;
    return info->idxStr == NULL ? SQLITE_NOMEM : SQLITE_OK;
}
