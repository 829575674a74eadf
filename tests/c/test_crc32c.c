/* Risk: two ways to compute one checksum disagree, and a sound page is called corrupt. */

/* A private copy of the file under test: both ways are static there and stay so. */
#define vs_crc32c copied_crc32c
#include "csrc/base/crc32c.c"
#undef vs_crc32c

#include "check.h"

uint32_t vs_crc32c(uint32_t crc, const void *data, size_t n);

static uint64_t random_state = 42;

static unsigned char random_byte(void) {
    random_state =
        random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned char)(random_state >> 56);
}

static uint32_t crc_by_bit(uint32_t crc, const unsigned char *p, size_t n) {
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
        }
    }
    return ~crc;
}

/* RFC 3720, appendix B.4; the first is the check value of every catalogue of CRCs. */
static void test_published_vectors(void) {
    unsigned char data[32];
    CHECK(vs_crc32c(0, "123456789", 9) == 0xE3069283u);
    CHECK(vs_crc32c(0, "", 0) == 0);
    memset(data, 0, sizeof data);
    CHECK(vs_crc32c(0, data, sizeof data) == 0x8A9136AAu);
    memset(data, 0xFF, sizeof data);
    CHECK(vs_crc32c(0, data, sizeof data) == 0x62A8AB43u);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)i;
    }
    CHECK(vs_crc32c(0, data, sizeof data) == 0x46DD794Eu);
}

static void test_all_ways_agree_with_the_polynomial(void) {
    unsigned char data[300 + 16];
    for (size_t n = 0; n <= 300; n++) {
        for (size_t offset = 0; offset < 16; offset++) {
            const unsigned char *p = data + offset;
            for (size_t i = 0; i < sizeof data; i++) {
                data[i] = random_byte();
            }
            uint32_t start = (uint32_t)random_byte() << 24 | random_byte();
            uint32_t expected = crc_by_bit(start, p, n);
            CHECKF(vs_crc32c(start, p, n) == expected, "n=%zu", n);
            CHECKF(copied_crc32c(start, p, n) == expected, "n=%zu", n);
            CHECKF(crc_by_table(start, p, n) == expected, "table n=%zu", n);
#if VS_X86_64
            if (vs_cpu() & VS_CPU_SSE42) {
                CHECKF(crc_by_sse42(start, p, n) == expected, "sse4.2 n=%zu", n);
            }
#endif
        }
    }
}

static void test_a_checksum_can_be_continued(void) {
    unsigned char data[100];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = random_byte();
    }
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        uint32_t crc = vs_crc32c(vs_crc32c(0, data, cut), data + cut, sizeof data - cut);
        CHECK(crc == vs_crc32c(0, data, sizeof data));
    }
}

static void test_every_flipped_bit_is_noticed(void) {
    unsigned char data[64] = {0};
    uint32_t sound = vs_crc32c(0, data, sizeof data);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        CHECK(vs_crc32c(0, data, sizeof data) != sound);
        data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    }
}

int main(void) {
    printf("seed %llu\n", (unsigned long long)random_state);
    test_published_vectors();
    test_all_ways_agree_with_the_polynomial();
    test_a_checksum_can_be_continued();
    test_every_flipped_bit_is_noticed();
    return check_report();
}
