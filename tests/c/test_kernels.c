/* Risk: two machines compute different bits, so the same statements write different
 * files. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* mmap and its flags */
#include <sys/mman.h>
#endif

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/kernel/float.h"
#include "check.h"

#define MAX_N 300
#define ROOM (MAX_N * sizeof(float) + 32)

enum { L2SQ, DOT, L1, KERNELS };

static const char *const kernel_names[KERNELS] = {"l2sq", "dot", "l1"};

static VsKernelFn kernel_of(const VsKernels *table, int kernel) {
    return kernel == L2SQ  ? table->l2sq_f32
           : kernel == DOT ? table->dot_f32
                           : table->l1_f32;
}

static uint64_t random_state = 42;

static uint32_t random_u32(void) {
    random_state =
        random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

/* Mixed signs and sizes, zeros of both signs: order of addition shows in the bits. */
static float random_float(void) {
    uint32_t r = random_u32();
    if (r % 16 == 0) {
        return r & 16 ? 0.0f : -0.0f;
    }
    return ldexpf((float)(int32_t)random_u32() / 2147483648.0f, (int)(r % 13) - 6);
}

static float at(const float *v, size_t i) {
    float x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return x;
}

/* The text of float.h, word by word; volatile, so that no compiler reorders or fuses.
 */
static float documented(int kernel, const float *a, const float *b, size_t n) {
    volatile float p[32] = {0};
    volatile float s[8];
    volatile float t[4];
    for (size_t i = 0; i < n; i++) {
        volatile float d = at(a, i) - at(b, i);
        volatile float term = kernel == L2SQ  ? d * d
                              : kernel == DOT ? at(a, i) * at(b, i)
                                              : fabsf(d);
        p[i % 32] = p[i % 32] + term;
    }
    for (int j = 0; j < 8; j++) {
        volatile float lo = p[j] + p[j + 8];
        volatile float hi = p[j + 16] + p[j + 24];
        s[j] = lo + hi;
    }
    for (int j = 0; j < 4; j++) {
        t[j] = s[j] + s[j + 4];
    }
    volatile float even = t[0] + t[2];
    volatile float odd = t[1] + t[3];
    return even + odd;
}

/* The value in double, and the sum of the sizes of the terms, which bounds the rounding
 * error. */
static double in_double(int kernel, const float *a, const float *b, size_t n,
                        double *size) {
    double sum = 0.0;
    *size = 0.0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)at(a, i);
        double y = (double)at(b, i);
        double term = kernel == L2SQ  ? (x - y) * (x - y)
                      : kernel == DOT ? x * y
                                      : fabs(x - y);
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void check_pair(const float *a, const float *b, size_t n) {
    for (int k = 0; k < KERNELS; k++) {
        float expected = kernel_of(&vs_kernels_scalar, k)(a, b, n);
        CHECKF(bits_of(expected) == bits_of(documented(k, a, b, n)), "%s n=%zu",
               kernel_names[k], n);
        double size;
        double real = in_double(k, a, b, n, &size);
        CHECKF(fabs((double)expected - real) <= 4e-6 * size, "%s n=%zu", kernel_names[k],
               n);
        for (const VsKernels *const *t = vs_kernels_available(); *t != NULL; t++) {
            float got = kernel_of(*t, k)(a, b, n);
            CHECKF(bits_of(got) == bits_of(expected), "%s %s n=%zu: %a, not %a",
                   (*t)->name, kernel_names[k], n, (double)got, (double)expected);
        }
    }
}

static void test_every_length_and_alignment_is_bit_identical(void) {
    unsigned char *a = malloc(ROOM);
    unsigned char *b = malloc(ROOM);
    for (size_t n = 0; n <= MAX_N; n++) {
        for (size_t offset = 0; offset < 32; offset++) {
            size_t other = (offset * 7 + n) % 32;
            for (size_t i = 0; i < n; i++) {
                float x = random_float();
                float y = random_float();
                memcpy(a + offset + i * sizeof x, &x, sizeof x);
                memcpy(b + other + i * sizeof y, &y, sizeof y);
            }
            check_pair((const float *)(const void *)(a + offset),
                       (const float *)(const void *)(b + other), n);
        }
    }
    free(a);
    free(b);
}

/* A sum that overflows must do so everywhere, and so must one that then becomes NaN. */
static void test_overflow_is_the_same_everywhere(void) {
    float a[MAX_N];
    float b[MAX_N];
    for (size_t n = 1; n <= MAX_N; n++) {
        for (size_t i = 0; i < n; i++) {
            a[i] = 3e38f;
            b[i] = i % 3 ? 3e38f : -3e38f;
        }
        for (int k = 0; k < KERNELS; k++) {
            float expected = kernel_of(&vs_kernels_scalar, k)(a, b, n);
            for (const VsKernels *const *t = vs_kernels_available(); *t != NULL; t++) {
                float got = kernel_of(*t, k)(a, b, n);
                CHECKF(isnan(expected) ? isnan(got) : bits_of(got) == bits_of(expected),
                       "%s %s n=%zu", (*t)->name, kernel_names[k], n);
            }
        }
    }
}

/* Negative control: the fixed order matters on this data, so the checks above can fail.
 */
static void test_plain_order_gives_other_bits(void) {
    float a[MAX_N];
    float plain = 0.0f;
    for (size_t i = 0; i < MAX_N; i++) {
        a[i] = random_float();
        plain += a[i] * a[i];
    }
    CHECK(bits_of(plain) != bits_of(vs_kernels_scalar.dot_f32(a, a, MAX_N)));
}

/* The vectors end where the mapped memory ends: one byte too far is a crash. */
static void test_nothing_is_read_beyond_the_end(void) {
#if defined(__linux__)
    const size_t page = 65536; /* a multiple of every page size in use */
    unsigned char *map[2];
    for (int i = 0; i < 2; i++) {
        map[i] = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
        CHECK(map[i] != MAP_FAILED && mprotect(map[i] + page, page, PROT_NONE) == 0);
    }
    for (size_t n = 0; n <= MAX_N; n++) {
        check_pair((const float *)(const void *)(map[0] + page - n * sizeof(float)),
                   (const float *)(const void *)(map[1] + page - n * sizeof(float)), n);
    }
    munmap(map[0], 2 * page);
    munmap(map[1], 2 * page);
#endif
}

static void test_tables_are_listed_best_first(void) {
    const VsKernels *const *tables = vs_kernels_available();
    CHECK(tables[0] == vs_kernels());
    while (tables[1] != NULL) {
        tables++;
    }
    CHECK(tables[0] == &vs_kernels_scalar);
}

/* A batch is the kernel, code by code. */
static void test_batches_have_the_bits_of_single_calls(void) {
    static float query[MAX_N], codes[40][MAX_N];
    const unsigned char *code[40];
    float out[40];
    const VsKernels *const *list = vs_kernels_available();
    for (uint32_t i = 0; i < 40; i++) {
        code[i] = (const unsigned char *)codes[(i * 7) % 40];
        for (size_t j = 0; j < MAX_N; j++) {
            query[j] = random_float();
            codes[i][j] = random_float();
        }
    }
    for (size_t t = 0; list[t] != NULL; t++) {
        for (size_t n = 0; n < MAX_N; n += 37) {
            for (uint32_t count = 0; count <= 40; count += 3) {
                for (int dot = 0; dot < 2; dot++) {
                    VsBatchFn batch =
                        dot ? list[t]->dot_f32_batch : list[t]->l2sq_f32_batch;
                    VsKernelFn one =
                        dot ? vs_kernels_scalar.dot_f32 : vs_kernels_scalar.l2sq_f32;
                    batch((const unsigned char *)query, code, count, n, out);
                    for (uint32_t i = 0; i < count; i++) {
                        float want = one(query, (const float *)(const void *)code[i], n);
                        CHECK(memcmp(&out[i], &want, sizeof want) == 0);
                    }
                }
            }
        }
    }
}

int main(void) {
    test_batches_have_the_bits_of_single_calls();
    printf("seed %llu, tables:", (unsigned long long)random_state);
    for (const VsKernels *const *t = vs_kernels_available(); *t != NULL; t++) {
        printf(" %s", (*t)->name);
    }
    putchar('\n');
    test_every_length_and_alignment_is_bit_identical();
    test_overflow_is_the_same_everywhere();
    test_plain_order_gives_other_bits();
    test_nothing_is_read_beyond_the_end();
    test_tables_are_listed_best_first();
    return check_report();
}
