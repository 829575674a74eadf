/*
 * The scalar distance functions. They are the distances of the tables, so
 * vec_distance_l2(v, q) equals `distance` bit for bit: those of vecsql tables
 * (vs_metric_distance), or with the entry point of vec0 those of sqlite-vec.
 */
#include "ext/functions/functions.h"
#include "ext/vec0/vec0.h"

static const char *metric_word(VsMetric metric) {
    static const char *const words[] = {"L2 distance",      "cosine distance",
                                        "dot product",      "L1 distance",
                                        "hamming distance", "jaccard distance"};
    return words[metric];
}

static void result_distance(sqlite3_context *ctx, VsMetric metric, const VsxVec *a,
                            const VsxVec *b) {
    int vec0 = vsx_function_of(ctx)->entry == VSX_VEC0;
    double distance = vec0 ? vsx_vec0_distance(metric, a->element, a->v, b->v, a->n)
                           : vs_metric_distance(metric, a->element, a->v, b->v, a->n);
    if (metric == VS_DOT) {
        sqlite3_result_double(ctx, 0.0 - distance); /* 0 - x: no negative zero */
    } else if (metric == VS_L1 && a->element == VS_INT8) {
        sqlite3_result_int64(ctx, (sqlite3_int64)distance); /* as sqlite-vec */
    } else {
        sqlite3_result_double(ctx, distance);
    }
}

void vsx_vec_distance(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    VsxArg a, b;
    (void)argc;
    if (!vsx_pair_open(ctx, argv, &a, &b)) {
        return;
    }
    VsMetric metric = (VsMetric)(vsx_function_of(ctx)->operation - VSX_OP_METRIC);
    if (vs_metric_fits(metric, a.vec.element)) {
        result_distance(ctx, metric, &a.vec, &b.vec);
    } else if (a.vec.element == VS_BIT) {
        vsx_function_fail(ctx, "Cannot calculate %s between two bitvectors.",
                          metric_word(metric));
    } else {
        vsx_function_fail(ctx, "Cannot calculate %s between two %s vectors.",
                          metric_word(metric), vs_element_name(a.vec.element));
    }
    vsx_pair_close(ctx, argv, &a, &b);
}
