/* The dispatch of the kernels on narrow elements. Every CPU with AVX2 has F16C too. */
#include "csrc/kernel/narrow.h"

#include "csrc/base/cpu.h"

#if VS_X86_64

extern const VsNarrowKernels vs_narrow_avx2; /* narrow_avx2.c */

typedef const VsNarrowKernels *const *TableList;

static const VsNarrowKernels *const scalar_only[] = {&vs_narrow_scalar, NULL};
static const VsNarrowKernels *const avx2_first[] = {&vs_narrow_avx2, &vs_narrow_scalar,
                                                    NULL};
static TableList VS_ONCE detected;

const VsNarrowKernels *const *vs_narrow_available(void) {
    TableList list = VS_LOAD_ONCE(detected);
    if (list == NULL) {
        list = vs_cpu_has_avx2() && vs_cpu_has_f16c() ? avx2_first : scalar_only;
        VS_STORE_ONCE(detected, list);
    }
    return list;
}

#else

static const VsNarrowKernels *const scalar_only[] = {&vs_narrow_scalar, NULL};

const VsNarrowKernels *const *vs_narrow_available(void) {
    return scalar_only;
}

#endif

const VsNarrowKernels *vs_narrow(void) {
    return vs_narrow_available()[0];
}
