/*
 * Risk: a statement that a limit of SQLite stops is half done, or a transaction commits an
 * index that lacks a part.
 *
 *     limits [quick|full [case]]
 *
 * Every case runs with each sqlite3_limit at its smallest, and at values between that and
 * what the case needs: on a connection that opens with the limit, and on one that has
 * prepared its statements before. With LENGTH, rows of the log, pages and models are too
 * long one after the other.
 */
#include <stdio.h>
#include <string.h>

#include "fixture.h"

static const struct {
    const char *name;
    int id;
} limits[] = {
    {"LENGTH", SQLITE_LIMIT_LENGTH},
    {"SQL_LENGTH", SQLITE_LIMIT_SQL_LENGTH},
    {"COLUMN", SQLITE_LIMIT_COLUMN},
    {"EXPR_DEPTH", SQLITE_LIMIT_EXPR_DEPTH},
    {"COMPOUND_SELECT", SQLITE_LIMIT_COMPOUND_SELECT},
    {"VDBE_OP", SQLITE_LIMIT_VDBE_OP},
    {"FUNCTION_ARG", SQLITE_LIMIT_FUNCTION_ARG},
    {"ATTACHED", SQLITE_LIMIT_ATTACHED},
    {"LIKE_PATTERN_LENGTH", SQLITE_LIMIT_LIKE_PATTERN_LENGTH},
    {"VARIABLE_NUMBER", SQLITE_LIMIT_VARIABLE_NUMBER},
    {"TRIGGER_DEPTH", SQLITE_LIMIT_TRIGGER_DEPTH},
    {"WORKER_THREADS", SQLITE_LIMIT_WORKER_THREADS},
};
#define N_LIMITS (int)(sizeof limits / sizeof *limits)

/* Each step is a third more than the one before. */
static const int values_full[] = {0,   1,   2,   3,   4,   6,   8,   11,   15,   20,
                                  27,  36,  48,  64,  85,  113, 130, 151,  180,  201,
                                  260, 330, 401, 470, 540, 700, 950, 1300, 2000, 5000};
static const int values_quick[] = {0, 3, 11, 36, 130, 260, 470, 700, 2000};

/* 1 if the limit stopped a statement. */
static int point(const FsImage *image, const Case *c, int limit, int value, int warm,
                 long *failures) {
    Run run, unused;
    char where[80];
    fs_restore(image);
    sqlite3 *db = fixture_must_open();
    if (warm) { /* the statements are prepared, and nothing stays */
        must_exec(db, "SAVEPOINT warm");
        for (int i = 0; i < MAX_STEPS && c->sql[i] != NULL; i++) {
            if (strncmp(c->sql[i], "SELECT", 6) == 0) {
                run_case(db, c, 1u << i, &unused);
            }
        }
        must_exec(db, "ROLLBACK TO warm; RELEASE warm");
    }
    int before = sqlite3_limit(db, limits[limit].id, value);
    run_case(db, c, ~0u, &run);
    sqlite3_limit(db, limits[limit].id, before);
    snprintf(where, sizeof where, "%s %d, %s", limits[limit].name, value,
             warm ? "warm" : "cold");
    *failures += judge(where, image, c, &run, db, 0);
    return run.rc != SQLITE_OK;
}

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    const int *value = quick ? values_quick : values_full;
    int n_values = (int)(quick ? sizeof values_quick / sizeof *values_quick
                               : sizeof values_full / sizeof *values_full);
    long points = 0, stopped = 0, failures = 0;
    FsImage image;
    fixture_start();
    fixture_image("delete", &image);
    for (int i = 0; i < n_cases; i++) {
        if (argc > 2 && strcmp(argv[2], cases[i].name) != 0) {
            continue;
        }
        replay_reset();
        for (int limit = 0; limit < N_LIMITS; limit++) {
            for (int k = 0; k < n_values && failures < 20; k++) {
                int warm = (i + k) % 2;
                if (quick && k > 0 && limit > 0 && (i + k + limit) % 4 != 0) {
                    continue;
                }
                stopped += point(&image, &cases[i], limit, value[k], warm, &failures);
                points++;
            }
        }
    }
    fs_image_free(&image);
    printf("limits: %ld runs, %ld stopped by the limit, %ld failures\n", points, stopped,
           failures);
    return failures != 0;
}
