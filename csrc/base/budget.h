/*
 * Memory that the caches of a process take by themselves, beyond what an index needs: one
 * account for all connections.
 *
 * The limit is a sixteenth of the memory of the machine, or of the control group where that
 * has less. A cache asks before it takes, gives back what it frees, and does without where
 * the account refuses.
 */
#ifndef VS_BASE_BUDGET_H
#define VS_BASE_BUDGET_H

#include <stddef.h>

/* Bytes that all caches together may take. */
long long vs_budget_limit(void);
/* 1: `bytes` more were taken; 0: the limit does not allow them. */
int vs_budget_take(size_t bytes);
void vs_budget_give(size_t bytes);

#endif
