/*
 * Blur: how far the codes of a model misplace the neighbours of a row.
 *
 * A code loses an error of a known length. Most of it points away from the neighbours and
 * changes no order. Blur is the standard deviation of (distance of vectors - distance of codes) among
 * near vectors, divided by the length of the error. It is measured on the vectors that the
 * model is fitted on: about sqrt(2 / dims) where the dimensions err independently, more where
 * few dimensions make the distances.
 *
 * A row whose code loses L knows the distances of its neighbours up to blur * L. Where that is
 * not small beside the distance from the tenth to the sixty-fourth neighbour, codes do not
 * tell neighbours apart: linking makes these rows raw (linker.h, raw.h).
 *
 * Nothing is timed: the same sample gives the same answer on every machine.
 */
#ifndef VS_CODEC_BLUR_H
#define VS_CODEC_BLUR_H

#include "csrc/codec/codec.h"

#define VS_BLUR_TRIED 256 /* vectors that are kept */

/* Copies vectors, evenly spread over the n of the sample, in the form of codes; returns how
 * many. */
size_t vs_blur_keep(const VsCodecParams *params, const float *sample, size_t n,
                    float *kept);

/* The blur of a model on the vectors that were kept. Few vectors say nothing: that of
 * independent dimensions. */
float vs_blur(const VsCodecParams *params, const VsModel *model, const float *kept,
              size_t n, void *scratch);
size_t vs_blur_scratch(const VsCodecParams *params);

#endif
