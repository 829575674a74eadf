/*
 * What this CPU can run, asked once at run time, and the macros that compile one function
 * for more than the baseline. No file is built with -mavx2 or the like: one binary serves
 * every machine.
 */
#ifndef VS_BASE_CPU_H
#define VS_BASE_CPU_H

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
 * A word that is computed once. Threads that race store the same value, so relaxed order is
 * enough. MSVC's C has no atomics by default; there an aligned volatile word is read and
 * written whole.
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

/* What is asked for, as bits of vs_cpu(): the system saves the registers, too. */
enum {
    VS_CPU_KNOWN = 1,
    VS_CPU_SSE42 = 2,
    VS_CPU_AVX2 = 4,
    VS_CPU_F16C = 8,
    VS_CPU_AVX512VNNI = 16 /* and F, BW and VL */
};

extern unsigned VS_ONCE vs_cpu_bits;
unsigned vs_cpu_detect(void);

static inline unsigned vs_cpu(void) {
    unsigned bits = VS_LOAD_ONCE(vs_cpu_bits);
    return bits != 0 ? bits : vs_cpu_detect();
}

#endif
