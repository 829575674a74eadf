/* Risk: codes compare differently on two machines, or a bound does not hold and an exact
 * answer loses rows. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/codec/codec.h"
#include "csrc/kernel/code.h"
#include "csrc/graph/fit.h"
#include "csrc/kernel/quantise.h"
#include "csrc/search/scan.h"
#include "check.h"
#include "graph_fixture.h"

enum { CODES = 13, MOST_BLOCKS = 70 };

static void fill(Random *r, unsigned char *p, size_t n, unsigned mask) {
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)(random_next(r) & mask);
    }
}

static int nibble_at(const unsigned char *code, size_t i) {
    return code[i / 64 * 32 + i % 32] >> (i % 64 < 32 ? 0 : 4) & 15;
}

/* A query for the high planes as `table` wants it. */
static const int8_t *arranged(const VsCodeKernels *table, const int8_t *weights,
                              size_t blocks) {
    static int8_t out[VS_BLOCK * (MOST_BLOCKS + 1)];
    memset(out, 0, sizeof out);
    memcpy(out, weights, blocks * VS_BLOCK);
    table->arrange(out, blocks);
    return out;
}

/* The kernels of every table against the scalar ones, extremes included. */
static void compare_kernels(size_t blocks, unsigned mask, Random *r) {
    static unsigned char code[CODES][2 * VS_BLOCK_BYTES * MOST_BLOCKS];
    static uint8_t full[VS_BLOCK * MOST_BLOCKS];
    static int16_t wide[VS_BLOCK * MOST_BLOCKS];
    static int8_t near[VS_BLOCK * MOST_BLOCKS], small[VS_BLOCK * MOST_BLOCKS];
    const unsigned char *codes[CODES];
    const VsCodeKernels *const *list = vs_code_kernels_available();
    float want[4][CODES], got[4][CODES];
    int64_t squares = 0;
    for (int i = 0; i < CODES; i++) {
        fill(r, code[i], sizeof code[i], mask == 0 ? 255 * (unsigned)(i & 1) : mask);
        codes[i] = code[i];
    }
    for (size_t i = 0; i < blocks * VS_BLOCK; i++) {
        full[i] = (uint8_t)(mask == 0 ? 0 : random_next(r));
        near[i] = (int8_t)(4 - full[i] / 2);
        squares += near[i] * near[i];
        wide[i] = (int16_t)(mask == 0 ? 16639 : (int)(random_next(r) % 33278) - 16639);
        small[i] = (int8_t)(mask == 0 ? -127 : (int)(random_next(r) % 255) - 127);
    }
    vs_code_kernels_scalar.full_l2(full, codes, CODES, blocks, 0, want[0]);
    vs_code_kernels_scalar.full_dot(wide, codes, CODES, blocks, 12345, want[1]);
    for (int c = 0; c < CODES; c++) {
        int64_t l2 = 0, dot = -7;
        for (size_t i = 0; i < blocks * VS_BLOCK; i++) {
            int h = nibble_at(code[c], i), d = 8 * h + 4 - full[i] / 2;
            l2 += d * d;
            dot += h * small[i];
        }
        want[2][c] = (float)l2;
        want[3][c] = (float)dot;
    }
    for (int t = 0; list[t] != NULL; t++) {
        const VsCodeKernels *k = list[t];
        for (uint32_t n = CODES; n > CODES - 5; n--) { /* not always whole groups */
            k->full_l2(full, codes, n, blocks, 0, got[0]);
            k->full_dot(wide, codes, n, blocks, 12345, got[1]);
            k->high_l2(arranged(k, near, blocks), codes, n, blocks, squares, got[2]);
            k->high_dot(arranged(k, small, blocks), codes, n, blocks, -7, got[3]);
            for (int kernel = 0; kernel < 4; kernel++) {
                CHECK(memcmp(got[kernel], want[kernel], n * sizeof **got) == 0);
            }
        }
    }
}

static void test_kernels_on_codes_have_the_same_bits_everywhere(void) {
    Random r = {1};
    for (size_t blocks = 1; blocks <= MOST_BLOCKS; blocks += blocks < 9 ? 1 : 20) {
        for (int i = 0; i < 20; i++) {
            compare_kernels(blocks, 255, &r);
        }
        compare_kernels(blocks, 0, &r); /* the largest sums */
    }
}

/* Coordinates within the range, far outside, and between two codes. */
static void test_quantising_has_the_same_bits_everywhere(void) {
    static float x[200], middle[200];
    const VsScale scales[] = {
        {1, 0.1, 10, -128}, {0.37, 0.003, 1 / 0.003, 5}, {1, 1, 1, 0}};
    Random r = {3};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        for (size_t n = 0; n <= 200; n++) {
            double want[VS_SUMS] = {1, 2, 3}, got[VS_SUMS] = {1, 2, 3};
            unsigned char codes[2][200] = {{0}};
            random_vector(&r, middle, 200);
            random_vector(&r, x, 200);
            for (size_t i = 0; i < n; i++) {
                uint64_t kind = random_next(&r) % 8;
                x[i] *= kind == 0 ? 1e30f : 20;
                x[i] = kind == 1 ? floorf(x[i]) + 0.5f : kind == 2 ? -0.0f : x[i];
            }
            vs_quantise_scalar(&scales[s], middle, x, n, codes[0], want);
            vs_quantise()(&scales[s], middle, x, n, codes[1], got);
            CHECK(memcmp(codes[0], codes[1], sizeof codes[0]) == 0);
            CHECK(memcmp(want, got, sizeof want) == 0);
        }
    }
}

/* Decoding by the text of sq8.c, so that both agree on where a dimension lies. */
static double coordinate(const VsModel *m, const unsigned char *code, size_t dims,
                         size_t i) {
    size_t plane = (dims + 63) / 64 * 32, at = i / 64 * 32 + i % 32;
    int shift = i % 64 < 32 ? 0 : 4;
    int c = (code[at] >> shift & 15) << 4 | (code[plane + at] >> shift & 15);
    double middle = m->middle == NULL ? 0 : (double)m->middle[i];
    return (c + (double)m->zero) * (double)m->step + middle;
}

/* The bytes of a model; they are aligned as floats are. */
#define BLOB (24 + 4 * 400)

static VsModel fitted(const VsCodecParams *p, float *sample, size_t n,
                      unsigned char *blob) {
    VsModel m = {0};
    VsFitting with = {malloc(vs_codec_sq8.fit_scratch(p, n, 1)), 1};
    size_t len = vs_codec_sq8.fit(p, p->nav_bits, sample, n, &with, blob);
    free(with.scratch);
    CHECK(vs_codec_sq8.read_model(p, blob, len, &m) == VS_OK);
    CHECK(vs_codec_sq8.read_model(p, blob, len - 1, &m) == VS_CORRUPT);
    for (size_t i = 0; i < len; i++) { /* every byte counts */
        blob[i] ^= 0x40;
        CHECK(vs_codec_sq8.read_model(p, blob, len, &m) == VS_CORRUPT);
        blob[i] ^= 0x40;
    }
    return m;
}

/* Vectors of `inner` random numbers, spread over p->dims dimensions; 0: cubes of random
 * numbers, each dimension for itself. */
static void spread_vectors(const VsCodecParams *p, uint32_t inner, float *out, size_t n) {
    Random r = {inner};
    float base[16][400], x[400];
    for (uint32_t j = 0; j < inner; j++) {
        random_vector(&r, base[j], p->dims);
    }
    for (size_t i = 0; i < n; i++) {
        random_vector(&r, x, inner > 0 ? inner : p->dims);
        for (uint32_t d = 0; d < p->dims; d++) {
            float sum = inner > 0 ? 0 : x[d] * x[d] * x[d];
            for (uint32_t j = 0; j < inner; j++) {
                sum += x[j] * base[j][d];
            }
            out[i * p->dims + d] = sum;
        }
    }
}

static uint32_t chosen_bits(uint32_t dims, uint32_t inner, VsMetric metric, size_t n) {
    VsCodecParams p = {.dims = dims, .metric = metric, .codec = VS_CODEC_SQ8};
    _Alignas(float) unsigned char blob[BLOB];
    float *sample = malloc(n * dims * sizeof *sample);
    spread_vectors(&p, inner, sample, n);
    VsModel m = fitted(&p, sample, n, blob);
    free(sample);
    return m.nav_bits;
}

/* Where distances differ little, four bits put strangers before neighbours. */
static void test_bits_are_chosen_by_a_trial(void) {
    for (int metric = VS_L2; metric <= VS_COSINE; metric++) {
        CHECK(chosen_bits(384, 12, (VsMetric)metric, 300) == VS_NAV_4);
        CHECK(chosen_bits(384, 0, (VsMetric)metric, 300) == VS_NAV_8);
        CHECK(chosen_bits(128, 12, (VsMetric)metric, 300) ==
              VS_NAV_8);                                              /* no gain there */
        CHECK(chosen_bits(384, 0, (VsMetric)metric, 20) == VS_NAV_4); /* too few to try */
    }
    CHECK(chosen_bits(384, 12, VS_DOT, 300) == VS_NAV_8);
}

static int compare_floats(const void *a, const void *b) {
    const float *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The mean square of what coordinates lose, by the text of sq8.c. */
static double loss(const float *x, size_t n, double low, double high, uint32_t bits) {
    double step = (high - low) / 255, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double t = fmin(fmax(((double)x[i] - low) / step, 0), 255);
        int c = (int)(t + 0.5);
        double back = bits == VS_NAV_4 ? (c >> 4) * 16 + 7.5 : c;
        double e = (double)x[i] - (low + back * step);
        sum += e * e;
    }
    return sum / (double)n;
}

/* Cubes of random numbers in [-1, 1): a long tail on both sides. */
static void check_range(VsNavBits bits, double *width) {
    enum { N = 2048, DIMS = 16, ALL = N * DIMS };
    static const int per_million[] = {0,    100,  200,  500,   1000,
                                      2000, 4000, 7000, 12000, 20000};
    VsCodecParams p = {
        .dims = DIMS, .metric = VS_L2, .codec = VS_CODEC_SQ8, .nav_bits = bits};
    static float sample[ALL], sorted[ALL];
    _Alignas(float) unsigned char blob[BLOB];
    double low = 0, high = 0, least = INFINITY;
    spread_vectors(&p, 0, sample, N);
    sample[3] = -0.0f;
    memcpy(sorted, sample, sizeof sorted);
    qsort(sorted, ALL, sizeof *sorted, compare_floats);
    for (size_t i = 0; i < sizeof per_million / sizeof *per_million; i++) {
        size_t cut = (size_t)((uint64_t)ALL * (uint64_t)per_million[i] / 1000000);
        double a = (double)sorted[cut], b = (double)sorted[ALL - 1 - cut];
        double error = loss(sorted, ALL, a, b, bits);
        low = error < least ? a : low;
        high = error < least ? b : high;
        least = fmin(error, least);
    }
    VsModel m = fitted(&p, sample, N, blob);
    double typical = DIMS * loss(sorted, ALL, low, high, VS_NAV_8);
    *width = high - low;
    CHECK(m.nav_bits == (uint32_t)bits);
    CHECK(fabs(m.zero * (double)m.step - low) <= (double)m.step);
    CHECK(fabs(255 * (double)m.step - *width) <= 1e-6 * *width);
    CHECK(fabs((double)m.typical - typical) <= 1e-6 * typical);
}

static void test_the_range_is_the_one_that_loses_least(void) {
    double four = 0, eight = 0;
    check_range(VS_NAV_4, &four);
    check_range(VS_NAV_8, &eight);
    CHECK(four < eight);
}

/* The error that encode returns bounds what the code loses, clipped or not. */
static void check_bounds(VsMetric metric, uint32_t dims, float scale, float shift,
                         float apart) {
    enum { N = 80 };
    VsCodecParams p = {.dims = dims, .metric = metric, .codec = VS_CODEC_SQ8};
    static float v[N][200], sample[N * 200], back[200];
    static unsigned char code[1024], data[4096];
    static _Alignas(float) unsigned char blob[BLOB];
    Random r = {dims};
    for (int i = 0; i < N; i++) {
        random_vector(&r, v[i], dims);
        for (uint32_t j = 0; j < dims; j++) {
            v[i][j] = v[i][j] * scale + shift + apart * (float)(j % 7);
            sample[(uint32_t)i * dims + j] = v[i][j];
        }
    }
    VsModel m = fitted(&p, sample, N, blob);
    CHECK(m.middle == NULL || apart != 0);
    CHECK(m.middle != NULL || apart == 0 || dims < 2 || metric == VS_DOT);
    v[1][0] = 100 * (scale + fabsf(shift) + apart); /* leaves the range */
    for (int i = 0; i < N; i++) {
        int clipped = 0;
        double lost = 0, norm = 0;
        float bound =
            vs_error(vs_error_pack(vs_codec_sq8.encode(&p, &m, v[i], code, &clipped)));
        vs_codec_sq8.decode(&p, &m, code, back);
        for (uint32_t j = 0; j < dims; j++) {
            norm += (double)v[i][j] * (double)v[i][j];
        }
        norm = metric == VS_COSINE ? sqrt(norm) : 1;
        for (uint32_t j = 0; j < dims; j++) {
            double x = (double)v[i][j] / norm, e = x - coordinate(&m, code, dims, j);
            CHECK(fabs((double)back[j] - coordinate(&m, code, dims, j)) <=
                  1e-6 * (fabs((double)back[j]) + (double)m.step));
            lost += e * e;
        }
        CHECK(sqrt(lost) <= (double)bound * (1 + 1e-12));
        CHECK(i != 1 || metric == VS_COSINE || clipped);
        /* and the query: its order is the distance of what the codes stand for */
        VsQuery q = {.params = &p, .model = &m, .data = data};
        const unsigned char *one = code;
        float order;
        CHECK(vs_codec_sq8.query_size(&p) <= sizeof data);
        vs_codec_sq8.prepare(&q, v[(i + 1) % N]);
        q.full(&q, &one, 1, &order);
        double want = 0, query_norm = 0;
        for (uint32_t j = 0; j < dims; j++) {
            query_norm += (double)v[(i + 1) % N][j] * (double)v[(i + 1) % N][j];
        }
        query_norm = metric == VS_COSINE ? sqrt(query_norm) : 1;
        for (uint32_t j = 0; j < dims; j++) {
            double x = (double)v[(i + 1) % N][j] / query_norm,
                   y = coordinate(&m, code, dims, j);
            want += metric == VS_DOT ? -x * y : (x - y) * (x - y);
        }
        double got = (double)order * (double)q.scale;
        if (metric == VS_DOT) {
            CHECK(fabs(got - want) <= (double)q.error + 1e-5 * fabs(want));
        } else {
            CHECK(fabs(sqrt(got) - sqrt(want)) <= (double)q.error + 1e-5 * sqrt(want));
        }
        /* both errors together bound the distance of the vectors themselves */
        float low, high;
        double distance = vs_metric_distance(metric, VS_F32, v[(i + 1) % N], v[i], dims);
        vs_bounds(&q, order, bound, 1, &low, &high);
        CHECK((double)low <= distance && distance <= (double)high);
        /* and who is beyond an order is beyond a limit */
        for (float share = 0.25f; share < 5; share *= 1.3f) {
            float limit = share * fabsf(high), least, beyond;
            limit = share > 4 ? nextafterf(low, -INFINITY) : limit;
            beyond = vs_order_beyond(&q, limit, bound);
            CHECK(!(order > beyond) || low > limit);
            CHECK(beyond < INFINITY || isinf(bound) || limit > 1e14f);
            vs_bounds(&q, beyond < VS_LONGEST ? beyond : 0, bound, 1, &least, &high);
            CHECK(!(beyond < VS_LONGEST) || least > limit);
        }
    }
}

static void test_errors_are_bounded_for_every_metric_and_size(void) {
    for (uint32_t dims = 1; dims < 200; dims += dims < 5 ? 1 : 31) {
        for (int metric = VS_L2; metric <= VS_DOT; metric++) {
            check_bounds((VsMetric)metric, dims, 1, 0, 0);
            check_bounds((VsMetric)metric, dims, 1e-3f, 0.5f, 0);
            check_bounds((VsMetric)metric, dims, 1e15f, -3, 0);
            check_bounds((VsMetric)metric, dims, 1, 0, 100);
            check_bounds((VsMetric)metric, dims, 1e-2f, 3, 1e5f);
        }
    }
}

/* A shift of all vectors costs no bits, nor does a dimension that is somewhere else. */
static void test_the_step_is_that_of_the_vectors_less_their_middles(void) {
    enum { N = 500, DIMS = 40 };
    VsCodecParams p = {.dims = DIMS, .metric = VS_L2, .codec = VS_CODEC_SQ8};
    static float sample[N * DIMS];
    _Alignas(float) unsigned char blob[BLOB];
    Random r = {4};
    for (float far = 0; far < 1e5f; far = far * 10 + 10) {
        random_vector(&r, sample, N * DIMS);
        for (size_t i = 0; i < N * DIMS; i++) {
            sample[i] += far * (float)(i % DIMS % 5);
        }
        VsModel m = fitted(&p, sample, N, blob);
        CHECK((m.middle != NULL) == (far > 0));
        CHECK(255 * m.step < 1.1f);
    }
}

/* One vector that is a million times as long as the others leaves them their codes. */
static void test_one_vector_far_away_does_not_take_the_range(void) {
    enum { N = 500, DIMS = 40 };
    VsCodecParams p = {.dims = DIMS, .metric = VS_L2, .codec = VS_CODEC_SQ8};
    static float sample[N * DIMS];
    _Alignas(float) unsigned char blob[BLOB];
    Random r = {5};
    random_vector(&r, sample, N * DIMS);
    for (size_t i = 0; i < DIMS; i++) {
        sample[17 * DIMS + i] *= 1e6f;
    }
    VsModel m = fitted(&p, sample, N, blob);
    CHECK(255 * m.step < 1.1f);
}

/* A dimension that is wide in every vector makes their distances: it is no outlier. */
static void test_a_wide_dimension_is_within_the_range(void) {
    enum { N = 500, DIMS = 60 };
    VsCodecParams p = {.dims = DIMS, .metric = VS_L2, .codec = VS_CODEC_SQ8};
    static float sample[N * DIMS];
    _Alignas(float) unsigned char blob[BLOB];
    Random r = {6};
    random_vector(&r, sample, N * DIMS);
    for (size_t i = 7; i < N * DIMS; i += DIMS) {
        sample[i] *= 1e5f;
    }
    VsModel m = fitted(&p, sample, N, blob);
    CHECK(255 * m.step > 0.95e5f);
}

static void test_a_packed_error_is_never_less(void) {
    Random r = {9};
    for (int i = 0; i < 100000; i++) {
        float x =
            ldexpf((float)(random_next(&r) >> 40), (int)(random_next(&r) % 60) - 40);
        float y = vs_error(vs_error_pack(x));
        CHECK(y >= x && y <= x * 1.01f);
    }
    CHECK(vs_error(vs_error_pack(0)) == 0);
    CHECK(isinf(vs_error(vs_error_pack(INFINITY))));
}

/* What the scan of the page's errors found must not outlive them. */
static int scan_finds(VsGraph *g, const float *v, uint32_t node) {
    VsQuery q;
    VsCandidates found = {0};
    const VsWanted three = {3, INFINITY, NULL};
    int there = 0;
    CHECK(vs_query_set(g, v, &q) == VS_OK);
    CHECK(vs_scan_candidates(g, &q, &three, &found) == VS_OK);
    for (size_t i = 0; i < found.n; i++) {
        there |= found.at[i].node == node;
    }
    vs_free(&g->alloc, found.at);
    return there;
}

static void set_error(VsGraph *g, uint32_t node, float error) {
    uint16_t packed = vs_error_pack(error);
    CHECK(vs_edit(g, VS_NODE, node, offsetof(VsNode, error), &packed, 2) == VS_OK);
}

static void test_a_scan_follows_errors_that_change_or_are_undone(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsParams params = test_params(24, 4, VS_FLAT);
    VsGraph *g = NULL;
    Random r = {3};
    float v[24], far[24];
    uint32_t node = 0;
    VsHooks hooks = {0};
    params.code.codec = VS_CODEC_SQ8;
    CHECK(vs_graph_open(&a, &params, &hooks, &g) == VS_OK);
    for (int i = 0; i < 400; i++) {
        random_vector(&r, v, 24);
        for (int j = 0; j < 24; j++) {
            far[j] = 0.5f;
        }
        vs_begin(g);
        CHECK(vs_insert(g, i, i == 200 ? far : v, &node) == VS_OK);
        vs_done(g);
    }
    CHECK(scan_finds(g, v, node) && !scan_finds(g, v, 200));
    vs_begin(g);
    set_error(g, 200, INFINITY);
    vs_done(g);
    CHECK(scan_finds(g, v, 200));
    vs_begin(g);
    set_error(g, 200, 0);
    CHECK(!scan_finds(g, v, 200));
    vs_undo(g);
    CHECK(scan_finds(g, v, 200));
    vs_graph_close(g);
}

/* Rows that the graph's hook reads again when it fits. */
typedef struct Rows {
    float v[600][24];
} Rows;

static VsStatus row_of(void *ctx, int64_t rowid, void *out, int *found) {
    Rows *rows = ctx;
    memcpy(out, rows->v[rowid], sizeof rows->v[rowid]);
    *found = 1;
    return VS_OK;
}

static VsStatus no_model(void *ctx, uint32_t epoch, const unsigned char **blob,
                         size_t *len) {
    (void)ctx;
    (void)epoch;
    (void)len;
    *blob = NULL;
    return VS_OK;
}

/* Ranges grow with the data; every code is that of the model in force. */
static void test_fitting_recodes_every_row_or_nothing(void) {
    static Rows rows;
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsParams params = test_params(24, 4, VS_HNSW);
    VsHooks hooks = {.vector = row_of, .load_model = no_model, .ctx = &rows};
    VsGraph *g = NULL;
    Random r = {3};
    uint32_t node = 0, epochs = 0;
    unsigned char code[64];
    params.code.codec = VS_CODEC_SQ8;
    CHECK(vs_graph_open(&a, &params, &hooks, &g) == VS_OK);
    for (int i = 0; i < 600; i++) {
        random_vector(&r, rows.v[i], 24);
        for (int j = 0; j < 24; j++) {
            rows.v[i][j] *= (float)(1 + i);
        }
        for (long fail_at = 0;; fail_at += 1 + fail_at / 4) {
            VsState before = g->state;
            vs_begin(g);
            heap.countdown = fail_at;
            VsStatus st = vs_insert(g, i, rows.v[i], &node);
            heap.countdown = -1;
            if (st == VS_OK) {
                vs_done(g);
                break;
            }
            CHECK(st == VS_NOMEM);
            vs_undo(g);
            CHECK(memcmp(&before, &g->state, sizeof before) == 0);
            CHECK(vs_model_ready(g) == VS_OK);
        }
        if (g->state.epoch != epochs || i == 599) {
            epochs = g->state.epoch;
            for (int j = 0; j <= i; j++) {
                const unsigned char *stored = NULL;
                CHECK(vs_slot(g, VS_CODE, (uint32_t)j, &stored) == VS_OK);
                vs_codec_sq8.encode(&params.code, g->model, rows.v[j], code, NULL);
                CHECK(memcmp(code, stored, sizeof code) == 0);
            }
        }
        vs_forget(g);
    }
    CHECK(epochs == 5); /* at 1, 4, 16, 64 and 256 rows */
    CHECK(vs_model_stale(g));
    vs_begin(g);
    CHECK(vs_model_refit(g, NULL) == VS_OK);
    vs_done(g);
    CHECK(g->state.epoch == 6 && !vs_model_stale(g));
    VsFinding finding;
    CHECK(vs_validate(g, &finding) == VS_OK && finding.flaw == VS_FLAW_NONE);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

/* An insertion that codes 65,536 rows anew would be a stall of one statement. */
static void test_no_insertion_fits_beyond_16384_rows(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsParams params = test_params(8, 4, VS_FLAT);
    VsHooks hooks = {.load_model = no_model};
    VsGraph *g = NULL;
    Random r = {5};
    float v[8];
    uint32_t node = 0;
    params.code.codec = VS_CODEC_SQ8;
    CHECK(vs_graph_open(&a, &params, &hooks, &g) == VS_OK);
    for (int64_t i = 0; i < 65540; i++) {
        random_vector(&r, v, 8);
        vs_begin(g);
        CHECK(vs_insert(g, i, v, &node) == VS_OK);
        vs_done(g);
        CHECK(i != 16383 || g->state.fitted == 4096);
        CHECK(i != 16384 || g->state.fitted == 16384);
    }
    CHECK(g->state.fitted == 16384);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

int main(void) {
    test_bits_are_chosen_by_a_trial();
    test_the_range_is_the_one_that_loses_least();
    test_kernels_on_codes_have_the_same_bits_everywhere();
    test_quantising_has_the_same_bits_everywhere();
    test_errors_are_bounded_for_every_metric_and_size();
    test_the_step_is_that_of_the_vectors_less_their_middles();
    test_one_vector_far_away_does_not_take_the_range();
    test_a_wide_dimension_is_within_the_range();
    test_a_packed_error_is_never_less();
    test_a_scan_follows_errors_that_change_or_are_undone();
    test_fitting_recodes_every_row_or_nothing();
    test_no_insertion_fits_beyond_16384_rows();
    return check_report();
}
