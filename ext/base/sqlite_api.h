/*
 * The SQLite API as every file of the extension sees it: through the pointer that entry.c
 * receives (it alone has SQLITE_EXTENSION_INIT1). Constants newer than the oldest header
 * that we compile with (3.38) are filled in; a newer function is called only after
 * sqlite3_libversion_number() has said that it is there.
 */
#ifndef VSX_BASE_SQLITE_API_H
#define VSX_BASE_SQLITE_API_H

#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT3

#ifndef SQLITE_SUBTYPE
#define SQLITE_SUBTYPE 0x000100000
#endif
#ifndef SQLITE_INNOCUOUS
#define SQLITE_INNOCUOUS 0x000200000
#endif
#ifndef SQLITE_RESULT_SUBTYPE
#define SQLITE_RESULT_SUBTYPE 0x001000000 /* 3.45; ignored before */
#endif

/* 1 if sqlite3_interrupt() was called and the running statement has not ended yet. Asking
 * came with 3.41; the 3.40 header ends just before that entry of the table. */
static inline int vsx_is_interrupted(sqlite3 *db) {
#if SQLITE_VERSION_NUMBER >= 3041000
    return sqlite3_libversion_number() >= 3041000 && sqlite3_is_interrupted(db);
#elif SQLITE_VERSION_NUMBER >= 3040000
    typedef struct {
        sqlite3_api_routines base;
        int (*is_interrupted)(sqlite3 *);
    } Api341;
    return sqlite3_libversion_number() >= 3041000 &&
           ((const Api341 *)(const void *)sqlite3_api)->is_interrupted(db);
#else
    (void)db;
    return 0;
#endif
}

/* Returns from the function with what `call` fails with: where nothing is to be released. */
#define VSX_TRY(call)              \
    do {                           \
        int tried_ = (call);       \
        if (tried_ != SQLITE_OK) { \
            return tried_;         \
        }                          \
    } while (0)

/* CMake gives it; for builds without. */
#ifndef VECSQL_VERSION
#define VECSQL_VERSION "0.1.0"
#endif

#endif
