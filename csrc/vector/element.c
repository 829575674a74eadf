/* Element types; see element.h. */
#include "csrc/vector/element.h"

#include <string.h>

#include "csrc/vector/text.h"
#include "csrc/base/bytes.h"

static inline uint16_t load_u16(const void *v, size_t i) {
    uint16_t x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return x;
}

size_t vs_element_bytes(VsElement element, size_t n) {
    static const unsigned char bits[] = {32, 16, 8, 1};
    return n / 8 * bits[element] + n % 8 * bits[element] / 8;
}

size_t vs_element_dims(VsElement element, size_t bytes) {
    size_t unit = element == VS_F32 ? 4 : element == VS_F16 ? 2 : 1;
    return bytes % unit != 0 ? 0 : element == VS_BIT ? bytes * 8 : bytes / unit;
}

const char *vs_element_name(VsElement element) {
    static const char *const names[] = {"float32", "float16", "int8", "bit"};
    return names[element];
}

void vs_element_to_f32(VsElement element, const void *v, float *out, size_t n) {
    const unsigned char *bytes = v;
    if (element == VS_F32) {
        memmove(out, v, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = element == VS_F16    ? vs_f16_value(load_u16(v, i))
                 : element == VS_INT8 ? (float)(int8_t)bytes[i]
                                      : (float)(bytes[i / 8] >> (i % 8) & 1);
    }
}

/* The nearest float16; infinity where there is none. */
static uint16_t round_to_f16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size >= 0x47800000u) { /* 65536 and more, infinity, NaN */
        return (uint16_t)(sign | (size > 0x7F800000u ? 0x7E00u : 0x7C00u));
    }
    if (size < 0x33000000u) { /* below half of the smallest subnormal */
        return (uint16_t)sign;
    }
    uint32_t drop = 13, kept = size & 0x7FFFFFu, base = 0;
    if (size < 0x38800000u) { /* a subnormal half keeps fewer bits */
        drop = 126 - (size >> 23);
        kept |= 0x800000u;
    } else {
        base = (size >> 23) - 112;
    }
    uint32_t half = kept >> drop, rest = kept & ((1u << drop) - 1),
             middle = 1u << (drop - 1);
    half += rest > middle || (rest == middle && (half & 1));
    return (uint16_t)(sign | ((base << 10) + half)); /* a carry raises the exponent */
}

size_t vs_f16_from_f32(const float *v, void *out, size_t n) {
    size_t bad = n;
    for (size_t i = 0; i < n; i++) {
        uint16_t half = round_to_f16(v[i]);
        memcpy((unsigned char *)out + i * sizeof half, &half, sizeof half);
        bad = (half & 0x7C00u) == 0x7C00u && bad == n ? i : bad;
    }
    return bad;
}

size_t vs_int8_from_f32(const float *v, void *out, size_t n) {
    size_t bad = n;
    for (size_t i = 0; i < n; i++) {
        int fits = v[i] >= -128.0f && v[i] <= 127.0f && v[i] == (float)(int)v[i];
        ((int8_t *)out)[i] = (int8_t)(fits ? (int)v[i] : 0);
        bad = !fits && bad == n ? i : bad;
    }
    return bad;
}

size_t vs_element_first_nonfinite(VsElement element, const void *v, size_t n) {
    if (element == VS_F32) {
        return vs_vec_first_nonfinite(v, n);
    }
    size_t i = element == VS_F16 ? 0 : n;
    while (i < n && (load_u16(v, i) & 0x7C00u) != 0x7C00u) {
        i++;
    }
    return i;
}
