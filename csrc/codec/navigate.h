/*
 * nav_bits=auto: whether four bits are enough to navigate by, tried on the vectors that a
 * model is fitted on.
 *
 * Some of the sample are queries to the others. A walk that compares four bits must look
 * at as many nodes more as it has to go further down its own order to meet those that are
 * really near: counted, for each query, is how far down the order of four bits
 * VS_NAV_HELD of the VS_NAV_NEAR nearest by eight bits are. It does not depend on how many
 * rows there are, for rank grows with a power of distance that is the same near and far.
 * It is 1.04 times VS_NAV_HELD for MiniLM-384, 1.06 for its first 256
 * dimensions, 1.15 for 384 independent normal numbers.
 *
 * Nothing is timed: the same sample gives the same answer on every machine.
 */
#ifndef VS_CODEC_NAVIGATE_H
#define VS_CODEC_NAVIGATE_H

#include "csrc/codec/codec.h"

#define VS_NAV_TRIED 256 /* vectors that are kept */
#define VS_NAV_LEAST 64  /* fewer say nothing */
#define VS_NAV_NEAR 16
#define VS_NAV_HELD 15
/* What it may be, in per cent: four bits make an evaluation 10 % cheaper at 256 dimensions
 * and 13 % at 384. */
#define VS_NAV_DEPTH 110

/* Bytes to work in. */
size_t vs_nav_scratch(const VsCodecParams *params);

/* Keeps vectors, evenly spread over the n of the sample; returns how many. */
size_t vs_nav_keep(const VsCodecParams *params, const float *sample, size_t n,
                   void *scratch);

/* The same where nav_bits=4 was asked for: a walk may take longer, but not lose its way. */
#define VS_NAV_WORST 130

/* 1 if the model (its stored form, of four bits) needs no more than `depth` per cent on the n
 * vectors that were kept. */
int vs_nav_holds(const VsCodecParams *params, const unsigned char *blob, size_t len,
                 size_t n, unsigned depth, void *scratch);

#endif
