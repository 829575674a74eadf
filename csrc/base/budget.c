/* The account of the caches of a process; see budget.h. */
#include "csrc/base/budget.h"

#include <stdio.h>
#include <stdlib.h>

#include "csrc/base/threads.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <unistd.h>
#endif

#define SHARE 16
#define UNKNOWN ((long long)1 << 30) /* of a machine that does not tell */
#define MOST ((long long)1 << 50)

static VsShared limit, taken;

#ifdef _WIN32

static long long machine(void) {
    MEMORYSTATUSEX memory = {.dwLength = sizeof memory};
    return GlobalMemoryStatusEx(&memory) ? (long long)memory.ullTotalPhys : UNKNOWN;
}

static long long control_group(void) {
    return MOST;
}

#else

static long long machine(void) {
#ifdef _SC_PHYS_PAGES
    long long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 && pages < MOST / size ? pages * size : UNKNOWN;
#else
    return UNKNOWN;
#endif
}

/* A file that holds one number; "max" and a missing file are no limit. */
static long long number_in(const char *path) {
    char text[32] = "";
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        (void)fclose(file);
    }
    long long n = strtoll(text, NULL, 10);
    return n > 0 && n < MOST ? n : MOST;
}

/* A container sees its own group at the root of the tree. */
static long long control_group(void) {
    long long second = number_in("/sys/fs/cgroup/memory.max"),
              first = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    return second < first ? second : first;
}

#endif

long long vs_budget_limit(void) {
    long long bytes = vs_shared_get(&limit);
    if (bytes == 0) { /* every thread finds the same */
        long long all = machine(), group = control_group();
        bytes = (group < all ? group : all) / SHARE;
        vs_shared_set(&limit, bytes);
    }
    return bytes;
}

int vs_budget_take(size_t bytes) {
    long long n = (long long)bytes;
    if (vs_take(&taken, n) + n <= vs_budget_limit()) {
        return 1;
    }
    (void)vs_take(&taken, -n);
    return 0;
}

void vs_budget_give(size_t bytes) {
    (void)vs_take(&taken, -(long long)bytes);
}
