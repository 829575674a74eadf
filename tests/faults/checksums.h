/*
 * Checksums of the file format made right again after a change (docs/explain/file-format.md), so
 * that damage reaches the checks behind them.
 */
#ifndef FAULTS_CHECKSUMS_H
#define FAULTS_CHECKSUMS_H

#include <sqlite3.h>

#include "csrc/base/crc32c.h"
#include "csrc/store/pages.h"

/* A page: the CRC is at byte 12 and of everything else. */
static inline void resum_page(unsigned char *p, size_t n) {
    if (n >= VS_PAGE_HEADER) {
        uint32_t crc = vs_crc32c(0, p, 12);
        vs_put_u32(p + 12, vs_crc32c(crc, p + VS_PAGE_HEADER, n - VS_PAGE_HEADER));
    }
}

/* A state: the last four bytes are the CRC of the others, of ver and of stamp. */
static inline void resum_state(sqlite3_int64 ver, sqlite3_int64 stamp, unsigned char *p,
                               size_t n) {
    unsigned char key[16];
    if (n >= 4) {
        vs_put_u64(key, (uint64_t)ver);
        vs_put_u64(key + 8, (uint64_t)stamp);
        vs_put_u32(p + n - 4, vs_crc32c(vs_crc32c(0, p, n - 4), key, sizeof key));
    }
}

/* The state names length and CRC of the edits in the eight bytes before its own. */
static inline void resum_edits(sqlite3_int64 ver, sqlite3_int64 stamp,
                               const unsigned char *edits, size_t n, unsigned char *state,
                               size_t n_state) {
    vs_put_u32(state + n_state - 12, (uint32_t)n);
    vs_put_u32(state + n_state - 8, vs_crc32c(0, edits, n));
    resum_state(ver, stamp, state, n_state);
}

#endif
