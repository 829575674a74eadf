/*
 * A file system in memory as an SQLite VFS: it fails on demand, and it remembers.
 *
 * Files are byte arrays of this process, so a database is restored by a copy and a test
 * can run thousands of cases a second. Locks and shared memory (WAL) work among the
 * connections of one thread; nothing here is meant for several.
 *
 *   faults   fs_arm() makes the n-th call of certain kinds fail, once or from then on
 *   record   fs_record() notes every write, truncation, sync and deletion in order;
 *            powerloss.c makes of it what a disk may hold after the power went
 */
#ifndef FAULTS_MEMFS_H
#define FAULTS_MEMFS_H

#include <sqlite3.h>
#include <stddef.h>

/* Kinds of calls, for fs_arm and in the record. */
enum {
    FS_READ = 1,
    FS_WRITE = 2,
    FS_SYNC = 4,
    FS_TRUNCATE = 8,
    FS_OPEN = 16,
    FS_DELETE = 32,
    FS_SHM = 64,
    FS_SIZE = 128,
    FS_LOCK = 256,
    FS_ACCESS = 512,
    FS_MARK = 1024 /* of fs_mark, in the record only */
};

/* Registers the VFS "memfs" as the default one. */
void fs_register(void);

/* What its device says of itself: sectors of so many bytes; and, unless it is told
 * otherwise, that a write changes no byte beside its own, even when the power goes. */
#define FS_SECTOR 4096
void fs_powersafe(int yes);

/* 1 if `p` lies in what is mapped at this moment (xFetch), and where that is in its file.
 * NULL: how many pages are mapped. SQLite itself maps nothing. */
#define FS_MAX_MAPPED 64
int fs_mapped(const void *p, size_t *offset);

/* ---- contents ------------------------------------------------------------------- */

#define FS_MAX_FILES 16

typedef struct FsFile {
    char name[64];
    unsigned char *data;
    size_t size, cap;
} FsFile;

/* All files at one moment. */
typedef struct FsImage {
    FsFile file[FS_MAX_FILES];
    int n;
} FsImage;

/* No connection may be open. fs_save copies what is there, fs_restore puts it in the
 * place of what is there. */
void fs_save(FsImage *out);
void fs_restore(const FsImage *image);
void fs_image_free(FsImage *image);
/* The named file of an image, made if it is not there. */
FsFile *fs_image_file(FsImage *image, const char *name);
void fs_file_write(FsFile *f, size_t offset, const void *bytes, size_t n);
void fs_file_truncate(FsFile *f, size_t size);

/* ---- faults --------------------------------------------------------------------- */

/* The call number `after` (from 0) of the given kinds fails; `persistent`: all that follow
 * fail too. `full`: writes fail with SQLITE_FULL instead of SQLITE_IOERR_WRITE. */
void fs_arm(unsigned kinds, long after, int persistent, int full);
/* Ends that; returns how many calls failed, or how many of these kinds there were. */
long fs_disarm(void);
long fs_disarm_calls(void);

/* ---- record --------------------------------------------------------------------- */

typedef struct FsOp {
    int kind; /* FS_WRITE, FS_TRUNCATE, FS_SYNC, FS_DELETE, FS_MARK */
    char name[64];
    size_t offset; /* of a write; the new size; of a deletion: 1 if it is durable at once;
                      the number of a mark */
    unsigned char *bytes;
    size_t n;
} FsOp;

typedef struct FsRecord {
    FsOp *op;
    size_t n, cap;
} FsRecord;

/* Notes everything from now on; NULL ends it. */
void fs_record(FsRecord *record);
/* Puts a mark of the test's own into the record. */
void fs_mark(size_t number);
void fs_record_free(FsRecord *record);

#endif
