/*
 * Status codes of the core.
 *
 * Every function of csrc that can fail returns a VsStatus. Outputs are passed by pointer
 * and are set only when VS_OK is returned. The core makes no messages: ext/table/errors.c maps
 * a status to an SQLite code and words it with the table and column that the user knows.
 */
#ifndef VS_BASE_STATUS_H
#define VS_BASE_STATUS_H

typedef enum VsStatus {
    VS_OK = 0,
    VS_NOMEM,     /* an allocation failed; nothing was changed */
    VS_CORRUPT,   /* stored bytes contradict themselves: damage, or not written by us */
    VS_RANGE,     /* an argument or a count is outside what the format can hold */
    VS_INTERRUPT, /* the caller's interrupt hook asked to stop */
    VS_IO,        /* the caller's page loader failed; the loader knows why */
    VS_SYNTAX     /* text that is not a vector */
} VsStatus;

/* Returns from the function with what `call` fails with: where nothing is to be released. */
#define VS_TRY(call)              \
    do {                          \
        VsStatus tried_ = (call); \
        if (tried_ != VS_OK) {    \
            return tried_;        \
        }                         \
    } while (0)

#endif
