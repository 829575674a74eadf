/*
 * Parallel loops on threads of our own.
 *
 * vs_parallel runs one function on several threads, the caller's among them, and returns
 * when all are done. The threads live no longer than the call: nothing is left behind in a
 * process that forks or unloads the library, and a batch takes a thousand times as long as
 * starting one.
 *
 * What may run there: code that reads a frozen graph through a view (team.h). Never
 * SQLite, and never an allocator or hook of the owner. So memory is reserved before, and
 * only worker 0, which is the caller's thread, polls for interrupts and reports progress.
 * Signals of the process are blocked on the other threads.
 *
 * The number of threads may change nothing but time: whoever uses this gives each item of
 * a loop a place of its own for its result.
 *
 * Besides, a lock and atomic numbers for what the connections of a process share (shelf.h).
 */
#ifndef VS_THREADS_H
#define VS_THREADS_H

#include <stddef.h>
#include <stdint.h>

#ifndef _WIN32
#include <pthread.h>
#endif

#define VS_MAX_THREADS 64

/* Runs task(ctx, worker) with workers 0..n-1, each on a thread of its own. Where the
 * system gives fewer threads some workers never run: the tasks share their items out by
 * vs_take, so the others do their part. Worker 0 always runs. */
typedef void (*VsTask)(void *ctx, unsigned worker);
void vs_parallel(unsigned n, VsTask task, void *ctx);

/* A number that threads share. */
typedef struct VsShared {
    long long value;
} VsShared;

/* Adds n and returns what it was before: takes n items of a loop. */
long long vs_take(VsShared *s, long long n);
long long vs_shared_get(VsShared *s);
void vs_shared_set(VsShared *s, long long value);
/* Makes it `value` and returns 1 if it is *expected; else *expected becomes what it is. */
int vs_shared_replace(VsShared *s, long long *expected, long long value);

/* A number that whoever computes it computes alike: no order with anything else. */
#if defined(__GNUC__)
static inline uint32_t vs_loose_get(const uint32_t *at) {
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}
static inline void vs_loose_set(uint32_t *at, uint32_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
#else
static inline uint32_t vs_loose_get(const uint32_t *at) {
    return *(const volatile uint32_t *)at;
}
static inline void vs_loose_set(uint32_t *at, uint32_t value) {
    *(volatile uint32_t *)at = value;
}
#endif

/* A lock; a static one begins as VS_LOCK_INIT. Not recursive. */
#ifdef _WIN32
typedef struct VsLock {
    void *slim; /* SRWLOCK */
} VsLock;
#define VS_LOCK_INIT {NULL}
#else
typedef struct VsLock {
    pthread_mutex_t mutex;
} VsLock;
#define VS_LOCK_INIT {PTHREAD_MUTEX_INITIALIZER}
#endif
void vs_lock(VsLock *lock);
void vs_unlock(VsLock *lock);

/* Processors that this process may run on; 1 if the system does not say. */
unsigned vs_processors(void);

#endif
