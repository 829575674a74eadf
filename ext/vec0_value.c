/*
 * vec0: a vector that a statement gives for a column, with sqlite-vec's three messages for
 * what is wrong with it.
 *
 * A subtype does not survive UPDATE, so sqlite-vec cannot change an int8 or bit vector
 * there. Here a BLOB without a subtype is then taken for one of the column's type.
 */
#include "vec0.h"

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

int vsx_vec0_vector(VsxTable *t, const VsxColumn *c, VsxVec0Use use, sqlite3_value *value,
                    VsxVec *out) {
    const VsCodecParams *code = &c->params.code;
    int bytes =
        sqlite3_value_type(value) == SQLITE_BLOB && vsx_subtype_of(value) == 0 &&
        (size_t)sqlite3_value_bytes(value) == vs_element_bytes(code->element, code->dims);
    char *err = NULL;
    VsxVec vec = {0};
    int rc = use == VSX_UPDATED && bytes ? vsx_vector_stored(value, code, &vec, &err)
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
