/*
 * Codec pq: product quantisation (Jegou, Douze & Schmid 2011). A vector is cut into m
 * parts; each is coded by the nearest of 256 centroids of its own codebook: m bytes. With
 * m = dims / 4, the default, that is a sixteenth of float32.
 *
 * A query is compared by a table of its distances to all centroids of each part (ADC, same
 * paper, section III): a lookup and an addition a byte. The table that a walk uses has
 * eight bits an entry with one step for all parts, so it stays in the L1 cache (128
 * dimensions: 8 KB) and sums are integers. Codes among each other, for choosing links,
 * are decoded and compared as floats.
 *
 * cosine codes the normalised vector and compares by l2, as sq8 does. Dimensions that
 * fill up the last part are zeros.
 *
 * Stored model:   0 "VSm2"   4 m u32   8 typical f32   12 CRC-32C of bytes 0..11, 16..end
 *                16 m codebooks of 256 * part f32, centroid after centroid
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "csrc/codec/codec.h"
#include "csrc/kernel/columns.h"
#include "csrc/base/crc32c.h"
#include "csrc/base/bytes.h"
#include "csrc/codec/kmeans.h"
#include "csrc/base/threads.h"
#include "csrc/vector/text.h"
#include "csrc/base/hash.h"

#define K VS_KMEANS_K
#define HEAD 16
#define ROUNDING 2e-5f /* more than the relative error of a sum of 65,536 in 32 parts */

/* How a vector is cut. Fewer parts than were asked for can be enough. */
typedef struct Cut {
    size_t part, m;
} Cut;

static Cut cut_of(const VsCodecParams *params) {
    size_t dims = params->dims, asked = params->pq_m;
    asked = asked > 0 ? asked : dims < 4 ? 1 : dims / 4;
    Cut cut = {(dims + asked - 1) / asked, 0};
    cut.m = (dims + cut.part - 1) / cut.part;
    return cut;
}

int vs_codec_pq_fits(const VsCodecParams *params) {
    return params->element <= VS_F16 && params->metric <= VS_DOT &&
           params->pq_m <= params->dims && cut_of(params).part <= VS_PQ_MAX_PART;
}

static uint32_t pq_code_size(const VsCodecParams *params) {
    return (uint32_t)cut_of(params).m;
}

/* ---- vectors -------------------------------------------------------------------- */

/* A vector at any address; cosine: with what normalises it. */
typedef struct Source {
    const VsCodecParams *params;
    const unsigned char *v;
    double factor;
} Source;

static inline double element(const Source *s, size_t i) {
    float x;
    uint16_t half;
    if (s->params->element == VS_F32) {
        memcpy(&x, s->v + i * sizeof x, sizeof x);
    } else {
        memcpy(&half, s->v + i * sizeof half, sizeof half);
        x = vs_f16_value(half);
    }
    return (double)x;
}

static Source source(const VsCodecParams *params, const void *v) {
    Source s = {params, v, 1};
    if (params->metric == VS_COSINE) {
        double square = 0;
        for (size_t i = 0; i < params->dims; i++) {
            square += element(&s, i) * element(&s, i);
        }
        s.factor = square > 0 ? 1 / sqrt(square) : 0;
    }
    return s;
}

static void take_part(const Source *s, const Cut *cut, size_t m, float *out) {
    for (size_t j = 0; j < cut->part; j++) {
        size_t i = m * cut->part + j;
        out[j] = i < s->params->dims ? (float)(element(s, i) * s->factor) : 0;
    }
}

/* ---- the model ------------------------------------------------------------------ */

static size_t book_floats(const Cut *cut) {
    return K * cut->part;
}

static size_t pq_model_size(const VsCodecParams *params) {
    Cut cut = cut_of(params);
    return HEAD + cut.m * book_floats(&cut) * sizeof(float);
}

static const float *book(const VsModel *model, const Cut *cut, size_t m) {
    return (const float *)(const void *)(model->blob + HEAD) + m * book_floats(cut);
}

/* Centroid after centroid -> by columns. */
static void transpose(const float *rows, size_t part, float *columns) {
    for (size_t c = 0; c < K; c++) {
        for (size_t j = 0; j < part; j++) {
            columns[j * K + c] = rows[c * part + j];
        }
    }
}

/* The largest square of a centroid's length. */
static double longest(const float *rows, size_t part) {
    double most = 0;
    for (size_t c = 0; c < K; c++) {
        double square = 0;
        for (size_t j = 0; j < part; j++) {
            square += (double)rows[c * part + j] * (double)rows[c * part + j];
        }
        most = square > most ? square : most;
    }
    return most;
}

/* By columns, for tables: kept beside the stored form, which is for decoding. */
static size_t pq_derived_size(const VsCodecParams *params) {
    return pq_model_size(params) - HEAD;
}

static VsStatus pq_read_model(const VsCodecParams *params, const unsigned char *blob,
                              size_t len, VsModel *out) {
    Cut cut = cut_of(params);
    uint32_t crc = 0;
    if (len != pq_model_size(params) || memcmp(blob, "VSm2", 4) != 0 ||
        vs_get_u32(blob + 4) != cut.m) {
        return VS_CORRUPT;
    }
    crc = vs_crc32c(vs_crc32c(0, blob, 12), blob + HEAD, len - HEAD);
    if (vs_get_u32(blob + 12) != crc ||
        vs_element_first_nonfinite(VS_F32, blob + HEAD, (len - HEAD) / 4) <
            (len - HEAD) / 4) {
        return VS_CORRUPT;
    }
    memcpy(&out->typical, blob + 8, sizeof out->typical);
    double reach = 0;
    for (size_t m = 0; m < cut.m; m++) {
        const float *rows = book(out, &cut, m);
        transpose(rows, cut.part, (float *)out->derived + m * book_floats(&cut));
        reach += longest(rows, cut.part);
    }
    out->reach = (float)sqrt(reach);
    return out->typical >= 0 && isfinite(out->reach) ? VS_OK : VS_CORRUPT;
}

static const float *columns(const VsModel *model, const Cut *cut, size_t m) {
    return (const float *)model->derived + m * book_floats(cut);
}

/* 256 centroids want some 64 points each. */
static size_t pq_sample_size(const VsCodecParams *params) {
    (void)params;
    return (size_t)K * 64;
}

/* What one thread trains in: the points of one part, its codebook by columns, and the
 * bytes of k-means. */
static size_t thread_scratch(const VsCodecParams *params, size_t n) {
    Cut cut = cut_of(params);
    size_t bytes = (n * cut.part + book_floats(&cut)) * sizeof(float) +
                   vs_kmeans_scratch(n, cut.part);
    return (bytes + 63) / 64 * 64;
}

/* That for each, and what each part loses. */
static size_t pq_fit_scratch(const VsCodecParams *params, size_t n, unsigned threads) {
    return thread_scratch(params, n) * threads + cut_of(params).m * sizeof(double);
}

typedef struct Training {
    VsCodecParams params; /* of the sample: floats */
    Cut cut;
    const float *sample;
    size_t n;
    unsigned char *scratch;
    double *lost; /* m of them */
    float *books;
    VsShared next;
} Training;

/* Trains the codebook of one part. */
static void fit_part(Training *t, size_t m, unsigned char *scratch) {
    size_t part = t->cut.part;
    float *by_columns = (float *)(void *)(scratch + vs_kmeans_scratch(t->n, part));
    float *points = by_columns + book_floats(&t->cut);
    float *out = t->books + m * book_floats(&t->cut);
    for (size_t i = 0; i < t->n; i++) {
        const float *v = t->sample + i * t->params.dims;
        Source s = {&t->params, (const unsigned char *)v, 1};
        take_part(&s, &t->cut, m, points + i * part);
    }
    VsKmeans job = {points, t->n, part, vs_mix64(m)};
    vs_kmeans(&job, scratch, by_columns);
    for (size_t c = 0; c < K; c++) {
        for (size_t j = 0; j < part; j++) {
            out[c * part + j] = by_columns[j * K + c];
        }
    }
    t->lost[m] = 0;
    for (size_t i = 0; i < t->n; i++) {
        const float *x = points + i * part;
        uint32_t c = vs_columns()->nearest(x, by_columns, part, K);
        for (size_t j = 0; j < part; j++) {
            double e = (double)x[j] - (double)out[c * part + j];
            t->lost[m] += e * e;
        }
    }
}

static void fit_parts(void *ctx, unsigned worker) {
    Training *t = ctx;
    unsigned char *scratch = t->scratch + worker * thread_scratch(&t->params, t->n);
    for (size_t m = (size_t)vs_take(&t->next, 1); m < t->cut.m;
         m = (size_t)vs_take(&t->next, 1)) {
        fit_part(t, m, scratch);
    }
}

static size_t pq_fit(const VsCodecParams *params, VsNavBits nav_bits, float *sample,
                     size_t n, const VsFitting *with, unsigned char *blob) {
    Training t = {.params = *params,
                  .cut = cut_of(params),
                  .sample = sample,
                  .n = n,
                  .scratch = with->scratch,
                  .books = (float *)(void *)(blob + HEAD)};
    double lost = 0;
    (void)nav_bits;
    t.params.element = VS_F32;
    t.lost = (double *)(void *)(t.scratch + with->threads * thread_scratch(params, n));
    for (size_t i = 0; i < n && params->metric == VS_COSINE; i++) {
        float *v = sample + i * params->dims;
        vs_vec_normalize(v, v, params->dims);
    }
    vs_parallel(with->threads, fit_parts, &t);
    for (size_t m = 0; m < t.cut.m; m++) {
        lost += t.lost[m];
    }
    float typical = (float)(lost / (double)n);
    size_t len = pq_model_size(params);
    memcpy(blob, "VSm2", 4);
    vs_put_u32(blob + 4, (uint32_t)t.cut.m);
    memcpy(blob + 8, &typical, sizeof typical);
    vs_put_u32(blob + 12, vs_crc32c(vs_crc32c(0, blob, 12), blob + HEAD, len - HEAD));
    return len;
}

/* A codebook of more rows is always worth having: fitting is rare (graph/fit.h). */
static int pq_alike(const VsCodecParams *params, const VsModel *a, const VsModel *b) {
    (void)params;
    return a->hash == b->hash;
}

/* ---- codes ---------------------------------------------------------------------- */

static float pq_encode(const VsCodecParams *params, const VsModel *model, const void *v,
                       unsigned char *code, int *clipped) {
    Cut cut = cut_of(params);
    Source s = source(params, v);
    float x[VS_PQ_MAX_PART];
    double lost = 0;
    for (size_t m = 0; m < cut.m; m++) {
        take_part(&s, &cut, m, x);
        uint32_t c = vs_columns()->nearest(x, columns(model, &cut, m), cut.part, K);
        const float *centroid = book(model, &cut, m) + c * cut.part;
        code[m] = (unsigned char)c;
        for (size_t j = 0; j < cut.part; j++) {
            double e = (double)x[j] - (double)centroid[j];
            lost += e * e;
        }
    }
    if (clipped != NULL) {
        *clipped = lost > 4 * (double)model->typical;
    }
    /* up, for the roundings of float32 on the way */
    return s.factor > 0 ? nextafterf((float)(sqrt(lost) * (1 + 1e-5)), INFINITY)
                        : INFINITY;
}

/* m parts of `part` floats. */
static void decode_padded(const VsModel *model, const Cut *cut, const unsigned char *code,
                          float *out) {
    if (cut->part == 4) { /* the default: a copy of known size is two instructions */
        for (size_t m = 0; m < cut->m; m++) {
            memcpy(out + m * 4, book(model, cut, m) + (size_t)code[m] * 4, 16);
        }
        return;
    }
    for (size_t m = 0; m < cut->m; m++) {
        memcpy(out + m * cut->part, book(model, cut, m) + code[m] * cut->part,
               cut->part * sizeof(float));
    }
}

static void pq_decode(const VsCodecParams *params, const VsModel *model,
                      const unsigned char *code, float *v) {
    Cut cut = cut_of(params);
    for (size_t i = 0; i < params->dims; i++) {
        v[i] =
            book(model, &cut, i / cut.part)[code[i / cut.part] * cut.part + i % cut.part];
    }
}

/* ---- queries -------------------------------------------------------------------- */

/*
 * data:  bias f32, unit f32, padding to 64 | m tables of 256 bytes | the query, and room
 * for what it is compared with: m * part floats each | room for m tables of 256 floats
 */
#define QUERY_HEAD 64

typedef struct Parts {
    float *bias, *unit;
    unsigned char *table;
    float *query, *other, *exact;
} Parts;

static Parts parts_of(const VsQuery *query, const Cut *cut) {
    unsigned char *data = query->data;
    Parts p = {.bias = (float *)(void *)data,
               .unit = (float *)(void *)(data + sizeof(float)),
               .table = data + QUERY_HEAD};
    p.query = (float *)(void *)(p.table + cut->m * K);
    p.other = p.query + cut->m * cut->part;
    p.exact = p.other + cut->m * cut->part;
    return p;
}

static size_t pq_query_size(const VsCodecParams *params) {
    Cut cut = cut_of(params);
    return QUERY_HEAD + cut.m * K + (2 * cut.m * cut.part + cut.m * K) * sizeof(float);
}

/* By the table: integers until the last step. */
static void score_table(const VsQuery *query, const unsigned char *const *codes,
                        uint32_t n, float *order) {
    Cut cut = cut_of(query->params);
    Parts p = parts_of(query, &cut);
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *code = codes[i], *table = p.table;
        uint32_t even = 0, odd = 0;
        size_t m = 0;
        for (; m + 2 <= cut.m; m += 2, table += 2 * K) {
            even += table[code[m]];
            odd += table[K + code[m + 1]];
        }
        even += m < cut.m ? table[code[m]] : 0;
        order[i] = *p.bias + *p.unit * (float)(even + odd);
    }
}

/* The same by the table of floats. */
static void score_exact(const VsQuery *query, const unsigned char *const *codes,
                        uint32_t n, float *order) {
    Cut cut = cut_of(query->params);
    Parts p = parts_of(query, &cut);
    for (uint32_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t m = 0; m < cut.m; m++) {
            sum += p.exact[m * K + codes[i][m]];
        }
        order[i] = *p.bias + sum;
    }
}

/* By the vectors that the codes stand for. */
static void score_decoded(const VsQuery *query, const unsigned char *const *codes,
                          uint32_t n, float *order) {
    Cut cut = cut_of(query->params);
    Parts p = parts_of(query, &cut);
    size_t len = cut.m * cut.part;
    int dot = query->params->metric == VS_DOT;
    for (uint32_t i = 0; i < n; i++) {
        decode_padded(query->model, &cut, codes[i], p.other);
        float d = dot ? -query->kernels->dot_f32(p.query, p.other, len)
                      : query->kernels->l2sq_f32(p.query, p.other, len);
        order[i] = d > -FLT_MAX && d < FLT_MAX ? d : d < 0 ? -FLT_MAX : FLT_MAX;
    }
}

/* The distances to all centroids: exact ones, then with eight bits. */
static void make_table(const VsQuery *query, const Cut *cut, const Parts *p) {
    int dot = query->params->metric == VS_DOT;
    float bias = 0, widest = 0;
    for (size_t m = 0; m < cut->m; m++) {
        float *t = p->exact + m * K, low = FLT_MAX, high = -FLT_MAX;
        (dot ? vs_columns()->dot : vs_columns()->l2sq)(
            p->query + m * cut->part, columns(query->model, cut, m), cut->part, K, t);
        for (size_t c = 0; c < K; c++) {
            t[c] = dot ? -t[c] : t[c];
            t[c] = t[c] > -1e30f ? t[c] < 1e30f ? t[c] : 1e30f : -1e30f;
            low = t[c] < low ? t[c] : low;
            high = t[c] > high ? t[c] : high;
        }
        for (size_t c = 0; c < K; c++) {
            t[c] -= low;
        }
        bias += low;
        widest = high - low > widest ? high - low : widest;
    }
    float inverse = widest > 0 ? 255 / widest : 0;
    for (size_t i = 0; i < cut->m * K; i++) {
        p->table[i] = (unsigned char)(p->exact[i] * inverse + 0.5f);
    }
    *p->bias = bias;
    *p->unit = widest / 255;
}

static void pq_prepare(VsQuery *query, const void *v) {
    Cut cut = cut_of(query->params);
    Parts p = parts_of(query, &cut);
    Source s = source(query->params, v);
    double square = 0;
    for (size_t m = 0; m < cut.m; m++) {
        take_part(&s, &cut, m, p.query + m * cut.part);
    }
    for (size_t i = 0; i < cut.m * cut.part; i++) {
        square += (double)p.query[i] * (double)p.query[i];
    }
    make_table(query, &cut, &p);
    /* One step for all parts is too long where one part is much wider than the others: its
     * roundings may be no match for what codes lose anyway. */
    float rounding = *p.unit * *p.unit * (float)cut.m / 12;
    float lost = query->model->typical / 4;
    query->score = query->params->metric == VS_DOT || rounding <= lost * lost
                       ? score_table
                       : score_exact;
    query->full = score_decoded;
    query->score_bytes = pq_code_size(query->params);
    query->scale = 1;
    /* Nothing is lost but what float32 rounds on the way, and no distance is longer than
     * the query and the longest vector that codes stand for. A zero vector has no
     * direction. */
    float length = (float)sqrt(square), reach = query->model->reach;
    int dot = query->params->metric == VS_DOT;
    query->weight = dot ? length * (1 + ROUNDING) : 1;
    query->error =
        s.factor > 0 ? ROUNDING * (dot ? 2 * length * reach : length + reach) : INFINITY;
}

static void pq_prepare_code(VsQuery *query, const unsigned char *code) {
    Cut cut = cut_of(query->params);
    Parts p = parts_of(query, &cut);
    decode_padded(query->model, &cut, code, p.query);
    query->score = query->full = score_decoded;
    query->score_bytes = pq_code_size(query->params);
    query->scale = 1;
    query->error = 0;
    query->weight = 1;
}

/* A code of one byte for four dimensions orders roughly; a row that is read costs as much
 * as a hundred codes. */
static size_t pq_candidates(size_t k, size_t ef) {
    (void)ef;
    return k < SIZE_MAX / 8 ? 8 * k : k;
}

const VsCodec vs_codec_pq = {
    .name = "pq",
    .code_size = pq_code_size,
    .query_size = pq_query_size,
    .fit = pq_fit,
    .fit_scratch = pq_fit_scratch,
    .model_size = pq_model_size,
    .derived_size = pq_derived_size,
    .sample_size = pq_sample_size,
    .alike = pq_alike,
    .read_model = pq_read_model,
    .encode = pq_encode,
    .decode = pq_decode,
    .prepare = pq_prepare,
    .prepare_code = pq_prepare_code,
    .candidates = pq_candidates,
    .sharp = 1.4f,
};
