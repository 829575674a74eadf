/*
 * What this CPU can run, asked at run time, and the macros that compile one function for
 * more than the baseline. No file is built with -mavx2 or the like: one binary serves
 * every machine.
 */
#ifndef VS_BASE_CPU_H
#define VS_BASE_CPU_H

#include <stdbool.h>

/* ARM64EC defines _M_X64 too, but its intrinsics are emulated: it takes the scalar code.
 */
#if (defined(__x86_64__) || defined(_M_X64)) && !defined(_M_ARM64EC)
#define VS_X86_64 1
#else
#define VS_X86_64 0
#endif

/* Compilers that know AVX-512's VNNI and how to ask for it. */
#if VS_X86_64 && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 10))
#define VS_X86_64_VNNI 1
#else
#define VS_X86_64_VNNI 0
#endif

/* NEON is part of every AArch64; big-endian ones take the scalar code. */
#if (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
#define VS_AARCH64 1
#else
#define VS_AARCH64 0
#endif

/*
 * A dispatch pointer that is detected once. Threads that race store the same pointer to
 * const data, so relaxed order is enough. MSVC's C has no atomics by default; there an
 * aligned volatile pointer is read and written whole.
 */
#if defined(__GNUC__) || defined(__clang__)
#define VS_ONCE
#define VS_LOAD_ONCE(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define VS_STORE_ONCE(p, value) __atomic_store_n(&(p), (value), __ATOMIC_RELAXED)
#else
#define VS_ONCE volatile
#define VS_LOAD_ONCE(p) (p)
#define VS_STORE_ONCE(p, value) ((p) = (value))
#endif

/* MSVC compiles every intrinsic without being asked; gcc and clang need it per function.
 */
#if defined(__GNUC__) || defined(__clang__)
#define VS_TARGET(isa) __attribute__((target(isa)))
#else
#define VS_TARGET(isa)
#endif

#if VS_X86_64 && defined(_MSC_VER)
#include <intrin.h>

static inline bool vs_cpu_has_sse42(void) {
    int regs[4];
    __cpuid(regs, 1);
    return (regs[2] >> 20) & 1;
}

VS_TARGET("xsave") static inline bool vs_cpu_has_avx2(void) {
    int regs[4];
    __cpuid(regs, 0);
    if (regs[0] < 7) {
        return false;
    }
    __cpuid(regs, 1);
    bool osxsave = (regs[2] >> 27) & 1;
    bool avx = (regs[2] >> 28) & 1;
    /* The CPU bit is not enough: the system must save the upper halves (XCR0 bits 1 and
     * 2). */
    if (!osxsave || !avx || (_xgetbv(0) & 6) != 6) {
        return false;
    }
    __cpuidex(regs, 7, 0);
    return (regs[1] >> 5) & 1;
}

static inline bool vs_cpu_has_f16c(void) {
    int regs[4];
    __cpuid(regs, 1);
    return (regs[2] >> 29) & 1;
}

#elif VS_X86_64
#include <cpuid.h>

static inline bool vs_cpu_has_sse42(void) {
    return __builtin_cpu_supports("sse4.2") != 0;
}

static inline bool vs_cpu_has_avx2(void) {
    return __builtin_cpu_supports("avx2") != 0; /* includes the system's support */
}

/* __builtin_cpu_supports knows "f16c" only in newer compilers. */
static inline bool vs_cpu_has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

#endif

#if VS_X86_64_VNNI
static inline bool vs_cpu_has_avx512vnni(void) {
    return __builtin_cpu_supports("avx512f") != 0 &&
           __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("avx512vnni") != 0;
}
#endif

#endif
