/*
 * Codec sq8: eight bits a dimension over one range for the whole index, in two planes of
 * nibbles (code.h), so that a walk may compare four bits and read half the lines.
 *
 * Coordinate x becomes c = round((x - middle) / step - zero), clipped to 0..255; c stands
 * for (c + zero) * step + middle. With one step for all, distances of codes are integers.
 * Each dimension may have its own middle, for l2 does not change when all vectors are
 * shifted. (The inner product does: dot has none.) cosine codes
 * the normalised vector and compares by l2, which errs less near the query than the inner
 * product does (the error of a code then counts along v - q, not along q). A zero vector
 * under cosine is at distance 1 from everything: it is coded as some fixed direction, for
 * two directions that have nothing to do with each other are about that far apart.
 *
 * Fitting chooses the range by the error that it leaves: of a sample's coordinates,
 * candidates are the quantiles a and 1 - a for a few a, and the best is the one with the
 * least mean square of (x - what its code stands for), codes cut to the bits that
 * navigate; what is out of all proportion does not count. So a walk over four bits gets a
 * narrower range than one over eight. Dimensions get middles where that halves the error.
 *
 * Everything here is integers, or float64 in a fixed order: the same on every machine.
 *
 * Stored model:  0 "VSm1"   4 nav bits u8, 3 zero bytes   8 step f32   12 zero i32
 *                16 mean square of what coding loses of a vector f32
 *                20 CRC-32C of the other bytes
 * With middles it is "VSm3", and 24 has the middle of each dimension f32.
 */
#include <math.h>
#include <string.h>

#include "csrc/codec/codec.h"
#include "csrc/base/crc32c.h"
#include "csrc/kernel/code.h"
#include "csrc/codec/navigate.h"
#include "csrc/base/bytes.h"
#include "csrc/kernel/quantise.h"
#include "csrc/base/sort.h"
#include "csrc/codec/sq8.h"
#include "csrc/vector/text.h"

#define MODEL_HEAD 24
#define MODEL_CRC 20

/* Inner products of codes fit 32 bits a lane while |c + zero| stays below this. */
#define MOST_ZERO_DOT 16384
#define MOST_ZERO (1 << 30)
/* Fitted models stay below this, or the rounding of float64 were more than a bound allows. */
#define FITTED_ZERO (1 << 26)

/* From here on a walk over four bits can be the faster one (by 10 % at 256 dimensions and
 * 13 % at 384; at 128 they are equal): where they order well enough (navigate.h). */
#define HIGH_FROM 256
/* With fewer dimensions 16 steps of each are too few places for the rows, and under dot the
 * nearest are few of the sample: there walks compare eight bits, whoever asks for four. */
#define HIGH_LEAST 16

#define DOT_PEAK 2047 /* largest element of a query for inner products */

static uint32_t sq8_code_size(const VsCodecParams *params) {
    return (uint32_t)vs_sq8_blocks(params) * 2 * VS_BLOCK_BYTES;
}

static size_t sq8_query_size(const VsCodecParams *params) {
    size_t blocks = vs_sq8_blocks(params);
    return VS_SQ8_HEAD + blocks * VS_BLOCK * 2 + vs_weights_bytes(blocks);
}

/* ---- the model ------------------------------------------------------------------ */

/* What a model is made of; middle NULL: none. */
typedef struct Range {
    double low, high;
    size_t cut; /* coordinates that are outside, on either side */
    double
        error; /* mean square of what it leaves of a coordinate; < 0: they are all equal */
    const float *middle;
} Range;

static uint32_t model_crc(const unsigned char *blob, size_t len) {
    uint32_t crc = vs_crc32c(0, blob, MODEL_CRC);
    return vs_crc32c(crc, blob + MODEL_HEAD, len - MODEL_HEAD);
}

static size_t model_write(const VsCodecParams *params, const Range *range,
                          uint32_t nav_bits, double typical, unsigned char *blob) {
    float lost = (float)typical;
    double most = params->metric == VS_DOT ? MOST_ZERO_DOT - 256 : FITTED_ZERO;
    double peak = fmax(fabs(range->low), fabs(range->high));
    peak =
        params->metric == VS_COSINE ? fmax(peak, 1) : peak; /* before a middle went off */
    double width = fmax(range->high - range->low, peak * 255 / most);
    float step = (float)(width / 255);
    if (!(step >= 1e-37f)) {
        step = 1e-37f;
    }
    int32_t zero = (int32_t)floor(range->low / (double)step + 0.5);
    size_t len = MODEL_HEAD;
    memset(blob, 0, MODEL_HEAD);
    memcpy(blob, range->middle == NULL ? "VSm1" : "VSm3", 4);
    blob[4] = (unsigned char)nav_bits;
    memcpy(blob + 8, &step, 4);
    memcpy(blob + 12, &zero, 4);
    memcpy(blob + 16, &lost, 4);
    if (range->middle != NULL) {
        memcpy(blob + MODEL_HEAD, range->middle, params->dims * sizeof(float));
        len += params->dims * sizeof(float);
    }
    vs_put_u32(blob + MODEL_CRC, model_crc(blob, len));
    return len;
}

/* The blob is aligned as floats are. */
static VsStatus sq8_read_model(const VsCodecParams *params, const unsigned char *blob,
                               size_t len, VsModel *out) {
    size_t all = MODEL_HEAD + params->dims * sizeof(float);
    int middles = len == all && memcmp(blob, "VSm3", 4) == 0;
    if ((!middles && (len != MODEL_HEAD || memcmp(blob, "VSm1", 4) != 0)) ||
        vs_get_u32(blob + MODEL_CRC) != model_crc(blob, len) ||
        (middles && params->metric == VS_DOT)) {
        return VS_CORRUPT;
    }
    out->nav_bits = blob[4];
    memcpy(&out->step, blob + 8, 4);
    memcpy(&out->zero, blob + 12, 4);
    memcpy(&out->typical, blob + 16, 4);
    out->middle = middles ? (const float *)(const void *)(blob + MODEL_HEAD) : NULL;
    for (size_t i = 0; middles && i < params->dims; i++) {
        if (!isfinite(out->middle[i])) {
            return VS_CORRUPT;
        }
    }
    int32_t most = params->metric == VS_DOT ? MOST_ZERO_DOT : MOST_ZERO;
    return (out->nav_bits == VS_NAV_4 || out->nav_bits == VS_NAV_8) && out->step > 0 &&
                   isfinite(out->step) && out->typical >= 0 && out->zero >= -most &&
                   out->zero <= most
               ? VS_OK
               : VS_CORRUPT;
}

static const float no_middle[VS_BLOCK];

/* Mean square of what coding loses, of coordinates in ascending order, `cut` of which are
 * above `high`. Over four bits a code stands for the middle of 16. */
static double range_error(const float *x, size_t n, size_t cut, double low, double high,
                          uint32_t nav_bits) {
    unsigned char codes[VS_BLOCK];
    double step = (high - low) / 255, first = low, lost[VS_SUMS] = {0};
    double last = nav_bits == VS_NAV_4 ? low + 247.5 * step : high;
    if (nav_bits == VS_NAV_4) {
        first += 7.5 * step;
        step *= 16;
    }
    VsScale scale = {
        .factor = 1, .step = step, .inverse = 1 / step, .zero = first / step};
    for (size_t i = 0; i < n - cut; i += VS_BLOCK) {
        size_t left = n - cut - i;
        vs_quantise()(&scale, no_middle, x + i, left < VS_BLOCK ? left : VS_BLOCK, codes,
                      lost);
    }
    double sum = vs_sum_up(lost);
    for (size_t i = n - cut; i < n; i++) {
        double e = (double)x[i] - last;
        sum += e * e;
    }
    return sum / (double)n;
}

enum { FITTED = 1 << 17 }; /* coordinates that are looked at */
enum { CENTRED = 64 };     /* fewer vectors do not tell where a middle is */

static size_t sq8_sample_size(const VsCodecParams *params) {
    return FITTED / params->dims < 1 ? 1 : FITTED / params->dims;
}

/* How many of n vectors are looked at, at most. */
static size_t n_gathered(const VsCodecParams *params, size_t n) {
    size_t want = sq8_sample_size(params);
    return n < want ? n : want;
}

static size_t nav_room(const VsCodecParams *params) {
    return (vs_nav_scratch(params) + 15) / 16 * 16;
}

/* Whole numbers in the order of the finite float32 that they stand for. */
static uint32_t order_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ (bits >> 31 ? UINT32_MAX : UINT32_C(1) << 31);
}

static float float_of(uint32_t key) {
    uint32_t bits = key ^ (key >> 31 ? UINT32_C(1) << 31 : UINT32_MAX);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void sort_floats(float *x, size_t n, VsKeyed *keys) {
    for (size_t i = 0; i < n; i++) {
        keys[i] = (VsKeyed){.key = order_of(x[i])};
    }
    const VsKeyed *sorted = vs_sort_keyed(keys, keys + n, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = float_of((uint32_t)sorted[i].key);
    }
}

/* What a range is chosen by. `plain`: coordinates in ascending order; `centred`: the same
 * less the middle of their dimension, NULL where there are none. */
typedef struct Coordinates {
    const float *plain, *centred, *middle;
    size_t m;
} Coordinates;

/* Whole vectors, evenly spread, so that every dimension has its weight; they are moved to
 * the front of the sample. Returns how many. */
static size_t gather(const VsCodecParams *params, float *sample, size_t n) {
    size_t d = params->dims, want = sq8_sample_size(params);
    size_t stride = n > want ? n / want : 1, kept = 0;
    for (size_t i = 0; i < n && kept < want; i += stride) {
        float *to = sample + kept++ * d;
        if (params->metric == VS_COSINE) {
            vs_vec_normalize(sample + i * d, to, d);
        } else {
            memmove(to, sample + i * d, d * sizeof *to);
        }
    }
    return kept;
}

/* Half way between the ends of each dimension; a fiftieth of the vectors on either side
 * does not count. */
static void find_middles(const float *sample, size_t n, size_t d, float *column,
                         VsKeyed *keys, float *middle) {
    size_t cut = n / 50;
    for (size_t j = 0; j < d; j++) {
        for (size_t i = 0; i < n; i++) {
            column[i] = sample[i * d + j];
        }
        sort_floats(column, n, keys);
        middle[j] = column[cut] / 2 + column[n - 1 - cut] / 2;
    }
}

static float peak_of(const float *v, const float *middle, size_t d) {
    float peak = 0;
    for (size_t j = 0; j < d; j++) {
        peak = fmaxf(peak, fabsf(v[j] - middle[j]));
    }
    return peak;
}

/* Leaves out vectors a thousand times as far from the middle as nearly all are: one that is
 * so much longer than the others would have all the codes, and they one for all of them.
 * Returns how many are left. */
static size_t without_outliers(float *sample, size_t n, size_t d, const float *middle,
                               float *peak, VsKeyed *keys) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        peak[i] = peak_of(sample + i * d, middle, d);
    }
    sort_floats(peak, n, keys);
    float most = 1000 * peak[n - 1 - n / 50];
    for (size_t i = 0; i < n; i++) {
        if (most == 0 || peak_of(sample + i * d, middle, d) <= most) {
            memmove(sample + kept++ * d, sample + i * d, d * sizeof *sample);
        }
    }
    return kept;
}

/* The coordinates of n vectors less their middles. 0 if one leaves float32. */
static int shift(const float *sample, size_t n, size_t d, const float *middle,
                 float *out) {
    int finite = 1;
    for (size_t i = 0; i < n * d; i++) {
        out[i] = sample[i] - middle[i % d];
        finite &= isfinite(out[i]) != 0;
    }
    return finite;
}

/* The range that suits that many bits best, of coordinates in ascending order. */
static Range fit_range(const float *sample, size_t m, uint32_t nav_bits) {
    static const uint32_t per_million[] = {0,    100,  200,  500,   1000,
                                           2000, 4000, 7000, 12000, 20000};
    Range best = {.low = (double)sample[0], .high = (double)sample[m - 1], .error = -1};
    for (size_t i = 0; i < sizeof per_million / sizeof *per_million; i++) {
        size_t cut = (size_t)((uint64_t)m * per_million[i] / 1000000);
        double low = (double)sample[cut], high = (double)sample[m - 1 - cut];
        if (high > low) {
            double error = range_error(sample, m, cut, low, high, nav_bits);
            if (best.error < 0 || error < best.error) {
                best = (Range){.low = low, .high = high, .error = error, .cut = cut};
            }
        }
    }
    return best;
}

/* Writes the model that suits that many bits best. */
static size_t fit_model(const VsCodecParams *params, const Coordinates *c,
                        uint32_t nav_bits, unsigned char *blob) {
    const float *used = c->plain;
    Range range = fit_range(used, c->m, nav_bits);
    if (c->centred != NULL && range.error > 0) {
        Range centred = fit_range(c->centred, c->m, nav_bits);
        if (centred.error < range.error / 2) {
            range = centred;
            range.middle = c->middle;
            used = c->centred;
        }
    }
    double lost = range.error < 0 ? 0
                                  : range_error(used, c->m, range.cut, range.low,
                                                range.high, VS_NAV_8);
    return model_write(params, &range, nav_bits, params->dims * lost, blob);
}

static size_t sq8_fit(const VsCodecParams *params, VsNavBits wanted, float *sample,
                      size_t n, const VsFitting *with, unsigned char *blob) {
    int chooses = wanted == VS_NAV_AUTO, dot = params->metric == VS_DOT;
    int tries = !dot && (chooses ? params->dims >= HIGH_FROM
                                 : wanted == VS_NAV_4 && params->dims >= HIGH_LEAST);
    size_t d = params->dims, room = n_gathered(params, n);
    VsKeyed *keys = with->scratch;
    void *trial = keys + 2 * d * room;
    float *middle = (float *)(void *)((char *)trial + nav_room(params));
    float *other = middle + d;
    size_t kept = tries ? vs_nav_keep(params, sample, n, trial) : 0;
    Coordinates c = {.plain = sample};
    n = gather(params, sample, n);
    if (!dot) { /* its longest are its nearest, and a shift changes its order */
        find_middles(sample, n, d, other, keys, middle);
        n = without_outliers(sample, n, d, middle, other, keys);
        c.middle = middle;
        c.centred = n >= CENTRED && shift(sample, n, d, middle, other) ? other : NULL;
    }
    c.m = n * d;
    sort_floats(sample, c.m, keys);
    if (c.centred != NULL) {
        sort_floats(other, c.m, keys);
    }
    size_t len = fit_model(params, &c, tries ? VS_NAV_4 : VS_NAV_8, blob);
    if (tries && !vs_nav_holds(params, blob, len, kept,
                               chooses ? VS_NAV_DEPTH : VS_NAV_WORST, trial)) {
        len = fit_model(params, &c, VS_NAV_8, blob);
    }
    return len;
}

static size_t sq8_fit_scratch(const VsCodecParams *params, size_t n, unsigned threads) {
    size_t coordinates = params->dims * n_gathered(params, n); /* vs_sort_keyed: twice */
    (void)threads;
    return coordinates * (2 * sizeof(VsKeyed) + sizeof(float)) + nav_room(params) +
           params->dims * sizeof(float);
}

static size_t sq8_derived_size(const VsCodecParams *params) {
    (void)params;
    return 0;
}

static size_t sq8_model_size(const VsCodecParams *params) {
    return MODEL_HEAD + params->dims * sizeof(float);
}

static double middle_of(const VsModel *m, size_t i) {
    return m->middle == NULL ? 0 : (double)m->middle[i];
}

/* The ends of the ranges differ by less than a fiftieth of their width in each dimension. */
static int sq8_alike(const VsCodecParams *params, const VsModel *a, const VsModel *b) {
    double step = (double)a->step, other = (double)b->step, room = 255 * step / 50;
    double low = a->zero * step - b->zero * other, high = low + 255 * (step - other);
    int alike = a->nav_bits == b->nav_bits;
    for (size_t i = 0; alike && i < params->dims; i++) {
        double shift = middle_of(a, i) - middle_of(b, i);
        alike = fabs(low + shift) < room && fabs(high + shift) < room;
    }
    return alike;
}

/* ---- codes ---------------------------------------------------------------------- */

/* Where dimension i lies: byte of its block in a plane, and which half of it. */
static inline size_t plane_byte(size_t i) {
    return i / VS_BLOCK * VS_BLOCK_BYTES + i % VS_BLOCK_BYTES;
}

static inline int plane_shift(size_t i) {
    return i % VS_BLOCK < VS_BLOCK_BYTES ? 0 : 4;
}

static inline int code_at(const unsigned char *code, const unsigned char *low, size_t i) {
    size_t at = plane_byte(i);
    int shift = plane_shift(i);
    return (code[at] >> shift & 15) << 4 | (low[at] >> shift & 15);
}

/* What turns coordinates into codes, and what was lost on the way. */
typedef struct Quantiser {
    VsScale scale;
    double lost[VS_SUMS];
    int is_zero;
    const VsCodecParams *params;
    const float *middle; /* NULL: 0 of all dimensions */
} Quantiser;

/* The n elements from number i on, at most a block. Vectors lie at any address. */
static inline void elements(const VsCodecParams *params, const void *v, size_t i,
                            size_t n, float *x) {
    if (params->element == VS_F32) {
        memcpy(x, (const unsigned char *)v + i * sizeof *x, n * sizeof *x);
    } else {
        uint16_t half[VS_BLOCK];
        memcpy(half, (const unsigned char *)v + i * sizeof *half, n * sizeof *half);
        for (size_t j = 0; j < n; j++) {
            x[j] = vs_f16_value(half[j]);
        }
    }
}

static inline double element(const VsCodecParams *params, const void *v, size_t i) {
    float x;
    elements(params, v, i, 1, &x);
    return (double)x;
}

/* Dimensions of block b. */
static inline size_t block_length(const VsCodecParams *params, size_t b) {
    size_t left = params->dims - b * VS_BLOCK;
    return left < VS_BLOCK ? left : VS_BLOCK;
}

static Quantiser quantiser(const VsCodecParams *params, const VsModel *model,
                           const void *v) {
    Quantiser z = {.scale = {.factor = 1,
                             .step = (double)model->step,
                             .inverse = 1 / (double)model->step,
                             .zero = model->zero},
                   .params = params,
                   .middle = model->middle};
    if (params->metric == VS_COSINE) {
        double squares[VS_SUMS] = {0};
        for (size_t b = 0; b < vs_sq8_blocks(params); b++) {
            float x[VS_BLOCK] = {0}; /* zeros change no sum */
            elements(params, v, b * VS_BLOCK, block_length(params, b), x);
            for (size_t j = 0; j < VS_BLOCK; j += VS_SUMS) {
                for (size_t i = 0; i < VS_SUMS; i++) {
                    squares[i] += (double)x[j + i] * (double)x[j + i];
                }
            }
        }
        double square = vs_sum_up(squares);
        z.is_zero = square == 0;
        z.scale.factor = z.is_zero ? 1 : 1 / sqrt(square);
    }
    return z;
}

/* Element i of a direction that is the same for every zero vector. */
static double fixed_direction(size_t i, size_t dims) {
    uint64_t x = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 31)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (x >> 63 ? 1.0 : -1.0) / sqrt((double)dims);
}

/* Block b of the code, a byte a dimension; zeros behind the last. */
static void quantise(Quantiser *z, const void *v, size_t b, unsigned char *c) {
    size_t n = block_length(z->params, b);
    float x[VS_BLOCK];
    if (z->is_zero) {
        for (size_t j = 0; j < n; j++) {
            x[j] = (float)fixed_direction(b * VS_BLOCK + j, z->params->dims);
        }
    } else {
        elements(z->params, v, b * VS_BLOCK, n, x);
    }
    const float *middle = z->middle == NULL ? no_middle : z->middle + b * VS_BLOCK;
    vs_quantise()(&z->scale, middle, x, n, c, z->lost);
    memset(c + n, 0, VS_BLOCK - n);
}

/* Rounded up twice, so that it stays a bound. */
static float bound_of(const Quantiser *z) {
    return z->is_zero
               ? INFINITY
               : nextafterf((float)(sqrt(vs_sum_up(z->lost)) * (1 + 1e-9)), INFINITY);
}

/* Element by element as code.h lays them out; compilers make vectors of it. */
static void unpack_block(const unsigned char *high, const unsigned char *low,
                         unsigned char *c) {
    for (size_t j = 0; j < VS_BLOCK_BYTES; j++) {
        c[j] = (unsigned char)((high[j] & 15) << 4 | (low[j] & 15));
        c[j + VS_BLOCK_BYTES] = (unsigned char)((high[j] & 0xF0) | low[j] >> 4);
    }
}

static void pack_block(const unsigned char *c, unsigned char *high, unsigned char *low) {
    for (size_t j = 0; j < VS_BLOCK_BYTES; j++) {
        high[j] = (unsigned char)(c[j] >> 4 | (c[j + VS_BLOCK_BYTES] & 0xF0));
        low[j] = (unsigned char)((c[j] & 15) | c[j + VS_BLOCK_BYTES] << 4);
    }
}

static float sq8_encode(const VsCodecParams *params, const VsModel *model, const void *v,
                        unsigned char *code, int *clipped) {
    Quantiser z = quantiser(params, model, v);
    size_t blocks = vs_sq8_blocks(params);
    for (size_t b = 0; b < blocks; b++) {
        unsigned char c[VS_BLOCK];
        quantise(&z, v, b, c);
        pack_block(c, code + b * VS_BLOCK_BYTES, code + (blocks + b) * VS_BLOCK_BYTES);
    }
    if (clipped != NULL) {
        double rounding = params->dims * z.scale.step * z.scale.step / 12;
        *clipped = vs_sum_up(z.lost) > 4 * ((double)model->typical + rounding);
    }
    return bound_of(&z);
}

static void sq8_decode(const VsCodecParams *params, const VsModel *model,
                       const unsigned char *code, float *v) {
    const unsigned char *low = code + vs_sq8_blocks(params) * VS_BLOCK_BYTES;
    for (size_t i = 0; i < params->dims; i++) {
        v[i] =
            (float)((code_at(code, low, i) + (double)model->zero) * (double)model->step +
                    middle_of(model, i));
    }
}

/* ---- queries -------------------------------------------------------------------- */

static void score_full_l2(const VsQuery *query, const unsigned char *const *codes,
                          uint32_t n, float *order) {
    vs_code_kernels()->full_l2(vs_sq8_full(query), codes, n, vs_sq8_blocks(query->params),
                               0, order);
}

static void score_high_l2(const VsQuery *query, const unsigned char *const *codes,
                          uint32_t n, float *order) {
    vs_code_kernels()->high_l2(vs_sq8_weights(query), codes, n,
                               vs_sq8_blocks(query->params), vs_sq8_bias(query), order);
}

static void score_full_dot(const VsQuery *query, const unsigned char *const *codes,
                           uint32_t n, float *order) {
    vs_code_kernels()->full_dot(vs_sq8_full(query), codes, n,
                                vs_sq8_blocks(query->params), vs_sq8_bias(query), order);
}

/* The bias is the same for every code: no bias gives the same order. */
static void score_high_dot(const VsQuery *query, const unsigned char *const *codes,
                           uint32_t n, float *order) {
    vs_code_kernels()->high_dot(vs_sq8_weights(query), codes, n,
                                vs_sq8_blocks(query->params), 0, order);
}

static void ready(VsQuery *query, int walks_high) {
    int dot = query->params->metric == VS_DOT;
    query->full = dot ? score_full_dot : score_full_l2;
    query->score_bytes = sq8_code_size(query->params) / (walks_high ? 2 : 1);
    query->score = !walks_high ? query->full : dot ? score_high_dot : score_high_l2;
}

/* Zeros behind the last weight, and the order that the kernels want. */
static void finish_weights(const VsQuery *query, int64_t bias) {
    size_t blocks = vs_sq8_blocks(query->params), dims = query->params->dims;
    int8_t *weights = vs_sq8_weights(query);
    memset(weights + dims, 0, vs_weights_bytes(blocks) - dims);
    vs_code_kernels()->arrange(weights, blocks);
    memcpy(query->data, &bias, sizeof bias);
}

static void prepare_l2(VsQuery *query, const void *v) {
    const VsCodecParams *params = query->params;
    Quantiser z = quantiser(params, query->model, v);
    int64_t bias = 0;
    for (size_t b = 0; b < vs_sq8_blocks(params); b++) {
        unsigned char c[VS_BLOCK];
        int8_t weight[VS_BLOCK];
        int32_t squares = 0;
        quantise(&z, v, b, c);
        for (size_t j = 0; j < VS_BLOCK; j++) { /* a code halved is 127 at the most */
            weight[j] = (int8_t)(4 - (c[j] + (c[j] < 255)) / 2);
        }
        memset(weight + block_length(params, b), 0, VS_BLOCK - block_length(params, b));
        for (size_t j = 0; j < VS_BLOCK; j++) {
            squares += weight[j] * weight[j];
        }
        memcpy(vs_sq8_full(query) + b * VS_BLOCK, c, sizeof c);
        memcpy(vs_sq8_weights(query) + b * VS_BLOCK, weight, sizeof weight);
        bias += squares;
    }
    finish_weights(query, bias);
    query->error = bound_of(&z);
    query->weight = 1;
    query->scale = query->model->step * query->model->step;
}

/* An inner product knows no range: the query is scaled to its own largest element. */
static void prepare_dot(VsQuery *query, const void *v) {
    const VsCodecParams *params = query->params;
    int16_t *full = (int16_t *)(void *)vs_sq8_full(query);
    int8_t *weights = vs_sq8_weights(query);
    double peak = 0, lost = 0, square = 0;
    int64_t sum = 0;
    for (size_t i = 0; i < params->dims; i++) {
        peak = fmax(peak, fabs(element(params, v, i)));
    }
    double unit = peak > 0 ? peak / DOT_PEAK : 1;
    memset(full, 0, vs_sq8_blocks(params) * VS_BLOCK * sizeof *full);
    for (size_t i = 0; i < params->dims; i++) {
        double x = element(params, v, i);
        double t = floor(x / unit + 0.5), e = x - t * unit;
        full[i] = (int16_t)t;
        sum += full[i];
        lost += e * e;
        square += x * x;
    }
    double step = vs_sq8_weight_step(full, params->dims);
    for (size_t i = 0; i < params->dims; i++) {
        weights[i] = vs_sq8_weight(full[i], step);
    }
    finish_weights(query, sum * query->model->zero);
    /* No code stands for a longer vector than this. */
    double zero = query->model->zero, reach = fmax(fabs(zero), fabs(zero + 255)) *
                                              (double)query->model->step *
                                              sqrt((double)params->dims);
    double rounding = (16 + params->dims / 16.0) * 0x1p-23; /* of a float32 sum */
    query->weight = (float)(sqrt(square) * (1 + 2 * rounding));
    query->error =
        (float)((sqrt(lost) + rounding * sqrt(square)) * reach * (1 + 2 * rounding));
    query->scale = (float)(unit * (double)query->model->step);
}

static void sq8_prepare(VsQuery *query, const void *v) {
    if (query->params->metric == VS_DOT) {
        prepare_dot(query, v);
    } else {
        prepare_l2(query, v);
    }
    ready(query, query->model->nav_bits == VS_NAV_4);
}

static void sq8_prepare_code(VsQuery *query, const unsigned char *code) {
    const VsCodecParams *params = query->params;
    size_t blocks = vs_sq8_blocks(params);
    unsigned char *full = vs_sq8_full(query), block[VS_BLOCK];
    int dot = params->metric == VS_DOT;
    int16_t *wide = (int16_t *)(void *)full;
    int64_t sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        unpack_block(code + b * VS_BLOCK_BYTES, code + (blocks + b) * VS_BLOCK_BYTES,
                     dot ? block : full + b * VS_BLOCK);
        for (size_t j = b * VS_BLOCK; dot && j < (b + 1) * VS_BLOCK; j++) {
            wide[j] = 0;
            if (j < params->dims) {
                wide[j] = (int16_t)(block[j % VS_BLOCK] + query->model->zero);
                sum += wide[j];
            }
        }
    }
    int64_t bias = sum * query->model->zero;
    memcpy(query->data, &bias, sizeof bias);
    query->error = 0;
    query->weight = 1;
    query->scale = query->model->step * query->model->step;
    ready(query, 0);
}

/* Eight bits order all but neighbours of almost the same distance. */
static size_t sq8_candidates(size_t k, size_t ef) {
    size_t few = k < SIZE_MAX / 2 ? k + k / 4 + 4 : k;
    size_t more = k < SIZE_MAX / 4 ? 2 * k + 8 : k;
    more = more < ef ? more : ef;
    return few > more ? few : more;
}

const VsCodec vs_codec_sq8 = {
    .name = "sq8",
    .code_size = sq8_code_size,
    .query_size = sq8_query_size,
    .fit = sq8_fit,
    .fit_scratch = sq8_fit_scratch,
    .model_size = sq8_model_size,
    .derived_size = sq8_derived_size,
    .sample_size = sq8_sample_size,
    .alike = sq8_alike,
    .read_model = sq8_read_model,
    .encode = sq8_encode,
    .decode = sq8_decode,
    .prepare = sq8_prepare,
    .prepare_code = sq8_prepare_code,
    .candidates = sq8_candidates,
    .sharp = 5.5f,
};
