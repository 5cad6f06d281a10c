/* The sweeps for one type of arithmetic; kernels.c includes this with REAL = float and REAL = double. */

#define LANES 16
#define N_VECTORS (LANES * (int)sizeof(REAL) / VECTOR_BYTES)

#define PER_VECTOR (VECTOR_BYTES / (int)sizeof(REAL))

static inline int64_t NAME(min)(int64_t a, int64_t b) { return a < b ? a : b; }

/* Elements [at, at + n) of a weight or gradient as REAL: in place, or widened into `buffer`. */
static REAL *NAME(view)(const struct tensor *t, const void *base, int64_t at, int64_t n, double *buffer)
{
#if IS_FLOAT
    if (t->dtype == BF16)
        widen_bf16(n, (const uint16_t *)base + at, (float *)buffer);
    else if (t->dtype == F16)
        widen_f16(n, (const uint16_t *)base + at, (float *)buffer);
    if (t->dtype != F32)
        return (float *)buffer;
#endif
    (void)t, (void)n, (void)buffer;
    return (REAL *)base + at;
}

/* Store a weight that `view` widened; nothing to do for one that was changed in place. */
static void NAME(put)(const struct tensor *t, int64_t at, int64_t n, const REAL *values)
{
#if IS_FLOAT
    if (t->dtype == BF16)
        narrow_bf16(n, values, (uint16_t *)t->weight + at);
    else if (t->dtype == F16)
        narrow_f16(n, values, (uint16_t *)t->weight + at);
#endif
    (void)t, (void)at, (void)n, (void)values;
}

static inline REAL NAME(quotient)(REAL numerator, REAL second, REAL correction, REAL eps)
{
    return numerator / FMA(SQRT(second), correction, eps);
}

/* u from the moments as they are after the update; `update` below computes the same bits. */
static void NAME(recompute)(const struct coefficients *k, int64_t n, const REAL *restrict g, const REAL *restrict first,
                            const REAL *restrict second, REAL *restrict u)
{
    const REAL keep = (REAL)k->keep_first, sign = (REAL)k->sign, add = (REAL)(k->add_first * k->sign);
    const REAL correction = (REAL)k->inverse_correction, eps = (REAL)k->eps;
    if (k->is_adam && k->nesterov)
        for (int64_t i = 0; i < n; i++)
            u[i] = NAME(quotient)(FMA(add, g[i], keep * first[i]), second[i], correction, eps);
    else if (k->is_adam)
        for (int64_t i = 0; i < n; i++)
            u[i] = NAME(quotient)(first[i], second[i], correction, eps);
    else if (!first)
        for (int64_t i = 0; i < n; i++)
            u[i] = add * g[i];
    else if (k->nesterov)
        for (int64_t i = 0; i < n; i++)
            u[i] = FMA(keep, first[i], sign * g[i]);
    else
        memcpy(u, first, (size_t)n * sizeof *u);
}

/* Moments and u of one step. */
static void NAME(update)(const struct coefficients *k, int64_t n, const REAL *restrict g, REAL *restrict first,
                         REAL *restrict second, REAL *restrict u)
{
    const REAL keep = (REAL)k->keep_first, add = (REAL)(k->add_first * k->sign);
    const REAL keep2 = (REAL)k->keep_second, add2 = (REAL)k->add_second;
    const REAL correction = (REAL)k->inverse_correction, eps = (REAL)k->eps;
    if (k->is_adam && !k->nesterov) { /* the usual case in one pass */
        for (int64_t i = 0; i < n; i++) {
            const REAL m = FMA(add, g[i], keep * first[i]), v = FMA(add2 * g[i], g[i], keep2 * second[i]);
            first[i] = m;
            second[i] = v;
            u[i] = NAME(quotient)(m, v, correction, eps);
        }
        return;
    }
    if (first)
        for (int64_t i = 0; i < n; i++)
            first[i] = FMA(add, g[i], keep * first[i]);
    if (k->is_adam)
        for (int64_t i = 0; i < n; i++)
            second[i] = FMA(add2 * g[i], g[i], keep2 * second[i]);
    NAME(recompute)(k, n, g, first, second, u);
}

/* w - (decay w + s u). The decay joins the step before the subtraction: 1 - 1e-6 rounded to float is 3 % off. */
static void NAME(apply)(int64_t n, REAL *restrict w, const REAL *restrict u, double step_size, double decay)
{
    const REAL s = (REAL)step_size, d = (REAL)decay;
    if (decay == 0) { /* 0 * inf would be NaN */
        for (int64_t i = 0; i < n; i++)
            w[i] = w[i] - s * u[i];
        return;
    }
    for (int64_t i = 0; i < n; i++)
        w[i] = w[i] - FMA(d, w[i], s * u[i]);
}

/* Lanes are added in double and in a fixed order: lanes i and i + 8, of these i and i + 4, and so on. */
static inline double NAME(total)(const NAME(vector) *lanes)
{
    NAME(eight) halves[2];
    vector_4 quarters[2];
    vector_2 eighths[2];
    memcpy(halves, lanes, sizeof halves);
    const vector_8 eight = __builtin_convertvector(halves[0], vector_8) + __builtin_convertvector(halves[1], vector_8);
    memcpy(quarters, &eight, sizeof quarters);
    const vector_4 four = quarters[0] + quarters[1];
    memcpy(eighths, &four, sizeof eighths);
    const vector_2 two = eighths[0] + eighths[1];
    return two[0] + two[1];
}

static inline void NAME(add_element)(REAL g, REAL w, REAL u, double *sums)
{
    sums[GW] += (double)(g * w);
    sums[GG] += (double)(g * g);
    sums[WW] += (double)(w * w);
    sums[WU] += (double)(w * u);
}

/* Add the statistics of rows of length `row`, too short for vectors, to `sums`. */
static void NAME(add_short_rows)(int64_t n_rows, int64_t row, const REAL *g, const REAL *w, const REAL *u, double *sums)
{
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t i = r * row; i < (r + 1) * row; i++)
            NAME(add_element)(g[i], w[i], u[i], sums + r * N_STATISTICS);
}

#if IS_FLOAT
/* w1 -> w2; with -kappa / (1 + kappa), w2 -> w1 for nearly all elements. */
static inline float stretch(float w, float u, float s, float kappa)
{
    return FMA(kappa, FMA(s, u, w), w);
}

static inline float inverse_of(float kappa) { return -kappa / (1 + kappa); }

static void stretch_all(int64_t n, float *restrict w, const float *restrict u, double step_size, float kappa)
{
    const float s = (float)step_size;
    for (int64_t i = 0; i < n; i++)
        w[i] = stretch(w[i], u[i], s, kappa);
}

/* Weights of a row, or a part of it, that are written in the channel view; where the way back would miss w1, it is
 * logged. Nothing more is written once the log might become full. */
struct writing {
    struct item *item;
    float *w;
    const float *u;
    int64_t place; /* of w in the item */
    vector_f32 s, decay, forth, back;
    int has_decay;
};

static struct writing writing_of(struct item *item, int64_t at, const float *u, float kappa)
{
    const vector_f32 zero = {0};
    const struct job *job = item->job;
    return (struct writing){.item = item, .w = (float *)job->tensor->weight + at, .u = u,
                            .place = at - item->begin * job->row, .s = zero + (float)job->k.step_size,
                            .decay = zero + (float)job->k.decay, .forth = zero + kappa, .back = zero + inverse_of(kappa),
                            .has_decay = job->k.decay != 0};
}

static int has_room(const struct item *item) { return item->n_logged + PER_VECTOR <= item->log_room; }

static void log_lanes(struct item *item, int64_t at, vector_f32 w1, unsigned lanes)
{
    float values[PER_VECTOR];
    memcpy(values, &w1, sizeof values);
    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        item->log_at[item->n_logged] = (uint16_t)(at + lane);
        item->log_value[item->n_logged++] = values[lane];
    }
}

/* Write the vector at `i`, of which `n` lanes are elements. */
static inline __attribute__((always_inline)) void write_vector(const struct writing *to, int64_t i, float *w, const float *u, int n)
{
    const vector_f32 c = *(const vector_f32 *)u, b = *(const vector_f32 *)w;
    vector_f32 step = to->s * c;
    if (to->has_decay)
        step = VFMA(to->decay, b, step);
    const vector_f32 w1 = b - step;
    const vector_f32 w2 = VFMA(to->forth, VFMA(to->s, c, w1), w1);
    const vector_f32 kept = VFMA(to->back, VFMA(to->s, c, w2), w2);
    *(vector_f32 *)w = w2;
    const unsigned lanes = DIFFERING_LANES(kept, w1) & ((1u << n) - 1);
    if (__builtin_expect(lanes != 0, 0))
        log_lanes(to->item, to->place + i, w1, lanes);
}

static void stop_writing(const struct writing *to, int64_t i)
{
    const int64_t at = to->item->begin * to->item->job->row + to->place + i;
    to->item->raw_from = NAME(min)(to->item->raw_from, at);
}

static inline __attribute__((always_inline)) void write_or_stop(const struct writing *to, int64_t i)
{
    if (has_room(to->item))
        write_vector(to, i, to->w + i, to->u + i, PER_VECTOR);
    else
        stop_writing(to, i);
}

/* Write elements [i, n). */
static void write_rest(const struct writing *to, int64_t i, int64_t n)
{
    struct item *item = to->item;
    const struct writing local = *to; /* stores could change what a pointer leads to: this stays in registers */
    for (; i + PER_VECTOR <= n; i += PER_VECTOR)
        write_or_stop(&local, i);
    if (i < n && !has_room(item))
        stop_writing(to, i);
    else if (i < n) {
        float rest_u[PER_VECTOR] = {0}, rest_w[PER_VECTOR] = {0};
        memcpy(rest_u, to->u + i, (size_t)(n - i) * sizeof *rest_u);
        memcpy(rest_w, to->w + i, (size_t)(n - i) * sizeof *rest_w);
        write_vector(to, i, rest_w, rest_u, (int)(n - i));
        memcpy(to->w + i, rest_w, (size_t)(n - i) * sizeof *rest_w);
    }
}
#endif

/* Keep the coefficients of `n` channels, if they are kept. Loops over arrays, so that the compiler makes vectors of roots
 * and divisions. */
static void NAME(set_coefficients)(const struct job *job, int64_t channel, int64_t n, const double *restrict rows)
{
    const struct projection p = projection_of(job);
    if (!job->channel)
        return;
    REAL *restrict to = (REAL *)job->channel + channel;
    for (int64_t r = 0; r < n; r++)
        to[r] = (REAL)projection_coefficient(&p, rows + r * N_STATISTICS);
}

enum NAME(rule) { NAME(ADAM), NAME(ADAM_NESTEROV), NAME(MOMENTUM), NAME(MOMENTUM_NESTEROV), NAME(PLAIN) };

static enum NAME(rule) NAME(rule_of)(const struct coefficients *k, int has_first)
{
    if (k->is_adam)
        return k->nesterov ? NAME(ADAM_NESTEROV) : NAME(ADAM);
    return !has_first ? NAME(PLAIN) : k->nesterov ? NAME(MOMENTUM_NESTEROV) : NAME(MOMENTUM);
}

/* update, the statistics of one row (or a part of it), and at will u or w1, in one loop. `rule` and `out` are constants
 * where this is inlined. Each element has the same bits as in `update`, `recompute` and `apply`. BEHIND: besides u, the
 * final weights of a former row, which lie in the cache, so that this work is done while the memory brings the new. */
enum NAME(out) { NAME(NOTHING), NAME(DIRECTION), NAME(WEIGHT), NAME(BEHIND) };

static inline __attribute__((always_inline)) void NAME(advance_row_as)(
    const enum NAME(rule) rule, const enum NAME(out) out, const struct coefficients *k, int64_t n, const REAL *g,
    REAL *w, REAL *first, REAL *second, REAL *u, double *sums, const struct writing *behind)
{
    const NAME(vector) zero = {0};
    const NAME(vector) keep = zero + (REAL)k->keep_first, add = zero + (REAL)(k->add_first * k->sign);
    const NAME(vector) keep2 = zero + (REAL)k->keep_second, add2 = zero + (REAL)k->add_second;
    const NAME(vector) correction = zero + (REAL)k->inverse_correction, eps = zero + (REAL)k->eps;
    const NAME(vector) sign = zero + (REAL)k->sign, s = zero + (REAL)k->step_size, decay = zero + (REAL)k->decay;
    NAME(vector) gw[N_VECTORS] = {0}, gg[N_VECTORS] = {0}, ww[N_VECTORS] = {0}, wu[N_VECTORS] = {0};
    const int has_decay = k->decay != 0; /* 0 * inf would be NaN */
    int64_t i = 0;
#if IS_FLOAT
    struct writing local = {0};
    if (out == NAME(BEHIND))
        local = *behind; /* stores could change what a pointer leads to: this stays in registers */
#endif
    (void)behind;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < N_VECTORS; l++) {
            const int64_t at = i + l * PER_VECTOR;
            const NAME(vector) a = *(const NAME(vector) *)(g + at), b = *(const NAME(vector) *)(w + at);
            NAME(vector) c = add * a;
            if (rule != NAME(PLAIN)) {
                const NAME(vector) m = VFMA(add, a, keep * *(const NAME(vector) *)(first + at));
                *(NAME(vector) *)(first + at) = m;
                c = m;
                if (rule == NAME(ADAM_NESTEROV))
                    c = VFMA(add, a, keep * m);
                else if (rule == NAME(MOMENTUM_NESTEROV))
                    c = VFMA(keep, m, sign * a);
            }
            if (rule == NAME(ADAM) || rule == NAME(ADAM_NESTEROV)) {
                const NAME(vector) v = VFMA(add2 * a, a, keep2 * *(const NAME(vector) *)(second + at));
                *(NAME(vector) *)(second + at) = v;
                c = c / VFMA(VSQRT(v), correction, eps);
            }
            if (out == NAME(DIRECTION) || out == NAME(BEHIND))
                *(NAME(vector) *)(u + at) = c;
#if IS_FLOAT
            if (out == NAME(BEHIND))
                write_or_stop(&local, at);
#endif
            if (out == NAME(WEIGHT)) {
                NAME(vector) step = s * c;
                if (has_decay)
                    step = VFMA(decay, b, step);
                *(NAME(vector) *)(w + at) = b - step;
            }
            gw[l] = VFMA(a, b, gw[l]);
            gg[l] = VFMA(a, a, gg[l]);
            ww[l] = VFMA(b, b, ww[l]);
            wu[l] = VFMA(b, c, wu[l]);
        }
    sums[GW] += NAME(total)(gw);
    sums[GG] += NAME(total)(gg);
    sums[WW] += NAME(total)(ww);
    sums[WU] += NAME(total)(wu);
    if (i < n) {
        REAL rest[LANES];
        NAME(update)(k, n - i, g + i, first ? first + i : NULL, second ? second + i : NULL, rest);
        for (int64_t r = 0; r < n - i; r++)
            NAME(add_element)(g[i + r], w[i + r], rest[r], sums);
        if (out == NAME(DIRECTION) || out == NAME(BEHIND))
            memcpy(u + i, rest, (size_t)(n - i) * sizeof *u);
#if IS_FLOAT
        if (out == NAME(BEHIND))
            write_rest(behind, i, n);
#endif
        if (out == NAME(WEIGHT))
            NAME(apply)(n - i, w + i, rest, k->step_size, k->decay);
    }
}

#define ADVANCE_AS(rule, out) NAME(advance_row_as)(rule, out, k, n, g, w, first, second, u, sums, NULL)
#define ADVANCE_BY(rule)                                                                                               \
    case rule:                                                                                                         \
        if (out == NAME(NOTHING))                                                                                      \
            ADVANCE_AS(rule, NAME(NOTHING));                                                                           \
        else if (out == NAME(DIRECTION))                                                                               \
            ADVANCE_AS(rule, NAME(DIRECTION));                                                                         \
        else                                                                                                           \
            ADVANCE_AS(rule, NAME(WEIGHT));                                                                            \
        break

static void NAME(advance_row)(enum NAME(out) out, const struct coefficients *k, int64_t n, const REAL *g, REAL *w,
                              REAL *first, REAL *second, REAL *u, double *sums)
{
    switch (NAME(rule_of)(k, first != NULL)) {
        ADVANCE_BY(NAME(ADAM));
        ADVANCE_BY(NAME(ADAM_NESTEROV));
        ADVANCE_BY(NAME(MOMENTUM));
        ADVANCE_BY(NAME(MOMENTUM_NESTEROV));
        ADVANCE_BY(NAME(PLAIN));
    }
}
#undef ADVANCE_BY
#undef ADVANCE_AS

#if IS_FLOAT
static void advance_row_behind(const struct coefficients *k, int64_t n, const float *g, float *w, float *first,
                               float *second, float *u, double *sums, const struct writing *behind)
{
#define ADVANCE_BY(rule)                                                                                               \
    case rule:                                                                                                         \
        advance_row_as_f32(rule, BEHIND_f32, k, n, g, w, first, second, u, sums, behind);                              \
        break
    switch (rule_of_f32(k, first != NULL)) {
        ADVANCE_BY(ADAM_f32);
        ADVANCE_BY(ADAM_NESTEROV_f32);
        ADVANCE_BY(MOMENTUM_f32);
        ADVANCE_BY(MOMENTUM_NESTEROV_f32);
        ADVANCE_BY(PLAIN_f32);
    }
#undef ADVANCE_BY
}
#endif

static void NAME(apply_each)(int64_t n, REAL *restrict w, const REAL *restrict u, double step_size,
                             const double *restrict decay)
{
    const REAL s = (REAL)step_size;
    for (int64_t i = 0; i < n; i++)
        w[i] = w[i] - FMA((REAL)decay[i], w[i], s * u[i]);
}

#if IS_FLOAT
/* Undo write_logged over elements [at, at + n) of the item. */
static void unstretch(const struct item *item, int64_t at, int64_t n, float *w, const float *u, float kappa)
{
    stretch_all(n, w, u, item->job->k.step_size, inverse_of(kappa));
    int64_t low = 0, high = item->n_logged; /* the log is in ascending order */
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (item->log_at[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < item->n_logged && item->log_at[low] < at + n; low++)
        w[item->log_at[low] - at] = item->log_value[low];
}
#endif

/* Whether all of u stays in `scratch->direction` until the tensor is finished, as it can where one item is all. */
static int NAME(keeps_direction)(const struct job *job)
{
    const struct tensor *t = job->tensor;
    const size_t n = (size_t)(t->outer * t->channels * t->inner);
    return job->n_items == 1 && job->layout == ROWS && n * sizeof(REAL) <= sizeof((struct scratch *)0)->direction;
}

/* The stages of the first sweep for elements [at, at + n) of the tensor, n <= CHUNK, that make up `n_rows` rows. */
static void NAME(advance)(const struct job *job, struct scratch *scratch, enum NAME(out) out, int64_t at, int64_t n,
                          int64_t n_rows, REAL *u, double *sums)
{
    const struct tensor *t = job->tensor;
    const REAL *g = NAME(view)(t, t->grad, at, n, scratch->grad);
    REAL *w = NAME(view)(t, t->weight, at, n, scratch->weight);
    REAL *first = t->first ? (REAL *)t->first + at : NULL, *second = t->second ? (REAL *)t->second + at : NULL;
    const int64_t row = n / n_rows;
    if (n_rows > 1 && row < 2 * LANES) {
        NAME(update)(&job->k, n, g, first, second, u);
        NAME(add_short_rows)(n_rows, row, g, w, u, sums);
        if (out == NAME(WEIGHT))
            NAME(apply)(n, w, u, job->k.step_size, job->k.decay);
    } else
        for (int64_t i = 0, r = 0; r < n_rows; r++, i += row)
            NAME(advance_row)(out, &job->k, row, g + i, w + i, first ? first + i : NULL, second ? second + i : NULL,
                              u + i, sums + r * N_STATISTICS);
    if (out == NAME(WEIGHT))
        NAME(put)(t, at, n, w);
}

/* A tensor without projection, or a part of a row too long to keep. */
static void NAME(sweep_range)(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t base = item->row * job->row;
    const enum NAME(out) out = job->layout == FLAT || job->mode == WRITE_NONE ? NAME(WEIGHT) : NAME(NOTHING);
    for (int64_t at = item->begin; at < item->end; at += CHUNK) {
        const int64_t n = NAME(min)(CHUNK, item->end - at);
        NAME(advance)(job, scratch, out, base + at, n, 1, (REAL *)scratch->direction, item->sums);
    }
}

#if IS_FLOAT
/* Rows whose statistics are complete and whose weights are not written yet. */
struct batch {
    int64_t row, n_rows;
    const float *u;
};

static struct writing writing_of_row(struct item *item, const struct batch *rows, int64_t r, int64_t offset)
{
    const int64_t at = r * item->job->row + offset;
    return writing_of(item, rows->row * item->job->row + at, rows->u + at, ((const float *)item->job->channel)[rows->row + r]);
}

/* Sweep the rows of `now`, and with each write one of the rows of `behind`, if it has as many. */
static void advance_batch(struct item *item, struct scratch *scratch, const struct batch *now,
                          const struct batch *behind, double *sums)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
    const int64_t length = job->row, at = now->row * length;
    float *u = (float *)now->u;
    if (now->n_rows > behind->n_rows)
        for (int64_t c = 0, total = now->n_rows * length; c < total; c += CHUNK) /* several only of a single long row */
            advance_f32(job, scratch, DIRECTION_f32, at + c, NAME(min)(CHUNK, total - c), now->n_rows, u + c, sums);
    else
        for (int64_t r = 0; r < now->n_rows; r++)
            for (int64_t c = r * length, end = c + length, n; c < end; c += n) {
                n = NAME(min)(CHUNK, end - c);
                const struct writing to = writing_of_row(item, behind, r, c - r * length);
                advance_row_behind(&job->k, n, (const float *)t->grad + at + c, (float *)t->weight + at + c,
                                   t->first ? (float *)t->first + at + c : NULL,
                                   t->second ? (float *)t->second + at + c : NULL, u + c,
                                   sums + r * N_STATISTICS, &to);
            }
}

static void write_batch(struct item *item, const struct batch *rows, int64_t from)
{
    for (int64_t r = from; r < rows->n_rows; r++) {
        const struct writing to = writing_of_row(item, rows, r, 0);
        write_rest(&to, 0, item->job->row);
    }
}

/* The rows of an item in the channel view, as guessed. Batches that stay in the first-level cache are written while the
 * next one is swept: the memory brings the new rows meanwhile. Longer rows are written at once. */
static void sweep_rows_writing(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t length = job->row, together = length < CHUNK ? CHUNK / length : 1;
    const int overlaps = length >= 2 * LANES && length <= CHUNK;
    float *const u = (float *)scratch->direction;
    struct batch behind = {0, 0, NULL}, now = {item->begin, 0, u};
    int64_t n_gathered = 0;
    for (; now.row < item->end; now.row += now.n_rows) {
        double *sums = scratch->rows + n_gathered * N_STATISTICS;
        now.n_rows = NAME(min)(together, item->end - now.row);
        memset(sums, 0, (size_t)(now.n_rows * N_STATISTICS) * sizeof *sums);
        advance_batch(item, scratch, &now, &behind, sums);
        write_batch(item, &behind, now.n_rows); /* the others, if it had more */
        set_coefficients_f32(item->job, now.row, now.n_rows, sums);
        behind = now;
        if (overlaps)
            now.u = now.u == u ? u + CHUNK : u;
        else {
            write_batch(item, &now, 0);
            behind.n_rows = 0;
        }
        n_gathered += now.n_rows;
        if (n_gathered >= GATHERED || now.row + now.n_rows >= item->end) {
            absorb_rows(item, n_gathered, scratch->rows);
            n_gathered = 0;
        }
    }
    write_batch(item, &behind, 0);
}
#endif

static void NAME(sweep_rows)(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t length = job->row, together = length < CHUNK ? CHUNK / length : 1;
    const int keeps_all = NAME(keeps_direction)(job);
    const enum NAME(out) out = keeps_all ? NAME(DIRECTION) : job->mode == WRITE_NONE ? NAME(WEIGHT) : NAME(NOTHING);
    int64_t n_gathered = 0;
    for (int64_t row = item->begin, n_rows; row < item->end; row += n_rows) {
        n_rows = NAME(min)(together, item->end - row);
        const int64_t at = row * length, total = n_rows * length;
        double *sums = scratch->rows + n_gathered * N_STATISTICS;
        REAL *u = (REAL *)scratch->direction + (keeps_all ? at : 0);
        memset(sums, 0, (size_t)(n_rows * N_STATISTICS) * sizeof *sums);
        for (int64_t c = 0; c < total; c += CHUNK) /* several chunks only of a single long row */
            NAME(advance)(job, scratch, out, at + c, NAME(min)(CHUNK, total - c), n_rows, u + (keeps_all ? c : 0), sums);
        n_gathered += n_rows;
        if (n_gathered >= GATHERED || row + n_rows >= item->end) {
            NAME(set_coefficients)(item->job, row + n_rows - n_gathered, n_gathered, scratch->rows);
            absorb_rows(item, n_gathered, scratch->rows);
            n_gathered = 0;
        }
    }
}

static void NAME(sweep_panel)(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
    const int64_t n_channels = item->end - item->begin, run = n_channels * t->inner;
    memset(scratch->rows, 0, (size_t)(n_channels * N_STATISTICS) * sizeof(double));
    for (int64_t o = 0; o < t->outer; o++)
        for (int64_t c = 0; c < run; c += CHUNK) /* several chunks only of a single channel */
            NAME(advance)(job, scratch, NAME(NOTHING), (o * t->channels + item->begin) * t->inner + c,
                          NAME(min)(CHUNK, run - c), n_channels, (REAL *)scratch->direction, scratch->rows);
    NAME(set_coefficients)(item->job, item->begin, n_channels, scratch->rows);
    absorb_rows(item, n_channels, scratch->rows);
}

static void NAME(sweep)(struct item *item, struct scratch *scratch)
{
#if IS_FLOAT
    if (item->job->mode == WRITE_CHANNEL) {
        sweep_rows_writing(item, scratch);
        return;
    }
#endif
    if (item->job->layout == ROWS)
        NAME(sweep_rows)(item, scratch);
    else if (item->job->layout == PANELS)
        NAME(sweep_panel)(item, scratch);
    else
        NAME(sweep_range)(item, scratch);
}

/* u of elements [at, at + n) again. */
static const REAL *NAME(direction)(const struct job *job, struct scratch *scratch, int64_t at, int64_t n)
{
    const struct tensor *t = job->tensor;
    REAL *u = (REAL *)scratch->direction, *g = NULL;
    if (NAME(keeps_direction)(job))
        return u + at;
    if (job->k.nesterov || !t->first)
        g = NAME(view)(t, t->grad, at, n, scratch->grad);
    const REAL *first = t->first ? (REAL *)t->first + at : NULL, *second = t->second ? (REAL *)t->second + at : NULL;
    NAME(recompute)(&job->k, n, g, first, second, u);
    return u;
}

static double NAME(coefficient)(const struct job *job, int64_t channel)
{
    if (job->decision == NONE)
        return job->k.decay;
    return job->decision == CHANNEL ? (double)((const REAL *)job->channel)[channel] : job->whole;
}

#if IS_FLOAT
/* Elements [at, at + n) of a tensor with one coefficient: u again, w1 unless the first sweep wrote it, and w2 in one
 * loop. `rule` and `is_raw` are constants where this is inlined. Each element has the same bits as in `recompute`,
 * `apply` and `stretch`. Memory brings what lies AHEAD meanwhile, across the pages at which the processor stops. */
static inline __attribute__((always_inline)) void project_as(const enum NAME(rule) rule, const int is_raw,
                                                             const struct job *job, int64_t at, int64_t n)
{
    const struct tensor *t = job->tensor;
    const struct coefficients *k = &job->k;
    const vector_f32 zero = {0};
    const vector_f32 keep = zero + (float)k->keep_first, add = zero + (float)(k->add_first * k->sign);
    const vector_f32 correction = zero + (float)k->inverse_correction, eps = zero + (float)k->eps;
    const vector_f32 sign = zero + (float)k->sign, s = zero + (float)k->step_size, decay = zero + (float)k->decay;
    const vector_f32 kappa = zero + (float)job->whole;
    const int has_decay = k->decay != 0, needs_grad = rule != ADAM_f32 && rule != MOMENTUM_f32;
    const int is_adam = rule == ADAM_f32 || rule == ADAM_NESTEROV_f32;
    float *w = (float *)t->weight + at;
    const float *g = (const float *)t->grad + at, *first = rule != PLAIN_f32 ? (const float *)t->first + at : NULL;
    const float *second = is_adam ? (const float *)t->second + at : NULL;
    for (int64_t i = 0; i < n; i += PER_VECTOR) {
        vector_f32 b = *(const vector_f32 *)(w + i), c;
        __builtin_prefetch(w + i + AHEAD, 1);
        if (rule != PLAIN_f32)
            __builtin_prefetch(first + i + AHEAD);
        if (needs_grad)
            __builtin_prefetch(g + i + AHEAD);
        if (rule == PLAIN_f32)
            c = add * *(const vector_f32 *)(g + i);
        else if (rule == ADAM_NESTEROV_f32)
            c = VFMA(add, *(const vector_f32 *)(g + i), keep * *(const vector_f32 *)(first + i));
        else if (rule == MOMENTUM_NESTEROV_f32)
            c = VFMA(keep, *(const vector_f32 *)(first + i), sign * *(const vector_f32 *)(g + i));
        else
            c = *(const vector_f32 *)(first + i);
        if (is_adam) {
            __builtin_prefetch(second + i + AHEAD);
            c = c / VFMA(VSQRT(*(const vector_f32 *)(second + i)), correction, eps);
        }
        if (is_raw) {
            vector_f32 step = s * c;
            if (has_decay)
                step = VFMA(decay, b, step);
            b = b - step;
        }
        *(vector_f32 *)(w + i) = VFMA(kappa, VFMA(s, c, b), b);
    }
}

/* The same for as many elements as make up whole vectors; returns how many. */
static int64_t project(const struct job *job, int is_raw, int64_t at, int64_t n)
{
    n -= n % PER_VECTOR;
#define PROJECT_BY(rule)                                                                                               \
    case rule:                                                                                                         \
        if (is_raw)                                                                                                    \
            project_as(rule, 1, job, at, n);                                                                           \
        else                                                                                                           \
            project_as(rule, 0, job, at, n);                                                                           \
        break
    switch (rule_of_f32(&job->k, job->tensor->first != NULL)) {
        PROJECT_BY(ADAM_f32);
        PROJECT_BY(ADAM_NESTEROV_f32);
        PROJECT_BY(MOMENTUM_f32);
        PROJECT_BY(MOMENTUM_NESTEROV_f32);
        PROJECT_BY(PLAIN_f32);
    }
#undef PROJECT_BY
    return n;
}
#endif

/* Elements [at, at + n) of one row, or of several if the coefficient is the same for all. */
static void NAME(finish_piece)(const struct item *item, struct scratch *scratch, int64_t at, int64_t n, int64_t row)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
#if IS_FLOAT
    if (job->is_two_stage && job->decision == LAYER && job->mode != WRITE_CHANNEL) {
        const int64_t n_done = project(job, at >= item->raw_from, at, n);
        at += n_done;
        n -= n_done;
    }
    if (n == 0)
        return;
#endif
    const REAL *u = NAME(direction)(job, scratch, at, n);
    const double coefficient = NAME(coefficient)(job, row);
    REAL *w = NAME(view)(t, t->weight, at, n, scratch->weight);
#if IS_FLOAT
    if (job->is_two_stage) {
        if (at >= item->raw_from)
            apply_f32(n, w, u, job->k.step_size, job->k.decay);
        else if (job->mode == WRITE_CHANNEL)
            unstretch(item, at - item->begin * job->row, n, w, u, ((const float *)job->channel)[row]);
        if (job->decision != NONE)
            stretch_all(n, w, u, job->k.step_size, (float)coefficient);
        return;
    }
#endif
    NAME(apply)(n, w, u, job->k.step_size, coefficient);
    NAME(put)(t, at, n, w);
}

static void NAME(finish_range)(const struct item *item, struct scratch *scratch, int64_t begin, int64_t end,
                               int64_t row)
{
    for (int64_t at = begin, n; at < end; at += n) {
        n = NAME(min)(CHUNK, end - at);
        if (item->job->is_two_stage && at < item->raw_from) /* a piece is all written or all raw */
            n = NAME(min)(n, item->raw_from - at);
        NAME(finish_piece)(item, scratch, at, n, row);
    }
}

/* w.u and w.w of one row, whose weight is not changed yet. */
static void NAME(find_again)(int64_t n, const REAL *w, const REAL *u, double *sums)
{
    NAME(vector) wu[N_VECTORS] = {0}, ww[N_VECTORS] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < N_VECTORS; l++) {
            const NAME(vector) a = *(const NAME(vector) *)(w + i + l * PER_VECTOR);
            const NAME(vector) b = *(const NAME(vector) *)(u + i + l * PER_VECTOR);
            wu[l] = VFMA(a, b, wu[l]);
            ww[l] = VFMA(a, a, ww[l]);
        }
    sums[WU] = NAME(total)(wu);
    sums[WW] = NAME(total)(ww);
    for (; i < n; i++) {
        sums[WU] += (double)(w[i] * u[i]);
        sums[WW] += (double)(w[i] * w[i]);
    }
}

/* The channel view of rows whose coefficients were not kept: they are found again. */
static void NAME(finish_short_rows)(const struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
    const struct projection p = projection_of(job);
    const int64_t length = job->row, together = CHUNK / length;
    for (int64_t row = item->begin, n_rows; row < item->end; row += n_rows) {
        n_rows = NAME(min)(together, item->end - row);
        const int64_t at = row * length, n = n_rows * length;
        const REAL *u = NAME(direction)(job, scratch, at, n);
        REAL *w = NAME(view)(t, t->weight, at, n, scratch->weight);
        for (int64_t i = 0; i < n; i += length) {
            double sums[N_STATISTICS] = {0};
            NAME(find_again)(length, w + i, u + i, sums);
            NAME(apply)(length, w + i, u + i, job->k.step_size, projection_coefficient(&p, sums));
        }
        NAME(put)(t, at, n, w);
    }
}

static void NAME(finish_rows)(const struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t length = job->row;
    if (job->decision == CHANNEL && !job->channel) {
        NAME(finish_short_rows)(item, scratch);
        return;
    }
    const int is_written_right = job->is_two_stage && (int)job->mode == (int)job->decision;
    if (job->decision != CHANNEL && job->mode != WRITE_CHANNEL) { /* one coefficient for all rows */
        NAME(finish_range)(item, scratch, item->begin * length, item->end * length, 0);
        return;
    }
    for (int64_t row = item->begin; row < item->end; row++) {
        int64_t begin = row * length, end = begin + length;
        if (is_written_right && begin < item->raw_from)
            begin = NAME(min)(end, item->raw_from);
        NAME(finish_range)(item, scratch, begin, end, row);
    }
}

static void NAME(finish_panel)(const struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
    const int64_t n_channels = item->end - item->begin, run = n_channels * t->inner;
    for (int64_t i = 0; i < NAME(min)(run, CHUNK); i++) /* longer runs are of one channel */
        scratch->each[i] = NAME(coefficient)(job, item->begin + (n_channels > 1 ? i / t->inner : 0));
    for (int64_t o = 0; o < t->outer; o++)
        for (int64_t c = 0; c < run; c += CHUNK) {
            const int64_t n = NAME(min)(CHUNK, run - c), at = (o * t->channels + item->begin) * t->inner + c;
            const REAL *u = NAME(direction)(job, scratch, at, n);
            REAL *w = NAME(view)(t, t->weight, at, n, scratch->weight);
            NAME(apply_each)(n, w, u, job->k.step_size, scratch->each);
            NAME(put)(t, at, n, w);
        }
}

static void NAME(finish)(struct item *item, struct scratch *scratch)
{
    const int64_t base = item->row * item->job->row;
    if (item->job->layout == ROWS)
        NAME(finish_rows)(item, scratch);
    else if (item->job->layout == PANELS)
        NAME(finish_panel)(item, scratch);
    else
        NAME(finish_range)(item, scratch, base + item->begin, base + item->end, item->row);
}
#undef LANES
#undef N_VECTORS
#undef PER_VECTOR
