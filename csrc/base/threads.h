/*
 * Parallel loops on threads of our own.
 *
 * A thread pool is some threads, the caller's among them, that run one function after the other
 * together; each run returns when all are done. The others wait between two runs, for a
 * millisecond at most without going to sleep, and end with the thread pool, which lives no longer
 * than one call of the library: nothing is left behind in a process that forks or unloads
 * it.
 *
 * What may run there: code that reads a frozen graph through a view (readers.h). Never
 * SQLite, and never an allocator or hook of the owner. So memory is reserved before, and
 * only worker 0, which is the caller's thread, polls for interrupts and reports progress.
 * Signals of the process are blocked on the other threads.
 *
 * The number of threads may change nothing but time: whoever uses this gives each item of
 * a loop a place of its own for its result.
 *
 * Besides, a lock and atomic numbers for what the connections of a process share (page_cache.h).
 */
#ifndef VS_BASE_THREADS_H
#define VS_BASE_THREADS_H

#include <stddef.h>
#include <stdint.h>

#ifndef _WIN32
#include <pthread.h>
#endif

#define VS_MAX_THREADS 64

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
typedef struct VsSignal {
    void *condition; /* CONDITION_VARIABLE */
} VsSignal;
typedef void *VsThread; /* HANDLE */
#define VS_LOCK_INIT {NULL}
#else
typedef struct VsLock {
    pthread_mutex_t mutex;
} VsLock;
typedef struct VsSignal {
    pthread_cond_t condition;
} VsSignal;
typedef pthread_t VsThread;
#define VS_LOCK_INIT {PTHREAD_MUTEX_INITIALIZER}
#endif
void vs_lock(VsLock *lock);
void vs_unlock(VsLock *lock);

/* Worker 0 is the thread that calls vs_thread_pool_run. */
typedef void (*VsTask)(void *ctx, unsigned worker);

typedef struct VsWorker {
    struct VsThreadPool *thread_pool;
    unsigned number;
    VsThread thread;
} VsWorker;

typedef struct VsThreadPool {
    VsLock lock;
    VsSignal begun, ended;
    VsShared round; /* runs so far */
    VsShared busy;  /* workers that are not done with this one */
    VsTask task;    /* of this run; NULL: go home */
    void *ctx;
    unsigned n; /* who takes part */
    unsigned started, spins;
    VsWorker worker[VS_MAX_THREADS]; /* from 1 on */
} VsThreadPool;

/* Up to n threads. Where the system gives fewer some workers never run: tasks share their
 * items out by vs_take, so the others do their part. Worker 0 always runs. *thread_pool stays
 * where it is until it is closed. */
void vs_thread_pool_open(VsThreadPool *thread_pool, unsigned n);

/* Runs task(ctx, worker) with workers 0..n-1 of the thread pool. */
void vs_thread_pool_run(VsThreadPool *thread_pool, unsigned n, VsTask task, void *ctx);
void vs_thread_pool_close(VsThreadPool *thread_pool);

/* A thread pool for one run. */
void vs_parallel(unsigned n, VsTask task, void *ctx);

/* Processors that this process may run on; 1 if the system does not say. */
unsigned vs_processors(void);

#endif
