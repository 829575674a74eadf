/*
 * The whole test framework: CHECK counts, check_report() prints the counts and is main's
 * result.
 */
#ifndef VS_TEST_CHECK_H
#define VS_TEST_CHECK_H

#include <stdio.h>

#define CHECK_MAX_PRINTED \
    20 /* a broken kernel fails a million times: the first few say it all */

static long check_passed;
static long check_failed;

#define CHECK(condition) CHECKF(condition, "%s", "")

/* CHECK with a message for printf: the values that made it fail. */
#define CHECKF(condition, ...)                                                      \
    do {                                                                            \
        if (condition) {                                                            \
            check_passed++;                                                         \
        } else if (check_failed++ < CHECK_MAX_PRINTED) {                            \
            fprintf(stderr, "%s:%d: failed: %s  ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                           \
            fputc('\n', stderr);                                                    \
        }                                                                           \
    } while (0)

static inline int check_report(void) {
    printf("%ld passed, %ld failed\n", check_passed, check_failed);
    return check_failed != 0;
}

#endif
