/* Threads and locks of the system, and the few atomic operations; see threads.h. */
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* sched_getaffinity, pthread_sigmask */
#endif
#include "csrc/base/threads.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#endif

/* ---- atomic numbers ------------------------------------------------------------- */

#if defined(__GNUC__) || defined(__clang__)

long long vs_take(VsShared *s, long long n) {
    return __atomic_fetch_add(&s->value, n, __ATOMIC_ACQ_REL);
}

long long vs_shared_get(VsShared *s) {
    return __atomic_load_n(&s->value, __ATOMIC_ACQUIRE);
}

void vs_shared_set(VsShared *s, long long value) {
    __atomic_store_n(&s->value, value, __ATOMIC_RELEASE);
}

int vs_shared_replace(VsShared *s, long long *expected, long long value) {
    return __atomic_compare_exchange_n(&s->value, expected, value, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

#else /* MSVC's C */

long long vs_take(VsShared *s, long long n) {
    return InterlockedExchangeAdd64(&s->value, n);
}

long long vs_shared_get(VsShared *s) {
    return InterlockedExchangeAdd64(&s->value, 0);
}

void vs_shared_set(VsShared *s, long long value) {
    (void)InterlockedExchange64(&s->value, value);
}

int vs_shared_replace(VsShared *s, long long *expected, long long value) {
    long long was = InterlockedCompareExchange64(&s->value, value, *expected);
    int done = was == *expected;
    *expected = was;
    return done;
}

#endif

/* ---- what the system has ---------------------------------------------------------- */

static void go_to_work(VsWorker *w);

#ifdef _WIN32

void vs_lock(VsLock *lock) {
    AcquireSRWLockExclusive((SRWLOCK *)&lock->slim);
}

void vs_unlock(VsLock *lock) {
    ReleaseSRWLockExclusive((SRWLOCK *)&lock->slim);
}

static void lock_init(VsLock *lock) {
    InitializeSRWLock((SRWLOCK *)&lock->slim);
}

static void lock_end(VsLock *lock) {
    (void)lock;
}

static void signal_init(VsSignal *s) {
    InitializeConditionVariable((CONDITION_VARIABLE *)&s->condition);
}

static void signal_end(VsSignal *s) {
    (void)s;
}

static void signal_all(VsSignal *s) {
    WakeAllConditionVariable((CONDITION_VARIABLE *)&s->condition);
}

static void signal_wait(VsSignal *s, VsLock *lock) {
    (void)SleepConditionVariableSRW((CONDITION_VARIABLE *)&s->condition,
                                    (SRWLOCK *)&lock->slim, INFINITE, 0);
}

unsigned vs_processors(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors > 0 ? (unsigned)info.dwNumberOfProcessors : 1;
}

static DWORD WINAPI run(LPVOID arg) {
    go_to_work(arg);
    return 0;
}

static int thread_start(VsWorker *w) {
    w->thread = CreateThread(NULL, 0, run, w, 0, NULL);
    return w->thread != NULL;
}

static void thread_join(VsWorker *w) {
    WaitForSingleObject(w->thread, INFINITE);
    CloseHandle(w->thread);
}

#else

void vs_lock(VsLock *lock) {
    (void)pthread_mutex_lock(&lock->mutex);
}

void vs_unlock(VsLock *lock) {
    (void)pthread_mutex_unlock(&lock->mutex);
}

static void lock_init(VsLock *lock) {
    (void)pthread_mutex_init(&lock->mutex, NULL);
}

static void lock_end(VsLock *lock) {
    (void)pthread_mutex_destroy(&lock->mutex);
}

static void signal_init(VsSignal *s) {
    (void)pthread_cond_init(&s->condition, NULL);
}

static void signal_end(VsSignal *s) {
    (void)pthread_cond_destroy(&s->condition);
}

static void signal_all(VsSignal *s) {
    (void)pthread_cond_broadcast(&s->condition);
}

static void signal_wait(VsSignal *s, VsLock *lock) {
    (void)pthread_cond_wait(&s->condition, &lock->mutex);
}

unsigned vs_processors(void) {
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        return (unsigned)CPU_COUNT(&set);
    }
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

static void *run(void *arg) {
    go_to_work(arg);
    return NULL;
}

/* Its signals are the process's other threads'. */
static int thread_start(VsWorker *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = pthread_create(&w->thread, NULL, run, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void thread_join(VsWorker *w) {
    pthread_join(w->thread, NULL);
}

#endif

/* ---- thread pools ------------------------------------------------------------------------- */

/* What one batch of a build has to write between two loops is done in a millisecond; to
 * wake a thread that sleeps takes a tenth of it. Who has no processor does not spin. */
#define SPINS 30000

static inline void relax(void) {
#if defined(_WIN32)
    YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until the number is that. */
static void wait_until(VsThreadPool *c, VsShared *number, long long value,
                       VsSignal *changed) {
    for (unsigned i = 0; i < c->spins && vs_shared_get(number) != value; i++) {
        relax();
    }
    if (vs_shared_get(number) != value) {
        vs_lock(&c->lock);
        while (vs_shared_get(number) != value) {
            signal_wait(changed, &c->lock);
        }
        vs_unlock(&c->lock);
    }
}

static void tell(VsThreadPool *c, VsSignal *changed) {
    vs_lock(&c->lock); /* or it could be between looking and waiting */
    signal_all(changed);
    vs_unlock(&c->lock);
}

static void go_to_work(VsWorker *w) {
    VsThreadPool *c = w->thread_pool;
    VsTask task;
    long long round = 0;
    do {
        wait_until(c, &c->round, ++round, &c->begun);
        task = c->task;
        if (task != NULL && w->number < c->n) {
            task(c->ctx, w->number);
        }
        if (vs_take(&c->busy, -1) == 1) {
            tell(c, &c->ended);
        }
    } while (task != NULL);
}

static void begin(VsThreadPool *c, unsigned n, VsTask task, void *ctx) {
    c->task = task;
    c->ctx = ctx;
    c->n = n;
    vs_shared_set(&c->busy, c->started);
    (void)vs_take(&c->round, 1);
    tell(c, &c->begun);
}

void vs_thread_pool_open(VsThreadPool *c, unsigned n) {
    n = n > VS_MAX_THREADS ? VS_MAX_THREADS : n;
    c->spins = n > 1 && n <= vs_processors() ? SPINS : 0;
    c->started = 0;
    vs_shared_set(&c->round, 0);
    lock_init(&c->lock);
    signal_init(&c->begun);
    signal_init(&c->ended);
    for (unsigned i = 1; i < n; i++) {
        VsWorker *w = &c->worker[c->started + 1];
        *w = (VsWorker){.thread_pool = c, .number = c->started + 1};
        c->started += (unsigned)thread_start(w);
    }
}

void vs_thread_pool_run(VsThreadPool *c, unsigned n, VsTask task, void *ctx) {
    if (n <= 1 || c->started == 0) {
        task(ctx, 0);
        return;
    }
    begin(c, n, task, ctx);
    task(ctx, 0);
    wait_until(c, &c->busy, 0, &c->ended);
}

void vs_thread_pool_close(VsThreadPool *c) {
    if (c->started > 0) {
        begin(c, 0, NULL, NULL);
    }
    for (unsigned i = 1; i <= c->started; i++) {
        thread_join(&c->worker[i]);
    }
    signal_end(&c->ended);
    signal_end(&c->begun);
    lock_end(&c->lock);
}

void vs_parallel(unsigned n, VsTask task, void *ctx) {
    VsThreadPool thread_pool;
    vs_thread_pool_open(&thread_pool, n);
    vs_thread_pool_run(&thread_pool, n, task, ctx);
    vs_thread_pool_close(&thread_pool);
}
