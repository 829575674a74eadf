/*
 * A stream: the nodes of a graph in order of distance, one batch after another, for as
 * long as somebody asks.
 *
 * It is the beam search of search.h that can be resumed. The window holds the nearest `ef`
 * nodes that were seen and not given; what does not fit waits in the heap `far`, and one
 * visited set lasts for the whole stream. A batch expands the window and gives its
 * nearest. So the first batch costs what a search with that ef costs, and each further
 * node about one expansion. (pgvector's iterative scan keeps a heap of discarded nodes in
 * the same way.)
 *
 * Order is that of the codes and not strict: a node found late comes late. When the walk
 * has seen all that it can reach, or has cost more than a scan would, vs_stream_rest
 * scores every node that was not seen, and the rest of the stream is in strict order and
 * complete.
 *
 * A stream keeps the graph as it was when it began. Nothing is copied until somebody
 * writes: then vs_streams_pin clones the page tables, which share their pages with the
 * graph (snapshot.h). A page that was not in memory by then can be had only while no edit
 * has touched its leaf; else VS_MOVED says that the caller has to begin anew.
 */
#ifndef VS_STREAM_H
#define VS_STREAM_H

#include "search.h"

typedef struct VsStream VsStream;

/* Begins a stream of all live nodes by their distance to `v` (a vector of the graph's
 * element type). The graph must outlive it or be closed by vs_graph_close. */
VsStatus vs_stream_open(VsGraph *g, const void *v, size_t ef, VsStream **out);
void vs_stream_close(VsStream *s);

/* The next up to `want` live nodes, nearest first; hits must hold `want`. *n is 0 when all
 * that was seen is given: then comes vs_stream_rest, or the end. */
VsStatus vs_stream_next(VsStream *s, size_t want, VsHit *hits, size_t *n);

/* Scores every live node that was not seen and that `admit` (NULL: all) admits; the walk
 * ends. A flat index begins with this. */
VsStatus vs_stream_rest(VsStream *s, const VsAdmit *admit);

/* The node as the stream sees it. */
VsStatus vs_stream_node(VsStream *s, uint32_t node, const VsNode **out);

/* Distances computed so far. */
uint64_t vs_stream_evaluations(const VsStream *s);

/* 1 if the graph was changed since the stream began. */
int vs_stream_moved(const VsStream *s);

/* Called before a graph changes: every stream over it keeps what it is now. One that
 * cannot, for want of memory, will report VS_MOVED. */
void vs_streams_pin(VsGraph *g);

/* Called before a model of the graph is freed: streams that compare by it report
 * VS_MOVED. */
void vs_streams_lose(VsGraph *g, const VsModel *model);

/* Called when a graph is closed. */
void vs_streams_forget(VsGraph *g);

#endif
