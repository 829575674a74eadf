/*
 * The image of a graph: all of it in one run of bytes, for a graph that lives in memory
 * only (memory_index.h). A table does not use it: its pages are rows.
 *
 *     "VsI1"
 *     state   length u32, and the blob of log.h, with ver 1 and the stamp of a new graph:
 *             a hash of the parameters. So an image of other parameters is refused.
 *     model   length u32 (0: none), and its stored form
 *     pages   kind by kind, in ascending order: length u32, and the stored form of pages.h
 *     CRC-32C of all bytes before, u32
 *
 * Integers are little-endian. The checksum finds damage. Pages are also judged as those of
 * a file are (vs_page_judge), because an image may come from anybody.
 */
#ifndef VS_MEMORY_IMAGE_H
#define VS_MEMORY_IMAGE_H

#include "csrc/graph/graph.h"

/* Bytes of an image, at the most. */
size_t vs_image_size(const VsGraph *g);

/* Writes *len bytes; VS_RANGE if the room is too small. The graph has no running
 * statement. */
VsStatus vs_image_write(VsGraph *g, unsigned char *out, size_t room, size_t *len);

/* Makes a new, empty graph what the image says, all of it loaded. VS_CORRUPT: it is no
 * image of a graph with these parameters; the graph is then only good for closing. */
VsStatus vs_image_read(VsGraph *g, const unsigned char *image, size_t len);

#endif
