"""The mutants: one small mistake each, and the test that must notice it (see run.py)."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    killer: str


DISK = [
    Mutant(
        "a page's checksum is not looked at",
        "csrc/pages.c",
        " || vs_get_u32(blob + 12) != page_crc(blob, len)",
        "",
        "test_disk",
    ),
    Mutant(
        "a page's number is not looked at",
        "csrc/pages.c",
        "vs_get_u32(blob + 4) != page || ",
        "",
        "test_disk",
    ),
    Mutant(
        "a page may hold too many slots",
        "csrc/pages.c",
        " || count > geo->per_page",
        "",
        "test_disk",
    ),
    Mutant(
        "the first link that needs four bytes gets three",
        "csrc/pages.c",
        "if (v >= NARROW_NIL && v != VS_NIL)",
        "if (v > NARROW_NIL && v != VS_NIL)",
        "test_disk",
    ),
    Mutant(
        "pages that nobody has are believed in",
        "csrc/graph.c",
        "if (pages > g->state.folded[k] && pages - g->state.folded[k] > in_log) {",
        "if (0 && in_log) {",
        "test_disk",
    ),
    Mutant(
        "a state's checksum is not looked at",
        "csrc/log.c",
        " ||\n        vs_get_u32(blob + 108) != state_crc(blob, ver, stamp)",
        "",
        "test_disk",
    ),
    Mutant(
        "a state's checksum does not cover its columns",
        "csrc/log.c",
        "vs_crc32c(vs_crc32c(0, blob, VS_STATE_SIZE - 4), columns, sizeof columns)",
        "vs_crc32c(vs_crc32c(0, blob, VS_STATE_SIZE - 4), columns, 0)",
        "test_disk",
    ),
    Mutant(
        "counters of a state are believed",
        "csrc/log.c",
        "    if (!state_sane(&row.state)) {\n        return VS_CORRUPT;\n    }\n",
        "",
        "test_disk",
    ),
    Mutant(
        "the checksum of edits is not looked at",
        "csrc/log.c",
        " && row->edits_crc == vs_crc32c(0, edits, len)",
        "",
        "test_disk",
    ),
    Mutant(
        "a stamp does not tell which edits were made",
        "csrc/log.c",
        "    next.stamp = vs_hash64(next_stamp(&next), g->redo.data, g->redo.len);",
        "    next.stamp = next_stamp(&next);",
        "test_disk",
    ),
    Mutant(
        "a stamp does not tell which pages were written",
        "csrc/log.c",
        "    *hash = vs_hash64(*hash, blob, VS_PAGE_HEADER);\n",
        "",
        "test_disk",
    ),
    Mutant(
        "an edit may reach beyond its slot",
        "csrc/edit.c",
        "(uint64_t)e.offset + e.len > geo[e.kind].slot_size || ",
        "",
        "test_disk",
    ),
    Mutant(
        "an edited page is not marked",
        "csrc/graph.c",
        "        g->dirty[g->n_dirty++] = (VsPageRef){kind, page};\n",
        "",
        "test_disk",
    ),
    Mutant(
        "edits that a page has are laid over it again",
        "csrc/overlay.c",
        "if (row->ver > after &&\n",
        "if (row->ver + after > 0 &&\n",
        "test_disk",
    ),
    Mutant(
        "the overlay forgets its first row",
        "csrc/overlay.c",
        "if (o->rows[i].ver > after && o->rows[i].ver <= upto) {",
        "if (i > 0 && o->rows[i].ver > after && o->rows[i].ver <= upto) {",
        "fault_threads",
    ),
    Mutant(
        "in-links are not compared",
        "csrc/validate.c",
        "(n->indeg != c->indeg[u] || n->indeg_old != c->indeg_old[u])",
        "n->indeg != c->indeg[u]",
        "test_disk",
    ),
    Mutant(
        "a link to the node itself is sound",
        "csrc/validate.c",
        " || v == node",
        "",
        "test_disk",
    ),
    Mutant(
        "a file of a newer format is read",
        "ext/shadow.c",
        "format > FORMAT",
        "format > FORMAT + 1000000",
        "pytest:tests/test_format.py::test_a_file_of_a_newer_format_is_refused_with_both_numbers",
    ),
]

UNDO = [
    Mutant(
        "undo leaves the counters",
        "csrc/graph.c",
        "    g->state = g->undo_state;\n",
        "",
        "test_graph",
    ),
    Mutant(
        "undo leaves the edits for the log",
        "csrc/graph.c",
        "        g->redo.len = g->undo_redo_len;\n",
        "",
        "fault_oom",
    ),
    Mutant(
        "a writer does not copy a shared page",
        "csrc/pages.c",
        "vs_shared_get(&head->holders) : head->refs) == 1;",
        "vs_shared_get(&head->holders) : 1) == 1;",
        "test_stream",
    ),
    Mutant(
        "a stream is not pinned before a change",
        "csrc/graph.c",
        "void vs_begin(VsGraph *g) {\n    vs_streams_pin(g);\n",
        "void vs_begin(VsGraph *g) {\n",
        "test_stream",
    ),
    Mutant(
        "a row that could not be written stays in the graph",
        "ext/update.c",
        "            vs_undo(index->vector[i].graph);\n",
        "            vs_done(index->vector[i].graph);\n",
        "pytest:tests/test_transactions.py::test_a_row_that_cannot_be_written_leaves_the_graph_alone",
    ),
    Mutant(
        "rolled back edits stay in memory",
        "ext/txn.c",
        "            v->stale = 1;\n            vs_forget(v->graph);\n",
        "",
        "pytest:tests/test_transactions.py",
    ),
    Mutant(
        "a rollback leaves the newer log rows in memory",
        "csrc/snapshot.c",
        "    vs_overlay_keep(g->overlay, 0, state->ver);\n",
        "",
        "test_disk",
    ),
    Mutant(
        "a failed flush does not poison",
        "ext/txn.c",
        "        index->poison = rc;\n        index->poison_level = level;\n",
        "        (void)level;\n",
        "pytest:tests/test_review.py::test_a_flush_that_failed_at_a_savepoint_cannot_commit",
    ),
    Mutant(
        "a model that was rolled back is used on",
        "csrc/model.c",
        "if (g->model != NULL && g->model->hash == g->state.model) {",
        "if (g->model != NULL) {",
        "pytest:tests/test_pq.py::test_rollback_brings_the_old_codebook_back",
    ),
]

COHERENCE = [
    Mutant(
        "nothing interrupts the core",
        "csrc/graph.c",
        "    return g->hooks.interrupted != NULL && g->hooks.interrupted(g->hooks.ctx);\n",
        "    (void)g;\n    return 0;\n",
        "test_disk",
    ),
    Mutant(
        "the map is not written",
        "ext/txn.c",
        "        rc = vsx_stmt(v, put ? VSX_SQL_MAP_PUT : VSX_SQL_MAP_DELETE, &stmt);\n",
        "        continue;\n",
        "fault_kill",
    ),
    Mutant(
        "our stamp is not looked for in the log",
        "ext/txn.c",
        "*found = rc == SQLITE_ROW &&\n"
        "                 (uint64_t)sqlite3_column_int64(stmt, 0) == v->graph->state.stamp;",
        "*found = rc == SQLITE_ROW;",
        "pytest:tests/test_files.py",
    ),
    Mutant(
        "a map row may name any node",
        "ext/txn.c",
        " || n->rowid != rowid",
        "",
        "pytest:tests/test_review.py::test_a_map_row_that_names_another_node_is_damage_and_not_an_answer",
    ),
]

SHELF = [
    Mutant(
        "a shared page is taken by its key, whatever its bytes",
        "csrc/shelf.c",
        "memcmp(there, page, (size_t)geo->per_page * geo->slot_size) == 0",
        "geo->per_page > 0 && there != page",
        "test_shelf",
    ),
    Mutant(
        "who takes a shared page is not counted",
        "csrc/shelf.c",
        "        (void)vs_take(&head->holders, 1);\n    }\n    vs_unlock",
        "        head->note = 0;\n    }\n    vs_unlock",
        "test_shelf",
    ),
    Mutant(
        "a page is shared before its links are looked at",
        "csrc/graph.c",
        "        st = vs_page_judge(g, kind, page, data);\n",
        "        (void)vs_page_judge(g, kind, page, data);\n",
        "test_shelf",
    ),
    Mutant(
        "a listed page is written in place",
        "csrc/pages.c",
        "    return head->key == 0 &&\n           (head",
        "    return (head",
        "test_shelf",
    ),
    Mutant(
        "a file in the place of another meets its pages and believes them",
        "csrc/shelf.c",
        "vs_shelf_release(equal ? page : there);\n    return equal ? there : page;",
        "(void)equal;\n    vs_shelf_release(page);\n    return there;",
        "pytest:tests/test_sharing.py::test_a_file_in_the_place_of_another_is_read_as_it_is",
    ),
    Mutant(
        "replayed links are believed",
        "csrc/log.c",
        "        st = judge_replayed(g, edits, len);\n",
        "        (void)judge_replayed(g, edits, len);\n",
        "test_shelf",
    ),
]

GRAPH = [
    Mutant(
        "who loses the only older in-link is not rescued",
        "csrc/delete.c",
        "if (x->indeg_old == 1) {",
        "if (x->indeg_old == 0) {",
        "test_graph",
    ),
    Mutant(
        "a deleted seed stays a seed",
        "csrc/delete.c",
        "if (st == VS_OK && (n->flags & VS_IS_SEED) != 0) {",
        "if (0) {",
        "test_graph",
    ),
    Mutant(
        "the entry point is not moved when it is deleted",
        "csrc/delete.c",
        "        st = move_entry(g, top, n_top);\n",
        "",
        "test_graph",
    ),
    Mutant(
        "tombstones are never consolidated",
        "csrc/delete.c",
        "g->state.n_dead > g->state.n_live / DEAD_SHARE",
        "g->state.n_dead > g->state.n_live * DEAD_SHARE",
        "test_graph",
    ),
    Mutant(
        "a link that is needed is replaced",
        "csrc/links.c",
        "        *out = old && t->indeg_old == 1;\n",
        "        *out = old && t->indeg_old == 0;\n",
        "test_graph",
    ),
    Mutant(
        "links lead to the covered instead of the diverse",
        "csrc/choose.c",
        "n += order[i - from] > hit.order ||",
        "n += order[i - from] < hit.order ||",
        "test_graph",
    ),
    Mutant(
        "repair links in one direction only",
        "csrc/choose.c",
        "*diverse = stretch(g, order, alpha) > candidate->order;",
        "*diverse = stretch(g, order, alpha) <= candidate->order;",
        "test_graph",
    ),
    Mutant(
        "descent moves away",
        "csrc/search.c",
        "if (front.order[i] < order) {",
        "if (front.order[i] > order) {",
        "test_graph",
    ),
    Mutant(
        "the dead are returned",
        "csrc/search.c",
        "        if (live) {\n            hits[kept++] = pool->at[i];",
        "        if (live || 1) {\n            hits[kept++] = pool->at[i];",
        "test_graph",
    ),
    Mutant(
        "one hit too few",
        "csrc/search.c",
        "i < pool->n && kept < k; i++)",
        "i < pool->n && kept + 1 < k; i++)",
        "test_graph",
    ),
    Mutant(
        "seeds are not offered to a search",
        "csrc/search.c",
        "        st = offer_entries(g, q, seeds, n_seeds, &pool);\n",
        "",
        "test_build",
    ),
    Mutant(
        "a stream's heap has the farthest on top",
        "csrc/stream.c",
        "if (!vs_before(s->far[child], hit)) {",
        "if (vs_before(s->far[child], hit)) {",
        "test_stream",
    ),
    Mutant(
        "a stream gives what it has given again",
        "csrc/stream.c",
        "if (st == VS_OK && live && !vs_is_visited(s->scratch, u)) {",
        "if (st == VS_OK && live) {",
        "test_stream",
    ),
    Mutant(
        "a row that waits counts as linked",
        "csrc/insert.c",
        "linked && !first ? VS_LIVE | VS_PENDING : VS_LIVE,",
        "VS_LIVE,",
        "test_build",
    ),
]

CODES = [
    Mutant(
        "the bound of a code's error is too small",
        "csrc/sq8.c",
        "    z->lost += e * e;\n",
        "    z->lost += e * e / 4;\n",
        "test_sq8",
    ),
    Mutant(
        "the error of the query's own code is left out",
        "csrc/sq8.c",
        "    query->error = bound_of(&z);\n",
        "    query->error = 0;\n",
        "test_sq8",
    ),
    Mutant(
        "a packed error is rounded down",
        "csrc/model.c",
        " + ((pun.bits & 0xFFFF) != 0)",
        "",
        "test_sq8",
    ),
    Mutant(
        "a new model leaves the old codes",
        "csrc/model.c",
        "    return recode_all(g, r);\n",
        "    (void)r;\n    return VS_OK;\n",
        "test_sq8",
    ),
    Mutant(
        "a codebook's checksum is not looked at",
        "csrc/pq.c",
        "vs_get_u32(blob + 12) != crc ||",
        "crc == 1 ||",
        "test_pq",
    ),
    Mutant(
        "the model is not the one that the state names",
        "csrc/model.c",
        "blob == NULL || vs_hash64(0, blob, len) != g->state.model",
        "blob == NULL",
        "test_disk",
    ),
]

QUERIES = [
    Mutant(
        "a lower bound is taken for an upper one",
        "csrc/scan.c",
        "            offer_high(&p->near, high);\n",
        "            offer_high(&p->near, low);\n",
        "test_scan",
    ),
    Mutant(
        "a sieve takes low nibbles for their middle",
        "csrc/sieve.c",
        "    double low = sqrt((double)rest) / 2;\n",
        "    double low = sqrt((double)rest) / 4;\n",
        "test_scan",
    ),
    Mutant(
        "a sieve forgets what its weights round",
        "csrc/sieve.c",
        "    sieve->gap = sqrt((double)gap) / 2;\n",
        "    (void)gap;\n",
        "test_scan",
    ),
    Mutant(
        "a limit is kept for low planes that tell less",
        "csrc/scan.c",
        "r.worst > s->worst || r.rest > s->rest;",
        "r.worst > s->worst;",
        "test_scan",
    ),
    Mutant(
        "a limit is kept for larger errors",
        "csrc/scan.c",
        "r.worst > s->worst || r.rest > s->rest;",
        "r.rest > s->rest;",
        "test_scan",
    ),
    Mutant(
        "a leaf keeps the note of a page that is written",
        "csrc/pages.c",
        "    vs_loose_set(&leaf->note[i], note);\n    vs_loose_set(",
        "    vs_loose_set(",
        "test_scan",
    ),
    Mutant(
        "a scan takes the last word of a filter for the first of the next run",
        "csrc/search.c",
        "        bits |= admit->words[at + 1] << (64 - shift);\n",
        "        bits |= admit->words[at] << (64 - shift);\n",
        "test_scan",
    ),
    Mutant(
        "reranking stops too early",
        "ext/rerank.c",
        "if (full && (double)found[i].low > knn->result[0].distance) {",
        "if (full) {",
        "pytest:tests/test_sq8.py::test_an_exact_search_gives_the_rows_of_brute_force",
    ),
    Mutant(
        "of equal distances the last is kept",
        "ext/rerank.c",
        "a->distance != b->distance || knn->exact",
        "a->distance != b->distance",
        "pytest:tests/test_sq8.py::test_of_equal_distances_an_exact_search_gives_the_first_rows",
    ),
    Mutant(
        "equal distances come in any order",
        "ext/knn.c",
        "    return x->rowid < y->rowid ? -1 : x->rowid > y->rowid;\n",
        "    return x->rowid > y->rowid ? -1 : x->rowid < y->rowid;\n",
        "pytest:tests/test_sq8.py::test_of_equal_distances_an_exact_search_gives_the_first_rows",
    ),
    Mutant(
        "a bound of the distance is always open",
        "ext/knn.c",
        "b->below ? distance < b->high : distance <= b->high",
        "distance < b->high",
        "pytest:tests/test_queries.py::test_a_distance_that_is_the_bound_is_within_if_the_bound_is_closed",
    ),
    Mutant(
        "two sets of rowids are not intersected",
        "ext/filter.c",
        "if (vsx_rowmap_get(other, all[i].rowid) != NULL) {",
        "if (other != NULL) {",
        "pytest:tests/test_review.py::test_two_sets_of_rowids_are_intersected",
    ),
    Mutant(
        "a value has one reading",
        "ext/filter.c",
        "    return !t->literal && affinity_of(column) != AFFINITY_NUMERIC &&\n",
        "    return 0 && affinity_of(column) != AFFINITY_NUMERIC &&\n",
        "pytest:tests/test_plans.py::test_a_join_on_a_column_has_the_affinity_of_a_plain_table",
    ),
    Mutant(
        "a resolved filter outlives a commit elsewhere",
        "ext/admit.c",
        " || now.data_version != kept->data_version",
        "",
        "pytest:tests/test_filters.py::test_a_resolved_filter_does_not_outlive_a_commit_elsewhere",
    ),
    Mutant(
        "a resolved filter of a transaction is kept",
        "ext/admit.c",
        " || !sqlite3_get_autocommit(knn->vector->index->global->db)",
        "",
        "pytest:tests/test_filters.py::test_a_resolved_filter_of_a_transaction_ends_with_it",
    ),
    Mutant(
        "descending order is taken for ascending",
        "ext/plan.c",
        "           !info->aOrderBy[0].desc && ",
        "           ",
        "pytest:tests/test_queries.py::test_descending_order_is_right",
    ),
    Mutant(
        "a test that SQLite does not omit is left to match()",
        "ext/plan.c",
        "enum { FIRST_NOT_OMITTED = 16 };",
        "enum { FIRST_NOT_OMITTED = 1600 };",
        "pytest:tests/test_plans.py::test_more_predicates_than_sqlite_omits_do_not_hide_match",
    ),
    Mutant(
        "vec0 takes LIMIT and k together",
        "ext/vec0_plan.c",
        "    if (p->limit >= 0 && p->k >= 0) {\n",
        "    if (0) {\n",
        "pytest:tests/test_vec0_queries.py",
    ),
    Mutant(
        "vec0's largest k is one too small",
        "ext/vec0_plan.c",
        "if (*k > VSX_VEC0_MAX_K) {",
        "if (*k >= VSX_VEC0_MAX_K) {",
        "pytest:tests/test_vec0_queries.py",
    ),
]

WRITES = [
    Mutant(
        "a row that is replaced stays in the graph",
        "ext/update.c",
        "    if (rc == SQLITE_OK && c->replaces) {\n",
        "    if (0) {\n",
        "pytest:tests/test_dml.py::test_conflicts_resolve_as_in_an_ordinary_table",
    ),
    Mutant(
        "a kept vector does not move with its key",
        "ext/update.c",
        "    if (rc == SQLITE_OK && change->keep && moves) {\n",
        "    if (0) {\n",
        "pytest:tests/test_dml.py::test_update_of_the_key_moves_vector_and_metadata",
    ),
    Mutant(
        "a row that is gone is updated",
        "ext/update.c",
        "    *gone = !exists;\n",
        "    *gone = 0;\n",
        "pytest:tests/test_text_keys.py::test_a_row_that_the_statement_replaced_is_not_updated_any_more",
    ),
    Mutant(
        "behind the highest rowid comes the lowest",
        "ext/update.c",
        "rc == SQLITE_OK && last == LLONG_MAX",
        "rc == SQLITE_OK && last < 0",
        "pytest:tests/test_review.py::test_the_highest_rowid_stops_an_insert_and_not_the_transaction",
    ),
    Mutant(
        "an update of a content row does not say which row it was",
        "ext/content.c",
        '    char *both = sqlite3_mprintf("%s%s", removed, added);\n',
        '    char *both = sqlite3_mprintf("%s", added);\n',
        "pytest:tests/test_content.py::test_every_statement_on_the_table_is_followed",
    ),
    Mutant(
        "read errors of the content table's key are swallowed",
        "ext/content.c",
        "    int final = sqlite3_finalize(stmt);\n"
        "    return rc == SQLITE_OK ? final : rc;\n}\n\nint vsx_content_columns",
        "    sqlite3_finalize(stmt);\n    return SQLITE_OK;\n}\n\nint vsx_content_columns",
        "fault_oom",
    ),
    Mutant(
        "a collation is lost without memory",
        "ext/content.c",
        "        rc = c->collation == NULL ? SQLITE_NOMEM : SQLITE_OK;\n",
        "",
        "fault_oom:every:content table with a collation",
    ),
    Mutant(
        "a hidden column is lost without memory",
        "ext/vec0_schema.c",
        "    if (!whole) {\n",
        "    if (0) {\n",
        "fault_oom:full:vec0 table",
    ),
]

CACHE = [
    Mutant(
        "vectors of a write transaction are kept",
        "ext/vector_cache.c",
        " || sqlite3_txn_state(i->global->db, i->schema) == SQLITE_TXN_WRITE",
        "",
        "pytest:tests/test_vector_cache.py::test_rows_of_an_open_write_transaction_are_not_kept",
    ),
    Mutant(
        "vectors are kept when the graph goes back",
        "ext/txn.c",
        "        vsx_cache_clear(v);\n        v->stale = 0;",
        "        v->stale = 0;",
        "pytest:tests/test_vector_cache.py::test_a_copy_that_was_restored_and_went_on_is_another_history",
    ),
    Mutant(
        "vectors are kept when the graph starts over",
        "ext/txn.c",
        "    vsx_cache_clear(v);\n    VsStatus st = vs_graph_reset",
        "    VsStatus st = vs_graph_reset",
        "pytest:tests/test_vector_cache.py::test_a_rebuild_by_another_connection_counts_anew",
    ),
    Mutant(
        "vectors are kept over a rebuild",
        "ext/txn.c",
        "    vsx_cache_clear(v);\n    v->known = 0;",
        "    v->known = 0;",
        "pytest:tests/test_vector_cache.py::test_a_rebuild_counts_anew",
    ),
    Mutant(
        "a vector is known by its node alone",
        "ext/vector_cache.c",
        "p->node == node && p->seq == seq ?",
        "p->node == node ?",
        "pytest:tests/test_vector_cache.py::test_answers_stay_right_whatever_happens_to_the_rows",
    ),
    Mutant(
        "vectors of a content table are kept",
        "ext/vector_cache.c",
        "i->def->content == NULL ? i->global->vector_cache : 0",
        "i->global->vector_cache",
        "pytest:tests/test_vector_cache.py::test_a_content_table_is_read_every_time",
    ),
]

FETCH = [
    Mutant(
        "rows are fetched beyond the snapshot",
        "ext/row_fetch.c",
        " || p->page > t->known.pages ||",
        " ||",
        "fault_fetch",
    ),
    Mutant(
        "rows are fetched outside a reading transaction",
        "ext/row_fetch.c",
        "sqlite3_txn_state(db, i->schema) != SQLITE_TXN_READ ||",
        "",
        "fault_fetch",
    ),
    Mutant(
        "only the head of a row is fetched",
        "ext/row_fetch.c",
        "i < t->bytes + LINE && row + i < end",
        "0",
        "fault_fetch",
    ),
    Mutant(
        "a cell is guessed from the wrong end",
        "ext/row_fetch.c",
        "((double)p->rowid - low - 1) * n",
        "(high - (double)p->rowid) * n",
        "fault_fetch",
    ),
]

RECENT = [
    Mutant(
        "bounds that are not numbers are believed",
        "csrc/codec.c",
        " || !(fabsf(value) < 1e37f) || !(spread < 1e37f)",
        "",
        "pytest:tests/test_sq8.py::test_a_vector_out_of_all_proportion_costs_no_query_its_rows",
    ),
    Mutant(
        "one vector has all the codes",
        "csrc/sq8.c",
        "        sample = without_outliers(sample, &m);\n",
        "        (void)without_outliers;\n",
        "pytest:tests/test_sq8.py::test_a_vector_out_of_all_proportion_does_not_blur_the_others",
    ),
    Mutant(
        "many queries read the nearest by their codes only",
        "ext/search_many.c",
        "vs_search_scans(v->graph, k, m.ef, NULL);",
        "0;",
        "pytest:tests/test_search_many.py::test_a_scan_is_exact_where_codes_order_badly_and_distances_tie",
    ),
    Mutant(
        "many queries break ties the other way",
        "ext/rerank_many.c",
        "            keep_first(a, k);\n",
        "            (void)keep_first;\n            a->n_row = k;\n",
        "pytest:tests/test_search_many.py::test_a_scan_is_exact_where_codes_order_badly_and_distances_tie",
    ),
    Mutant(
        "a query of another model is answered",
        "ext/functions_embed.c",
        "model != NULL && strcmp(model, given) != 0",
        "model == given",
        "pytest:tests/test_dbapi.py::test_a_query_embedded_by_another_model_is_refused_with_both_names",
    ),
    Mutant(
        "a vector does not say which model made it",
        "ext/functions_embed.c",
        "        sqlite3_result_subtype(ctx, VSX_SUBTYPE_EMBEDDED + (unsigned)e->number);\n",
        "",
        "pytest:tests/test_dbapi.py::test_a_query_embedded_by_another_model_is_refused_with_both_names",
    ),
    Mutant(
        "rows are ruled out by errors that are not known yet",
        "ext/rerank.c",
        "#define ERRORS_SIGMAS 3",
        "#define ERRORS_SIGMAS -9",
        "pytest:tests/test_sq8.py::test_a_walk_reads_few_rows_more_than_it_returns",
    ),
    Mutant(
        "a stored vector may be too long",
        "ext/stored.c",
        "sqlite3_blob_bytes(r->blob) != bytes",
        "sqlite3_blob_bytes(r->blob) < bytes",
        "pytest:tests/test_errors.py::test_a_stored_vector_of_another_length_is_damage",
    ),
    Mutant(
        "a chunk is used beyond its end",
        "csrc/arena.c",
        "    if (c->free == NULL && c->n_fresh == 0) {\n        unlink_chunk(c);\n",
        "    if (c->free == NULL && c->n_fresh == 0) {\n",
        "test_arena",
    ),
    Mutant(
        "a place lies across two lines",
        "csrc/arena.c",
        "arena->size = up(size, LINE);",
        "arena->size = size;",
        "test_arena",
    ),
]

# The control: nobody promises it, so every test must let it live.
CONTROL = Mutant(
    "last_insert_rowid is lost, and nothing else: must survive",
    "ext/txn.c",
    "    sqlite3_set_last_insert_rowid(db, last);\n",
    "    (void)last;\n",
    "fault_kill",
)

MUTANTS = [
    *DISK,
    *UNDO,
    *COHERENCE,
    *SHELF,
    *GRAPH,
    *CODES,
    *QUERIES,
    *WRITES,
    *CACHE,
    *FETCH,
    *RECENT,
    CONTROL,
]
