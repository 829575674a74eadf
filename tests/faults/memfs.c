/* See memfs.h. Out of memory in the test itself ends it: these allocations are the
 * harness's, not SQLite's. */
#include "memfs.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Shm {
    unsigned char *region[64];
    int n_regions, size;
    int shared[SQLITE_SHM_NLOCK];
    int exclusive[SQLITE_SHM_NLOCK];
} Shm;

/* A file while it is open, or kept by name. */
typedef struct Inode {
    FsFile file;
    int handles;
    int linked; /* has a name; without one it goes with its last handle */
    int shared, reserved, pending, exclusive;
    Shm shm;
    int shm_users;
} Inode;

typedef struct Handle {
    sqlite3_file base;
    Inode *inode;
    int lock;
    int delete_on_close;
    int has_shm;
    unsigned shm_shared, shm_exclusive;
} Handle;

static Inode *named[FS_MAX_FILES];
static FsRecord *record;
static struct {
    unsigned kinds;
    long countdown, failed, calls;
    int persistent, full;
} fault;

static void *must(void *p) {
    if (p == NULL) {
        fprintf(stderr, "memfs: out of memory\n");
        abort();
    }
    return p;
}

/* ---- bytes of a file ------------------------------------------------------------ */

static void reserve(FsFile *f, size_t size) {
    if (size > f->cap) {
        f->cap = size * 2;
        f->data = must(realloc(f->data, f->cap));
    }
}

void fs_file_truncate(FsFile *f, size_t size) {
    reserve(f, size);
    if (size > f->size) {
        memset(f->data + f->size, 0, size - f->size);
    }
    f->size = size;
}

void fs_file_write(FsFile *f, size_t offset, const void *bytes, size_t n) {
    if (offset + n > f->size) {
        fs_file_truncate(f, offset + n);
    }
    if (n > 0) {
        memcpy(f->data + offset, bytes, n);
    }
}

static void copy_file(FsFile *to, const FsFile *from) {
    *to = (FsFile){.size = 0};
    memcpy(to->name, from->name, sizeof to->name);
    fs_file_write(to, 0, from->data, from->size);
}

/* ---- names ---------------------------------------------------------------------- */

static Inode *find(const char *name) {
    for (int i = 0; i < FS_MAX_FILES; i++) {
        if (named[i] != NULL && strcmp(named[i]->file.name, name) == 0) {
            return named[i];
        }
    }
    return NULL;
}

static void inode_free(Inode *inode) {
    for (int i = 0; i < inode->shm.n_regions; i++) {
        free(inode->shm.region[i]);
    }
    free(inode->file.data);
    free(inode);
}

static Inode *inode_new(const char *name) {
    Inode *inode = must(calloc(1, sizeof *inode));
    if (name != NULL) {
        snprintf(inode->file.name, sizeof inode->file.name, "%s", name);
        for (int i = 0; i < FS_MAX_FILES; i++) {
            if (named[i] == NULL) {
                named[i] = inode;
                inode->linked = 1;
                return inode;
            }
        }
        fprintf(stderr, "memfs: too many files\n");
        abort();
    }
    return inode;
}

static void unlink_inode(Inode *inode) {
    for (int i = 0; i < FS_MAX_FILES; i++) {
        if (named[i] == inode) {
            named[i] = NULL;
        }
    }
    inode->linked = 0;
    if (inode->handles == 0) {
        inode_free(inode);
    }
}

void fs_save(FsImage *out) {
    out->n = 0;
    for (int i = 0; i < FS_MAX_FILES; i++) {
        if (named[i] != NULL) {
            copy_file(&out->file[out->n++], &named[i]->file);
        }
    }
}

void fs_restore(const FsImage *image) {
    for (int i = 0; i < FS_MAX_FILES; i++) {
        if (named[i] != NULL) {
            if (named[i]->handles > 0) {
                fprintf(stderr, "memfs: %s is still open\n", named[i]->file.name);
                abort();
            }
            unlink_inode(named[i]);
        }
    }
    for (int i = 0; i < image->n; i++) {
        Inode *inode = inode_new(image->file[i].name);
        copy_file(&inode->file, &image->file[i]);
    }
}

void fs_image_free(FsImage *image) {
    for (int i = 0; i < image->n; i++) {
        free(image->file[i].data);
    }
    image->n = 0;
}

FsFile *fs_image_file(FsImage *image, const char *name) {
    for (int i = 0; i < image->n; i++) {
        if (strcmp(image->file[i].name, name) == 0) {
            return &image->file[i];
        }
    }
    if (image->n == FS_MAX_FILES) {
        fprintf(stderr, "memfs: too many files\n");
        abort();
    }
    FsFile *f = &image->file[image->n++];
    *f = (FsFile){.size = 0};
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

/* ---- faults and record ---------------------------------------------------------- */

void fs_arm(unsigned kinds, long after, int persistent, int full) {
    fault.kinds = kinds;
    fault.countdown = after;
    fault.failed = fault.calls = 0;
    fault.persistent = persistent;
    fault.full = full;
}

long fs_disarm(void) {
    fault.kinds = 0;
    return fault.failed;
}

long fs_disarm_calls(void) {
    fault.kinds = 0;
    return fault.calls;
}

/* 1 if this call has to fail. */
static int fails(unsigned kind) {
    if ((fault.kinds & kind) == 0) {
        return 0;
    }
    fault.calls++;
    int hit = fault.countdown == 0 || (fault.countdown < 0 && fault.persistent);
    fault.countdown -= fault.countdown >= 0;
    fault.failed += hit;
    return hit;
}

void fs_record(FsRecord *to) {
    record = to;
}

static void note(int kind, const char *name, size_t offset, const void *bytes, size_t n) {
    if (record == NULL || name[0] == '\0') {
        return;
    }
    if (record->n == record->cap) {
        record->cap = record->cap * 2 + 64;
        record->op = must(realloc(record->op, record->cap * sizeof *record->op));
    }
    FsOp *op = &record->op[record->n++];
    *op = (FsOp){.kind = kind, .offset = offset, .n = n};
    snprintf(op->name, sizeof op->name, "%s", name);
    if (n > 0) {
        op->bytes = must(malloc(n));
        memcpy(op->bytes, bytes, n);
    }
}

void fs_mark(size_t number) {
    note(FS_MARK, "mark", number, NULL, 0);
}

void fs_record_free(FsRecord *r) {
    for (size_t i = 0; i < r->n; i++) {
        free(r->op[i].bytes);
    }
    free(r->op);
    *r = (FsRecord){0};
}

/* ---- methods of a file ---------------------------------------------------------- */

static int fs_read(sqlite3_file *base, void *out, int n, sqlite3_int64 offset) {
    FsFile *f = &((Handle *)base)->inode->file;
    if (fails(FS_READ)) {
        return SQLITE_IOERR_READ;
    }
    size_t at = (size_t)offset, got = at < f->size ? f->size - at : 0;
    got = got < (size_t)n ? got : (size_t)n;
    if (got > 0) {
        memcpy(out, f->data + at, got);
    }
    memset((char *)out + got, 0, (size_t)n - got);
    return got == (size_t)n ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int fs_write(sqlite3_file *base, const void *bytes, int n, sqlite3_int64 offset) {
    FsFile *f = &((Handle *)base)->inode->file;
    if (fails(FS_WRITE)) {
        return fault.full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    note(FS_WRITE, f->name, (size_t)offset, bytes, (size_t)n);
    fs_file_write(f, (size_t)offset, bytes, (size_t)n);
    return SQLITE_OK;
}

static int fs_truncate(sqlite3_file *base, sqlite3_int64 size) {
    FsFile *f = &((Handle *)base)->inode->file;
    if (fails(FS_TRUNCATE)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    note(FS_TRUNCATE, f->name, (size_t)size, NULL, 0);
    fs_file_truncate(f, (size_t)size);
    return SQLITE_OK;
}

static int fs_sync(sqlite3_file *base, int flags) {
    (void)flags;
    if (fails(FS_SYNC)) {
        return SQLITE_IOERR_FSYNC;
    }
    note(FS_SYNC, ((Handle *)base)->inode->file.name, 0, NULL, 0);
    return SQLITE_OK;
}

static int fs_size(sqlite3_file *base, sqlite3_int64 *out) {
    if (fails(FS_SIZE)) {
        return SQLITE_IOERR_FSTAT;
    }
    *out = (sqlite3_int64)((Handle *)base)->inode->file.size;
    return SQLITE_OK;
}

static int fs_lock(sqlite3_file *base, int level) {
    Handle *h = (Handle *)base;
    Inode *i = h->inode;
    if (fails(FS_LOCK)) {
        return SQLITE_IOERR_LOCK;
    }
    if (h->lock < SQLITE_LOCK_SHARED) {
        if (i->pending || i->exclusive) {
            return SQLITE_BUSY;
        }
        i->shared++;
        h->lock = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED && h->lock < SQLITE_LOCK_RESERVED) {
        if (i->reserved) {
            return SQLITE_BUSY;
        }
        i->reserved = 1;
        h->lock = SQLITE_LOCK_RESERVED;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE && h->lock < SQLITE_LOCK_EXCLUSIVE) {
        i->pending = 1;
        h->lock = SQLITE_LOCK_PENDING;
        if (i->shared > 1) {
            return SQLITE_BUSY;
        }
        i->exclusive = 1;
        h->lock = SQLITE_LOCK_EXCLUSIVE;
    }
    return SQLITE_OK;
}

static int fs_unlock(sqlite3_file *base, int level) {
    Handle *h = (Handle *)base;
    Inode *i = h->inode;
    if (h->lock >= SQLITE_LOCK_RESERVED && level < SQLITE_LOCK_RESERVED) {
        i->reserved = 0;
        i->pending = h->lock >= SQLITE_LOCK_PENDING ? 0 : i->pending;
        i->exclusive = h->lock == SQLITE_LOCK_EXCLUSIVE ? 0 : i->exclusive;
    }
    if (h->lock >= SQLITE_LOCK_SHARED && level == SQLITE_LOCK_NONE) {
        i->shared--;
    }
    h->lock = level < h->lock ? level : h->lock;
    return SQLITE_OK;
}

static int fs_check_reserved(sqlite3_file *base, int *out) {
    if (fails(FS_LOCK)) {
        return SQLITE_IOERR_CHECKRESERVEDLOCK;
    }
    *out = ((Handle *)base)->inode->reserved;
    return SQLITE_OK;
}

static int fs_control(sqlite3_file *base, int op, void *arg) {
    (void)base;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int powersafe = 1; /* as the unix VFS says */

void fs_powersafe(int yes) {
    powersafe = yes;
}

static int fs_sector_size(sqlite3_file *base) {
    (void)base;
    return FS_SECTOR;
}

static int fs_characteristics(sqlite3_file *base) {
    (void)base;
    return powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

/* ---- shared memory -------------------------------------------------------------- */

static int fs_shm_map(sqlite3_file *base, int page, int size, int extend,
                      void volatile **out) {
    Handle *h = (Handle *)base;
    Shm *shm = &h->inode->shm;
    *out = NULL;
    if (fails(FS_SHM)) {
        return SQLITE_IOERR_SHMMAP;
    }
    h->inode->shm_users += !h->has_shm;
    h->has_shm = 1;
    while (shm->n_regions <= page) {
        if (!extend || shm->n_regions == 64) {
            return extend ? SQLITE_IOERR_SHMMAP : SQLITE_OK;
        }
        shm->region[shm->n_regions++] = must(calloc(1, (size_t)size));
    }
    *out = shm->region[page];
    return SQLITE_OK;
}

static int fs_shm_lock(sqlite3_file *base, int offset, int n, int flags) {
    Handle *h = (Handle *)base;
    Shm *shm = &h->inode->shm;
    unsigned bits = ((1u << n) - 1) << offset;
    if (flags & SQLITE_SHM_UNLOCK) {
        for (int i = offset; i < offset + n; i++) {
            shm->shared[i] -= (h->shm_shared >> i) & 1;
            shm->exclusive[i] -= (h->shm_exclusive >> i) & 1;
        }
        h->shm_shared &= ~bits;
        h->shm_exclusive &= ~bits;
        return SQLITE_OK;
    }
    if (fails(FS_SHM)) {
        return SQLITE_IOERR_SHMLOCK;
    }
    for (int i = offset; i < offset + n; i++) {
        int mine = (h->shm_shared >> i) & 1;
        if (shm->exclusive[i] ||
            ((flags & SQLITE_SHM_EXCLUSIVE) && shm->shared[i] > mine)) {
            return SQLITE_BUSY;
        }
    }
    unsigned *held = flags & SQLITE_SHM_SHARED ? &h->shm_shared : &h->shm_exclusive;
    int *count = flags & SQLITE_SHM_SHARED ? shm->shared : shm->exclusive;
    for (int i = offset; i < offset + n; i++) {
        count[i] += !((*held >> i) & 1);
    }
    *held |= bits;
    return SQLITE_OK;
}

static void fs_shm_barrier(sqlite3_file *base) {
    (void)base;
}

static int fs_shm_unmap(sqlite3_file *base, int delete) {
    Handle *h = (Handle *)base;
    Inode *i = h->inode;
    if (h->has_shm) {
        fs_shm_lock(base, 0, SQLITE_SHM_NLOCK, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
        h->has_shm = 0;
        i->shm_users--;
    }
    if (i->shm_users == 0 || delete) {
        for (int r = 0; i->shm_users == 0 && r < i->shm.n_regions; r++) {
            free(i->shm.region[r]);
        }
        i->shm.n_regions = i->shm_users == 0 ? 0 : i->shm.n_regions;
    }
    return SQLITE_OK;
}

/* A page that is "mapped" is a copy of its own, so that a sanitizer sees who reads past it. */
static struct {
    unsigned char *data;
    size_t offset, n;
} mapped[FS_MAX_MAPPED];

static int fs_fetch(sqlite3_file *base, sqlite3_int64 offset, int n, void **out) {
    const FsFile *f = &((Handle *)base)->inode->file;
    int i = 0;
    *out = NULL;
    while (i < FS_MAX_MAPPED && mapped[i].data != NULL) {
        i++;
    }
    if (i < FS_MAX_MAPPED && (size_t)offset + (size_t)n <= f->size) {
        mapped[i].data = must(malloc((size_t)n));
        memcpy(mapped[i].data, f->data + offset, (size_t)n);
        mapped[i].offset = (size_t)offset;
        mapped[i].n = (size_t)n;
        *out = mapped[i].data;
    }
    return SQLITE_OK;
}

static int fs_unfetch(sqlite3_file *base, sqlite3_int64 offset, void *data) {
    (void)base;
    (void)offset;
    for (int i = 0; i < FS_MAX_MAPPED && data != NULL; i++) {
        if (mapped[i].data == data) {
            free(data);
            mapped[i].data = NULL;
        }
    }
    return SQLITE_OK;
}

int fs_mapped(const void *p, size_t *offset) {
    int n = 0;
    for (int i = 0; i < FS_MAX_MAPPED; i++) {
        uintptr_t from = (uintptr_t)mapped[i].data, at = (uintptr_t)p;
        n += mapped[i].data != NULL;
        if (mapped[i].data != NULL && at >= from && at < from + mapped[i].n &&
            p != NULL) {
            *offset = mapped[i].offset + (size_t)(at - from);
            return 1;
        }
    }
    return p == NULL ? n : 0;
}

static int fs_close(sqlite3_file *base) {
    Handle *h = (Handle *)base;
    fs_shm_unmap(base, 0);
    fs_unlock(base, SQLITE_LOCK_NONE);
    h->inode->handles--;
    if (h->delete_on_close && h->inode->linked) {
        unlink_inode(h->inode);
    } else if (!h->inode->linked && h->inode->handles == 0) {
        inode_free(h->inode);
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 3,
    .xClose = fs_close,
    .xRead = fs_read,
    .xWrite = fs_write,
    .xTruncate = fs_truncate,
    .xSync = fs_sync,
    .xFileSize = fs_size,
    .xLock = fs_lock,
    .xUnlock = fs_unlock,
    .xCheckReservedLock = fs_check_reserved,
    .xFileControl = fs_control,
    .xSectorSize = fs_sector_size,
    .xDeviceCharacteristics = fs_characteristics,
    .xShmMap = fs_shm_map,
    .xShmLock = fs_shm_lock,
    .xShmBarrier = fs_shm_barrier,
    .xShmUnmap = fs_shm_unmap,
    .xFetch = fs_fetch,
    .xUnfetch = fs_unfetch,
};

/* ---- methods of the file system ------------------------------------------------- */

static int fs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                   int *out_flags) {
    (void)vfs;
    Handle *h = (Handle *)base;
    memset(h, 0, sizeof *h);
    if (fails(FS_OPEN)) {
        return SQLITE_CANTOPEN;
    }
    Inode *inode = name == NULL ? NULL : find(name);
    if (inode == NULL && !(flags & SQLITE_OPEN_CREATE)) {
        return SQLITE_CANTOPEN;
    }
    h->inode = inode == NULL ? inode_new(name) : inode;
    h->inode->handles++;
    h->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    h->base.pMethods = &methods;
    if (out_flags != NULL) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

static int fs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory) {
    (void)vfs;
    if (fails(FS_DELETE)) {
        return SQLITE_IOERR_DELETE;
    }
    Inode *inode = find(name);
    if (inode == NULL) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    note(FS_DELETE, name, (size_t)sync_directory, NULL, 0);
    unlink_inode(inode);
    return SQLITE_OK;
}

static int fs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    (void)vfs;
    (void)flags;
    if (fails(FS_ACCESS)) {
        return SQLITE_IOERR_ACCESS;
    }
    Inode *inode = find(name);
    *out = inode != NULL && (inode->file.size > 0 || flags == SQLITE_ACCESS_READWRITE);
    return SQLITE_OK;
}

static int fs_full_pathname(sqlite3_vfs *vfs, const char *name, int n, char *out) {
    (void)vfs;
    snprintf(out, (size_t)n, "%s", name);
    return SQLITE_OK;
}

static int fs_randomness(sqlite3_vfs *vfs, int n, char *out) {
    (void)vfs;
    memset(out, 42, (size_t)n); /* every run is the same */
    return n;
}

static int fs_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int fs_time(sqlite3_vfs *vfs, double *out) {
    (void)vfs;
    *out = 2460000.5;
    return SQLITE_OK;
}

static int fs_last_error(sqlite3_vfs *vfs, int n, char *out) {
    (void)vfs;
    (void)n;
    (void)out;
    return 0;
}

void fs_register(void) {
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(Handle),
        .mxPathname = 60,
        .zName = "memfs",
        .xOpen = fs_open,
        .xDelete = fs_delete,
        .xAccess = fs_access,
        .xFullPathname = fs_full_pathname,
        .xRandomness = fs_randomness,
        .xSleep = fs_sleep,
        .xCurrentTime = fs_time,
        .xGetLastError = fs_last_error,
    };
    sqlite3_vfs_register(&vfs, 1);
}
