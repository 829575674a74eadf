/*
 * CREATE VIRTUAL TABLE ... USING vec0(...), as sqlite-vec reads it.
 *
 *     definition := name type "[" dims "]" option*            vector column
 *                 | name ("text" | "integer") "partition" "key"
 *                 | name ("text" | "integer") "primary" "key"
 *                 | "+" name type                             auxiliary
 *                 | name type                                 metadata
 *                 | "chunk_size" "=" n                        orders equal distances
 *     option     := "distance_metric" "=" ("l2" | "l1" | "cosine") | one of ours
 *
 * Each definition is written again in the grammar of schema.c. The scanner is as lenient
 * as sqlite-vec's, since tables that it accepts must be accepted: a type may be shortened
 * ("int"), and what follows a metadata column is not read. A definition that is none of
 * these is reported as an option of the table, because that is tried last.
 */
#include <stdlib.h>
#include <string.h>

#include "ext/vec0/vec0.h"

/* Arguments of vec0(...) as arguments of vecsql(...), with what ours cannot say: one
 * VsxStrict for each column and whether it is a partition key. */
typedef struct VsxVec0Args {
    char **argv;
    VsxStrict *strict;
    char *partition;
    int argc;
    int chunk_size;
} VsxVec0Args;

#define ERROR "vec0 constructor error: "
#define MAX_VECTORS 16
#define MAX_PARTITIONS 4
#define MAX_METADATA 16
#define MAX_AUXILIARY 16
#define MAX_DIMS 8192
#define MAX_CHUNK 4096

/* ---- scanner -------------------------------------------------------------------- */

typedef enum Kind { NAME, DIGITS, SIGN } Kind;
typedef enum Found { END, SOME, BAD } Found;

/* The last token that was found: one that is not found leaves it as it is. A sign has
 * length 0 and is the character before `text`. */
typedef struct Token {
    Kind kind;
    const char *text;
    int len;
} Token;

static int is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

static Found next(const char **at, Token *out) {
    const char *p = *at + strspn(*at, " \t\n\r");
    if (*p == '\0') {
        return END;
    }
    const char *end = p;
    if (is_letter(*p)) {
        while (is_letter(*end) || is_digit(*end) || *end == '_') {
            end++;
        }
        *out = (Token){NAME, p, (int)(end - p)};
    } else if (is_digit(*p)) {
        while (is_digit(*end)) {
            end++;
        }
        *out = (Token){DIGITS, p, (int)(end - p)};
    } else if (strchr("+[]=", *p) != NULL) {
        end = p + 1;
        *out = (Token){SIGN, end, 0};
    } else {
        return BAD;
    }
    *at = end;
    return SOME;
}

static int next_name(const char **at, Token *out) {
    return next(at, out) == SOME && out->kind == NAME;
}

static int next_sign(const char **at, char sign) {
    Token t = {0};
    const char *from = *at;
    if (next(at, &t) == SOME && t.kind == SIGN && t.text[-1] == sign) {
        return 1;
    }
    *at = from;
    return 0;
}

/* sqlite-vec compares the token's own length: "int" is "integer". */
static int shortens(Token t, const char *word) {
    return sqlite3_strnicmp(t.text, word, t.len) == 0;
}

static int is(Token t, const char *word) {
    return (int)strlen(word) == t.len && shortens(t, word);
}

/* ---- building ------------------------------------------------------------------- */

typedef struct Builder {
    VsxVec0Args *out;
    int vectors, partitions, metadata, auxiliary;
    int has_key;
    char **err;
} Builder;

static int fail(Builder *b, char *message) {
    *b->err = message;
    return message == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
}

/* Appends a definition; takes `text` over. */
static int add(Builder *b, char *text, VsxStrict strict, int partition) {
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    b->out->strict[b->out->argc] = strict;
    b->out->partition[b->out->argc] = (char)partition;
    b->out->argv[b->out->argc++] = text;
    return SQLITE_OK;
}

/* ---- vector columns ------------------------------------------------------------- */

static const char *element_type(Token t) {
    static const struct {
        const char *prefix, *type;
    } types[] = {{"float16", "float16"}, {"float", "float"}, {"f32", "float"},
                 {"f16", "float16"},     {"int8", "int8"},   {"i8", "int8"},
                 {"bit", "bit"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (sqlite3_strnicmp(t.text, types[i].prefix, (int)strlen(types[i].prefix)) ==
            0) {
            return types[i].type;
        }
    }
    return NULL;
}

/* The options of a vector column in our words; 0 if they are not understood. */
static int read_options(const char *at, const char *type, sqlite3_str *text) {
    static const char *const ours[] = {"index",     "codec",    "m",   "ef_construction",
                                       "ef_search", "nav_bits", "pq_m"};
    static const char *const metrics[] = {"l2", "l1", "cosine"};
    Token key = {0}, value = {0};
    int kind_given = 0;
    for (Found found = next(&at, &key); found != END; found = next(&at, &key)) {
        if (found != SOME || key.kind != NAME || !next_sign(&at, '=') ||
            next(&at, &value) != SOME || value.kind == SIGN) {
            return 0;
        }
        const char *name = NULL;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
            name = is(key, ours[i]) ? ours[i] : name;
        }
        if (name != NULL) {
            kind_given |= name == ours[0];
            sqlite3_str_appendf(text, " %s=%.*s", name, value.len, value.text);
            continue;
        }
        const char *metric = NULL;
        for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
            metric = metric == NULL && shortens(value, metrics[i]) ? metrics[i] : metric;
        }
        if (!shortens(key, "distance_metric") || metric == NULL ||
            strcmp(type, "bit") == 0) {
            return 0;
        }
        sqlite3_str_appendf(text, " distance_metric=%s", metric);
    }
    if (!kind_given) { /* a scan gives the rows that sqlite-vec gives */
        sqlite3_str_appendall(text, " index=flat");
    }
    return 1;
}

/* `at` is behind the "[". The "]" may be missing, as in sqlite-vec: float(4) is a type
 * of other databases. */
static int add_vector(Builder *b, const char *arg, Token name, const char *type,
                      const char *at) {
    Token dims = {0};
    int n = 0;
    if (next(&at, &dims) == SOME && dims.kind == DIGITS) {
        n = atoi(dims.text);
    }
    at += strspn(at, " \t\n\r");
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_str_appendf(text, "\"%.*w\" %s[%d]", name.len, name.text, type, n);
    int good = n > 0 && (*at == ']' || *at == ')') && read_options(at + 1, type, text);
    char *definition = sqlite3_str_finish(text);
    if (good && b->vectors < MAX_VECTORS && n <= MAX_DIMS) {
        b->vectors++;
        return add(b, definition, VSX_ANY, 0);
    }
    sqlite3_free(definition);
    if (!good) {
        return fail(b, sqlite3_mprintf(ERROR "could not parse vector column '%s'", arg));
    }
    if (b->vectors == MAX_VECTORS) {
        return fail(b,
                    sqlite3_mprintf(ERROR "Too many provided vector columns, maximum %d",
                                    MAX_VECTORS));
    }
    return fail(b, sqlite3_mprintf(ERROR "Dimension on vector column too large, provided "
                                         "%d, maximum %d",
                                   n, MAX_DIMS));
}

/* *taken: it is a vector column. */
static int try_vector(Builder *b, const char *arg, int *taken) {
    const char *at = arg;
    Token name = {0}, type = {0};
    *taken = 0;
    if (!next_name(&at, &name) || !next_name(&at, &type) || element_type(type) == NULL) {
        return SQLITE_OK;
    }
    at += strspn(at, " \t\n\r");
    if (*at != '[' && *at != '(') {
        return SQLITE_OK;
    }
    *taken = 1;
    return add_vector(b, arg, name, element_type(type), at + 1);
}

/* ---- other columns -------------------------------------------------------------- */

static VsxStrict key_type(Token t) {
    return shortens(t, "text")                            ? VSX_TEXT
           : shortens(t, "int") || shortens(t, "integer") ? VSX_INTEGER
                                                          : VSX_ANY;
}

static VsxStrict auxiliary_type(Token t) {
    return key_type(t) != VSX_ANY                          ? key_type(t)
           : shortens(t, "float") || shortens(t, "double") ? VSX_FLOAT
           : shortens(t, "blob")                           ? VSX_BLOB
                                                           : VSX_ANY;
}

static VsxStrict metadata_type(Token t) {
    static const struct {
        const char *word;
        VsxStrict type;
    } types[] = {
        {"boolean", VSX_BOOLEAN},   {"bool", VSX_BOOLEAN},    {"int64", VSX_INTEGER},
        {"integer64", VSX_INTEGER}, {"integer", VSX_INTEGER}, {"int", VSX_INTEGER},
        {"float", VSX_FLOAT},       {"double", VSX_FLOAT},    {"float64", VSX_FLOAT},
        {"f64", VSX_FLOAT},         {"text", VSX_TEXT}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (shortens(t, types[i].word)) {
            return types[i].type;
        }
    }
    return VSX_ANY;
}

static int too_many(Builder *b, const char *what, int limit) {
    return fail(
        b, sqlite3_mprintf(ERROR "More than %d %s columns were provided", limit, what));
}

/* name type ("partition" | "primary") key. Values of a partition key compare without
 * conversion, so it is stored without affinity. The key goes to the front. */
static int try_key(Builder *b, const char *arg, int *taken) {
    const char *at = arg;
    Token name = {0}, type = {0}, word = {0}, key = {0};
    *taken = 0;
    if (!next_name(&at, &name) || !next_name(&at, &type) || key_type(type) == VSX_ANY ||
        !next_name(&at, &word) || !next_name(&at, &key) || !shortens(key, "key")) {
        return SQLITE_OK;
    }
    VsxStrict strict = key_type(type);
    if (shortens(word, "partition")) {
        *taken = 1;
        if (b->partitions++ == MAX_PARTITIONS) {
            return too_many(b, "partition key", MAX_PARTITIONS);
        }
        return add(b, sqlite3_mprintf("\"%.*w\" BLOB PARTITION KEY", name.len, name.text),
                   strict, 1);
    }
    if (!shortens(word, "primary")) {
        return SQLITE_OK;
    }
    *taken = 1;
    if (b->has_key++) {
        return fail(
            b, sqlite3_mprintf(ERROR "More than one primary key definition was provided, "
                                     "vec0 only suports a single primary key column"));
    }
    sqlite3_free(b->out->argv[0]);
    b->out->strict[0] = strict;
    b->out->argv[0] = sqlite3_mprintf("\"%.*w\" %s PRIMARY KEY", name.len, name.text,
                                      strict == VSX_TEXT ? "TEXT" : "INTEGER");
    return b->out->argv[0] == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int try_auxiliary(Builder *b, const char *arg, int *taken) {
    const char *at = arg;
    Token name = {0}, type = {0};
    *taken = next_sign(&at, '+') && next_name(&at, &name) && next_name(&at, &type) &&
             auxiliary_type(type) != VSX_ANY;
    if (!*taken) {
        return SQLITE_OK;
    }
    if (b->auxiliary++ == MAX_AUXILIARY) {
        return too_many(b, "auxiliary", MAX_AUXILIARY);
    }
    return add(b, sqlite3_mprintf("+\"%.*w\" BLOB", name.len, name.text),
               auxiliary_type(type), 0);
}

static int try_metadata(Builder *b, const char *arg, int *taken) {
    static const char *const stored[] = {[VSX_TEXT] = "TEXT",
                                         [VSX_INTEGER] = "INTEGER",
                                         [VSX_FLOAT] = "REAL",
                                         [VSX_BOOLEAN] = "INTEGER"};
    const char *at = arg;
    Token name = {0}, type = {0};
    *taken =
        next_name(&at, &name) && next_name(&at, &type) && metadata_type(type) != VSX_ANY;
    if (!*taken) {
        return SQLITE_OK;
    }
    if (b->metadata++ == MAX_METADATA) {
        return too_many(b, "metadata", MAX_METADATA);
    }
    VsxStrict strict = metadata_type(type);
    return add(b, sqlite3_mprintf("\"%.*w\" %s", name.len, name.text, stored[strict]),
               strict, 0);
}

/* ---- options of the table ------------------------------------------------------- */

static int check_chunk_size(Builder *b, Token value) {
    int n = is_digit(*value.text) ? atoi(value.text) : 0;
    const char *reason = n <= 0          ? "must be a non-zero positive integer"
                         : n % 8 != 0    ? "must be divisible by 8"
                         : n > MAX_CHUNK ? "too large"
                                         : NULL;
    if (reason != NULL) {
        return fail(b, sqlite3_mprintf(ERROR "chunk_size %s", reason));
    }
    b->out->chunk_size = n;
    return SQLITE_OK;
}

/* Three tokens of nearly any kind pass for key = value, as in sqlite-vec: the text of its
 * message for a type that it does not know ("m real") depends on it. */
static int table_option(Builder *b, const char *arg) {
    const char *at = arg;
    Token t = {SIGN, "", 0};
    Found found = next(&at, &t);
    if (found != SOME) {
        return fail(b, sqlite3_mprintf(ERROR "Could not parse '%s'", arg));
    }
    Token key = t;
    found = next(&at, &t);
    if (found != SOME && !(t.kind == SIGN && t.text[-1] == '=')) {
        return fail(b, sqlite3_mprintf(ERROR "Could not parse '%s'", arg));
    }
    found = next(&at, &t);
    Token value = t;
    Token rest = t;
    if ((found != SOME && t.kind == SIGN) || next(&at, &rest) != END) {
        return fail(b, sqlite3_mprintf(ERROR "could not parse table option '%s'", arg));
    }
    if (!shortens(key, "chunk_size")) {
        return fail(
            b, sqlite3_mprintf(ERROR "Unknown table option: %.*s", key.len, key.text));
    }
    return check_chunk_size(b, value);
}

/* ---- the whole ------------------------------------------------------------------ */

static void arguments_free(VsxVec0Args *args) {
    for (int i = 0; args->argv != NULL && i < args->argc; i++) {
        sqlite3_free(args->argv[i]);
    }
    sqlite3_free(args->argv);
    sqlite3_free(args->strict);
    sqlite3_free(args->partition);
    memset(args, 0, sizeof *args);
}

static int read_argument(Builder *b, const char *arg) {
    static int (*const readers[])(Builder *, const char *, int *) = {
        try_vector, try_key, try_auxiliary, try_metadata};
    int rc = SQLITE_OK, taken = 0;
    for (size_t i = 0; !taken && rc == SQLITE_OK; i++) {
        if (i == sizeof readers / sizeof *readers) {
            return table_option(b, arg);
        }
        rc = readers[i](b, arg, &taken);
    }
    return rc;
}

/* The quoted name that a definition begins with: its first byte, and its length. */
static const char *definition_name(const char *definition, int *len) {
    const char *name = definition + (*definition == '+') + 1;
    *len = (int)strcspn(name, "\"");
    return name;
}

/* What sqlite3_declare_vtab says to sqlite-vec. */
static int check_names(Builder *b) {
    static const char *const hidden[] = {"distance", "k"};
    const VsxVec0Args *args = b->out;
    for (int i = 0; i < args->argc + 2; i++) {
        int len = 0, other = 0;
        const char *name = i < args->argc ? definition_name(args->argv[i], &len)
                                          : hidden[i - args->argc];
        len = i < args->argc ? len : (int)strlen(name);
        for (int j = 0; j < i && j < args->argc; j++) {
            const char *earlier = definition_name(args->argv[j], &other);
            if (other == len && sqlite3_strnicmp(name, earlier, len) == 0) {
                return fail(b, sqlite3_mprintf(ERROR "could not declare virtual table, "
                                                     "'duplicate column name: %.*s'",
                                               len, name));
            }
        }
    }
    return SQLITE_OK;
}

static int read_arguments(int argc, const char *const *argv, VsxVec0Args *out,
                          char **err) {
    Builder b = {.out = out, .err = err};
    size_t n = (size_t)argc + 1;
    memset(out, 0, sizeof *out);
    out->chunk_size = VSX_VEC0_CHUNK;
    out->argv = sqlite3_malloc64(n * sizeof *out->argv);
    out->strict = sqlite3_malloc64(n * sizeof *out->strict);
    out->partition = sqlite3_malloc64(n);
    int rc =
        out->argv == NULL || out->strict == NULL || out->partition == NULL
            ? SQLITE_NOMEM
            : add(&b, sqlite3_mprintf("\"rowid\" INTEGER PRIMARY KEY"), VSX_INTEGER, 0);
    for (int i = 0; rc == SQLITE_OK && i < argc; i++) {
        rc = read_argument(&b, argv[i]);
    }
    if (rc == SQLITE_OK && b.vectors == 0) {
        rc = fail(&b, sqlite3_mprintf(ERROR "At least one vector column is required"));
    }
    rc = rc == SQLITE_OK ? check_names(&b) : rc;
    if (rc != SQLITE_OK) {
        arguments_free(out);
    }
    return rc;
}

static int is_column(const VsxSchema *s, const char *name) {
    int found = sqlite3_stricmp(name, "distance") == 0 || sqlite3_stricmp(name, "k") == 0;
    for (int i = 0; i < s->n_columns; i++) {
        found |= sqlite3_stricmp(s->column[i].name, name) == 0;
    }
    return found;
}

/* A hidden column of ours steps aside for a column of the user. 0: no memory. */
static int append_hidden(sqlite3_str *sql, const VsxSchema *s, const char *name) {
    char *free_name = sqlite3_mprintf("%s", name);
    while (free_name != NULL && is_column(s, free_name)) {
        char *longer = sqlite3_mprintf("_%s", free_name);
        sqlite3_free(free_name);
        free_name = longer;
    }
    if (free_name != NULL) {
        sqlite3_str_appendf(sql, ", \"%w\" HIDDEN", free_name);
    }
    sqlite3_free(free_name);
    return free_name != NULL;
}

char *vsx_vec0_declaration(const VsxSchema *s, const char *table) {
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_str_appendall(sql, "CREATE TABLE x(");
    for (int i = 0; i < s->n_columns; i++) {
        sqlite3_str_appendf(sql, "\"%w\", ", s->column[i].name);
    }
    sqlite3_str_appendall(sql, "distance HIDDEN, k HIDDEN");
    int clash =
        sqlite3_stricmp(table, "ef_search") == 0 || sqlite3_stricmp(table, "exact") == 0;
    int whole = append_hidden(sql, s, "ef_search") && append_hidden(sql, s, "exact") &&
                append_hidden(sql, s, clash ? "command" : table);
    sqlite3_str_appendall(sql, ")");
    char *text = sqlite3_str_finish(sql);
    if (!whole) {
        sqlite3_free(text);
        return NULL;
    }
    return text;
}

int vsx_vec0_parse(int argc, const char *const *argv, VsxSchema **out, char **err) {
    VsxVec0Args args;
    VSX_TRY(read_arguments(argc, argv, &args, err));
    int rc = vsx_schema_parse(NULL, args.argc, (const char *const *)args.argv, out, err);
    for (int i = 0; rc == SQLITE_OK && i < args.argc; i++) {
        (*out)->column[i].strict = (int)args.strict[i];
        (*out)->column[i].partition = args.partition[i];
        (*out)->column[i].given = 0; /* some of it is a default of the module */
    }
    if (rc == SQLITE_OK) {
        (*out)->chunk_size = args.chunk_size;
    }
    arguments_free(&args);
    return rc;
}
