/*
 * vec0: a vector that a statement gives for a column, with sqlite-vec's three messages for
 * what is wrong with it.
 *
 * No subtype reaches sqlite-vec in an UPDATE: it takes every BLOB there for a float32
 * vector, and cannot change an int8 or bit vector. Here a BLOB of the size of the column's
 * vectors is one of its type, and any other is a float32 vector.
 */
#include "ext/vec0/vec0.h"
#include "ext/table/errors.h"

/* How the messages begin: for a vector that is none, for one of another type, for one of
 * another dimension. */
typedef struct Words {
    const char *invalid, *type, *dims;
} Words;

static const Words words[] = {
    [VSX_INSERTED] = {"Inserted vector for the", "Inserted vector for the",
                      "inserted vector for the"},
    [VSX_UPDATED] = {"Updated vector for the", "Updated vector for the",
                     "new updated vector for the"},
    [VSX_QUERIED] = {"Query vector on the", "Query vector for the",
                     "query vector for the"},
};

static int is_float(VsElement element) {
    return element == VS_F32 || element == VS_F16;
}

static int check(VsxTable *t, const VsxColumn *c, const Words *w, const VsxVec *vec) {
    VsElement expected = c->params.code.element;
    if (vec->element != expected && !(is_float(vec->element) && is_float(expected))) {
        return vsx_fail(t, SQLITE_ERROR,
                        "%s \"%s\" column is expected to be of type %s, but a %s vector "
                        "was provided.",
                        w->type, c->name, vs_element_name(expected),
                        vs_element_name(vec->element));
    }
    if (vec->n != c->params.code.dims) {
        return vsx_fail(t, SQLITE_ERROR,
                        "Dimension mismatch for %s \"%s\" column. Expected %u dimensions "
                        "but received %lld.",
                        w->dims, c->name, c->params.code.dims, (sqlite3_int64)vec->n);
    }
    return SQLITE_OK;
}

static int updated_bytes(sqlite3_value *value, const VsCodecParams *code, VsxVec *out,
                         char **err) {
    size_t bytes = (size_t)sqlite3_value_bytes(value);
    int fits = bytes == vs_element_bytes(code->element, code->dims);
    VsCodecParams plain = {.element = VS_F32,
                           .dims = (uint32_t)vs_element_dims(VS_F32, bytes)};
    return vsx_vector_stored(value, fits ? code : &plain, out, err);
}

int vsx_vec0_vector(VsxTable *t, const VsxColumn *c, VsxUse use, sqlite3_value *value,
                    VsxVec *out) {
    const VsCodecParams *code = &c->params.code;
    char *err = NULL;
    VsxVec vec = {0};
    int rc = use == VSX_UPDATED && sqlite3_value_type(value) == SQLITE_BLOB
                 ? updated_bytes(value, code, &vec, &err)
                 : vsx_vector_borrow(value, &vec, &err);
    if (rc == SQLITE_OK) {
        rc = check(t, c, &words[use], &vec);
        if (rc == SQLITE_OK) {
            rc = vsx_vector_settle(&vec, code, out, &err);
        } else {
            vsx_vector_free(&vec);
        }
    }
    if (err != NULL) {
        rc = vsx_fail(t, SQLITE_ERROR, "%s \"%s\" column is invalid: %s",
                      words[use].invalid, c->name, err);
        sqlite3_free(err);
    }
    return rc;
}
