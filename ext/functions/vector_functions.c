/*
 * Scalar functions that make, describe and calculate with vectors. See functions.h.
 */
#include <math.h>
#include <string.h>

#include "csrc/vector/text.h"
#include "ext/functions/functions.h"

/* ---- making and describing ------------------------------------------------------ */

void vsx_vec_make(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsElement element = (VsElement)vsx_function_of(ctx)->operation;
    VsxVec vec = {0};
    char *err = NULL;
    (void)argc;
    int rc = vsx_vector_make(argv[0], element, &vec, &err);
    if (rc != SQLITE_OK) {
        vsx_function_failed(ctx, rc, "", err);
        return;
    }
    if (vec.borrowed) {
        sqlite3_result_blob64(ctx, vec.v, vs_element_bytes(element, vec.n),
                              SQLITE_TRANSIENT);
        sqlite3_result_subtype(ctx, vsx_subtype(element));
    } else {
        vsx_result_vector(ctx, vec.v, element, vec.n);
    }
}

void vsx_vec_length(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    (void)argc;
    if (vsx_arg_open(ctx, argv, 0, &a)) {
        sqlite3_result_int64(ctx, (sqlite3_int64)a.vec.n);
        vsx_arg_close(ctx, argv, 0, &a);
    }
}

void vsx_vec_type(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    (void)argc;
    if (vsx_arg_open(ctx, argv, 0, &a)) {
        sqlite3_result_text(ctx, vs_element_name(a.vec.element), -1, SQLITE_STATIC);
        vsx_arg_close(ctx, argv, 0, &a);
    }
}

/* The elements of an argument as float32, in memory of their own. NULL after the error
 * has been set. */
static float *widened(sqlite3_context *ctx, const VsxVec *vec) {
    float *wide = vsx_result_room(ctx, VS_F32, vec->n);
    if (wide != NULL) {
        vs_element_to_f32(vec->element, vec->v, wide, vec->n);
    }
    return wide;
}

static void result_json(sqlite3_context *ctx, char *text, sqlite3_uint64 len) {
    sqlite3_result_text64(ctx, text, len, sqlite3_free, SQLITE_UTF8);
    sqlite3_result_subtype(ctx, VSX_SUBTYPE_JSON);
}

void vsx_vec_to_json(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    char *text;
    size_t len;
    (void)argc;
    if (!vsx_arg_open(ctx, argv, 0, &a)) {
        return;
    }
    float *wide = widened(ctx, &a.vec);
    if (wide != NULL && vs_vec_format(&vsx_alloc, wide, a.vec.n, &text, &len) == VS_OK) {
        result_json(ctx, text, len);
    } else {
        sqlite3_result_error_nomem(ctx);
    }
    sqlite3_free(wide);
    vsx_arg_close(ctx, argv, 0, &a);
}

/* sqlite-vec's form: six decimals. */
void vsx_vec_to_json_fixed(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    (void)argc;
    if (!vsx_arg_open(ctx, argv, 0, &a)) {
        return;
    }
    int whole = a.vec.element == VS_INT8 || a.vec.element == VS_BIT;
    float *wide = widened(ctx, &a.vec);
    sqlite3_str *json = sqlite3_str_new(sqlite3_context_db_handle(ctx));
    sqlite3_str_appendall(json, "[");
    for (size_t i = 0; wide != NULL && i < a.vec.n; i++) {
        sqlite3_str_appendall(json, i == 0 ? "" : ",");
        sqlite3_str_appendf(json, whole ? "%.0f" : "%f", (double)wide[i]);
    }
    sqlite3_str_appendall(json, "]");
    int len = sqlite3_str_length(json);
    char *text = sqlite3_str_finish(json);
    if (text != NULL && wide != NULL) {
        result_json(ctx, text, (sqlite3_uint64)len);
    } else {
        sqlite3_result_error_nomem(ctx);
        sqlite3_free(text);
    }
    sqlite3_free(wide);
    vsx_arg_close(ctx, argv, 0, &a);
}

/* ---- calculating ---------------------------------------------------------------- */

/* Returns floats as a vector of the element type of the arguments. */
static void result_float(sqlite3_context *ctx, float *wide, VsElement element, size_t n) {
    if (element == VS_F32) {
        vsx_result_f32(ctx, wide, n);
        return;
    }
    void *out = vsx_result_room(ctx, VS_F16, n);
    size_t bad = out == NULL ? n : vs_f16_from_f32(wide, out, n);
    sqlite3_free(wide);
    if (bad < n) {
        vsx_function_fail(ctx, "%s(): the result leaves float16's range at index %d",
                          vsx_function_of(ctx)->name, (int)bad);
        sqlite3_free(out);
    } else if (out != NULL) {
        vsx_result_vector(ctx, out, VS_F16, n);
    }
}

static void add_floats(sqlite3_context *ctx, const VsxVec *a, const VsxVec *b, int sub) {
    float *x = widened(ctx, a), *y = x == NULL ? NULL : widened(ctx, b);
    if (y == NULL) {
        sqlite3_free(x);
        return;
    }
    for (size_t i = 0; i < a->n; i++) {
        x[i] = sub ? x[i] - y[i] : x[i] + y[i];
    }
    sqlite3_free(y);
    result_float(ctx, x, a->element, a->n);
}

/* Wraps, as sqlite-vec's does. */
static void add_int8(sqlite3_context *ctx, const VsxVec *a, const VsxVec *b, int sub) {
    const unsigned char *x = a->v, *y = b->v;
    unsigned char *out = vsx_result_room(ctx, VS_INT8, a->n);
    for (size_t i = 0; out != NULL && i < a->n; i++) {
        out[i] = (unsigned char)(sub ? x[i] - y[i] : x[i] + y[i]);
    }
    if (out != NULL) {
        vsx_result_vector(ctx, out, VS_INT8, a->n);
    }
}

void vsx_vec_arithmetic(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a, b;
    int sub = vsx_function_of(ctx)->operation == VSX_OP_SUB;
    (void)argc;
    if (!vsx_pair_open(ctx, argv, &a, &b)) {
        return;
    }
    if (a.vec.element == VS_BIT) {
        vsx_function_fail(ctx, "Cannot %s two bitvectors together.",
                          sub ? "subtract" : "add");
    } else if (a.vec.element == VS_INT8) {
        add_int8(ctx, &a.vec, &b.vec, sub);
    } else {
        add_floats(ctx, &a.vec, &b.vec, sub);
    }
    vsx_pair_close(ctx, argv, &a, &b);
}

void vsx_vec_normalize(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    (void)argc;
    if (!vsx_arg_open(ctx, argv, 0, &a)) {
        return;
    }
    if (a.vec.element != VS_F32 && a.vec.element != VS_F16) {
        vsx_function_fail(ctx, "only float32 vectors are supported when normalizing");
    } else {
        float *wide = widened(ctx, &a.vec);
        if (wide != NULL) {
            vs_vec_normalize(wide, wide, a.vec.n);
            result_float(ctx, wide, a.vec.element, a.vec.n);
        }
    }
    vsx_arg_close(ctx, argv, 0, &a);
}

/* What is wrong with a slice of n elements; NULL if nothing is. */
static const char *slice_fault(sqlite3_int64 start, sqlite3_int64 end, sqlite3_int64 n,
                               VsElement element) {
    return start < 0     ? "slice 'start' index must be a postive number."
           : end < 0     ? "slice 'end' index must be a postive number."
           : start > n   ? "slice 'start' index is greater than the number of dimensions"
           : end > n     ? "slice 'end' index is greater than the number of dimensions"
           : start > end ? "slice 'start' index is greater than 'end' index"
           : start == end
               ? "slice 'start' index is equal to the 'end' index, vectors must have "
                 "non-zero length"
           : element == VS_BIT && start % 8 != 0 ? "start index must be divisible by 8."
           : element == VS_BIT && end % 8 != 0   ? "end index must be divisible by 8."
                                                 : NULL;
}

/* vec_slice(v, start, end): elements start to end - 1, counted from 0. */
void vsx_vec_slice(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    sqlite3_int64 start = sqlite3_value_int64(argv[1]),
                  end = sqlite3_value_int64(argv[2]);
    (void)argc;
    if (!vsx_arg_open(ctx, argv, 0, &a)) {
        return;
    }
    VsElement element = a.vec.element;
    const char *fault = slice_fault(start, end, (sqlite3_int64)a.vec.n, element);
    if (fault != NULL) {
        vsx_function_fail(ctx, "%s", fault);
    } else {
        size_t n = (size_t)(end - start);
        void *out = vsx_result_room(ctx, element, n);
        if (out != NULL) {
            const unsigned char *from = a.vec.v;
            memcpy(out, from + vs_element_bytes(element, (size_t)start),
                   vs_element_bytes(element, n));
            vsx_result_vector(ctx, out, element, n);
        }
    }
    vsx_arg_close(ctx, argv, 0, &a);
}

/* ---- quantising ----------------------------------------------------------------- */

static int is_unit(sqlite3_value *value) {
    return sqlite3_value_type(value) == SQLITE_TEXT && sqlite3_value_bytes(value) == 4 &&
           sqlite3_stricmp((const char *)sqlite3_value_text(value), "unit") == 0;
}

/* -1 .. 1 in 255 steps to -128 .. 127, cut off: sqlite-vec's arithmetic, to the bit. */
static int8_t quantize_unit(float x) {
    const float step = (float)(2.0 / 255);
    double level = ((double)x + 1.0) / (double)step - 128;
    return (int8_t)(level >= 127 ? 127 : level <= -128 ? -128 : level);
}

void vsx_vec_quantize_int8(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxVec vec = {0};
    char *err = NULL;
    (void)argc;
    int rc = vsx_vector_make(argv[0], VS_F32, &vec, &err);
    if (rc != SQLITE_OK) {
        vsx_function_failed(ctx, rc, "", err);
        return;
    }
    if (!is_unit(argv[1])) {
        vsx_function_fail(ctx, "2nd argument to vec_quantize_int8() must be 'unit'.");
    } else {
        int8_t *out = vsx_result_room(ctx, VS_INT8, vec.n);
        for (size_t i = 0; out != NULL && i < vec.n; i++) {
            float x;
            memcpy(&x, (const unsigned char *)vec.v + i * sizeof x, sizeof x);
            out[i] = quantize_unit(x);
        }
        if (out != NULL) {
            vsx_result_vector(ctx, out, VS_INT8, vec.n);
        }
    }
    vsx_vector_free(&vec);
}

void vsx_vec_quantize_binary(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a;
    (void)argc;
    if (!vsx_arg_open(ctx, argv, 0, &a)) {
        return;
    }
    if (a.vec.element == VS_BIT) {
        vsx_function_fail(ctx, "Can only binary quantize float or int8 vectors");
    } else if (a.vec.n % 8 != 0) {
        vsx_function_fail(
            ctx, "Binary quantization requires vectors with a length divisible by 8");
    } else {
        float *wide = widened(ctx, &a.vec);
        unsigned char *out = wide == NULL ? NULL : vsx_result_room(ctx, VS_BIT, a.vec.n);
        if (out != NULL) {
            memset(out, 0, a.vec.n / 8);
            for (size_t i = 0; i < a.vec.n; i++) {
                out[i / 8] |= (unsigned char)((wide[i] > 0) << (i % 8));
            }
            vsx_result_vector(ctx, out, VS_BIT, a.vec.n);
        }
        sqlite3_free(wide);
    }
    vsx_arg_close(ctx, argv, 0, &a);
}
