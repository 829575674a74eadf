/* Risk: float16, int8 and bit vectors have other distances on other machines, or wrong
 * ones. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "csrc/vector/element.h"
#include "csrc/kernel/float.h"
#include "csrc/vector/metric.h"
#include "csrc/kernel/narrow.h"
#include "check.h"

#define MAX_N 130
#define LARGE 65536

static uint64_t random_state = 7;

static uint32_t random_u32(void) {
    random_state =
        random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static void random_bytes(unsigned char *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (unsigned char)random_u32();
    }
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Finite halves of mixed sizes. */
static void random_halves(unsigned char *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half = (uint16_t)random_u32();
        half = (half & 0x7C00u) == 0x7C00u ? (uint16_t)(half & 0x83FFu) : half;
        memcpy(out + 2 * i, &half, sizeof half);
    }
}

/* ---- float16 as a format -------------------------------------------------------- */

/* The text of IEEE 754: sign, five bits of exponent, ten of fraction. */
static double half_by_definition(uint32_t half) {
    double fraction = half & 0x3FF, sign = half & 0x8000 ? -1 : 1;
    int exponent = (int)(half >> 10 & 31);
    return sign *
           (exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25));
}

static void every_half_is_read_and_written_back(void) {
    for (uint32_t half = 0; half < 0x10000; half++) {
        uint16_t stored = (uint16_t)half, back = 0;
        float value;
        vs_element_to_f32(VS_F16, &stored, &value, 1);
        if ((half & 0x7C00) == 0x7C00) {
            CHECK(vs_element_first_nonfinite(VS_F16, &stored, 1) == 0);
            CHECK(half & 0x3FF ? isnan(value) : isinf(value));
            continue;
        }
        CHECKF(value == (float)half_by_definition(half), "%#x", half);
        CHECK(vs_f16_from_f32(&value, &back, 1) == 1);
        CHECKF(back == stored, "%#x became %#x", half, back);
        CHECK(vs_element_first_nonfinite(VS_F16, &stored, 1) == 1);
    }
}

/* Between each half and the next: just below the middle, the middle, just above. */
static void rounding_is_to_the_nearest_and_to_even(void) {
    for (uint32_t half = 0; half < 0x7BFF; half++) {
        float middle =
            (float)((half_by_definition(half) + half_by_definition(half + 1)) / 2);
        float near[3] = {nextafterf(middle, 0), middle, nextafterf(middle, INFINITY)};
        uint16_t out[3];
        uint32_t even = half & 1 ? half + 1 : half;
        CHECK(vs_f16_from_f32(near, out, 3) == 3);
        CHECKF(out[0] == half && out[1] == even && out[2] == half + 1, "%#x: %#x %#x %#x",
               half, out[0], out[1], out[2]);
        near[1] = -middle;
        CHECK(vs_f16_from_f32(near + 1, out, 1) == 1);
        CHECK(out[0] == (even | 0x8000));
    }
}

static void a_value_beyond_float16_is_named(void) {
    float v[] = {65504.0f, 65519.99f, 65520.0f, 1e30f, -70000.0f};
    uint16_t out[5];
    CHECK(vs_f16_from_f32(v, out, 2) == 2);
    CHECK(vs_f16_from_f32(v, out, 5) == 2);
    CHECK(vs_f16_from_f32(v + 4, out, 1) == 0);
}

static void whole_numbers_become_int8_and_others_are_named(void) {
    float v[] = {-128, 127, 0, -0.0f, 128, 0.5f, -129, NAN, 1e20f};
    int8_t out[9];
    CHECK(vs_int8_from_f32(v, out, 4) == 4);
    CHECK(out[0] == -128 && out[1] == 127 && out[2] == 0 && out[3] == 0);
    for (size_t i = 4; i < 9; i++) {
        CHECK(vs_int8_from_f32(v + i, out, 1) == 0);
    }
}

static void bytes_and_dimensions_agree(void) {
    static const size_t bytes[] = {64 * 4, 64 * 2, 64, 8};
    for (VsElement e = VS_F32; e <= VS_BIT; e++) {
        CHECK(vs_element_bytes(e, 64) == bytes[e]);
        CHECK(vs_element_dims(e, bytes[e]) == 64);
    }
    CHECK(vs_element_bytes(VS_F16, 3) == 6 && vs_element_bytes(VS_F32, 7) == 28);
    CHECK(vs_element_dims(VS_F32, 6) == 0 && vs_element_dims(VS_F16, 3) == 0);
}

/* ---- kernels -------------------------------------------------------------------- */

/* Room for the longest vector at any offset, guarded on both sides by values that would
 * show. */
static unsigned char room[2][2 * MAX_N + 8];

static void every_float16_kernel_has_the_bits_of_float32(const VsNarrowKernels *table) {
    for (size_t n = 0; n <= MAX_N; n++) {
        for (size_t shift = 0; shift < 3; shift++) {
            unsigned char *a = room[0] + shift, *b = room[1] + 2 * shift;
            float x[MAX_N + 1], y[MAX_N + 1];
            memset(room, 0x7B, sizeof room);
            random_halves(a, n);
            random_halves(b, n);
            vs_element_to_f32(VS_F16, a, x, n);
            vs_element_to_f32(VS_F16, b, y, n);
            const VsKernels *wide = &vs_kernels_scalar;
            CHECKF(bits_of(table->l2sq_f16(a, b, n)) == bits_of(wide->l2sq_f32(x, y, n)),
                   "%s n %zu", table->name, n);
            CHECK(bits_of(table->dot_f16(a, b, n)) == bits_of(wide->dot_f32(x, y, n)));
            CHECK(bits_of(table->l1_f16(a, b, n)) == bits_of(wide->l1_f32(x, y, n)));
        }
    }
}

static void every_whole_kernel_is_exact(const VsNarrowKernels *table) {
    for (size_t n = 0; n <= MAX_N; n++) {
        for (size_t shift = 0; shift < 3; shift++) {
            unsigned char *a = room[0] + shift, *b = room[1] + 2 * shift;
            int64_t l2 = 0, l1 = 0, dot = 0, differ = 0, common = 0;
            random_bytes(room[0], sizeof room[0]);
            random_bytes(room[1], sizeof room[1]);
            for (size_t i = 0; i < n; i++) {
                int x = (int8_t)a[i], y = (int8_t)b[i], d = x - y;
                l2 += d * d;
                l1 += d < 0 ? -d : d;
                dot += x * y;
                for (int bit = 0; bit < 8; bit++) {
                    differ += (a[i] ^ b[i]) >> bit & 1;
                    common += (a[i] & b[i]) >> bit & 1;
                }
            }
            CHECKF(table->l2sq_int8(a, b, n) == l2, "%s n %zu", table->name, n);
            CHECK(table->l1_int8(a, b, n) == l1);
            CHECK(table->dot_int8(a, b, n) == dot);
            CHECK(table->differing_bits(a, b, n) == differ);
            CHECK(table->common_bits(a, b, n) == common);
        }
    }
}

/* The largest sums that 65,536 dimensions can make. */
static void the_largest_sums_fit(const VsNarrowKernels *table) {
    static unsigned char low[LARGE], high[LARGE], ones[LARGE];
    memset(low, 0x80, sizeof low);
    memset(high, 0x7F, sizeof high);
    memset(ones, 0xFF, sizeof ones);
    CHECK(table->l2sq_int8(low, high, LARGE) == (uint32_t)255 * 255 * LARGE);
    CHECK(table->l1_int8(low, high, LARGE) == (uint32_t)255 * LARGE);
    CHECK(table->dot_int8(low, low, LARGE) == 128 * 128 * LARGE);
    CHECK(table->dot_int8(low, high, LARGE) == -128 * 127 * LARGE);
    CHECK(table->common_bits(ones, ones, LARGE) == 8 * LARGE);
}

/* ---- metrics -------------------------------------------------------------------- */

static void zero_vectors_have_a_distance(void) {
    unsigned char zero[64] = {0}, one[64];
    memset(one, 0x3C, sizeof one); /* 1.05 as float16, 60 as int8, four bits a byte */
    for (VsElement e = VS_F32; e <= VS_INT8; e++) {
        CHECK(vs_metric_distance(VS_COSINE, e, zero, one, 16) == 1);
        CHECK(vs_metric_distance(VS_COSINE, e, zero, zero, 16) == 1);
        CHECK(vs_metric_distance(VS_COSINE, e, one, one, 16) < 1e-7);
        CHECK(vs_metric_distance(VS_COSINE, e, one, one, 16) >= 0);
    }
    CHECK(vs_metric_distance(VS_JACCARD, VS_BIT, zero, zero, 512) == 0);
    CHECK(vs_metric_distance(VS_JACCARD, VS_BIT, zero, one, 512) == 1);
    CHECK(vs_metric_distance(VS_HAMMING, VS_BIT, zero, one, 512) == 256);
}

static void a_metric_fits_its_elements_only(void) {
    for (VsMetric m = VS_L2; m < VS_METRICS; m++) {
        int bits = m == VS_HAMMING || m == VS_JACCARD;
        for (VsElement e = VS_F32; e <= VS_BIT; e++) {
            CHECK(vs_metric_fits(m, e) == (bits == (e == VS_BIT)));
        }
    }
}

int main(void) {
    every_half_is_read_and_written_back();
    rounding_is_to_the_nearest_and_to_even();
    a_value_beyond_float16_is_named();
    whole_numbers_become_int8_and_others_are_named();
    bytes_and_dimensions_agree();
    for (const VsNarrowKernels *const *t = vs_narrow_available(); *t != NULL; t++) {
        every_float16_kernel_has_the_bits_of_float32(*t);
        every_whole_kernel_is_exact(*t);
        the_largest_sums_fit(*t);
    }
    zero_vectors_have_a_distance();
    a_metric_fits_its_elements_only();
    return check_report();
}
