/*
 * Assertions: what a comment promises, checked where it is relied on.
 *
 * They are on in every build for tests, fuzzers and sanitizers (VECSQL_ASSERTIONS) and cost
 * nothing in a release. What a damaged file or a program can bring about is an error (status.h),
 * never an assertion.
 */
#ifndef VS_BASE_ASSERT_H
#define VS_BASE_ASSERT_H

#ifdef VECSQL_ASSERTIONS
#include <stdio.h>
#include <stdlib.h>
#define VS_ASSERT(x) \
    ((x) ? (void)0   \
         : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x), abort()))
#else
#define VS_ASSERT(x) ((void)0)
#endif

#endif
