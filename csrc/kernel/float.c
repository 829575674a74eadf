/*
 * The dispatch of the distance kernels: which table this CPU runs.
 */
#include "csrc/kernel/float.h"

#include "csrc/base/cpu.h"

#if VS_X86_64
extern const VsKernels vs_kernels_avx2; /* kernels_avx2.c */
#endif

typedef const VsKernels *const *TableList;

static const VsKernels *const scalar_only[] = {&vs_kernels_scalar, NULL};

#if VS_X86_64

static const VsKernels *const avx2_first[] = {&vs_kernels_avx2, &vs_kernels_scalar, NULL};

static TableList VS_ONCE detected;

const VsKernels *const *vs_kernels_available(void) {
    TableList list = VS_LOAD_ONCE(detected);
    if (list == NULL) {
        list = vs_cpu_has_avx2() ? avx2_first : scalar_only;
        VS_STORE_ONCE(detected, list);
    }
    return list;
}

#else

const VsKernels *const *vs_kernels_available(void) {
    return scalar_only;
}

#endif

const VsKernels *vs_kernels(void) {
    return vs_kernels_available()[0];
}
