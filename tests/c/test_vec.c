/* Risk: a vector changes on its way through text, or text that is none is taken for one.
 */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "csrc/vector/text.h"
#include "check.h"
#include "heap.h"

static Heap heap;
static VsAlloc alloc;

static uint64_t random_state;

static uint32_t random_u32(void) {
    random_state =
        random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Parses a copy of exactly len bytes, so that a sanitizer sees a read beyond it. */
static VsStatus parse(const char *text, size_t len, float **v, size_t *n,
                      VsParseError *err) {
    char *copy = malloc(len + 1);
    char *end = copy + 1; /* unaligned, and no terminator behind it */
    memcpy(end, text, len);
    VsStatus status = vs_vec_parse(&alloc, end, len, v, n, err);
    free(copy);
    return status;
}

static void check_number(const char *text, float expected) {
    char array[2048];
    float *v;
    size_t n;
    VsParseError err = {VS_PARSE_NONE, 0};
    int len = snprintf(array, sizeof array, "[%s]", text);
    VsStatus status = parse(array, (size_t)len, &v, &n, &err);
    CHECKF(status == VS_OK, "%s: fault %d", text, (int)err.fault);
    if (status == VS_OK) {
        CHECKF(n == 1 && bits_of(v[0]) == bits_of(expected), "%s: %a, not %a", text,
               (double)v[0], (double)expected);
        vs_free(&alloc, v);
    }
}

static void check_fault(const char *text, size_t len, VsParseFault fault, size_t at) {
    float *v = NULL;
    size_t n = 7;
    VsParseError err = {VS_PARSE_NONE, 0};
    CHECKF(parse(text, len, &v, &n, &err) == VS_SYNTAX, "%s", text);
    CHECKF(err.fault == fault && err.at == at, "%s: fault %d at %zu", text,
           (int)err.fault, err.at);
    CHECKF(v == NULL && n == 7, "%s: outputs were set", text);
}

#define FAULT(text, fault, at) check_fault(text, sizeof(text) - 1, fault, at)

static void test_numbers_are_rounded_correctly(void) {
    check_number("1", 1.0f);
    check_number("-0", -0.0f);
    check_number("0.1", 0.1f);
    check_number("-3e2", -300.0f);
    check_number("1E+2", 100.0f);
    check_number("123456789012345678901234567890", 1.2345679e29f);
    check_number("0.000000000000000000000000000000000000000000001", 1e-45f);
    check_number("1e-46", 0.0f);
    check_number("-1e-999999999999999999999999", -0.0f);
    check_number("0e999999999999999999999999", 0.0f);
    check_number("3.4028234663852886e38", FLT_MAX);
    check_number("3.40282356e38", FLT_MAX); /* below the midpoint to 2^128 */
    /* Midpoints go to even; a digit far behind one decides. 2^24 + 1 lies between two
     * floats. */
    check_number("16777217", 16777216.0f);
    check_number("16777219", 16777220.0f);
    check_number("16777217.0000000000000000000000000000000000001", 16777218.0f);
    check_number("16777216.9999999999999999999999999999999999999", 16777216.0f);
    /* Double rounding trap: the nearest double of this is a midpoint of two floats. */
    check_number("1.00000005960464477539062500000000000000001", float_of(0x3F800001));
    check_number("1.000000059604644775390625", 1.0f);
    check_number("1.00000005960464477539062499999999999999999", 1.0f);
    /* Half of the smallest subnormal, exactly and a little more. */
    check_number(
        "7.00649232162408535461864791644958065640130970938257885878534141944895541342930"
        "300743319094181060791015625e-46",
        0.0f);
    check_number(
        "7.00649232162408535461864791644958065640130970938257885878534141944895541342930"
        "300743319094181060791015625000000000000000000000000000000001e-46",
        float_of(1));
}

static void test_long_numbers_keep_their_scale(void) {
    char text[1200];
    memset(text, '0', sizeof text);
    memcpy(text, "0.", 2); /* 0.000...01e1001, the 1 at the 1000th place */
    memcpy(text + 1001, "1e1001", 7);
    check_number(text, 10.0f);
    memset(text, '0', sizeof text);
    text[0] = '1'; /* 1000...0e-1000 */
    memcpy(text + 1001, "e-1000", 7);
    check_number(text, 1.0f);
    memset(text, '3', sizeof text);
    memcpy(text, "0.", 2);
    text[1100] = '\0';
    check_number(text, 1.0f / 3.0f);
}

static void test_a_point_needs_digits_on_one_side(void) {
    check_number(".5", 0.5f);
    check_number("-.25e1", -2.5f);
    check_number("5.", 5.0f);
    check_number("5.e-1", 0.5f);
    check_number("+1", 1.0f);
    check_number(".00000000000000000000000000000000000001e38", 1.0f);
}

static void test_random_decimals_match_strtof(void) {
    char text[64];
    for (int i = 0; i < 300000; i++) {
        int exponent = (int)(random_u32() % 90) - 60;
        int places = (int)(random_u32() % 4);
        uint64_t digits =
            ((uint64_t)random_u32() << 32 | random_u32()) >> (random_u32() % 60);
        if (places == 0) {
            snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, exponent);
        } else {
            snprintf(text, sizeof text, "%llu.%0*ue%d", (unsigned long long)digits,
                     places * 3, random_u32() % 1000u, exponent % 20);
        }
        float expected = strtof(text, NULL);
        if (isfinite(expected)) {
            check_number(text, expected);
        }
    }
}

static void test_white_space_is_jsons(void) {
    float *v;
    size_t n;
    VsParseError err;
    const char text[] = " \t\r\n[ 1\n,\t2.5 , -3e2\r]  ";
    CHECK(parse(text, sizeof text - 1, &v, &n, &err) == VS_OK);
    CHECK(n == 3 && v[0] == 1.0f && v[1] == 2.5f && v[2] == -300.0f);
    vs_free(&alloc, v);
    FAULT("[1,\v2]", VS_PARSE_NUMBER, 3);
    FAULT("[1,\xC2\xA0"
          "2]",
          VS_PARSE_NUMBER, 3); /* no-break space */
}

static void test_faults_name_the_byte(void) {
    FAULT("", VS_PARSE_NO_BRACKET, 0);
    FAULT("  ", VS_PARSE_NO_BRACKET, 2);
    FAULT("1,2", VS_PARSE_NO_BRACKET, 0);
    FAULT(" {\"a\":1}", VS_PARSE_NO_BRACKET, 1);
    FAULT("[]", VS_PARSE_EMPTY, 1);
    FAULT("[ ]", VS_PARSE_EMPTY, 2);
    FAULT("[", VS_PARSE_NUMBER, 1);
    FAULT("[1,]", VS_PARSE_NUMBER, 3);
    FAULT("[1,", VS_PARSE_NUMBER, 3);
    FAULT("[,1]", VS_PARSE_NUMBER, 1);
    FAULT("[+]", VS_PARSE_NUMBER, 1);
    FAULT("[+-1]", VS_PARSE_NUMBER, 1);
    FAULT("[2, .]", VS_PARSE_NUMBER, 4);
    FAULT("[2, .e5]", VS_PARSE_NUMBER, 4);
    FAULT("[-]", VS_PARSE_NUMBER, 1);
    FAULT("[1e]", VS_PARSE_NUMBER, 1);
    FAULT("[1e+]", VS_PARSE_NUMBER, 1);
    FAULT("[nan]", VS_PARSE_NUMBER, 1);
    FAULT("[Infinity]", VS_PARSE_NUMBER, 1);
    FAULT("[null]", VS_PARSE_NUMBER, 1);
    FAULT("[\"1\"]", VS_PARSE_NUMBER, 1);
    FAULT("[[1]]", VS_PARSE_NUMBER, 1);
    FAULT("[1, 1e39]", VS_PARSE_NONFINITE, 4);
    FAULT("[-3.4028235678e38]", VS_PARSE_NONFINITE, 1); /* the midpoint to 2^128 */
    FAULT("[1e99999999999999999999]", VS_PARSE_NONFINITE, 1);
    FAULT("[01]", VS_PARSE_SEPARATOR, 2);
    FAULT("[0x1]", VS_PARSE_SEPARATOR, 2);
    FAULT("[1 2]", VS_PARSE_SEPARATOR, 3);
    FAULT("[1;2]", VS_PARSE_SEPARATOR, 2);
    FAULT("[1,2", VS_PARSE_SEPARATOR, 4);
    FAULT("[1,5\0]", VS_PARSE_SEPARATOR, 4);
    FAULT("[1]]", VS_PARSE_TRAILING, 3);
    FAULT("[1] x", VS_PARSE_TRAILING, 4);
    FAULT("[1]\0", VS_PARSE_TRAILING, 3);
}

static void test_the_longest_vector_is_65536(void) {
    size_t len = 2 * (size_t)VS_MAX_DIMS + 1; /* "[0,0,...,0]" */
    char *text = malloc(len + 2);
    float *v;
    size_t n;
    VsParseError err;
    text[0] = '[';
    for (size_t i = 0; i <= VS_MAX_DIMS; i++) {
        text[1 + 2 * i] = '0';
        text[2 + 2 * i] = ',';
    }
    text[len - 1] = ']';
    CHECK(parse(text, len, &v, &n, &err) == VS_OK && n == VS_MAX_DIMS);
    vs_free(&alloc, v);
    text[len - 1] = ',';
    text[len + 1] = ']';
    check_fault(text, len + 2, VS_PARSE_TOO_LONG, len);
    free(text);
}

static void test_every_truncation_and_flip_is_survived(void) {
    const char text[] = "[1.5, -2e-3, 0.25E+1, 3]";
    char copy[sizeof text];
    for (size_t len = 0; len < sizeof text; len++) {
        for (int value = 0; value < 256; value++) {
            float *v = NULL;
            size_t n;
            VsParseError err = {VS_PARSE_NONE, 0};
            memcpy(copy, text, sizeof text);
            copy[len] = (char)value;
            VsStatus whole = parse(copy, sizeof text - 1, &v, &n, &err);
            CHECK(whole == VS_OK || (whole == VS_SYNTAX && err.at < sizeof text));
            vs_free(&alloc, v);
            v = NULL;
            if (len < sizeof text - 1) {
                CHECK(parse(copy, len, &v, &n, &err) == VS_SYNTAX && err.at <= len);
            }
        }
    }
}

/* What the shortest of %.1g (subnormals), %.6g ... %.9g would print. */
static void expected_text(float x, char *text, size_t room) {
    for (int precision = fabsf(x) < FLT_MIN ? 1 : 6; precision <= 9; precision++) {
        snprintf(text, room, "%.*g", precision, (double)x);
        if (strtof(text, NULL) == x) {
            return;
        }
    }
}

static void check_round_trip(float x) {
    char expected[48] = "";
    char *text = NULL;
    size_t len = 0;
    CHECK(vs_vec_format(&alloc, &x, 1, &text, &len) == VS_OK);
    CHECK(strlen(text) == len && text[0] == '[' && text[len - 1] == ']');
    text[len - 1] = '\0';
    expected_text(x, expected, sizeof expected);
    CHECKF(strcmp(text + 1, expected) == 0, "%a: %s, not %s", (double)x, text + 1,
           expected);
    check_number(text + 1, x);
    vs_free(&alloc, text);
}

static void test_every_float_reads_back_as_itself(void) {
    static const float special[] = {
        0.0f,      -0.0f,   1.0f,      -2.5f,      1e-4f,          1e-5f, 9999999.0f,
        1e5f,      1e6f,    123456.0f, 1234567.0f, 16777216.0f,    0.1f,  9.9999999f,
        999999.5f, FLT_MAX, FLT_MIN,   -1e-45f,    1.17549421e-38f};
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        check_round_trip(special[i]);
    }
    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        check_round_trip(float_of(exponent << 23));
        check_round_trip(float_of((exponent << 23) + 1));
        check_round_trip(float_of((exponent << 23) | 0x7FFFFF));
    }
    for (int i = 0; i < 300000; i++) {
        float x = float_of(random_u32());
        if (isfinite(x)) {
            check_round_trip(x);
        }
        check_round_trip((float)(int32_t)random_u32() /
                         2147483648.0f); /* as embeddings are */
    }
}

static void test_vectors_are_written_whole(void) {
    float v[] = {1.5f, -2.0f, NAN, 1e-45f, -FLT_MAX, INFINITY};
    char *text;
    size_t len;
    CHECK(vs_vec_format(&alloc, v, 6, &text, &len) == VS_OK);
    CHECKF(strcmp(text, "[1.5,-2,null,1e-45,-3.4028235e+38,null]") == 0, "%s", text);
    CHECK(len == strlen(text));
    vs_free(&alloc, text);
    CHECK(vs_vec_format(&alloc, v, 0, &text, &len) == VS_OK && strcmp(text, "[]") == 0);
    vs_free(&alloc, text);
}

/* The widest elements: a buffer that is one byte short shows under a sanitizer. */
static void test_widest_elements_fit(void) {
    float v[64];
    char *text;
    size_t len;
    static const float widest[] = {-1.17549421e-38f, -0.000123456789f, -0.00012207031f};
    for (size_t i = 0; i < 64; i++) {
        v[i] = widest[i % 3];
    }
    CHECK(vs_vec_format(&alloc, v, 64, &text, &len) == VS_OK && len <= 64 * 16 + 2);
    vs_free(&alloc, text);
}

/* Under a locale with a decimal comma; without one on this machine the claim is not
 * tested. */
static void test_a_decimal_comma_changes_nothing(void) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE",
                                        "fr_FR.UTF-8", "German_Germany.1252"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (setlocale(LC_NUMERIC, names[i]) != NULL) {
            float v[] = {1.5f, 0.1f, 1e-7f};
            char *text;
            size_t len;
            CHECK(localeconv()->decimal_point[0] == ',');
            CHECK(vs_vec_format(&alloc, v, 3, &text, &len) == VS_OK);
            CHECKF(strcmp(text, "[1.5,0.1,1e-07]") == 0, "%s", text);
            vs_free(&alloc, text);
            check_number("1.00000005960464477539062500000000000000001",
                         float_of(0x3F800001));
            setlocale(LC_NUMERIC, "C");
            return;
        }
    }
    printf("no locale with a decimal comma here: not tested\n");
}

static void test_first_nonfinite_is_found_anywhere(void) {
    unsigned char raw[200 * sizeof(float) + 3];
    static const uint32_t bad[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001,
                                   0xFFFFFFFF};
    for (size_t n = 0; n <= 200; n++) {
        for (size_t at = 0; at <= n; at++) {
            const float *v = (const float *)(const void *)(raw + at % 4);
            for (size_t i = 0; i < n; i++) {
                uint32_t bits = i % 2 ? 0x7F7FFFFF : 0x80000001;
                if (i == at || (i > at && random_u32() % 4 == 0)) {
                    bits = bad[random_u32() % 5];
                }
                memcpy(raw + at % 4 + i * sizeof bits, &bits, sizeof bits);
            }
            CHECK(vs_vec_first_nonfinite(v, n) == at);
        }
    }
}

static void test_normalised_vectors_have_length_one(void) {
    float v[384];
    float out[384];
    for (int exponent = -140; exponent <= 127; exponent++) {
        double sum = 0.0;
        for (size_t i = 0; i < 384; i++) {
            v[i] = ldexpf((float)(random_u32() >> 8) / 16777216.0f, exponent);
        }
        vs_vec_normalize(v, out, 384);
        for (size_t i = 0; i < 384; i++) {
            sum += (double)out[i] * (double)out[i];
        }
        CHECKF(fabs(sum - 1.0) < 1e-6, "exponent %d: %g", exponent, sum);
        vs_vec_normalize(v, v, 384);
        CHECKF(memcmp(v, out, sizeof v) == 0, "in place, exponent %d", exponent);
    }
    unsigned char raw[sizeof v + 1];
    memcpy(raw + 1, out, sizeof v);
    float *unaligned = (float *)(void *)(raw + 1);
    vs_vec_normalize(unaligned, unaligned, 384);
    vs_vec_normalize(out, out, 384);
    CHECK(memcmp(raw + 1, out, sizeof v) == 0);

    memset(v, 0, sizeof v);
    v[1] = -0.0f;
    vs_vec_normalize(v, out, 384);
    CHECK(memcmp(v, out, sizeof v) == 0);
}

static void test_no_memory_leaves_nothing_behind(void) {
    const char text[] =
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"; /* three allocations */
    float v[] = {1.0f};
    for (long before = 0; before < 3; before++) {
        float *out = NULL;
        size_t n = 7;
        VsParseError err = {VS_PARSE_NONE, 9};
        heap.countdown = before;
        CHECK(parse(text, sizeof text - 1, &out, &n, &err) == VS_NOMEM);
        CHECK(out == NULL && n == 7 && err.fault == VS_PARSE_NONE && err.at == 9);
    }
    char *written = NULL;
    size_t len = 7;
    heap.countdown = 0;
    CHECK(vs_vec_format(&alloc, v, 1, &written, &len) == VS_NOMEM);
    CHECK(written == NULL && len == 7);
    heap.countdown = -1;
}

int main(int argc, char **argv) {
    alloc = heap_alloc(&heap);
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu (an argument sets it)\n", (unsigned long long)random_state);
    test_numbers_are_rounded_correctly();
    test_long_numbers_keep_their_scale();
    test_a_point_needs_digits_on_one_side();
    test_random_decimals_match_strtof();
    test_white_space_is_jsons();
    test_faults_name_the_byte();
    test_the_longest_vector_is_65536();
    test_every_truncation_and_flip_is_survived();
    test_every_float_reads_back_as_itself();
    test_vectors_are_written_whole();
    test_widest_elements_fit();
    test_a_decimal_comma_changes_nothing();
    test_first_nonfinite_is_found_anywhere();
    test_normalised_vectors_have_length_one();
    test_no_memory_leaves_nothing_behind();
    CHECKF(heap.live == 0, "%ld allocations leaked", heap.live);
    return check_report();
}
