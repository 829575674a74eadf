/*
 * Vectors as users write them: JSON text to float32 and back, correctly rounded, whatever
 * the locale; and normalisation.
 *
 * Both directions meet in one form, a decimal integer times a power of ten. In that form
 * a number has no decimal point, so libc's strtof and its locale cannot disagree about
 * one.
 */
#include "csrc/vector/text.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/kernel/float.h"

/* Digits that decide any rounding to float32: a midpoint of two neighbours has at most
 * 113. What follows matters only by being zero or not. */
#define MAX_DIGITS 120
/* Decimal exponents beyond this saturate: no text is long enough to bring them back. */
#define EXPONENT_CAP INT64_C(1000000000000000)

/* digits * 10^exp10, where digits is a text of digits only, of at most MAX_DIGITS + 1. */
static float digits_to_float(const char *digits, int64_t exp10) {
    char text[MAX_DIGITS + 16];
    /* 121 digits times 10^-9999 is 0 and any digit times 10^9999 is infinite. */
    int shift = exp10 < -9999 ? -9999 : exp10 > 9999 ? 9999 : (int)exp10;
    snprintf(text, sizeof text, "%.*se%d", MAX_DIGITS + 1, digits, shift);
    return strtof(text, NULL);
}

/*
 * head * 10^exp10 by one double operation, when that decides the float32 (the idea of
 * Clinger's fast path, 1990). head, the power and the operation are each within half an
 * ulp of double, so d is within 2 ulps of the true value; the rounding to float32 drops
 * 29 bits of d and is certain unless those bits are that close to their middle. Digits
 * beyond the 19 in head change less.
 */
static bool quick_float(uint64_t head, int64_t exp10, float *out) {
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const uint64_t middle = UINT64_C(1) << 28;
    const uint64_t margin = 4;

    if (head == 0) {
        *out = 0.0f;
        return true;
    }
    if (exp10 < -22 || exp10 > 22) {
        return false; /* the power is not exact in double */
    }
    double d = (double)head;
    d = exp10 < 0 ? d / power[-exp10] : d * power[exp10];
    if (!(d >= (double)FLT_MIN && d < (double)FLT_MAX)) {
        return false;
    }
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    uint64_t dropped = bits & ((UINT64_C(1) << 29) - 1);
    if (dropped >= middle - margin && dropped <= middle + margin) {
        return false;
    }
    *out = (float)d;
    return true;
}

/* ---- parsing -------------------------------------------------------------------- */

/* A number as it was scanned. */
typedef struct Number {
    const char *digits; /* its first digit; the digits and the point end at digits_end */
    const char *digits_end; /* the exponent, or the end of the number */
    bool negative;
    uint64_t head;    /* the first 19 significant digits */
    int64_t exp10;    /* the value is head * 10^exp10, but for the digits after head */
    int64_t exponent; /* the exponent as written */
} Number;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static const char *skip_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }
    return p;
}

static const char *scan_digits(const char *p, const char *end, bool fraction,
                               Number *num) {
    for (; p < end && is_digit(*p); p++) {
        if (num->head < UINT64_C(1000000000000000000)) {
            num->head = num->head * 10 + (uint64_t)(*p - '0');
            num->exp10 -= fraction;
        } else {
            num->exp10 += !fraction;
        }
    }
    return p;
}

/* Scans "e-12"; p is at the e. NULL if no digit follows. */
static const char *scan_exponent(const char *p, const char *end, Number *num) {
    bool negative = false;
    int64_t value = 0;
    p++;
    if (p < end && (*p == '+' || *p == '-')) {
        negative = *p == '-';
        p++;
    }
    if (p == end || !is_digit(*p)) {
        return NULL;
    }
    for (; p < end && is_digit(*p); p++) {
        if (value < EXPONENT_CAP) {
            value = value * 10 + (*p - '0');
        }
    }
    num->exponent = negative ? -value : value;
    num->exp10 += num->exponent;
    return p;
}

/* Scans one number by JSON's grammar (RFC 8259, section 6), or with a sign "+" or without
 * the digits on one side of its point, as sqlite-vec's documentation writes ".5". Returns
 * its end, or NULL. */
static const char *scan_number(const char *p, const char *end, Number *num) {
    memset(num, 0, sizeof *num);
    if (p < end && (*p == '-' || *p == '+')) {
        num->negative = *p == '-';
        p++;
    }
    num->digits = p;
    /* A leading zero stands alone; a digit after it is then no separator. */
    p = p < end && *p == '0' ? p + 1 : scan_digits(p, end, false, num);
    bool found = p > num->digits;
    if (p < end && *p == '.') {
        const char *point = p++;
        p = scan_digits(p, end, true, num);
        found |= p > point + 1;
    }
    if (!found) {
        return NULL;
    }
    num->digits_end = p;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = scan_exponent(p, end, num);
    }
    return p;
}

/* The value of a scanned number from all of its digits. */
static float slow_float(const Number *num) {
    char digits[MAX_DIGITS + 2];
    size_t kept = 0;
    int64_t exp10 = num->exponent;
    bool fraction = false;
    bool dropped = false;

    for (const char *p = num->digits; p < num->digits_end; p++) {
        if (*p == '.') {
            fraction = true;
        } else if (kept < MAX_DIGITS) {
            if (kept > 0 || *p != '0') {
                digits[kept++] = *p;
            }
            exp10 -= fraction;
        } else {
            dropped |= *p != '0';
            exp10 += !fraction;
        }
    }
    if (dropped) {
        digits[kept++] =
            '1'; /* somewhat more than the digits kept: enough to leave a midpoint */
        exp10--;
    }
    digits[kept] = '\0';
    return digits_to_float(digits, exp10);
}

static float number_value(const Number *num) {
    float x;
    if (!quick_float(num->head, num->exp10, &x)) {
        x = slow_float(num);
    }
    return num->negative ? -x : x;
}

/* What a parse has so far. */
typedef struct Parse {
    const VsAlloc *a;
    const char *text;
    const char *end;
    float *v;
    size_t n;
    size_t cap;
    VsParseError err;
} Parse;

static VsStatus fault_at(Parse *parse, VsParseFault fault, const char *p) {
    parse->err.fault = fault;
    parse->err.at = (size_t)(p - parse->text);
    return VS_SYNTAX;
}

/* Reads the number at *p into parse->v and moves *p behind it. */
static VsStatus parse_element(Parse *parse, const char **p) {
    Number num;
    const char *after = scan_number(*p, parse->end, &num);
    if (after == NULL) {
        return fault_at(parse, VS_PARSE_NUMBER, *p);
    }
    if (parse->n == VS_MAX_DIMS) {
        return fault_at(parse, VS_PARSE_TOO_LONG, *p);
    }
    float x = number_value(&num);
    if (isinf(x)) {
        return fault_at(parse, VS_PARSE_NONFINITE, *p);
    }
    void *grown = parse->v;
    VsStatus status =
        vs_grow(parse->a, &grown, &parse->cap, parse->n + 1, sizeof *parse->v);
    if (status != VS_OK) {
        return status;
    }
    parse->v = grown;
    parse->v[parse->n++] = x;
    *p = after;
    return VS_OK;
}

static VsStatus parse_array(Parse *parse) {
    const char *p = skip_space(parse->text, parse->end);
    if (p == parse->end || *p != '[') {
        return fault_at(parse, VS_PARSE_NO_BRACKET, p);
    }
    p = skip_space(p + 1, parse->end);
    if (p < parse->end && *p == ']') {
        return fault_at(parse, VS_PARSE_EMPTY, p);
    }
    for (;;) {
        VsStatus status = parse_element(parse, &p);
        if (status != VS_OK) {
            return status;
        }
        p = skip_space(p, parse->end);
        if (p == parse->end || (*p != ',' && *p != ']')) {
            return fault_at(parse, VS_PARSE_SEPARATOR, p);
        }
        if (*p++ == ']') {
            break;
        }
        p = skip_space(p, parse->end);
    }
    p = skip_space(p, parse->end);
    return p == parse->end ? VS_OK : fault_at(parse, VS_PARSE_TRAILING, p);
}

VsStatus vs_vec_parse(const VsAlloc *a, const char *text, size_t len, float **out,
                      size_t *n, VsParseError *err) {
    Parse parse = {.a = a, .text = text, .end = text + len};
    VsStatus status = parse_array(&parse);
    if (status == VS_OK) {
        *out = parse.v;
        *n = parse.n;
        return VS_OK;
    }
    vs_free(a, parse.v);
    if (status == VS_SYNTAX) {
        *err = parse.err;
    }
    return status;
}

/* ---- checking ------------------------------------------------------------------- */

static inline bool is_nonfinite(const float *v, size_t i) {
    uint32_t bits;
    memcpy(&bits, (const unsigned char *)v + i * sizeof bits, sizeof bits);
    return (bits & UINT32_C(0x7F800000)) == UINT32_C(0x7F800000);
}

size_t vs_vec_first_nonfinite(const float *v, size_t n) {
    size_t i = 0;
    /* Blocks without a branch per element: the check runs on every vector that comes in.
     */
    for (; i + 32 <= n; i += 32) {
        uint32_t any = 0;
        for (size_t j = 0; j < 32; j++) {
            any |= is_nonfinite(v, i + j);
        }
        if (any) {
            break;
        }
    }
    while (i < n && !is_nonfinite(v, i)) {
        i++;
    }
    return i;
}

/* ---- formatting ----------------------------------------------------------------- */

/* The longest element: sign, 9 digits, point, "e-45"; or sign, "0.000" and 9 digits. One
 * more for the comma. */
#define MAX_ELEMENT 16

/* The 17 digits of x > 0 as an integer; x is about *digits * 10^(*exp10 - 16). */
static void float_to_digits(float x, uint64_t *digits, int *exp10) {
    char text[40];
    const char *p = text;
    uint64_t value = 0;

    snprintf(text, sizeof text, "%.16e", (double)x);
    for (; *p != 'e'; p++) {
        if (is_digit(*p)) { /* skips the decimal point, whatever the locale writes */
            value = value * 10 + (uint64_t)(*p - '0');
        }
    }
    p++;
    bool negative = *p++ == '-';
    int exponent = 0;
    for (; is_digit(*p); p++) {
        exponent = exponent * 10 + (*p - '0');
    }
    *digits = value;
    *exp10 = negative ? -exponent : exponent;
}

/* value / 10^drop, to the nearest, ties to even as printf rounds them. */
static uint64_t round_digits(uint64_t value, int drop) {
    uint64_t unit = 1;
    while (drop-- > 0) {
        unit *= 10;
    }
    uint64_t kept = value / unit;
    uint64_t rest = value % unit;
    return kept + (rest > unit / 2 || (rest == unit / 2 && (kept & 1)));
}

static bool reads_back(uint64_t digits, int64_t exp10, float x) {
    float y;
    if (!quick_float(digits, exp10, &y)) {
        char text[24];
        snprintf(text, sizeof text, "%llu", (unsigned long long)digits);
        y = digits_to_float(text, exp10);
    }
    return x == y;
}

/* Lays out count digits, the first worth 10^exp10, as %.{precision}g does. */
static char *put_digits(char *p, const char *digits, int count, int exp10,
                        int precision) {
    bool scientific = exp10 < -4 || exp10 >= precision;
    int point =
        scientific ? 1 : exp10 + 1; /* digits before the point; negative: zeros after */

    if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = point; i < 0; i++) {
            *p++ = '0';
        }
    }
    for (int i = 0; i < count || i < point; i++) {
        if (i == point && i > 0) {
            *p++ = '.';
        }
        *p++ = i < count ? digits[i] : '0';
    }
    if (scientific) {
        int size = exp10 < 0 ? -exp10 : exp10;
        *p++ = 'e';
        *p++ = exp10 < 0 ? '-' : '+';
        *p++ = (char)('0' + size / 10);
        *p++ = (char)('0' + size % 10);
    }
    return p;
}

/* Writes x, shortest first; returns the end. */
static char *put_float(char *p, float x) {
    if (!isfinite(x)) {
        memcpy(p, "null", 4);
        return p + 4;
    }
    if (signbit(x)) {
        *p++ = '-';
        x = -x;
    }
    if (x == 0.0f) {
        *p++ = '0';
        return p;
    }
    uint64_t full;
    int exp10;
    float_to_digits(x, &full, &exp10);
    /* Six digits survive a float32, so fewer are six with zeros at the end, which go
     * below; a subnormal has less precision than that. Nine are always enough. */
    int precision = x < FLT_MIN ? 1 : 6;
    uint64_t value = round_digits(full, 17 - precision);
    while (precision < 9 && !reads_back(value, exp10 - precision + 1, x)) {
        precision++;
        value = round_digits(full, 17 - precision);
    }
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    exp10 += count - precision; /* one digit more where 9.9999996 became 10.00000 */
    while (digits[count - 1] == '0') {
        count--;
    }
    return put_digits(p, digits, count, exp10, precision);
}

VsStatus vs_vec_format(const VsAlloc *a, const float *v, size_t n, char **out,
                       size_t *len) {
    if (n > (SIZE_MAX - 3) / MAX_ELEMENT) {
        return VS_NOMEM;
    }
    char *text = vs_alloc(a, n * MAX_ELEMENT + 3, 1);
    if (text == NULL) {
        return VS_NOMEM;
    }
    char *p = text;
    *p++ = '[';
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            *p++ = ',';
        }
        p = put_float(p, v[i]);
    }
    *p++ = ']';
    *p = '\0';
    *out = text;
    *len = (size_t)(p - text);
    return VS_OK;
}

/* ---- normalisation -------------------------------------------------------------- */

/* Codes are normalised in place inside pages, at any address. */
static inline float load(const float *v, size_t i) {
    float x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return x;
}

static inline void store(float *v, size_t i, float x) {
    memcpy((unsigned char *)v + i * sizeof x, &x, sizeof x);
}

/* Writes v times the power of two that brings its largest element to [0.5, 1): exact, but
 * for elements 2^126 times smaller than that. */
static void scale_to_unit_range(const float *v, float *out, size_t n) {
    float peak = 0.0f;
    int exponent;
    for (size_t i = 0; i < n; i++) {
        peak = fmaxf(peak, fabsf(load(v, i)));
    }
    (void)frexpf(peak, &exponent);
    for (size_t i = 0; i < n; i++) {
        store(out, i, ldexpf(load(v, i), -exponent));
    }
}

void vs_vec_normalize(const float *v, float *out, size_t n) {
    float sum = vs_kernels()->dot_f32(v, v, n);
    if (!(sum >= 0x1p-80f && sum <= FLT_MAX)) {
        /* The squares left float32's range at one end or the other; the direction need
         * not. */
        scale_to_unit_range(v, out, n);
        v = out;
        sum = vs_kernels()->dot_f32(v, v, n);
    }
    float norm = sum > 0.0f ? sqrtf(sum) : 1.0f;
    for (size_t i = 0; i < n; i++) {
        store(out, i, load(v, i) / norm);
    }
}
