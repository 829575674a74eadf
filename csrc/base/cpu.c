/* Asking the CPU; see cpu.h. */
#include "csrc/base/cpu.h"

unsigned VS_ONCE vs_cpu_bits;

#if VS_X86_64 && defined(_MSC_VER)
#include <intrin.h>

VS_TARGET("xsave") static unsigned ask(void) {
    int regs[4];
    unsigned bits = 0;
    __cpuid(regs, 0);
    int leaves = regs[0];
    __cpuid(regs, 1);
    bits |= regs[2] >> 20 & 1 ? VS_CPU_SSE42 : 0;
    bits |= regs[2] >> 29 & 1 ? VS_CPU_F16C : 0;
    int osxsave = regs[2] >> 27 & 1, avx = regs[2] >> 28 & 1;
    /* The CPU bit is not enough: the system must save the upper halves (XCR0 bits 1, 2). */
    if (leaves >= 7 && osxsave && avx && (_xgetbv(0) & 6) == 6) {
        __cpuidex(regs, 7, 0);
        bits |= regs[1] >> 5 & 1 ? VS_CPU_AVX2 : 0;
    }
    return bits;
}

#elif VS_X86_64
#include <cpuid.h>

static unsigned ask(void) {
    unsigned a, b, c, d, bits = 0;
    bits |= __builtin_cpu_supports("sse4.2") ? VS_CPU_SSE42 : 0;
    bits |= __builtin_cpu_supports("avx2") ? VS_CPU_AVX2 : 0;
    /* __builtin_cpu_supports knows "f16c" only in newer compilers. */
    bits |= __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) ? VS_CPU_F16C : 0;
#if VS_X86_64_VNNI
    bits |= __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vnni")
                ? VS_CPU_AVX512VNNI
                : 0;
#endif
    return bits;
}

#else

static unsigned ask(void) {
    return 0;
}

#endif

unsigned vs_cpu_detect(void) {
    unsigned bits = VS_CPU_KNOWN | ask();
    VS_STORE_ONCE(vs_cpu_bits, bits);
    return bits;
}
