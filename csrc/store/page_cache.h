/*
 * A page cache: pages that the graphs of several connections of one process share, so that each
 * is in memory once.
 *
 * All pages of a graph that has a page cache lie on it. A page is first its taker's alone, who
 * may write it. Offered, it is *listed* under a key (kind, number, and what tells versions
 * of it apart) and can be found; from then on its bytes do not change. Pages are offered
 * when they were read for reading, when they were written to disk by a checkpoint, and when a
 * log that others replay as well has changed them; not while a writer changes them.
 *
 * A graph reads a page as if it were alone: the stored bytes, their checksum, the edits of
 * the log, the bounds of every slot. Only then it offers the page. If the page cache lists one
 * under that key *with the same bytes*, the graph takes that one and gives its own back.
 *
 * So a page cache is never asked what a page holds, it only spares the second copy of what the
 * graph knows already. Key, version, stamp, file name and checksum are hints of where to
 * look: were all of them equal by accident or by design (another file under the same name,
 * a version that was rolled back and written again, a forged checksum), the bytes would
 * still differ and the page would stay the graph's own. Nothing unverified is listed, and
 * nothing listed could harm a graph, which has verified the same bytes itself.
 *
 * Invariants
 *   - A listed page does not change, nor does its key; only its note may be set. A writer
 *     copies it first (vs_table_own), as it does with every page that others hold.
 *   - `holders` counts the leaves that point to the page, of any graph and snapshot. Who
 *     holds it may add a holder without the lock. It becomes 0 under the lock only, and the
 *     page goes then; one that is found under the lock therefore has a holder.
 *   - A page that is not listed is touched by its taker's thread only.
 *
 * Locking. One lock for all page caches of the library, the owner's. It is held for a look into
 * the table, and for the arena; never while bytes are compared or copied, and never while
 * SQLite is called: what it covers calls only the allocator. So no order of locks exists
 * that could be wrong.
 *
 * Memory comes from the allocator that the page cache was made with: any thread may give it back,
 * so it must be one for all threads (malloc; not that of a connection). Each page cache has
 * arenas of its own; when the last connection has left and the last page is gone, all of it
 * is given back. Where it has none a page lies in the memory of its graph, as without a
 * page cache.
 */
#ifndef VS_STORE_PAGE_CACHE_H
#define VS_STORE_PAGE_CACHE_H

#include "csrc/store/pages.h"
#include "csrc/base/threads.h"

/* For pages of these geometries (VS_PAGE_KINDS of them); NULL: out of memory. */
VsPageCache *vs_page_cache_new(const VsAlloc *a, VsLock *lock, const VsGeometry *geo);
/* Its owner is done with it: the page cache goes with its last page. */
void vs_page_cache_close(VsPageCache *page_cache);
/* 1 if pages of those geometries belong on it. */
int vs_page_cache_fits(const VsPageCache *page_cache, const VsGeometry *geo);

/* How many graphs use it: kept by the owner, for whoever asks if copying pays. */
void vs_page_cache_set_users(VsPageCache *page_cache, int n);
int vs_page_cache_users(VsPageCache *page_cache);
/* Pages that others can find. */
size_t vs_page_cache_count(VsPageCache *page_cache);

/* The key of a page: `crc` of its stored form, `ver` of the last edit laid over that (0:
 * none). With edits the checksum adds nothing. */
uint64_t vs_page_cache_key(VsPageKind kind, uint32_t page, uint32_t crc, uint64_t ver);

/* How many pages of a kind the file has (vs_arena_expect). */
void vs_page_cache_expect(VsPageCache *page_cache, VsPageKind kind, uint32_t pages);

/* A new zeroed page with one holder, to be filled; NULL: out of memory. */
unsigned char *vs_page_cache_page(VsPageCache *page_cache, VsPageKind kind);
/* Offers a filled page of this page cache, and gives the one to be used in its place: with the
 * same bytes. The reference goes with it. */
unsigned char *vs_page_cache_offer(VsPageCache *page_cache, VsPageKind kind, uint64_t key,
                                   unsigned char *page);
/* The same with a copy of the first `count` slots of a page of any origin, which is left
 * as it is; NULL: out of memory. vs_table_share is what graphs use. */
unsigned char *vs_page_cache_offer_copy(VsPageCache *page_cache, VsPageKind kind,
                                        uint64_t key, const unsigned char *slots,
                                        uint32_t count);

/* One holder more, one less: by vs_page_hold and vs_page_release only. */
void vs_page_cache_hold(unsigned char *page);
void vs_page_cache_release(unsigned char *page);

#endif
