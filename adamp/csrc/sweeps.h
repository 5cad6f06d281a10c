/* The sweeps for one type of arithmetic; kernels.c includes this with REAL = float and REAL = double. */

#define LANES 16
#define N_VECTORS (LANES * (int)sizeof(REAL) / VECTOR_BYTES)

typedef REAL NAME(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

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

/* Lanes are added in double and in a fixed order. */
static double NAME(total)(const NAME(vector) *lanes)
{
    REAL values[LANES];
    double sum = 0;
    memcpy(values, lanes, sizeof values);
    for (int i = 0; i < LANES; i++)
        sum += (double)values[i];
    return sum;
}

static void NAME(add_row)(int64_t n, const REAL *g, const REAL *w, const REAL *u, double *sums)
{
    NAME(vector) gw[N_VECTORS] = {0}, gg[N_VECTORS] = {0}, ww[N_VECTORS] = {0}, wu[N_VECTORS] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < N_VECTORS; l++) {
            const NAME(vector) a = ((const NAME(vector) *)(g + i))[l];
            const NAME(vector) b = ((const NAME(vector) *)(w + i))[l];
            const NAME(vector) c = ((const NAME(vector) *)(u + i))[l];
            gw[l] += a * b;
            gg[l] += a * a;
            ww[l] += b * b;
            wu[l] += b * c;
        }
    if (i) {
        sums[GW] += NAME(total)(gw);
        sums[GG] += NAME(total)(gg);
        sums[WW] += NAME(total)(ww);
        sums[WU] += NAME(total)(wu);
    }
    for (; i < n; i++) {
        sums[GW] += (double)(g[i] * w[i]);
        sums[GG] += (double)(g[i] * g[i]);
        sums[WW] += (double)(w[i] * w[i]);
        sums[WU] += (double)(w[i] * u[i]);
    }
}

/* Add the statistics of each of `n_rows` rows of length `row`, at most CHUNK elements, to `sums`. */
static void NAME(add_rows)(int64_t n_rows, int64_t row, const REAL *g, const REAL *w, const REAL *u, double *sums)
{
    for (int64_t r = 0; r < n_rows; r++)
        NAME(add_row)(row, g + r * row, w + r * row, u + r * row, sums + r * N_STATISTICS);
}

static double NAME(square_sum)(int64_t n, const REAL *w)
{
    NAME(vector) ww[N_VECTORS] = {0};
    double sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < N_VECTORS; l++) {
            const NAME(vector) b = ((const NAME(vector) *)(w + i))[l];
            ww[l] += b * b;
        }
    if (i)
        sum = NAME(total)(ww);
    for (; i < n; i++)
        sum += (double)(w[i] * w[i]);
    return sum;
}

/* w - (decay w + s u). The decay joins the step before the subtraction: 1 - 1e-6 rounded to float is 3 % off. */
static void NAME(apply)(int64_t n, REAL *restrict w, const REAL *restrict u, double step_size, double decay)
{
    const REAL s = (REAL)step_size, d = (REAL)decay;
    for (int64_t i = 0; i < n; i++)
        w[i] = w[i] - FMA(d, w[i], s * u[i]);
}

static void NAME(apply_each)(int64_t n, REAL *restrict w, const REAL *restrict u, double step_size,
                             const double *restrict decay)
{
    const REAL s = (REAL)step_size;
    for (int64_t i = 0; i < n; i++)
        w[i] = w[i] - FMA((REAL)decay[i], w[i], s * u[i]);
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

/* Write the channel-projected weights of a chunk and log where the way back would miss w1. Returns 0, with nothing
 * written, if the log has no room for them. */
static int write_logged(struct item *item, int64_t at, int64_t n, float *restrict w, const float *restrict u,
                        float kappa, struct scratch *scratch)
{
    const struct coefficients *k = &item->job->k;
    const float s = (float)k->step_size, decay = (float)k->decay, back = inverse_of(kappa);
    float *restrict w1 = scratch->w1, *restrict w2 = scratch->w2;
    uint32_t *restrict differs = scratch->differs, n_differ = 0;
    for (int64_t i = 0; i < n; i++) {
        w1[i] = w[i] - FMA(decay, w[i], s * u[i]);
        w2[i] = stretch(w1[i], u[i], s, kappa);
        differs[i] = bits_of(stretch(w2[i], u[i], s, back)) != bits_of(w1[i]);
        n_differ += differs[i];
    }
    if (item->n_logged + n_differ > ITEM / LOG_SHARE)
        return 0;
    memcpy(w, w2, (size_t)n * sizeof *w);
    for (int64_t i = 0; n_differ; i++)
        if (differs[i]) {
            item->log_at[item->n_logged] = (uint16_t)(at + i);
            item->log_value[item->n_logged++] = w1[i];
            n_differ--;
        }
    return 1;
}

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

/* Update elements [at, at + n), n <= CHUNK; returns the gradient and weight as REAL. */
static void NAME(advance)(const struct job *job, struct scratch *scratch, int64_t at, int64_t n, REAL *u, REAL **g,
                          REAL **w)
{
    const struct tensor *t = job->tensor;
    *g = NAME(view)(t, t->grad, at, n, scratch->grad);
    *w = NAME(view)(t, t->weight, at, n, scratch->weight);
    REAL *first = t->first ? (REAL *)t->first + at : NULL, *second = t->second ? (REAL *)t->second + at : NULL;
    NAME(update)(&job->k, n, *g, first, second, u);
}

/* A tensor without projection, or a part of a row too long to keep. */
static void NAME(sweep_range)(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t base = item->row * job->row;
    REAL *u = (REAL *)scratch->direction, *g, *w;
    for (int64_t at = item->begin; at < item->end; at += CHUNK) {
        const int64_t n = NAME(min)(CHUNK, item->end - at);
        NAME(advance)(job, scratch, base + at, n, u, &g, &w);
        if (job->layout == SEGMENTS) {
            NAME(add_row)(n, g, w, u, item->sums);
            continue;
        }
        item->sums[WW] += NAME(square_sum)(n, w);
        NAME(apply)(n, w, u, job->k.step_size, job->k.decay);
        NAME(put)(job->tensor, at, n, w);
    }
}

#if IS_FLOAT
/* Write `n_rows` rows from `row` on as the guess says. */
static void write_rows(struct item *item, struct scratch *scratch, int64_t row, int64_t n_rows, const float *u)
{
    const struct job *job = item->job;
    const int64_t start = item->begin * job->row, length = job->row;
    float *w = (float *)job->tensor->weight + row * length;
    if (job->mode == WRITE_NONE)
        apply_f32(n_rows * length, w, u, job->k.step_size, job->k.decay);
    for (int64_t r = 0; job->mode == WRITE_CHANNEL && r < n_rows; r++)
        for (int64_t c = 0; c < length; c += CHUNK) {
            const int64_t at = r * length + c, n = min_f32(CHUNK, length - c), from = (row + r) * length + c;
            if (from < item->raw_from &&
                !write_logged(item, from - start, n, w + at, u + at, (float)job->channel[row + r], scratch))
                item->raw_from = from;
        }
}
#endif

static void NAME(sweep_rows)(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t length = job->row, together = length < CHUNK ? CHUNK / length : 1;
    REAL *g, *w;
    for (int64_t row = item->begin, n_rows; row < item->end; row += n_rows) {
        n_rows = NAME(min)(together, item->end - row);
        const int64_t at = row * length, total = n_rows * length;
        const int keeps = NAME(keeps_direction)(job), keeps_row = keeps || job->is_two_stage;
        REAL *u = (REAL *)scratch->direction + (keeps ? at : 0);
        memset(scratch->rows, 0, (size_t)(n_rows * N_STATISTICS) * sizeof(double));
        for (int64_t c = 0; c < total; c += CHUNK) { /* several chunks only of a single long row */
            const int64_t n = NAME(min)(CHUNK, total - c);
            REAL *u_here = u + (keeps_row ? c : 0);
            NAME(advance)(job, scratch, at + c, n, u_here, &g, &w);
            NAME(add_rows)(n_rows, n / n_rows, g, w, u_here, scratch->rows);
        }
        for (int64_t r = 0; r < n_rows; r++)
            adamp_absorb_row(item, row + r, scratch->rows + r * N_STATISTICS);
#if IS_FLOAT
        if (job->is_two_stage)
            write_rows(item, scratch, row, n_rows, u);
#endif
    }
}

static void NAME(sweep_panel)(struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
    const int64_t n_channels = item->end - item->begin, run = n_channels * t->inner;
    REAL *u = (REAL *)scratch->direction, *g, *w;
    memset(scratch->rows, 0, (size_t)(n_channels * N_STATISTICS) * sizeof(double));
    for (int64_t o = 0; o < t->outer; o++)
        for (int64_t c = 0; c < run; c += CHUNK) { /* several chunks only of a single channel */
            const int64_t n = NAME(min)(CHUNK, run - c);
            NAME(advance)(job, scratch, (o * t->channels + item->begin) * t->inner + c, n, u, &g, &w);
            NAME(add_rows)(n_channels, n / n_channels, g, w, u, scratch->rows);
        }
    for (int64_t c = 0; c < n_channels; c++)
        adamp_absorb_row(item, item->begin + c, scratch->rows + c * N_STATISTICS);
}

static void NAME(sweep)(struct item *item, struct scratch *scratch)
{
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
    return job->decision == CHANNEL ? job->channel[channel] : job->whole;
}

/* Elements [at, at + n) of one row, or of several if the coefficient is the same for all. */
static void NAME(finish_piece)(const struct item *item, struct scratch *scratch, int64_t at, int64_t n, int64_t row)
{
    const struct job *job = item->job;
    const struct tensor *t = job->tensor;
    const REAL *u = NAME(direction)(job, scratch, at, n);
    const double coefficient = NAME(coefficient)(job, row);
    REAL *w = NAME(view)(t, t->weight, at, n, scratch->weight);
#if IS_FLOAT
    if (job->is_two_stage) {
        if (at >= item->raw_from)
            apply_f32(n, w, u, job->k.step_size, job->k.decay);
        else if (job->mode == WRITE_CHANNEL)
            unstretch(item, at - item->begin * job->row, n, w, u, (float)job->channel[row]);
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
        if (item->job->layout == ROWS && at < item->raw_from) /* a piece is all written or all raw */
            n = NAME(min)(n, item->raw_from - at);
        NAME(finish_piece)(item, scratch, at, n, row);
    }
}

static void NAME(finish_rows)(const struct item *item, struct scratch *scratch)
{
    const struct job *job = item->job;
    const int64_t length = job->row;
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
