/*
 * The choice of kernels: the lists of tables, best first, without those at the head that
 * this CPU cannot run.
 */
#include "csrc/base/cpu.h"
#include "csrc/kernel/code.h"
#include "csrc/kernel/float.h"
#include "csrc/kernel/narrow.h"

/* Declared here and where they are defined: nobody else may use them. */
#if VS_X86_64
extern const VsKernels vs_kernels_avx2;
extern const VsNarrowKernels vs_narrow_avx2;
extern const VsCodeKernels vs_code_kernels_avx2;
#endif
#if VS_X86_64_VNNI
extern const VsCodeKernels vs_code_kernels_avx512;
#endif
#if VS_AARCH64
extern const VsCodeKernels vs_code_kernels_neon;
#endif

static const VsKernels *const floats[] = {
#if VS_X86_64
    &vs_kernels_avx2,
#endif
    &vs_kernels_scalar, NULL};

static const VsNarrowKernels *const narrow[] = {
#if VS_X86_64
    &vs_narrow_avx2,
#endif
    &vs_narrow_scalar, NULL};

static const VsCodeKernels *const codes[] = {
#if VS_X86_64_VNNI
    &vs_code_kernels_avx512,
#endif
#if VS_X86_64
    &vs_code_kernels_avx2,
#endif
#if VS_AARCH64
    &vs_code_kernels_neon,
#endif
    &vs_code_kernels_scalar, NULL};

/* 1 if there is a table for those bits of vs_cpu() and this CPU lacks one of them. */
static size_t skipped(unsigned bits) {
    return VS_X86_64 && (vs_cpu() & bits) != bits;
}

const VsKernels *const *vs_kernels_available(void) {
    return floats + skipped(VS_CPU_AVX2);
}

const VsNarrowKernels *const *vs_narrow_available(void) {
    return narrow + skipped(VS_CPU_AVX2 | VS_CPU_F16C);
}

const VsCodeKernels *const *vs_code_kernels_available(void) {
    size_t no_avx512 = VS_X86_64_VNNI && skipped(VS_CPU_AVX2 | VS_CPU_AVX512VNNI);
    return codes + no_avx512 + skipped(VS_CPU_AVX2);
}

const VsKernels *vs_kernels(void) {
    return vs_kernels_available()[0];
}

const VsNarrowKernels *vs_narrow(void) {
    return vs_narrow_available()[0];
}

const VsCodeKernels *vs_code_kernels(void) {
    return vs_code_kernels_available()[0];
}
