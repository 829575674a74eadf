/*
 * CREATE VIRTUAL TABLE ... USING vecsql(...): parsing the column definitions.
 *
 *     definition := name type "[" dims "]" option*          vector column
 *                 | name INTEGER PRIMARY KEY                the rowid
 *                 | name TEXT [COLLATE name] PRIMARY KEY    a unique name for the row
 *                 | name [type] [COLLATE name] [PARTITION KEY | INDEXED]    metadata
 *                 | "+" name [type]                         auxiliary
 *                 | "content" "=" table | "content_rowid" "=" name
 *     option     := word "=" word
 *
 * Names may be quoted with "", `` or []. Keywords are case-insensitive. The grammar is
 * that of sqlite-vec's vec0, and more.
 */
#include <stdlib.h>
#include <string.h>

#include "csrc/vector/text.h"
#include "ext/table/schema.h"

#define DEFAULT_M 16
#define DEFAULT_EF_CONSTRUCTION 200
#define DEFAULT_EF_SEARCH 64
#define MAX_EF VS_MAX_EF

/* ---- tokens --------------------------------------------------------------------- */

typedef enum TokenKind { END, WORD, QUOTED, NUMBER, SIGN, BAD } TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *text;
    int len;
} Token;

static int is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static Token next_token(const char **at) {
    const char *p = *at;
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') {
        p++;
    }
    Token t = {END, p, 0};
    if (*p == '"' || *p == '`') {
        char quote = *p++;
        while (*p != '\0' && (*p != quote || p[1] == quote)) {
            p += *p == quote ? 2 : 1;
        }
        t.kind = *p == quote ? QUOTED : BAD;
        p += *p == quote;
    } else if (*p >= '0' && *p <= '9') {
        t.kind = NUMBER;
        while (is_word(*p)) {
            t.kind = *p >= '0' && *p <= '9' ? t.kind : WORD;
            p++;
        }
    } else if (is_word(*p)) {
        t.kind = WORD;
        while (is_word(*p)) {
            p++;
        }
    } else if (*p != '\0') {
        t.kind = SIGN;
        p++;
    }
    t.len = (int)(p - t.text);
    *at = p;
    return t;
}

static int token_is(Token t, const char *word) {
    return t.kind == WORD && (int)strlen(word) == t.len &&
           sqlite3_strnicmp(t.text, word, t.len) == 0;
}

static int token_is_digit(Token t, char digit) {
    return t.kind == NUMBER && t.len == 1 && *t.text == digit;
}

static int token_sign(Token t, char sign) {
    return t.kind == SIGN && *t.text == sign;
}

/* A name may be [quoted] too, but "[" is a sign of its own behind a type. */
static Token next_name(const char **at) {
    Token t = next_token(at);
    const char *end = token_sign(t, '[') ? strchr(t.text, ']') : NULL;
    if (end == NULL) {
        return t;
    }
    *at = end + 1;
    return (Token){QUOTED, t.text, (int)(end + 1 - t.text)};
}

/* A copy without quotes. Doubled quotes stand for one; brackets know none. */
static char *token_name(Token t) {
    char *name = sqlite3_malloc64((sqlite3_uint64)t.len + 1);
    int n = 0;
    for (int i = t.kind == QUOTED; name != NULL && i < t.len - (t.kind == QUOTED); i++) {
        name[n++] = t.text[i];
        i += t.kind == QUOTED && *t.text != '[' && t.text[i] == *t.text;
    }
    if (name != NULL) {
        name[n] = '\0';
    }
    return name;
}

/* ---- vector columns ------------------------------------------------------------- */

/* In the order of the enums. */
static const char *const metric_names[] = {"l2", "cosine",  "dot",
                                           "l1", "hamming", "jaccard"};
static const char *const element_names[] = {"float", "float16", "int8", "bit"};
static const char *const kind_names[] = {"hnsw", "flat"};
static const char *const codec_names[] = {"none", "sq8", "pq"};
#define CODEC_NOT_GIVEN ((VsCodecId)99)

const char *vsx_metric_name(VsMetric metric) {
    return metric_names[metric];
}

static int choice(Token t, const char *const *names, int n) {
    for (int i = 0; i < n; i++) {
        if (token_is(t, names[i])) {
            return i;
        }
    }
    return -1;
}

#define CHOICE(token, names) choice(token, names, (int)(sizeof names / sizeof *names))

/* A number token in a range; 0 if it is none (no range includes 0). */
static uint32_t number(Token t, uint32_t low, uint32_t high) {
    char digits[11] = {0};
    if (t.kind != NUMBER || t.len > 9) {
        return 0;
    }
    memcpy(digits, t.text, (size_t)t.len);
    uint32_t v = (uint32_t)strtoul(digits, NULL, 10);
    return v >= low && v <= high ? v : 0;
}

typedef enum Option {
    METRIC,
    KIND,
    CODEC,
    NAV_BITS,
    PQ_M,
    LINKS,
    EF_CONSTRUCTION,
    EF_SEARCH,
    N_OPTIONS
} Option;

/* One option; *err says what would be right. */
static int parse_option(VsxColumn *c, Token key, Token value, char **err) {
    Option option = METRIC;
    int chosen = 0;
    uint32_t n = 1;
    const char *expected = NULL;
    if (token_is(key, "distance_metric")) {
        expected = "l2, cosine, dot, l1, or for bit hamming or jaccard";
        chosen = CHOICE(value, metric_names);
        c->params.code.metric = (VsMetric)chosen;
    } else if (token_is(key, "index")) {
        option = KIND;
        expected = "hnsw or flat";
        chosen = CHOICE(value, kind_names);
        c->params.kind = (VsIndexKind)chosen;
    } else if (token_is(key, "codec")) {
        option = CODEC;
        expected = "sq8, pq or none";
        chosen = CHOICE(value, codec_names);
        c->params.code.codec = (VsCodecId)chosen;
    } else if (token_is(key, "nav_bits")) {
        option = NAV_BITS;
        expected = "auto, 4 or 8";
        c->params.code.nav_bits = (VsNavBits)number(value, VS_NAV_4, VS_NAV_8);
        chosen = token_is(value, "auto") || token_is_digit(value, '4') ||
                         token_is_digit(value, '8')
                     ? 0
                     : -1;
    } else if (token_is(key, "pq_m")) {
        option = PQ_M;
        expected = "a whole number from 1 to 65536";
        c->params.code.pq_m = n = number(value, 1, VS_MAX_DIMS);
    } else if (token_is(key, "m")) {
        option = LINKS;
        expected = "a whole number from 2 to 128";
        c->params.m = n = number(value, VS_MIN_M, VS_MAX_M);
    } else if (token_is(key, "ef_construction")) {
        option = EF_CONSTRUCTION;
        expected = "a whole number from 1 to 100000";
        c->params.ef_construction = n = number(value, 1, MAX_EF);
    } else if (token_is(key, "ef_search")) {
        option = EF_SEARCH;
        expected = "a whole number from 1 to 100000";
        c->params.ef_search = n = number(value, 1, MAX_EF);
    } else if (token_is(key, "source") && c->source == NULL &&
               (value.kind == WORD || value.kind == QUOTED)) {
        c->source = token_name(value);
        return c->source == NULL ? SQLITE_NOMEM : SQLITE_OK;
    } else {
        *err = sqlite3_mprintf("column %s: unknown option '%.*s'", c->name, key.len,
                               key.text);
        return SQLITE_ERROR;
    }
    if (chosen < 0 || n == 0) {
        *err = sqlite3_mprintf("column %s: %.*s must be %s, not '%.*s'", c->name, key.len,
                               key.text, expected, value.len, value.text);
        return SQLITE_ERROR;
    }
    c->given |= 1u << option;
    return SQLITE_OK;
}

static int parse_options(VsxColumn *c, const char *at, char **err) {
    for (Token key = next_token(&at); key.kind != END; key = next_token(&at)) {
        Token sign = next_token(&at), value = next_name(&at);
        if (key.kind != WORD || !token_sign(sign, '=') || value.kind == END) {
            *err = sqlite3_mprintf("column %s: expected option=value at '%s'", c->name,
                                   key.text);
            return SQLITE_ERROR;
        }
        VSX_TRY(parse_option(c, key, value, err));
    }
    return SQLITE_OK;
}

static int parse_element(Token type) {
    static const char *const aliases[] = {"f32", "f16", "i8", "", "float32"};
    int element = CHOICE(type, element_names), alias = CHOICE(type, aliases);
    return element >= 0 ? element : alias < 0 ? -1 : alias % 4;
}

/* What the options say together. */
static int check_vector(const VsxColumn *c, char **err) {
    const VsCodecParams *p = &c->params.code;
    if (!vs_metric_fits(p->metric, p->element)) {
        *err = sqlite3_mprintf("column %s: distance_metric=%s is %s, not for %s", c->name,
                               metric_names[p->metric],
                               p->element == VS_BIT ? "for float, float16 and int8"
                                                    : "for bit",
                               element_names[p->element]);
    } else if (p->element == VS_BIT && p->dims % 8 != 0) {
        *err =
            sqlite3_mprintf("column %s: expected bit[n] with n a multiple of 8, not %u",
                            c->name, p->dims);
    }
    return *err == NULL ? SQLITE_OK : SQLITE_ERROR;
}

/* Floats are coded by sq8 where it can compare them. */
static int resolve_codec(VsxColumn *c, char **err) {
    VsCodecParams *p = &c->params.code;
    if (p->codec == CODEC_NOT_GIVEN) {
        int pays =
            vs_codec_sq8_fits(p) && (vs_codec_sq8_saves(p) || p->nav_bits != VS_NAV_AUTO);
        p->codec = pays ? VS_CODEC_SQ8 : VS_CODEC_NONE;
    }
    if (p->codec == VS_CODEC_SQ8 && !vs_codec_sq8_fits(p)) {
        *err = sqlite3_mprintf("column %s: codec=sq8 is for float and float16 with l2, "
                               "cosine or dot; use codec=none",
                               c->name);
        return SQLITE_ERROR;
    }
    if (p->codec == VS_CODEC_PQ && !vs_codec_pq_fits(p)) {
        *err = sqlite3_mprintf(
            "column %s: codec=pq is for float and float16 with l2, cosine or dot, and "
            "pq_m from a %dth of the dimensions to as many",
            c->name, VS_PQ_MAX_PART);
        return SQLITE_ERROR;
    }
    if (p->codec != VS_CODEC_SQ8 && p->nav_bits != VS_NAV_AUTO) {
        *err = sqlite3_mprintf("column %s: nav_bits is for codec=sq8", c->name);
        return SQLITE_ERROR;
    }
    if (p->codec != VS_CODEC_PQ && p->pq_m != 0) {
        *err = sqlite3_mprintf("column %s: pq_m is for codec=pq", c->name);
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

/* The type was read and "[" is next. */
static int parse_vector(VsxColumn *c, Token type, const char *at, char **err) {
    int element = parse_element(type);
    c->role = VSX_VECTOR;
    c->params = (VsParams){.code = {.metric = VS_L2, .codec = CODEC_NOT_GIVEN},
                           .kind = VS_HNSW,
                           .m = DEFAULT_M,
                           .ef_construction = DEFAULT_EF_CONSTRUCTION};
    c->params.ef_search = DEFAULT_EF_SEARCH;
    (void)next_token(&at);
    Token dims = next_token(&at);
    Token close = next_token(&at);
    c->params.code.dims = number(dims, 1, VS_MAX_DIMS);
    if (element < 0 || c->params.code.dims == 0 || !token_sign(close, ']')) {
        *err = sqlite3_mprintf("column %s: expected float[n], float16[n], int8[n] or "
                               "bit[n] with n from 1 to %d, not '%s'",
                               c->name, VS_MAX_DIMS, type.text);
        return SQLITE_ERROR;
    }
    c->params.code.element = (VsElement)element;
    c->params.code.metric = element == VS_BIT ? VS_HAMMING : VS_L2;
    VSX_TRY(parse_options(c, at, err));
    VSX_TRY(check_vector(c, err));
    return resolve_codec(c, err);
}

char *vsx_params_text(const VsxColumn *c) {
    const VsParams *p = &c->params;
    const char *nav = p->code.codec != VS_CODEC_SQ8     ? ""
                      : p->code.nav_bits == VS_NAV_AUTO ? " nav_bits=auto"
                      : p->code.nav_bits == VS_NAV_4    ? " nav_bits=4"
                                                        : " nav_bits=8";
    char parts[24] = "";
    if (p->code.pq_m > 0) {
        sqlite3_snprintf(sizeof parts, parts, " pq_m=%u", p->code.pq_m);
    }
    return sqlite3_mprintf("%s[%u] distance_metric=%s index=%s codec=%s%s%s m=%u "
                           "ef_construction=%u ef_search=%u",
                           element_names[p->code.element], p->code.dims,
                           metric_names[p->code.metric], kind_names[p->kind],
                           codec_names[p->code.codec], nav, parts, p->m,
                           p->ef_construction, c->params.ef_search);
}

/* Whether what is stored is not what was declared. Defaults may change from version to
 * version, but for the metric: it is what the answers mean. */
static int contradicts(const VsxColumn *declared, const VsParams *s) {
    const VsParams *d = &declared->params;
    const int differ[N_OPTIONS] = {
        [METRIC] = d->code.metric != s->code.metric,
        [KIND] = d->kind != s->kind,
        [CODEC] = d->code.codec != s->code.codec,
        [NAV_BITS] = d->code.nav_bits != s->code.nav_bits,
        [PQ_M] = d->code.pq_m != s->code.pq_m,
        [LINKS] = d->m != s->m,
        [EF_CONSTRUCTION] = d->ef_construction != s->ef_construction,
        [EF_SEARCH] = d->ef_search != s->ef_search,
    };
    unsigned given = declared->given | 1u << METRIC;
    int found = 0;
    for (int o = 0; o < N_OPTIONS; o++) {
        found |= differ[o] && (given >> o & 1);
    }
    return found;
}

int vsx_params_parse(const char *text, VsxColumn *column) {
    const char *at = text;
    char *err = NULL;
    VsxColumn stored = {.name = column->name};
    Token type = next_token(&at);
    int rc = parse_vector(&stored, type, at, &err);
    sqlite3_free(err);
    sqlite3_free(stored.source);
    if (rc == SQLITE_NOMEM) {
        return rc;
    }
    if (rc != SQLITE_OK || stored.params.code.dims != column->params.code.dims ||
        stored.params.code.element != column->params.code.element ||
        contradicts(column, &stored.params)) {
        return SQLITE_CORRUPT_VTAB;
    }
    stored.params.page_bytes = column->params.page_bytes;
    column->params = stored.params;
    return SQLITE_OK;
}

/* ---- other columns -------------------------------------------------------------- */

/* Words of a column constraint: the type is text that goes into CREATE TABLE, and a
 * constraint there would work behind our back (REPLACE would delete rows that keep their
 * nodes). */
static int is_constraint(Token t) {
    static const char *const words[] = {
        "unique",        "not",       "null",       "check",    "references",
        "default",       "generated", "constraint", "on",       "hidden",
        "autoincrement", "as",        "deferrable", "initially"};
    return CHOICE(t, words) >= 0;
}

static int parse_collation(VsxColumn *c, Token name, char **err) {
    if ((name.kind != WORD && name.kind != QUOTED) || c->collation != NULL) {
        *err = sqlite3_mprintf("column %s: expected one COLLATE and its name", c->name);
        return SQLITE_ERROR;
    }
    c->collation = token_name(name);
    return c->collation == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int parse_scalar(VsxColumn *c, const char *at, char **err) {
    const char *begin = at;
    while (*begin == ' ') {
        begin++;
    }
    const char *type_end = begin;
    for (Token t = next_token(&at); t.kind != END; t = next_token(&at)) {
        if (token_is(t, "indexed")) {
            c->indexed = 1;
        } else if (token_is(t, "primary") || token_is(t, "partition")) {
            if (!token_is(next_token(&at), "key")) {
                *err = sqlite3_mprintf("column %s: expected KEY after %.*s", c->name,
                                       t.len, t.text);
                return SQLITE_ERROR;
            }
            if (token_is(t, "primary")) {
                c->role = VSX_KEY; /* which of the two, the type says below */
            }
            c->indexed |= token_is(t, "partition");
        } else if (token_is(t, "collate")) {
            VSX_TRY(parse_collation(c, next_token(&at), err));
        } else if (is_constraint(t)) {
            *err = sqlite3_mprintf("column %s: constraints (%.*s) are not supported",
                                   c->name, t.len, t.text);
            return SQLITE_ERROR;
        } else if (t.kind == WORD && !c->indexed && c->role != VSX_KEY &&
                   c->collation == NULL) {
            type_end = t.text + t.len;
        } else {
            *err = sqlite3_mprintf("column %s: cannot read '%s'", c->name, t.text);
            return SQLITE_ERROR;
        }
    }
    c->type = sqlite3_mprintf("%.*s", (int)(type_end - begin), begin);
    if (c->type == NULL) {
        return SQLITE_NOMEM;
    }
    int key = c->role == VSX_KEY, text = sqlite3_stricmp(c->type, "text") == 0;
    if (key && !text && sqlite3_stricmp(c->type, "integer") != 0) {
        *err =
            sqlite3_mprintf("column %s: a PRIMARY KEY must be INTEGER or TEXT, not '%s'",
                            c->name, c->type);
        return SQLITE_ERROR;
    }
    if (key && text) {
        c->role = VSX_TEXT_KEY;
        c->indexed = 1;
    }
    return SQLITE_OK;
}

/* content=docs, content_rowid=id. *taken: it was an option. */
static int parse_table_option(VsxSchema *s, const char *text, int *taken, char **err) {
    const char *at = text;
    Token key = next_token(&at), sign = next_token(&at), value = next_name(&at);
    *taken = key.kind == WORD && token_sign(sign, '=');
    if (!*taken) {
        return SQLITE_OK;
    }
    char **to = token_is(key, "content")         ? &s->content
                : token_is(key, "content_rowid") ? &s->content_rowid
                                                 : NULL;
    if (to == NULL || *to != NULL || (value.kind != WORD && value.kind != QUOTED) ||
        next_token(&at).kind != END) {
        *err = sqlite3_mprintf(to == NULL ? "unknown table option '%s'"
                                          : "cannot read the table option '%s'",
                               text);
        return SQLITE_ERROR;
    }
    *to = token_name(value);
    return *to == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int parse_column(VsxColumn *c, const char *text, char **err) {
    const char *at = text;
    Token name = next_name(&at);
    c->role = VSX_METADATA;
    if (token_sign(name, '+')) {
        c->role = VSX_AUXILIARY;
        name = next_name(&at);
    }
    if (name.kind != WORD && name.kind != QUOTED) {
        *err = sqlite3_mprintf("expected a column name at '%s'", text);
        return SQLITE_ERROR;
    }
    c->name = token_name(name);
    if (c->name == NULL) {
        return SQLITE_NOMEM;
    }
    const char *rest = at;
    Token type = next_token(&at);
    const char *after = at;
    if (c->role == VSX_METADATA && type.kind == WORD &&
        token_sign(next_token(&after), '[')) {
        return parse_vector(c, type, at, err);
    }
    return parse_scalar(c, rest, err);
}

/* ---- the whole ------------------------------------------------------------------ */

static const char *const hidden_names[] = {"distance", "k",           "ef_search",
                                           "exact",    "vecsql_sync", "vecsql_replaced"};

int vsx_schema_reserved(const char *table, const char *name) {
    int taken = sqlite3_stricmp(name, table) == 0;
    for (size_t j = 0; j < sizeof hidden_names / sizeof *hidden_names; j++) {
        taken |= sqlite3_stricmp(name, hidden_names[j]) == 0;
    }
    return taken;
}

static int check_name(const char *table, const VsxSchema *s, int i, char **err) {
    const char *name = s->column[i].name;
    if (table != NULL && vsx_schema_reserved(table, name)) {
        *err = sqlite3_mprintf("column %s: the name is taken by a hidden column", name);
        return SQLITE_ERROR;
    }
    for (int j = 0; j < i; j++) {
        if (sqlite3_stricmp(name, s->column[j].name) == 0) {
            *err = sqlite3_mprintf("column %s: there are two of that name", name);
            return SQLITE_ERROR;
        }
    }
    return SQLITE_OK;
}

/* Places in %_rows: rowid, then everything but vectors, then vectors, so that a predicate
 * never reads past a vector. */
int vsx_schema_place(VsxSchema *s, char **err) {
    int n = 1;
    s->key = s->text_key = -1;
    for (int i = 0; i < s->n_columns; i++) {
        VsxColumn *c = &s->column[i];
        int *key = c->role == VSX_KEY        ? &s->key
                   : c->role == VSX_TEXT_KEY ? &s->text_key
                                             : NULL;
        if (key != NULL && (s->key >= 0 || s->text_key >= 0)) {
            *err = sqlite3_mprintf("column %s: there is a PRIMARY KEY already", c->name);
            return SQLITE_ERROR;
        }
        if (key != NULL) {
            *key = i;
        }
        if (c->role != VSX_KEY && c->role != VSX_VECTOR) {
            c->stored = n++;
        }
    }
    for (int i = 0; i < s->n_columns; i++) {
        VsxColumn *c = &s->column[i];
        if (c->role == VSX_VECTOR && s->n_vectors == VSX_MAX_VECTORS) {
            *err = sqlite3_mprintf("more than %d vector columns", VSX_MAX_VECTORS);
            return SQLITE_ERROR;
        }
        if (c->role == VSX_VECTOR) {
            c->stored = n++;
            c->vector = s->n_vectors;
            s->vector[s->n_vectors++] = i;
        }
    }
    s->n_stored = n;
    for (int i = 0; i < s->n_columns; i++) {
        VsxColumn *c = &s->column[i];
        char *from = c->source;
        c->source = s->content != NULL
                        ? sqlite3_mprintf("\"%w\"", from != NULL ? from : c->name)
                        : sqlite3_mprintf("c%d", c->stored);
        sqlite3_free(from);
        if (c->source == NULL) {
            return SQLITE_NOMEM;
        }
    }
    if (s->n_vectors == 0) {
        *err = sqlite3_mprintf(
            "no vector column; expected for example: embedding float[384]");
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

void vsx_schema_free(VsxSchema *s) {
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < s->n_columns; i++) {
        sqlite3_free(s->column[i].name);
        sqlite3_free(s->column[i].type);
        sqlite3_free(s->column[i].source);
        sqlite3_free(s->column[i].collation);
    }
    sqlite3_free(s->content);
    sqlite3_free(s->content_rowid);
    sqlite3_free(s->triggers);
    sqlite3_free(s->detached);
    sqlite3_free(s->column);
    sqlite3_free(s);
}

int vsx_schema_parse(const char *table, int argc, const char *const *argv,
                     VsxSchema **out, char **err) {
    if (argc > VSX_MAX_COLUMNS) {
        *err = sqlite3_mprintf("more than %d columns", VSX_MAX_COLUMNS);
        return SQLITE_ERROR;
    }
    VsxSchema *s = sqlite3_malloc64(sizeof *s);
    if (s == NULL) {
        return SQLITE_NOMEM;
    }
    memset(s, 0, sizeof *s);
    int rc = SQLITE_OK;
    if (table != NULL && vsx_schema_reserved("", table)) {
        *err = sqlite3_mprintf("the table would have the name of its hidden column %s; "
                               "choose another one",
                               table);
        sqlite3_free(s);
        return SQLITE_ERROR;
    }
    s->column = sqlite3_malloc64(((sqlite3_uint64)argc + 1) * sizeof *s->column);
    if (s->column == NULL) {
        rc = SQLITE_NOMEM;
    } else {
        memset(s->column, 0, ((size_t)argc + 1) * sizeof *s->column);
    }
    for (int i = 0; rc == SQLITE_OK && i < argc; i++) {
        int taken = 0, at = s->n_columns;
        rc = parse_table_option(s, argv[i], &taken, err);
        if (rc == SQLITE_OK && !taken) {
            s->n_columns++;
            rc = parse_column(&s->column[at], argv[i], err);
            rc = rc == SQLITE_OK ? check_name(table, s, at, err) : rc;
        }
    }
    for (int i = 0; rc == SQLITE_OK && i < s->n_columns; i++) {
        if (s->content != NULL && s->column[i].role != VSX_VECTOR) {
            *err = sqlite3_mprintf(
                "column %s: with content= the other columns are those of %s",
                s->column[i].name, s->content);
            rc = SQLITE_ERROR;
        }
    }
    for (int i = 0; rc == SQLITE_OK && i < s->n_columns; i++) {
        if (s->content == NULL && s->column[i].source != NULL) {
            *err =
                sqlite3_mprintf("column %s: source= needs content=", s->column[i].name);
            rc = SQLITE_ERROR;
        }
    }
    if (rc == SQLITE_OK && s->content == NULL && s->content_rowid != NULL) {
        *err = sqlite3_mprintf("content_rowid= needs content=");
        rc = SQLITE_ERROR;
    }
    if (rc != SQLITE_OK) {
        vsx_schema_free(s);
        return rc;
    }
    *out = s;
    return SQLITE_OK;
}

char *vsx_schema_declaration(const VsxSchema *s, const char *table) {
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendall(sql, "CREATE TABLE x(");
    for (int i = 0; i < s->n_columns; i++) {
        const VsxColumn *c = &s->column[i];
        sqlite3_str_appendf(sql, "\"%w\" %s", c->name,
                            c->role == VSX_VECTOR ? "BLOB" : c->type);
        if (c->collation != NULL) {
            sqlite3_str_appendf(sql, " COLLATE \"%w\"", c->collation);
        }
        sqlite3_str_appendall(sql, ", ");
    }
    sqlite3_str_appendf(
        sql,
        "distance REAL HIDDEN, k INTEGER HIDDEN, ef_search INTEGER HIDDEN, "
        "exact INTEGER HIDDEN, \"%w\" HIDDEN%s)",
        table,
        s->content != NULL
            ? ", vecsql_sync INTEGER HIDDEN, vecsql_replaced INTEGER HIDDEN"
            : "");
    return sqlite3_str_finish(sql);
}
