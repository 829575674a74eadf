/*
 * Risk: the power goes, and a commit that was acknowledged is lost, or the index is not
 * that of the rows.
 *
 *     powerloss [quick|full]
 *
 * A workload is recorded: every write, truncation, sync and deletion, and a mark after
 * each commit. Then the power goes after every operation, several times each. What a sync
 * has not reached may be gone: all of it, all but a beginning, any part of it, or any
 * sectors of it; sectors may be written in part, or hold garbage. Each such state is opened
 * as SQLite would open it after the restart; it must hold exactly the commits that were
 * acknowledged, or the one besides that was under way, with every check of fixture.h
 * passed.
 *
 * The model: a file's content is durable after its sync, a deletion at once (so the
 * rollback journal is used with synchronous=EXTRA, which syncs the directory). What SQLite
 * assumes of a sector (https://sqlite.org/atomiccommit.html, 3.1 and 9): it is written from
 * one end to the other, and the power may go in between; by default (POWERSAFE_OVERWRITE)
 * no byte changes beside those that were written; where a device does not say so, whole
 * sectors may be lost, those of bytes that were synced before, too. Garbage is more than
 * that: SQLite expects it where a file has grown, and survives it anywhere in a write. With
 * synchronous=NORMAL in WAL mode commits may be lost, the latest first.
 *
 * The controls, without which this test tests nothing: with synchronous=OFF, and on a
 * device that loses whole sectors without saying so, the database must be found broken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define SMALL_SECTOR 512
#define MAX_COMMITS 64
#define MAX_PENDING 4096

typedef enum Promise { DURABLE, CONSISTENT, NOTHING } Promise;
/* What the power may take: bytes that were being written; their whole sectors; or these,
 * while the device says that it would not. */
typedef enum Device { SAFE, UNSAFE, LIES } Device;

typedef struct Setting {
    const char *journal, *synchronous;
    Promise promise;
    Device device;
} Setting;

static const Setting settings[] = {
    {"delete", "EXTRA", DURABLE, SAFE},  {"truncate", "FULL", DURABLE, SAFE},
    {"persist", "FULL", DURABLE, SAFE},  {"wal", "FULL", DURABLE, SAFE},
    {"wal", "NORMAL", CONSISTENT, SAFE}, {"delete", "EXTRA", DURABLE, UNSAFE},
    {"wal", "FULL", DURABLE, UNSAFE},    {"delete", "OFF", NOTHING, SAFE},
    {"delete", "EXTRA", NOTHING, LIES},
};

/* One commit each. */
static const char *const workload[] = {
    "INSERT INTO t(id, embedding, tag) VALUES(100, '[1,2,3]', 'x')",
    "INSERT INTO t(id, embedding) VALUES(101, '[1,2,4]')",
    "BEGIN; INSERT INTO t(id, embedding) VALUES(102, '[5,2,4]'); DELETE FROM t WHERE id "
    "= 4;"
    "SAVEPOINT s; DELETE FROM t WHERE id < 10; ROLLBACK TO s;"
    "INSERT INTO f(embedding) VALUES('[2,2,2]'); COMMIT",
    "UPDATE t SET embedding = '[6,6,6]' WHERE id = 5",
    "UPDATE t SET tag = 'new' WHERE id = 6",
    "UPDATE docs SET embedding = vec_f32('[1,1,1]') WHERE id = 3",
    "DELETE FROM docs WHERE id = 4",
    "BEGIN; DELETE FROM t WHERE id > 30; ROLLBACK",
    "WITH RECURSIVE n(i) AS (SELECT 200 UNION ALL SELECT i + 1 FROM n WHERE i < 260) "
    "INSERT INTO t(id, embedding) SELECT i, printf('[%d,%d,%d]', i % 7, i % 11, i % 13) "
    "FROM n",
    "INSERT INTO t(t) VALUES('optimize')",
    "INSERT INTO t(id, embedding) VALUES(300, '[1,2,3]')",
    "DELETE FROM t WHERE id BETWEEN 210 AND 220",
    "INSERT INTO t(t) VALUES('rebuild')",
    "DELETE FROM t WHERE id = 300",
    "CREATE VIRTUAL TABLE n USING vecsql(embedding FLOAT[3] codec=sq8 m=4)",
    "INSERT INTO n(rowid, embedding) VALUES(1, '[1,2,3]')",
    "DROP TABLE w",
    "VACUUM",
    "INSERT INTO t(id, embedding) VALUES(301, '[1,2,3]')",
    0,
};

typedef struct Story {
    FsImage before;
    FsRecord record;
    uint64_t after[MAX_COMMITS]; /* contents after that many commits */
    size_t n_commits;
} Story;

static uint64_t digest_now(sqlite3 *db) {
    int rc = SQLITE_OK;
    uint64_t h = contents(db, &rc);
    if (rc != SQLITE_OK) {
        fixture_fatal("workload", sqlite3_errmsg(db));
    }
    return h;
}

static void record_story(const Setting *s, Story *story) {
    char sql[64];
    fs_powersafe(s->device != UNSAFE);
    fixture_image(s->journal, &story->before);
    sqlite3 *db = fixture_must_open();
    snprintf(sql, sizeof sql, "PRAGMA synchronous = %s", s->synchronous);
    must_exec(db, sql);
    must_exec(db, "PRAGMA cache_size = 10");
    must_exec(db, "PRAGMA wal_autocheckpoint = 60");
    snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s", s->journal);
    must_exec(db, sql);
    story->after[0] = digest_now(db);
    fs_record(&story->record);
    for (size_t i = 0; workload[i] != NULL; i++) {
        must_exec(db, workload[i]);
        story->n_commits++;
        story->after[i + 1] = digest_now(db);
        fs_mark(i + 1);
    }
    fs_record(NULL);
    sqlite3_close(db);
}

/* ---- the disk ------------------------------------------------------------------- */

typedef struct Disk {
    FsImage durable;
    const FsOp *pending[MAX_PENDING]; /* in order */
    size_t n_pending;
    size_t acknowledged;
} Disk;

static uint64_t random_state;

static uint64_t random_next(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void image_delete(FsImage *image, const char *name) {
    for (int i = 0; i < image->n; i++) {
        if (strcmp(image->file[i].name, name) == 0) {
            free(image->file[i].data);
            image->file[i] = image->file[--image->n];
        }
    }
}

static void apply(FsImage *image, const FsOp *op) {
    FsFile *f = fs_image_file(image, op->name);
    if (op->kind == FS_TRUNCATE) {
        fs_file_truncate(f, op->offset);
    } else {
        fs_file_write(f, op->offset, op->bytes, op->n);
    }
}

/* What is left when the power goes now: of what a sync has not reached nothing, all, the
 * beginning, any operations; or of every sector of each write all or nothing, a beginning
 * or an end (of 512 bytes or 4,096), garbage. */
typedef enum Loss { LOST, KEPT, PREFIX, SUBSET, SECTORS, TORN, TORN_LARGE, GARBAGE } Loss;
enum { LOSSES = GARBAGE + 1 };

static void write_garbage(FsFile *f, size_t from, size_t end) {
    for (size_t i = from; i < end; i++) {
        f->data[i] = (unsigned char)random_next();
    }
}

/* A part of one sector. `unsafe`: garbage takes the whole of it. */
static void apply_piece(FsFile *f, size_t at, const unsigned char *bytes, size_t n,
                        Loss loss, int unsafe) {
    uint64_t toss = random_next();
    size_t cut = random_next() % (n + 1), start = at / FS_SECTOR * FS_SECTOR;
    if ((toss & 1) == 0) { /* as a whole or not at all */
        if ((toss & 2) != 0) {
            fs_file_write(f, at, bytes, n);
        }
    } else if (loss == GARBAGE) {
        fs_file_write(f, at, bytes, n);
        write_garbage(f, unsafe ? start : at,
                      unsafe && start + FS_SECTOR < f->size ? start + FS_SECTOR : at + n);
    } else if (loss == SECTORS) {
        fs_file_write(f, at, bytes, (toss & 2) != 0 ? n : 0);
    } else if ((toss & 2) != 0) {
        fs_file_write(f, at, bytes, cut);
    } else {
        fs_file_write(f, at + cut, bytes + cut, n - cut);
    }
}

static void apply_pieces(FsImage *image, const FsOp *op, Loss loss, int unsafe) {
    FsFile *f = fs_image_file(image, op->name);
    size_t sector = loss == SECTORS || loss == TORN ? SMALL_SECTOR : FS_SECTOR;
    for (size_t done = 0, n; done < op->n; done += n) {
        n = sector - (op->offset + done) % sector;
        n = n < op->n - done ? n : op->n - done;
        apply_piece(f, op->offset + done, op->bytes + done, n, loss, unsafe);
    }
}

/* Applies the pending operations on a file (NULL: on any) and forgets them. */
static void settle(Disk *d, const char *name, int keep) {
    size_t left = 0;
    for (size_t i = 0; i < d->n_pending; i++) {
        if (strcmp(d->pending[i]->name, name) != 0) {
            d->pending[left++] = d->pending[i];
        } else if (keep) {
            apply(&d->durable, d->pending[i]);
        }
    }
    d->n_pending = left;
}

static void advance(Disk *d, const FsOp *op) {
    if (op->kind == FS_MARK) {
        d->acknowledged = op->offset;
    } else if (op->kind == FS_SYNC) {
        settle(d, op->name, 1);
    } else if (op->kind == FS_DELETE) {
        settle(d, op->name, 0);
        image_delete(&d->durable, op->name);
    } else if (d->n_pending == MAX_PENDING) { /* a disk writes back by itself, too */
        apply(&d->durable, d->pending[0]);
        memmove(d->pending, d->pending + 1, --d->n_pending * sizeof *d->pending);
        d->pending[d->n_pending++] = op;
    } else {
        d->pending[d->n_pending++] = op;
    }
}

static void crash(const Disk *d, Loss loss, int unsafe, FsImage *out) {
    out->n = 0;
    for (int i = 0; i < d->durable.n; i++) {
        const FsFile *f = &d->durable.file[i];
        fs_file_write(fs_image_file(out, f->name), 0, f->data, f->size);
    }
    size_t end = loss == LOST     ? 0
                 : loss == PREFIX ? random_next() % (d->n_pending + 1)
                                  : d->n_pending;
    for (size_t i = 0; i < end; i++) {
        const FsOp *op = d->pending[i];
        if (loss == SUBSET && random_next() & 1) {
            continue;
        }
        if (loss >= SECTORS && op->kind == FS_WRITE) {
            apply_pieces(out, op, loss, unsafe);
        } else {
            apply(out, op);
        }
    }
}

/* NULL if the state keeps the promise. */
static const char *verdict(const Setting *s, const Story *story, const Disk *d,
                           const FsImage *state) {
    uint64_t got = 0;
    fs_restore(state);
    const char *bad = inspect_files(&got);
    if (bad != NULL) {
        return bad;
    }
    size_t first = s->promise == CONSISTENT ? 0 : d->acknowledged;
    for (size_t i = first; i <= d->acknowledged + 1 && i <= story->n_commits; i++) {
        if (story->after[i] == got) {
            return NULL;
        }
    }
    return "a commit was lost, or is there in part";
}

static void try_setting(const Setting *s, int rounds, long *failures) {
    Story story = {.n_commits = 0};
    Disk d = {.n_pending = 0};
    long states = 0, bad = 0;
    record_story(s, &story);
    for (int i = 0; i < story.before.n; i++) {
        const FsFile *f = &story.before.file[i];
        fs_file_write(fs_image_file(&d.durable, f->name), 0, f->data, f->size);
    }
    for (size_t i = 0; i < story.record.n; i++) {
        advance(&d, &story.record.op[i]);
        for (int round = 0; round < rounds; round++) {
            if (rounds == 1 && i % (s->device == SAFE ? 4 : 12) != 0) {
                continue;
            }
            Loss loss = (Loss)(random_next() % LOSSES);
            FsImage state;
            crash(&d, loss, s->device != SAFE, &state);
            const char *what = verdict(s, &story, &d, &state);
            fs_image_free(&state);
            states++;
            bad += what != NULL;
            if (what != NULL && s->promise != NOTHING && bad < 5) {
                printf("FAILED  %s, synchronous=%s%s, operation %zu of %zu, loss %d, %zu "
                       "acknowledged: %s\n",
                       s->journal, s->synchronous, s->device != SAFE ? ", unsafe" : "", i,
                       story.record.n, (int)loss, d.acknowledged, what);
            }
        }
    }
    static const char *const names[] = {"", "unsafe", "lies"};
    long least = s->device == LIES ? 1 : states / 5;
    int failed = s->promise == NOTHING ? bad < least : bad > 0;
    printf("%-9s synchronous=%-7s%-8s %5zu operations, %6ld states, %ld broken%s\n",
           s->journal, s->synchronous, names[s->device], story.record.n, states, bad,
           s->promise != NOTHING ? ""
           : failed              ? " (too few: the test is blind)"
                                 : " (as it must be)");
    *failures += failed;
    fs_image_free(&story.before);
    fs_image_free(&d.durable);
    fs_record_free(&story.record);
}

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    long failures = 0;
    fixture_start();
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        random_state = i;
        try_setting(&settings[i], quick ? 1 : 4, &failures);
    }
    printf("powerloss: %ld failures\n", failures);
    return failures != 0;
}
