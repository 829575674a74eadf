/* Images of graphs; see image.h. */
#include "csrc/memory/image.h"

#include <string.h>

#include "csrc/base/crc32c.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/log.h"
#include "csrc/search/readers.h"

static const unsigned char magic[4] = {'V', 's', 'I', '1'};

#define IMAGE_VER 1 /* of the state and of every page */

static uint32_t pages_of(const VsGraph *g, VsPageKind kind) {
    uint32_t used = vs_slots_used(&g->state, kind), per = g->geo[kind].per_page;
    return used / per + (used % per != 0);
}

static uint64_t stamp_of(const VsGraph *g) {
    return vs_state_initial(&g->params).stamp;
}

/* ---- writing --------------------------------------------------------------------- */

size_t vs_image_size(const VsGraph *g) {
    size_t size = sizeof magic + 4 + VS_STATE_SIZE + 4 + 4;
    size += g->codec->fit == NULL ? 0 : g->codec->model_size(&g->params.code);
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        size += pages_of(g, (VsPageKind)kind) * (4 + vs_page_stored_max(&g->geo[kind]));
    }
    return size;
}

/* Writes a length, and returns the place behind the part. */
static unsigned char *end_part(unsigned char *part, size_t len) {
    vs_put_u32(part, (uint32_t)len);
    return part + 4 + len;
}

static unsigned char *write_state(const VsGraph *g, unsigned char *out) {
    VsState s = g->state;
    s.ver = s.checkpoint_ver = IMAGE_VER;
    s.stamp = stamp_of(g);
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        s.checkpointed[kind] = pages_of(g, (VsPageKind)kind);
    }
    return end_part(out, vs_state_encode(&s, NULL, 0, 0, out + 4));
}

static unsigned char *write_model(const VsGraph *g, unsigned char *out) {
    size_t len = g->model == NULL ? 0 : g->model->len;
    if (len > 0) {
        memcpy(out + 4, g->model->blob, len);
    }
    return end_part(out, len);
}

static VsStatus write_pages(VsGraph *g, VsPageKind kind, unsigned char **out) {
    uint32_t per = g->geo[kind].per_page, used = vs_slots_used(&g->state, kind);
    for (uint32_t page = 0; page < pages_of(g, kind); page++) {
        VS_TRY(vs_page_touch(g, kind, page));
        uint32_t rest = used - page * per;
        *out = end_part(*out, vs_page_encode(&g->geo[kind], kind, page, IMAGE_VER,
                                             vs_table_get(&g->table[kind], page),
                                             rest < per ? rest : per, *out + 4));
    }
    return VS_OK;
}

VsStatus vs_image_write(VsGraph *g, unsigned char *out, size_t room, size_t *len) {
    VsStatus st = room < vs_image_size(g) ? VS_RANGE : vs_model_ready(g);
    if (st != VS_OK) {
        return st;
    }
    memcpy(out, magic, sizeof magic);
    unsigned char *end = write_model(g, write_state(g, out + sizeof magic));
    for (int kind = 0; st == VS_OK && kind < VS_PAGE_KINDS; kind++) {
        st = write_pages(g, (VsPageKind)kind, &end);
    }
    if (st == VS_OK) {
        vs_put_u32(end, vs_crc32c(0, out, (size_t)(end - out)));
        *len = (size_t)(end - out) + 4;
    }
    return st;
}

/* ---- reading --------------------------------------------------------------------- */

typedef struct Part {
    const unsigned char *at;
    size_t len;
} Part;

/* What the graph's hooks read from. Pages are asked for in the order in which they lie
 * there (vs_load_all). */
typedef struct Reader {
    Part rest, model;
} Reader;

static VsStatus take_part(Part *rest, Part *out) {
    if (rest->len < 4 || vs_get_u32(rest->at) > rest->len - 4) {
        return VS_CORRUPT;
    }
    *out = (Part){rest->at + 4, vs_get_u32(rest->at)};
    rest->at += 4 + out->len;
    rest->len -= 4 + out->len;
    return VS_OK;
}

static VsStatus give_page(void *ctx, VsPageKind kind, uint32_t page,
                          const unsigned char **blob, size_t *len, uint64_t *ver) {
    Reader *r = ctx;
    Part part;
    (void)kind; /* the page says of what kind and number it is */
    (void)page;
    VS_TRY(take_part(&r->rest, &part));
    *blob = part.at;
    *len = part.len;
    *ver = IMAGE_VER;
    return VS_OK;
}

static void page_given(void *ctx) {
    (void)ctx;
}

static VsStatus give_model(void *ctx, uint32_t epoch, const unsigned char **blob,
                           size_t *len) {
    const Reader *r = ctx;
    (void)epoch;
    *blob = r->model.at;
    *len = r->model.len;
    return VS_OK;
}

static VsStatus read_state(VsGraph *g, Reader *r) {
    Part part;
    VsStateRow row;
    VS_TRY(take_part(&r->rest, &part));
    VS_TRY(take_part(&r->rest, &r->model));
    VS_TRY(vs_state_decode(part.at, part.len, IMAGE_VER, stamp_of(g), &row));
    VS_TRY(vs_graph_reset(g, &row.state));
    return vs_graph_judge(g);
}

VsStatus vs_image_read(VsGraph *g, const unsigned char *image, size_t len) {
    VsHooks own = g->hooks;
    Reader r;
    if (len < sizeof magic + 4 || memcmp(image, magic, sizeof magic) != 0 ||
        vs_get_u32(image + len - 4) != vs_crc32c(0, image, len - 4)) {
        return VS_CORRUPT;
    }
    r.rest = (Part){image + sizeof magic, len - sizeof magic - 4};
    g->hooks = (VsHooks){
        .load = give_page, .load_done = page_given, .load_model = give_model, .ctx = &r};
    VsStatus st = read_state(g, &r);
    st = st == VS_OK ? vs_load_all(g) : st;
    st = st == VS_OK && r.rest.len > 0 ? VS_CORRUPT : st;
    st = st == VS_OK ? vs_model_ready(g) : st;
    g->hooks = own;
    g->state.ver = g->state.checkpoint_ver = 0; /* nothing of it is on disk */
    memset(g->state.checkpointed, 0, sizeof g->state.checkpointed);
    return st;
}
