/*
 * Risk: rows are fetched in vain, or by reading what is not to be read.
 *
 *     fetch [quick|full]
 *
 * ext/query/row_prefetch.c with a prefetch that takes notes, on real databases. First that every
 * line of the rows is asked for: nothing else would notice if it were not, but the time.
 * Then that b-tree pages of any content lead to no read outside a page (each "mapped" page
 * of the memory file system is an allocation of its own: AddressSanitizer sees it), and
 * that no page is touched that the snapshot does not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static void note_prefetch(const volatile void *p);

#define VS_PREFETCH_FAR(p) note_prefetch(p)
#define vsx_rows_prefetch rows_prefetch
#include "ext/query/row_prefetch.c"
#undef vsx_rows_prefetch

#define DIMS 32
#define BYTES (DIMS * 4)
#define BATCH 10
#define ROUNDS 10

static size_t note[1 << 16], notes, pages_seen;
static long failures;

static void note_prefetch(const volatile void *p) {
    size_t offset = 0;
    if (fs_mapped((const void *)(uintptr_t)p, &offset) && notes < 1 << 16) {
        note[notes++] = offset;
    }
}

static void check(int ok, const char *claim, const char *where) {
    if (!ok && failures++ < 20) {
        printf("%s: not %s\n", where, claim);
    }
}

static VsxVector *vector_of(sqlite3 *db) {
    sqlite3_stmt *stmt = NULL; /* that is prepared connects the table */
    sqlite3_prepare_v2(db, "SELECT id FROM f", -1, &stmt, NULL);
    sqlite3_finalize(stmt);
    VsxGlobal *global = (VsxGlobal *)(uintptr_t)vsx_global_find(db);
    VsxIndex *index = vsx_index_find(global, "main", "f");
    return index == NULL ? NULL : &index->vector[0];
}

/* Rows first, first + step, ...; the vector of a row says its rowid over and over. */
static void fill(sqlite3 *db, sqlite3_int64 first, sqlite3_int64 step, int rows) {
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(db, "INSERT INTO f(id, embedding, body) VALUES (?1, ?2, ?3)", -1,
                       &stmt, NULL);
    must_exec(db, "BEGIN");
    for (int i = 0; i < rows; i++) {
        float v[DIMS];
        for (int d = 0; d < DIMS; d++) {
            v[d] = (float)(first + i * step) + (float)d / DIMS;
        }
        sqlite3_bind_int64(stmt, 1, first + i * step);
        sqlite3_bind_blob(stmt, 2, v, sizeof v, SQLITE_TRANSIENT);
        sqlite3_bind_null(stmt, 3);
        if (sqlite3_step(stmt) != SQLITE_DONE) {
            fixture_fatal("insert", sqlite3_errmsg(db));
        }
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    must_exec(db, "COMMIT");
}

static sqlite3 *make(int page_size, const char *pragmas) {
    FsImage none = {.n = 0};
    fs_restore(&none);
    sqlite3 *db = fixture_must_open(); /* and now sqlite3_mprintf is there */
    char *sql = sqlite3_mprintf(
        "PRAGMA page_size = %d; %s;"
        "CREATE VIRTUAL TABLE f USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[%d] "
        "index=flat codec=sq8, +body TEXT)",
        page_size, pragmas, DIMS);
    must_exec(db, sql);
    sqlite3_free(sql);
    return db;
}

static int noted(size_t offset) {
    for (size_t i = 0; i < notes; i++) {
        if (offset >= note[i] && offset - note[i] < LINE) {
            return 1;
        }
    }
    return 0;
}

/* 1 if all of the vector of a row was fetched. Where a page was split there are copies
 * that are no rows any more. */
static int fetched(const FsFile *file, sqlite3_int64 rowid) {
    float v[2] = {(float)rowid, (float)rowid + 1.0f / DIMS};
    for (size_t at = 0; at + BYTES <= file->size; at++) {
        if (memcmp(file->data + at, v, sizeof v) == 0) {
            size_t byte = 0;
            while (byte < BYTES && noted(at + byte)) {
                byte++;
            }
            if (byte == BYTES) {
                return 1;
            }
        }
    }
    return 0;
}

/* Prefetches rows within a read transaction. */
static int prefetch_rows(sqlite3 *db, const sqlite3_int64 *rowid, size_t n) {
    notes = 0;
    must_exec(db, "BEGIN; SELECT count(*) FROM f_config");
    int rc = rows_prefetch(vector_of(db), rowid, n);
    must_exec(db, "COMMIT");
    check(fs_mapped(NULL, NULL) == 0, "every page given back", "fetch");
    for (size_t i = 0; i < notes; i++) {
        pages_seen = note[i] > pages_seen ? note[i] : pages_seen;
    }
    return rc;
}

/* Of rowids with gaps nearly all: which cell of the last leaf it is cannot be guessed. */
static void test_every_line_of_the_rows_is_fetched(int page_size, sqlite3_int64 first,
                                                   sqlite3_int64 step, int rows) {
    int missing = 0;
    char where[64];
    FsImage image;
    snprintf(where, sizeof where, "pages of %d, rows %lld by %lld", page_size,
             (long long)first, (long long)step);
    sqlite3 *db = make(page_size, "");
    fill(db, first, step, rows);
    sqlite3_close(db);
    fs_save(&image);
    db = fixture_must_open();
    for (int round = 0; round < ROUNDS; round++) {
        sqlite3_int64 rowid[BATCH];
        for (int i = 0; i < BATCH; i++) {
            rowid[i] = first + step * ((round * 7919 + i * 104729) % rows);
        }
        check(prefetch_rows(db, rowid, BATCH) == SQLITE_OK, "without an error", where);
        for (int i = 0; i < BATCH; i++) {
            missing += !fetched(&image.file[0], rowid[i]);
        }
    }
    check(missing <= (step == 1 ? 0 : ROUNDS * BATCH / 20), "every line of the rows",
          where);
    sqlite3_close(db);
    fs_image_free(&image);
}

/* Pages of the row table are overwritten with anything; rows are asked for. */
static void test_pages_of_any_content(int rounds) {
    FsImage image, damaged;
    sqlite3 *db = make(512, "");
    fill(db, 1, 1, 3000);
    sqlite3_close(db);
    fs_save(&image);
    srand(1);
    for (int round = 0; round < rounds; round++) {
        sqlite3_int64 rowid[BATCH];
        fs_restore(&image);
        fs_save(&damaged);
        FsFile *file = &damaged.file[0];
        size_t n_pages = file->size / 512;
        for (int hit = 0; hit < 40; hit++) { /* not the schema */
            size_t page = 12 + (size_t)rand() % (n_pages - 12), at = (size_t)rand() % 512;
            unsigned char *data = file->data + page * 512;
            unsigned char was = data[0];
            if (rand() % 3 == 0) {
                at = (size_t)rand() % 16;
            }
            if (was == INTERIOR || was == LEAF) {
                data[at] = (unsigned char)(rand() % 2 ? rand() : 255);
                data[0] = rand() % 8 ? was : (unsigned char)rand();
            }
        }
        fs_restore(&damaged);
        fs_image_free(&damaged);
        db = fixture_must_open();
        for (int i = 0; i < BATCH; i++) {
            rowid[i] = (sqlite3_int64)rand() % 4000;
        }
        rowid[0] = INT64_MAX;
        rowid[1] = INT64_MIN;
        prefetch_rows(db, rowid, BATCH);
        sqlite3_close(db);
    }
    fs_image_free(&image);
}

/* The WAL holds a smaller database than the file still does. */
static void test_no_page_beyond_the_snapshot(void) {
    sqlite3_int64 rowid[BATCH];
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = make(512, "PRAGMA auto_vacuum = FULL; PRAGMA journal_mode = WAL; "
                            "PRAGMA wal_autocheckpoint = 0");
    must_exec(db, "CREATE TABLE large AS SELECT zeroblob(1000000)");
    fill(db, 1, 1, 3000); /* so the rows are behind that */
    must_exec(
        db,
        "PRAGMA wal_checkpoint; DELETE FROM large; DELETE FROM f_rows WHERE rowid > 100");
    sqlite3_prepare_v2(db, "PRAGMA page_count", -1, &stmt, NULL);
    sqlite3_step(stmt);
    size_t pages = (size_t)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    for (int i = 0; i < BATCH; i++) {
        rowid[i] = 1 + i * 299;
    }
    pages_seen = 0;
    prefetch_rows(db, rowid, BATCH);
    check(pages_seen > 0, "something fetched", "after a deletion");
    check(pages_seen < pages * 512, "within the snapshot", "after a deletion");
    sqlite3_close(db);
}

static void test_nothing_is_done_while_writing(void) {
    sqlite3_int64 rowid[2] = {1, 900};
    sqlite3 *db = make(512, "");
    fill(db, 1, 1, 1000);
    must_exec(db, "BEGIN IMMEDIATE");
    notes = 0;
    check(rows_prefetch(vector_of(db), rowid, 2) == SQLITE_OK && notes == 0, "nothing",
          "while writing");
    must_exec(db, "COMMIT");
    check(rows_prefetch(vector_of(db), rowid, 2) == SQLITE_OK && notes == 0, "nothing",
          "outside a transaction");
    prefetch_rows(db, rowid, 2);
    check(notes > 0, "fetched", "while reading");
    sqlite3_close(db);
}

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    fixture_start();
    test_every_line_of_the_rows_is_fetched(512, 1, 1, 3000);
    test_every_line_of_the_rows_is_fetched(4096, 1, 1, 8000);
    test_every_line_of_the_rows_is_fetched(4096, -5000, 1, 8000);
    test_every_line_of_the_rows_is_fetched(4096, 1000, 7, 8000);
    test_every_line_of_the_rows_is_fetched(65536, 1, 1, 8000);
    test_pages_of_any_content(quick ? 300 : 10000);
    test_no_page_beyond_the_snapshot();
    test_nothing_is_done_while_writing();
    printf("fetch: %ld failures\n", failures);
    return failures != 0;
}
