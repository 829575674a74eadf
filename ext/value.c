/*
 * Reading a vector from an sqlite3_value, and the words for every way in which it can be
 * wrong.
 */
#include "value.h"

#include <math.h>
#include <string.h>

#include "../csrc/vec.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vectors are copied as they are stored: little-endian"
#endif

#define EXPECTED \
    "expected a vector (BLOB of little-endian float32, or JSON text such as '[1, 2.5]')"

static void *resize(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    return sqlite3_realloc64(ptr, size);
}

static void release(void *ctx, void *ptr) {
    (void)ctx;
    sqlite3_free(ptr);
}

const VsAlloc vsx_alloc = {resize, release, NULL};

void vsx_vector_free(VsxFloats *vec) {
    sqlite3_free(vec->v);
    vec->v = NULL;
    vec->n = 0;
}

/* Hands out a message; a message that could not be made is out of memory. */
static int fail(char **err, char *message) {
    if (message == NULL) {
        return SQLITE_NOMEM;
    }
    *err = message;
    return SQLITE_ERROR;
}

static const char *type_name(int type) {
    switch (type) {
    case SQLITE_INTEGER:
        return "INTEGER";
    case SQLITE_FLOAT:
        return "REAL";
    case SQLITE_TEXT:
        return "TEXT";
    case SQLITE_BLOB:
        return "BLOB";
    default:
        return "NULL";
    }
}

static int read_float32_blob(sqlite3_value *value, VsxFloats *out, char **err) {
    /* The size first: it rejects a zeroblob() of a gigabyte before it is expanded. */
    int size = sqlite3_value_bytes(value);
    if (size == 0) {
        return fail(err,
                    sqlite3_mprintf("expected at least 1 dimension, got an empty BLOB"));
    }
    if (size % (int)sizeof(float) != 0) {
        return fail(err,
                    sqlite3_mprintf("expected a BLOB of float32, 4 bytes per dimension, "
                                    "got %d bytes",
                                    size));
    }
    size_t n = (size_t)size / sizeof(float);
    if (n > VS_MAX_DIMS) {
        return fail(err, sqlite3_mprintf("expected at most %d dimensions, got %d",
                                         VS_MAX_DIMS, size / (int)sizeof(float)));
    }
    const void *blob = sqlite3_value_blob(value);
    float *v = blob == NULL ? NULL : sqlite3_malloc64((sqlite3_uint64)size);
    if (v == NULL) {
        return SQLITE_NOMEM;
    }
    memcpy(v, blob, (size_t)size);
    size_t bad = vs_vec_first_nonfinite(v, n);
    if (bad < n) {
        const char *what = isnan(v[bad]) ? "NaN" : v[bad] > 0 ? "infinity" : "-infinity";
        sqlite3_free(v);
        return fail(err, sqlite3_mprintf("expected finite elements, got %s at index %d",
                                         what, (int)bad));
    }
    out->v = v;
    out->n = n;
    return SQLITE_OK;
}

static const char *fault_text(VsParseFault fault) {
    switch (fault) {
    case VS_PARSE_NO_BRACKET:
        return "expected '['";
    case VS_PARSE_NUMBER:
        return "expected a number";
    case VS_PARSE_NONFINITE:
        return "expected a number within float32's range";
    case VS_PARSE_SEPARATOR:
        return "expected ',' or ']'";
    case VS_PARSE_TRAILING:
        return "expected nothing after ']'";
    case VS_PARSE_EMPTY:
        return "expected at least 1 dimension";
    default:
        return NULL;
    }
}

/* "expected ',' or ']' at byte 7, got 'x'" */
static char *fault_message(const char *text, size_t len, const VsParseError *fault) {
    if (fault->fault == VS_PARSE_TOO_LONG) {
        return sqlite3_mprintf("expected at most %d dimensions, got more", VS_MAX_DIMS);
    }
    const char *expected = fault_text(fault->fault);
    sqlite3_int64 at = (sqlite3_int64)fault->at;
    if (fault->at >= len) {
        return sqlite3_mprintf("JSON vector: %s at byte %lld, got the end of the text",
                               expected, at);
    }
    unsigned char byte = (unsigned char)text[fault->at];
    if (byte < 0x20 ||
        byte >= 0x7F) { /* half of a UTF-8 sequence has no place in a message */
        return sqlite3_mprintf("JSON vector: %s at byte %lld, got byte 0x%02X", expected,
                               at, byte);
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
    return sqlite3_mprintf("JSON vector: %s at byte %lld, got '%.*s'", expected, at,
                           shown, text + fault->at);
}

static int read_json(sqlite3_value *value, VsxFloats *out, char **err) {
    const char *text = (const char *)sqlite3_value_text(value);
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    size_t len = (size_t)sqlite3_value_bytes(value);
    VsParseError fault;
    VsStatus status = vs_vec_parse(&vsx_alloc, text, len, &out->v, &out->n, &fault);
    if (status == VS_OK) {
        return SQLITE_OK;
    }
    return status == VS_SYNTAX ? fail(err, fault_message(text, len, &fault))
                               : SQLITE_NOMEM;
}

/* The one place where an SQL value is told apart by element type. Another type has a
 * subtype of its own, a branch here, and a tag in VsxFloats' place. */
int vsx_vector_read(sqlite3_value *value, VsxFloats *out, char **err) {
    int type = sqlite3_value_type(value);
    unsigned subtype = sqlite3_value_subtype(value);

    if (type == SQLITE_BLOB && (subtype == 0 || subtype == VSX_SUBTYPE_FLOAT32)) {
        return read_float32_blob(value, out, err);
    }
    if (type == SQLITE_TEXT && (subtype == 0 || subtype == VSX_SUBTYPE_JSON)) {
        return read_json(value, out, err);
    }
    if (subtype != 0) {
        return fail(err, sqlite3_mprintf(EXPECTED ", got a %s of subtype %u",
                                         type_name(type), subtype));
    }
    return fail(err, sqlite3_mprintf(EXPECTED ", got %s", type_name(type)));
}
