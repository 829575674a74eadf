/* Threads and locks of the system, and the few atomic operations; see threads.h. */
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* sched_getaffinity, pthread_sigmask */
#endif
#include "threads.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#endif

typedef struct Worker {
    VsTask task;
    void *ctx;
    unsigned number;
} Worker;

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

/* ---- locks ---------------------------------------------------------------------- */

#ifdef _WIN32

void vs_lock(VsLock *lock) {
    AcquireSRWLockExclusive((SRWLOCK *)&lock->slim);
}

void vs_unlock(VsLock *lock) {
    ReleaseSRWLockExclusive((SRWLOCK *)&lock->slim);
}

#else

void vs_lock(VsLock *lock) {
    (void)pthread_mutex_lock(&lock->mutex);
}

void vs_unlock(VsLock *lock) {
    (void)pthread_mutex_unlock(&lock->mutex);
}

#endif

/* ---- threads -------------------------------------------------------------------- */

#ifdef _WIN32

unsigned vs_processors(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors > 0 ? (unsigned)info.dwNumberOfProcessors : 1;
}

static DWORD WINAPI run(LPVOID arg) {
    Worker *w = arg;
    w->task(w->ctx, w->number);
    return 0;
}

void vs_parallel(unsigned n, VsTask task, void *ctx) {
    Worker worker[VS_MAX_THREADS];
    HANDLE thread[VS_MAX_THREADS];
    unsigned started = 0;
    n = n > VS_MAX_THREADS ? VS_MAX_THREADS : n;
    for (unsigned i = 1; i < n; i++) {
        worker[started] = (Worker){task, ctx, i};
        thread[started] = CreateThread(NULL, 0, run, &worker[started], 0, NULL);
        started += thread[started] != NULL;
    }
    task(ctx, 0);
    for (unsigned i = 0; i < started; i++) {
        WaitForSingleObject(thread[i], INFINITE);
        CloseHandle(thread[i]);
    }
}

#else

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
    Worker *w = arg;
    w->task(w->ctx, w->number);
    return NULL;
}

void vs_parallel(unsigned n, VsTask task, void *ctx) {
    Worker worker[VS_MAX_THREADS];
    pthread_t thread[VS_MAX_THREADS];
    sigset_t all, before;
    unsigned started = 0;
    n = n > VS_MAX_THREADS ? VS_MAX_THREADS : n;
    if (n > 1) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        for (unsigned i = 1; i < n; i++) {
            worker[started] = (Worker){task, ctx, i};
            started += pthread_create(&thread[started], NULL, run, &worker[started]) == 0;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    task(ctx, 0);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(thread[i], NULL);
    }
}

#endif
