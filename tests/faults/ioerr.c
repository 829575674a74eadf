/*
 * Risk: a read, write, sync or lock that fails, or a full disk, leaves a statement half
 * done, or an index in memory that is not the one on disk.
 *
 *     ioerr [quick|full [case]]
 *
 * Every call to the file system of every case fails, alone or with all that follow, with
 * a rollback journal and in WAL mode. The cache is ten pages, so that transactions reach
 * the file long before they commit. A statement that failed at its commit may have
 * committed: then the database must be as if it had succeeded (fixture.h).
 */
#include <stdio.h>
#include <string.h>

#include "fixture.h"

#define POINTS_QUICK 3
#define POINTS_FULL 300

typedef struct Fault {
    const char *name;
    unsigned kinds;
    int full;
} Fault;

static const Fault faults[] = {
    {"read", FS_READ, 0},
    {"write", FS_WRITE, 0},
    {"disk full", FS_WRITE, 1},
    {"sync", FS_SYNC, 0},
    {"truncate, size", FS_TRUNCATE | FS_SIZE, 0},
    {"open, delete, access", FS_OPEN | FS_DELETE | FS_ACCESS, 0},
    {"lock, shared memory", FS_LOCK | FS_SHM, 0},
};

static sqlite3 *begin(const FsImage *image) {
    fs_restore(image);
    sqlite3 *db = fixture_must_open();
    must_exec(db, "PRAGMA cache_size = 10");
    must_exec(db, "PRAGMA wal_autocheckpoint = 20");
    return db;
}

/* The `after`th call fails; 0 if the case made fewer. */
static int point(const FsImage *image, const Case *c, const char *journal, const Fault *f,
                 int persistent, long after, long *failures) {
    Run run;
    char where[120];
    sqlite3 *db = begin(image);
    fs_arm(f->kinds, after, persistent, f->full);
    run_case(db, c, ~0u, &run);
    long hit = fs_disarm();
    snprintf(where, sizeof where, "%s, %s %ld fails %s", journal, f->name, after,
             persistent ? "with all after it" : "once");
    *failures += judge(where, image, c, &run, db, 1);
    return hit > 0;
}

static long count_calls(const FsImage *image, const Case *c, const Fault *f) {
    Run run;
    sqlite3 *db = begin(image);
    fs_arm(f->kinds, 1L << 40, 0, 0);
    run_case(db, c, ~0u, &run);
    long calls = fs_disarm_calls();
    sqlite3_close(db);
    return calls;
}

int main(int argc, char **argv) {
    static const char *const journals[] = {"delete", "wal"};
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    long points = 0, failures = 0;
    fixture_start();
    for (int j = 0; j < 2; j++) {
        FsImage image;
        fixture_image(journals[j], &image);
        for (int i = 0; i < n_cases; i++) {
            if (argc > 2 && strcmp(argv[2], cases[i].name) != 0) {
                continue;
            }
            replay_reset();
            for (size_t f = 0; f < 2 * sizeof faults / sizeof *faults; f++) {
                const Fault *fault = &faults[f / 2];
                long calls = count_calls(&image, &cases[i], fault);
                long step = calls / (quick ? POINTS_QUICK : POINTS_FULL) + 1;
                for (long k = quick ? ((long)f + i) % step : 0; failures < 20;
                     k += step) {
                    if (!point(&image, &cases[i], journals[j], fault, f & 1, k,
                               &failures)) {
                        break;
                    }
                    points++;
                }
            }
        }
        printf("%-8s %ld calls failed so far\n", journals[j], points);
        fs_image_free(&image);
    }
    printf("ioerr: %ld failed calls, %ld failures\n", points, failures);
    return failures != 0;
}
