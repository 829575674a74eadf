/*
 * Reading a vector from an sqlite3_value, and the words for every way in which it can be
 * wrong.
 */
#include "ext/base/value.h"

#include <math.h>
#include <string.h>

#include "csrc/vector/text.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vectors are copied as they are stored: little-endian"
#endif

static void *resize(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    return sqlite3_realloc64(ptr, size);
}

static void release(void *ctx, void *ptr) {
    (void)ctx;
    sqlite3_free(ptr);
}

const VsAlloc vsx_alloc = {resize, release, NULL};

void vsx_vector_free(VsxVec *vec) {
    if (!vec->borrowed) {
        sqlite3_free(vec->v);
    }
    vec->v = NULL;
    vec->n = 0;
}

unsigned vsx_subtype(VsElement element) {
    static const unsigned char subtypes[] = {VSX_SUBTYPE_FLOAT32, VSX_SUBTYPE_FLOAT16,
                                             VSX_SUBTYPE_INT8, VSX_SUBTYPE_BIT};
    return subtypes[element];
}

unsigned vsx_subtype_of(sqlite3_value *value) {
    unsigned subtype = sqlite3_value_subtype(value);
    return subtype - VSX_SUBTYPE_EMBEDDED < VSX_MODELS ? 0 : subtype;
}

/* The type that a subtype marks; *out stays if it marks none. */
static int element_of(unsigned subtype, VsElement *out) {
    for (VsElement e = VS_F32; e <= VS_BIT; e++) {
        if (subtype == vsx_subtype(e)) {
            *out = e;
            return 1;
        }
    }
    return 0;
}

/* Hands out a message; a message that could not be made is out of memory. */
static int fail(char **err, char *message) {
    if (message == NULL) {
        return SQLITE_NOMEM;
    }
    *err = message;
    return SQLITE_ERROR;
}

const char *vsx_type_name(int type) {
    switch (type) {
    case SQLITE_INTEGER:
        return "INTEGER";
    case SQLITE_FLOAT:
        return "FLOAT";
    case SQLITE_TEXT:
        return "TEXT";
    case SQLITE_BLOB:
        return "BLOB";
    default:
        return "NULL";
    }
}

/* ---- BLOBs ---------------------------------------------------------------------- */

static int not_finite(const VsxVec *vec, size_t bad, char **err) {
    float x;
    vs_element_to_f32(vec->element,
                      (unsigned char *)vec->v + vs_element_bytes(vec->element, bad), &x,
                      1);
    return fail(err, sqlite3_mprintf("expected finite elements, got %s at index %d",
                                     isnan(x) ? "NaN"
                                     : x > 0  ? "infinity"
                                              : "-infinity",
                                     (int)bad));
}

/* The elements of a BLOB, borrowed. */
static int read_blob(sqlite3_value *value, VsElement element, VsxVec *out, char **err) {
    /* The size first: it rejects a zeroblob() of a gigabyte before it is expanded. */
    int size = sqlite3_value_bytes(value);
    size_t n = vs_element_dims(element, (size_t)size);
    if (size == 0) {
        return fail(err, sqlite3_mprintf("zero-length vectors are not supported."));
    }
    if (n == 0) {
        return fail(err, sqlite3_mprintf("invalid %s vector BLOB length. Must be "
                                         "divisible by %d, found %d",
                                         vs_element_name(element),
                                         element == VS_F32 ? 4 : 2, size));
    }
    if (n > VS_MAX_DIMS) {
        return fail(err, sqlite3_mprintf("expected at most %d dimensions, got %lld",
                                         VS_MAX_DIMS, (sqlite3_int64)n));
    }
    const void *blob = sqlite3_value_blob(value);
    if (blob == NULL) {
        return SQLITE_NOMEM;
    }
    VsxVec vec = {(void *)(size_t)blob, n, element, 1};
    size_t bad = vs_element_first_nonfinite(element, blob, n);
    if (bad < n) {
        return not_finite(&vec, bad, err);
    }
    *out = vec;
    return SQLITE_OK;
}

/* ---- JSON ----------------------------------------------------------------------- */

static const char *fault_text(VsParseFault fault) {
    switch (fault) {
    case VS_PARSE_NUMBER:
        return "expected a number";
    case VS_PARSE_NONFINITE:
        return "expected a number within float32's range";
    case VS_PARSE_SEPARATOR:
        return "expected ',' or ']'";
    case VS_PARSE_TRAILING:
        return "expected nothing after ']'";
    default:
        return NULL;
    }
}

/* "expected ',' or ']' at byte 7, got 'x'" */
static char *fault_message(const char *text, size_t len, const VsParseError *fault) {
    if (fault->fault == VS_PARSE_NO_BRACKET && fault->at < len) {
        return sqlite3_mprintf("JSON array parsing error: Input does not start with '['");
    }
    if (fault->fault == VS_PARSE_NO_BRACKET || fault->fault == VS_PARSE_EMPTY ||
        (fault->fault == VS_PARSE_NUMBER && fault->at == len && text[len - 1] == '[')) {
        return sqlite3_mprintf("zero-length vectors are not supported.");
    }
    if (fault->fault == VS_PARSE_TOO_LONG) {
        return sqlite3_mprintf("expected at most %d dimensions, got more", VS_MAX_DIMS);
    }
    const char *expected = fault_text(fault->fault);
    sqlite3_int64 at = (sqlite3_int64)fault->at;
    if (fault->at >= len) {
        return sqlite3_mprintf(
            "JSON parsing error: %s at byte %lld, got the end of the text", expected, at);
    }
    unsigned char byte = (unsigned char)text[fault->at];
    if (byte < 0x20 ||
        byte >= 0x7F) { /* half of a UTF-8 sequence has no place in a message */
        return sqlite3_mprintf("JSON parsing error: %s at byte %lld, got byte 0x%02X",
                               expected, at, byte);
    }
    /* The word at the fault, so that nan, null and 1e999 are named in full. */
    int shown = 1;
    while (shown < 24 && fault->at + (size_t)shown < len) {
        unsigned char next = (unsigned char)text[fault->at + (size_t)shown];
        if (next <= 0x20 || next >= 0x7F || strchr(",[]", next) != NULL) {
            break;
        }
        shown++;
    }
    return sqlite3_mprintf("JSON parsing error: %s at byte %lld, got '%.*s'", expected,
                           at, shown, text + fault->at);
}

static int parse_f32(sqlite3_value *value, VsxVec *out, char **err) {
    const char *text = (const char *)sqlite3_value_text(value);
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    size_t len = (size_t)sqlite3_value_bytes(value), n = 0;
    float *v = NULL;
    VsParseError fault;
    VsStatus status = vs_vec_parse(&vsx_alloc, text, len, &v, &n, &fault);
    if (status == VS_OK) {
        *out = (VsxVec){v, n, VS_F32, 0};
        return SQLITE_OK;
    }
    return status == VS_SYNTAX ? fail(err, fault_message(text, len, &fault))
                               : SQLITE_NOMEM;
}

/* ---- conversions ---------------------------------------------------------------- */

/* A copy of `in` as another type. What does not fit is an error. */
static int convert(const VsxVec *in, VsElement element, VsxVec *out, char **err) {
    size_t bytes = vs_element_bytes(element, in->n), bad = in->n;
    float *wide = sqlite3_malloc64(in->n * sizeof *wide);
    void *v = sqlite3_malloc64(bytes);
    if (wide == NULL || v == NULL) {
        sqlite3_free(wide);
        sqlite3_free(v);
        return SQLITE_NOMEM;
    }
    vs_element_to_f32(in->element, in->v, wide, in->n);
    if (element == VS_F32) {
        memcpy(v, wide, bytes);
    } else {
        bad = element == VS_F16 ? vs_f16_from_f32(wide, v, in->n)
                                : vs_int8_from_f32(wide, v, in->n);
    }
    int rc = SQLITE_OK;
    if (bad == in->n) {
        *out = (VsxVec){v, in->n, element, 0};
    } else {
        char *shown = sqlite3_mprintf("%!.9g", (double)wide[bad]);
        rc = fail(
            err, element == VS_F16
                     ? sqlite3_mprintf("expected elements within float16's range, got %s "
                                       "at index %d",
                                       shown, (int)bad)
                 : wide[bad] == floorf(wide[bad])
                     ? sqlite3_mprintf("JSON parsing error: value out of range for int8")
                     : sqlite3_mprintf("JSON parsing error: expected a whole number at "
                                       "index %d, got %s",
                                       (int)bad, shown));
        sqlite3_free(shown);
        sqlite3_free(v);
    }
    sqlite3_free(wide);
    return rc;
}

/* The same as another type; takes *in over. */
static int become(VsxVec *in, VsElement element, VsxVec *out, char **err) {
    if (in->element == element) {
        *out = *in;
        return SQLITE_OK;
    }
    int rc = convert(in, element, out, err);
    vsx_vector_free(in);
    return rc;
}

static int read_json(sqlite3_value *value, VsElement element, VsxVec *out, char **err) {
    VsxVec wide = {0};
    int rc = parse_f32(value, &wide, err);
    return rc == SQLITE_OK ? become(&wide, element, out, err) : rc;
}

/* ---- the readers ---------------------------------------------------------------- */

int vsx_vector_borrow(sqlite3_value *value, VsxVec *out, char **err) {
    int type = sqlite3_value_type(value);
    unsigned subtype = vsx_subtype_of(value);
    VsElement element = VS_F32;
    if (subtype != 0 && subtype != VSX_SUBTYPE_JSON && !element_of(subtype, &element)) {
        return fail(err, sqlite3_mprintf("Unknown subtype: %u", subtype));
    }
    if (type == SQLITE_BLOB) {
        return read_blob(value, element, out, err);
    }
    return type == SQLITE_TEXT
               ? read_json(value, VS_F32, out, err)
               : fail(err,
                      sqlite3_mprintf("Input must have type BLOB (compact format) or "
                                      "TEXT (JSON), found %s",
                                      vsx_type_name(type)));
}

int vsx_vector_make(sqlite3_value *value, VsElement element, VsxVec *out, char **err) {
    int type = sqlite3_value_type(value);
    VsElement given = element;
    VsxVec vec = {0};
    if (type == SQLITE_TEXT && element != VS_BIT) {
        return read_json(value, element, out, err);
    }
    if (type != SQLITE_BLOB && element != VS_F32) {
        return fail(err,
                    sqlite3_mprintf(element == VS_BIT ? "Unknown type for %svector."
                                                      : "Unknown type for %s vector.",
                                    vs_element_name(element)));
    }
    if (type != SQLITE_BLOB) {
        return vsx_vector_borrow(value, out, err);
    }
    (void)element_of(vsx_subtype_of(value), &given);
    if (given != VS_F16 && element != VS_F16) {
        given = element; /* sqlite-vec's own types: the bytes under another name */
    }
    if (given != element &&
        (given == VS_BIT || element == VS_BIT || element == VS_INT8)) {
        return fail(err,
                    sqlite3_mprintf("Cannot convert a %s vector to %s.",
                                    vs_element_name(given), vs_element_name(element)));
    }
    int rc = read_blob(value, given, &vec, err);
    return rc == SQLITE_OK ? become(&vec, element, out, err) : rc;
}

/* Makes a borrowed vector the caller's own. */
static int own(VsxVec *vec) {
    size_t bytes = vs_element_bytes(vec->element, vec->n);
    void *copy = vec->borrowed ? sqlite3_malloc64(bytes) : NULL;
    if (!vec->borrowed) {
        return SQLITE_OK;
    }
    if (copy == NULL) {
        return SQLITE_NOMEM;
    }
    memcpy(copy, vec->v, bytes);
    vec->v = copy;
    vec->borrowed = 0;
    return SQLITE_OK;
}

int vsx_vector_read(sqlite3_value *value, VsxVec *out, char **err) {
    VsxVec vec = {0};
    VSX_TRY(vsx_vector_borrow(value, &vec, err));
    VSX_TRY(own(&vec));
    *out = vec;
    return SQLITE_OK;
}

int vsx_vector_settle(VsxVec *vec, const VsCodecParams *column, VsxVec *out, char **err) {
    if (vec->n != column->dims) {
        sqlite3_int64 got = (sqlite3_int64)vec->n;
        vsx_vector_free(vec);
        return fail(
            err, sqlite3_mprintf("expected %u dimensions, got %lld", column->dims, got));
    }
    VsxVec settled = {0};
    VSX_TRY(become(vec, column->element, &settled, err));
    VSX_TRY(own(&settled));
    *out = settled;
    return SQLITE_OK;
}

static int is_float(VsElement element) {
    return element == VS_F32 || element == VS_F16;
}

int vsx_vector_given(sqlite3_value *value, const VsCodecParams *column, VsxVec *out,
                     char **err) {
    static const char *const made_by[] = {"", "vec_f16()", "vec_int8() or JSON text",
                                          "vec_bit()"};
    VsxVec vec = {0};
    int type = sqlite3_value_type(value);
    int json = type == SQLITE_TEXT && column->element == VS_INT8;
    int plain = type == SQLITE_BLOB && vsx_subtype_of(value) == 0 &&
                (size_t)sqlite3_value_bytes(value) ==
                    vs_element_bytes(column->element, column->dims);
    int rc = json    ? read_json(value, VS_INT8, &vec, err)
             : plain ? read_blob(value, column->element, &vec, err)
                     : vsx_vector_borrow(value, &vec, err);
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (vec.element != column->element &&
        !(is_float(vec.element) && is_float(column->element))) {
        char *by = is_float(column->element)
                       ? NULL
                       : sqlite3_mprintf(" (%s)", made_by[column->element]);
        rc = fail(err, sqlite3_mprintf("expected %s[%u]%s, got %s[%lld]",
                                       vs_element_name(column->element), column->dims,
                                       by == NULL ? "" : by, vs_element_name(vec.element),
                                       (sqlite3_int64)vec.n));
        sqlite3_free(by);
        vsx_vector_free(&vec);
        return rc;
    }
    return vsx_vector_settle(&vec, column, out, err);
}

int vsx_vector_stored(sqlite3_value *value, const VsCodecParams *column, VsxVec *out,
                      char **err) {
    VsElement element = column->element;
    VsxVec vec = {0};
    int rc, type = sqlite3_value_type(value);
    if (type == SQLITE_TEXT && element != VS_BIT) {
        rc = read_json(value, element, &vec, err);
    } else if (type == SQLITE_BLOB) {
        int wide = element == VS_F16 && (size_t)sqlite3_value_bytes(value) ==
                                            vs_element_bytes(VS_F32, column->dims);
        rc = read_blob(value, wide ? VS_F32 : element, &vec, err);
    } else {
        rc = fail(err, sqlite3_mprintf("expected a vector, %s[%u], found %s",
                                       vs_element_name(element), column->dims,
                                       vsx_type_name(type)));
    }
    return rc == SQLITE_OK ? vsx_vector_settle(&vec, column, out, err) : rc;
}

int vsx_rowid_value(sqlite3_value *value, sqlite3_int64 *out) {
    int type = sqlite3_value_numeric_type(value);
    *out = sqlite3_value_int64(value);
    return type == SQLITE_INTEGER ||
           (type == SQLITE_FLOAT && (double)*out == sqlite3_value_double(value));
}
