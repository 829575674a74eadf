/* The choice of kernels on codes, as kernels.c does it for vectors. */
#include "csrc/kernel/code.h"

#include "csrc/base/cpu.h"

#if VS_X86_64
extern const VsCodeKernels vs_code_kernels_avx2; /* kernels_code_avx2.c */

typedef const VsCodeKernels *const *TableList;

#if VS_X86_64_VNNI
extern const VsCodeKernels vs_code_kernels_avx512; /* kernels_code_avx512.c */

static const VsCodeKernels *const avx512_first[] = {
    &vs_code_kernels_avx512, &vs_code_kernels_avx2, &vs_code_kernels_scalar, NULL};
#endif
static const VsCodeKernels *const avx2_first[] = {&vs_code_kernels_avx2,
                                                  &vs_code_kernels_scalar, NULL};
static const VsCodeKernels *const scalar_only[] = {&vs_code_kernels_scalar, NULL};
static TableList VS_ONCE detected;

const VsCodeKernels *const *vs_code_kernels_available(void) {
    TableList list = VS_LOAD_ONCE(detected);
    if (list == NULL) {
        list = vs_cpu_has_avx2() ? avx2_first : scalar_only;
#if VS_X86_64_VNNI
        list = list == avx2_first && vs_cpu_has_avx512vnni() ? avx512_first : list;
#endif
        VS_STORE_ONCE(detected, list);
    }
    return list;
}

#else

#if VS_AARCH64
extern const VsCodeKernels vs_code_kernels_neon; /* kernels_code_neon.c */
#endif

const VsCodeKernels *const *vs_code_kernels_available(void) {
    static const VsCodeKernels *const list[] = {
#if VS_AARCH64
        &vs_code_kernels_neon,
#endif
        &vs_code_kernels_scalar, NULL};
    return list;
}

#endif

const VsCodeKernels *vs_code_kernels(void) {
    return vs_code_kernels_available()[0];
}
