/* Running statements; see statement.h. */
#include "ext/table/statement.h"

#include <stdarg.h>
#include <string.h>

/* Whether it changes something whenever it succeeds. */
static int must_write(const char *sql) {
    static const char *const words[] = {"CREATE", "ALTER", "REPLACE", "DROP TABLE"};
    while (*sql == ' ' || *sql == ';') {
        sql++;
    }
    int found = 0;
    for (int i = 0; i < 4; i++) {
        found |= sqlite3_strnicmp(sql, words[i], (int)strlen(words[i])) == 0;
    }
    return found;
}

/* One statement after another. One that an authorizer makes do nothing is an error. */
static int exec_all(sqlite3 *db, const char *sql) {
    int rc = SQLITE_OK;
    for (const char *next = NULL; rc == SQLITE_OK && *sql != '\0'; sql = next) {
        sqlite3_stmt *stmt = NULL;
        rc = sqlite3_prepare_v2(db, sql, -1, &stmt, &next);
        while (stmt != NULL && rc == SQLITE_OK &&
               (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            rc = SQLITE_OK;
        }
        int ignored = rc == SQLITE_DONE && must_write(sql) && sqlite3_stmt_readonly(stmt);
        int final = sqlite3_finalize(stmt);
        rc = ignored ? SQLITE_AUTH : rc == SQLITE_DONE ? final : rc;
    }
    return rc;
}

int vsx_exec(sqlite3 *db, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sql == NULL) {
        return SQLITE_NOMEM;
    }
    int rc = exec_all(db, sql);
    sqlite3_free(sql);
    return rc;
}

int vsx_number(sqlite3_stmt *stmt, int rc, sqlite3_int64 *out) {
    *out = 0;
    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = sqlite3_step(stmt);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    return vsx_reset(stmt, rc);
}

static int prepare(sqlite3 *db, char *sql, sqlite3_stmt **out) {
    int rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v3(db, sql, -1, VSX_NO_VTAB, out, NULL);
    sqlite3_free(sql);
    return rc;
}

int vsx_ask_number(sqlite3 *db, char *sql, sqlite3_int64 *out) {
    sqlite3_stmt *stmt = NULL;
    int rc = prepare(db, sql, &stmt);
    rc = vsx_number(stmt, rc, out);
    sqlite3_finalize(stmt); /* the reset has told its error */
    return rc;
}

int vsx_ask_text(sqlite3 *db, char *sql, char **out) {
    sqlite3_stmt *stmt = NULL;
    int rc = prepare(db, sql, &stmt);
    *out = NULL;
    if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW &&
        sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        *out = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
        rc = *out == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

int vsx_step_with(sqlite3_stmt *stmt, sqlite3_int64 value) {
    int rc = sqlite3_bind_int64(stmt, 1, value);
    return rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
}

int vsx_seen(sqlite3_stmt *stmt, int n, int rc) {
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        return rc;
    }
    for (int i = 0; i < n; i++) {
        if (sqlite3_column_decltype(stmt, i) == NULL) {
            return SQLITE_AUTH;
        }
    }
    return rc;
}

int vsx_write_after(sqlite3_stmt *stmt, int rc) {
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    rc = rc == SQLITE_DONE && sqlite3_stmt_readonly(stmt) ? SQLITE_AUTH : rc;
    rc = vsx_reset(stmt, rc);
    sqlite3_clear_bindings(stmt);
    return rc;
}

int vsx_write(sqlite3_stmt *stmt) {
    return vsx_write_after(stmt, SQLITE_OK);
}

int vsx_reset(sqlite3_stmt *stmt, int rc) {
    int step = sqlite3_reset(stmt);
    return rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE ? rc : step;
}
