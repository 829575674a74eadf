/*
 * Risk: an interrupted statement is half done.
 *
 *     interrupt [quick|full [case]]
 *
 * A progress handler interrupts every case after 1, 2, 3, ... instructions of SQLite's
 * virtual machine, our own statements on shadow tables included. (SQLite may also say
 * "interrupted" of a statement that it has just completed.) What is in between, in
 * the loops of the core, tests/query/test_interrupt.py reaches with sqlite3_interrupt.
 */
#include <stdio.h>
#include <string.h>

#include "fixture.h"

#define POINTS_QUICK 30
#define POINTS_FULL 900

static long countdown, calls;

static int progress(void *arg) {
    (void)arg;
    calls++;
    return countdown-- == 0;
}

static sqlite3 *begin(const FsImage *image, long after) {
    fs_restore(image);
    sqlite3 *db = fixture_must_open();
    countdown = after;
    calls = 0;
    sqlite3_progress_handler(db, 1, progress, NULL);
    return db;
}

static int point(const FsImage *image, const Case *c, long after, long *failures) {
    Run run;
    char where[64];
    sqlite3 *db = begin(image, after);
    run_case(db, c, ~0u, &run);
    int hit = countdown < 0;
    sqlite3_progress_handler(db, 0, NULL, NULL);
    snprintf(where, sizeof where, "interrupted at instruction %ld", after);
    *failures += judge(where, image, c, &run, db, 1);
    return hit;
}

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    long points = 0, failures = 0;
    FsImage image;
    fixture_start();
    fixture_image("delete", &image);
    for (int i = 0; i < n_cases; i++) {
        Run run;
        if (argc > 2 && strcmp(argv[2], cases[i].name) != 0) {
            continue;
        }
        replay_reset();
        sqlite3 *db = begin(&image, -1);
        run_case(db, &cases[i], ~0u, &run);
        sqlite3_close(db);
        long step = calls / (quick ? POINTS_QUICK : POINTS_FULL) + 1;
        for (long k = quick ? i % step : 0;
             failures < 20 && point(&image, &cases[i], k, &failures); k += step) {
            points++;
        }
    }
    fs_image_free(&image);
    printf("interrupt: %ld interrupted statements, %ld failures\n", points, failures);
    return failures != 0;
}
