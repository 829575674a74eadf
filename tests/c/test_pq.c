/* Risk: product quantisation that loses more than it says, or depends on the machine. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "csrc/codec/codec.h"
#include "csrc/kernel/columns.h"
#include "csrc/graph/graph.h"
#include "csrc/codec/kmeans.h"
#include "csrc/base/hash.h"

static uint64_t seed = 20261121;

static float uniform(void) {
    seed = vs_mix64(seed);
    return (float)(seed >> 40) / (float)(1 << 24) - 0.5f;
}

static float *vectors(size_t n, size_t dims) {
    float *out = malloc(n * dims * sizeof *out);
    for (size_t i = 0; i < n * dims; i++) {
        out[i] = uniform();
    }
    return out;
}

/* ---- columns -------------------------------------------------------------------- */

static void test_every_instruction_set_gives_the_same_bits(void) {
    enum { K = 256 };
    float x[64], by_columns[64 * K], a[K], b[K];
    for (size_t i = 0; i < 64 * K; i++) {
        by_columns[i] = uniform();
    }
    for (size_t d = 1; d <= 64; d++) {
        for (size_t j = 0; j < d; j++) {
            x[j] = uniform();
        }
        vs_columns()->l2sq(x, by_columns, d, K, a);
        vs_columns_scalar.l2sq(x, by_columns, d, K, b);
        CHECKF(memcmp(a, b, sizeof a) == 0, "l2sq, d = %zu", d);
        vs_columns()->dot(x, by_columns, d, K, a);
        vs_columns_scalar.dot(x, by_columns, d, K, b);
        CHECKF(memcmp(a, b, sizeof a) == 0, "dot, d = %zu", d);
        CHECKF(vs_columns()->nearest(x, by_columns, d, K) ==
                   vs_columns_scalar.nearest(x, by_columns, d, K),
               "nearest, d = %zu", d);
    }
}

static void test_of_equal_centroids_the_first_is_nearest(void) {
    float by_columns[256], x = 3;
    for (int c = 0; c < 256; c++) {
        by_columns[c] = c == 77 || c == 13 || c == 200 ? 3 : 5;
    }
    CHECK(vs_columns()->nearest(&x, by_columns, 1, 256) == 13);
    CHECK(vs_columns_scalar.nearest(&x, by_columns, 1, 256) == 13);
}

/* ---- k-means -------------------------------------------------------------------- */

static double mean_error(const float *points, size_t n, size_t d, const float *columns) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float distance[256], least;
        vs_columns()->l2sq(points + i * d, columns, d, 256, distance);
        least = distance[0];
        for (int c = 1; c < 256; c++) {
            least = distance[c] < least ? distance[c] : least;
        }
        sum += (double)least;
    }
    return sum / (double)n;
}

static void test_separate_clusters_are_found(void) {
    enum { N = 20000, D = 4 };
    float *points = malloc(N * D * sizeof *points), columns[256 * D];
    void *scratch = malloc(vs_kmeans_scratch(N, D));
    for (size_t i = 0; i < N; i++) { /* 200 clusters at the corners of a grid */
        uint64_t c = i % 200;
        for (size_t j = 0; j < D; j++) {
            float centre = (float)(vs_mix64(c * D + j) % 1000);
            points[i * D + j] = centre + uniform();
        }
    }
    VsKmeans job = {points, N, D, 1};
    vs_kmeans(&job, scratch, columns);
    /* within a cluster the mean square of a uniform coordinate is 1 / 12 */
    double error = mean_error(points, N, D, columns);
    CHECKF(error < 1.3 * D / 12.0, "mean square %f", error);
    free(points);
    free(scratch);
}

static void test_few_points_are_their_own_centroids(void) {
    enum { N = 100, D = 3 };
    float *points = vectors(N, D), columns[256 * D];
    void *scratch = malloc(vs_kmeans_scratch(N, D));
    VsKmeans job = {points, N, D, 1};
    vs_kmeans(&job, scratch, columns);
    CHECK(mean_error(points, N, D, columns) == 0);
    free(points);
    free(scratch);
}

static void test_training_again_gives_the_same_bits(void) {
    enum { N = 9000, D = 5 };
    float *points = vectors(N, D), first[256 * D], second[256 * D];
    void *scratch = malloc(vs_kmeans_scratch(N, D));
    VsKmeans job = {points, N, D, 9};
    vs_kmeans(&job, scratch, first);
    memset(scratch, 0xA5, vs_kmeans_scratch(N, D));
    vs_kmeans(&job, scratch, second);
    CHECK(memcmp(first, second, sizeof first) == 0);
    free(points);
    free(scratch);
}

/* ---- the codec ------------------------------------------------------------------ */

typedef struct Fixture {
    VsCodecParams params;
    VsModel model;
    unsigned char *blob, *data;
    void *derived;
    size_t len;
} Fixture;

static void fit(Fixture *f, const VsCodecParams *params, const float *base, size_t n,
                unsigned threads) {
    const VsCodec *codec = vs_codec(VS_CODEC_PQ);
    float *sample = malloc(n * params->dims * sizeof *sample);
    VsFitting with = {malloc(codec->fit_scratch(params, n, threads)), threads};
    memset(f, 0, sizeof *f);
    memcpy(sample, base, n * params->dims * sizeof *sample);
    f->params = *params;
    f->blob = malloc(codec->model_size(params));
    f->derived = malloc(codec->derived_size(params));
    f->data = malloc(codec->query_size(params));
    f->len = codec->fit(params, VS_NAV_AUTO, sample, n, &with, f->blob);
    f->model.blob = f->blob;
    f->model.derived = f->derived;
    CHECK(codec->read_model(params, f->blob, f->len, &f->model) == VS_OK);
    free(sample);
    free(with.scratch);
}

static void fixture_free(Fixture *f) {
    free(f->blob);
    free(f->derived);
    free(f->data);
}

static double distance(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    return sqrt(sum);
}

static void test_what_coding_loses_is_within_its_bound(void) {
    const uint32_t dims[] = {1, 3, 4, 16, 30, 67};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        VsCodecParams params = {.dims = dims[i], .metric = VS_L2, .codec = VS_CODEC_PQ};
        const VsCodec *codec = vs_codec(VS_CODEC_PQ);
        float *base = vectors(2000, dims[i]), back[67];
        unsigned char code[67];
        Fixture f;
        fit(&f, &params, base, 2000, 1);
        for (size_t n = 0; n < 500; n++) {
            const float *v = base + n * dims[i];
            float bound = codec->encode(&params, &f.model, v, code, NULL);
            codec->decode(&params, &f.model, code, back);
            CHECKF(distance(v, back, dims[i]) <= (double)bound, "dims %u", dims[i]);
        }
        fixture_free(&f);
        free(base);
    }
}

static void test_the_table_agrees_with_the_decoded_codes(void) {
    const VsMetric metrics[] = {VS_L2, VS_COSINE, VS_DOT};
    enum { DIMS = 64, N = 3000 };
    float *base = vectors(N, DIMS);
    const VsCodec *codec = vs_codec(VS_CODEC_PQ);
    for (size_t i = 0; i < 3; i++) {
        VsCodecParams params = {.dims = DIMS, .metric = metrics[i], .codec = VS_CODEC_PQ};
        Fixture f;
        fit(&f, &params, base, N - 1, 1);
        VsQuery q = {.params = &f.params,
                     .model = &f.model,
                     .kernels = vs_kernels(),
                     .data = f.data};
        codec->prepare(&q, base + (N - 1) * DIMS);
        for (size_t n = 0; n < 300; n++) {
            unsigned char code[DIMS];
            const unsigned char *list[1] = {code};
            float table, decoded;
            codec->encode(&params, &f.model, base + n * DIMS, code, NULL);
            q.score(&q, list, 1, &table);
            q.full(&q, list, 1, &decoded);
            /* half a step of the table for each of the 16 parts, the step being a 255th
             * of the widest part */
            CHECKF(fabsf(table - decoded) < 16 * 0.5f * 4 / 255, "metric %d: %f and %f",
                   (int)metrics[i], (double)table, (double)decoded);
        }
        fixture_free(&f);
    }
    free(base);
}

static void test_threads_change_nothing_but_time(void) {
    enum { DIMS = 40, N = 2000 };
    float *base = vectors(N, DIMS);
    VsCodecParams params = {.dims = DIMS, .metric = VS_COSINE, .codec = VS_CODEC_PQ};
    Fixture one, three;
    fit(&one, &params, base, N, 1);
    fit(&three, &params, base, N, 3);
    CHECK(one.len == three.len && memcmp(one.blob, three.blob, one.len) == 0);
    fixture_free(&one);
    fixture_free(&three);
    free(base);
}

static void test_any_flipped_bit_of_a_model_is_found(void) {
    enum { DIMS = 8, N = 300 };
    float *base = vectors(N, DIMS);
    VsCodecParams params = {.dims = DIMS, .metric = VS_L2, .codec = VS_CODEC_PQ};
    Fixture f;
    VsModel out;
    fit(&f, &params, base, N, 1);
    for (size_t i = 0; i < f.len; i += i < 64 ? 1 : 97) {
        f.blob[i] ^= 4;
        out = f.model;
        CHECKF(vs_codec(VS_CODEC_PQ)->read_model(&params, f.blob, f.len, &out) ==
                   VS_CORRUPT,
               "byte %zu", i);
        f.blob[i] ^= 4;
    }
    CHECK(vs_codec(VS_CODEC_PQ)->read_model(&params, f.blob, f.len - 1, &out) ==
          VS_CORRUPT);
    fixture_free(&f);
    free(base);
}

int main(void) {
    printf("seed %llu\n", (unsigned long long)seed);
    test_every_instruction_set_gives_the_same_bits();
    test_of_equal_centroids_the_first_is_nearest();
    test_separate_clusters_are_found();
    test_few_points_are_their_own_centroids();
    test_training_again_gives_the_same_bits();
    test_what_coding_loses_is_within_its_bound();
    test_the_table_agrees_with_the_decoded_codes();
    test_threads_change_nothing_but_time();
    test_any_flipped_bit_of_a_model_is_found();
    return check_report();
}
