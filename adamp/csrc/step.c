/* The driver: cuts tensors into items, runs them on torch's threads, decides, and finishes. See engine.h. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { ABI = 3, MAX_THREADS = 256, WORTH_THREADS = 1 << 16 };

enum { ISA_GENERIC = 0, ISA_AVX2 = 1, ISA_AVX512 = 2 };

/* Memory that one optimizer's group keeps between steps. */
struct context {
    struct job *jobs;
    struct item *items;
    char *channels;
    uint16_t *log_at;
    float *log_value;
    int64_t n_jobs, n_items, n_channel_bytes, n_log; /* capacities */
};

struct region {
    const struct kernels *kernels;
    struct context *context;
    int64_t n_items, next_item;
    int is_finish, n_entered, max_threads;
    unsigned control;
};

static int64_t numel(const struct tensor *t) { return t->outer * t->channels * t->inner; }

static int64_t at_least_one(int64_t n) { return n > 0 ? n : 1; }

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- the mathematics of a decision ---- */

static void set_stat(const struct tensor *t, int slot, double value)
{
    if (t->dtype == F64)
        ((double *)t->stats)[slot] = value;
    else
        ((float *)t->stats)[slot] = (float)value;
}

static void write_record(const struct job *job, const double *sums, double layer_cos)
{
    struct tensor *t = job->tensor;
    const double rate = job->k.decay;
    set_stat(t, 3, sqrt(sums[WW]));
    set_stat(t, 4, job->hyper->lr / sums[WW]);
    set_stat(t, 5, job->decision == NONE ? rate : rate * job->hyper->wd_ratio);
    t->counts[0] += 1;
    t->decision = job->decision;
    if (!t->is_considered)
        return;
    t->counts[1] += job->decision == CHANNEL;
    t->counts[2] += job->decision == LAYER;
    set_stat(t, 0, job->decision);
    set_stat(t, 1, job->max_cos);
    set_stat(t, 2, layer_cos);
}

/* A guess is given up after it was wrong twice in a row: 8 % of random gradients pass for the layer view by accident.
 * After the log overflowed the tensor is deferred for some steps. */
static void learn(const struct job *job, int has_overflowed)
{
    struct tensor *t = job->tensor;
    if (t->cooldown > 0)
        t->cooldown--;
    if (has_overflowed)
        t->cooldown = 16;
    t->strikes = t->guess == (int)job->decision ? 0 : t->strikes + 1;
    if (t->strikes >= 2) {
        t->guess = job->decision;
        t->strikes = 0;
    }
}

static void combine_segments(struct job *job, struct item *items)
{
    const struct projection p = projection_of(job);
    for (int64_t i = 0; i < job->n_items;) {
        struct item whole = items[i];
        const int64_t row = whole.row;
        for (i++; i < job->n_items && items[i].row == row; i++)
            for (int s = 0; s < N_STATISTICS; s++)
                whole.sums[s] += items[i].sums[s];
        job->max_cos = max_keeping_nan(job->max_cos, abs_cos(whole.sums, job->hyper->eps));
        const double coefficient = projection_coefficient(&p, whole.sums);
        if (job->tensor->dtype == F64)
            ((double *)job->channel)[row] = coefficient;
        else
            ((float *)job->channel)[row] = (float)coefficient;
    }
}

/* Decide after all items are swept; returns whether the tensor needs a second sweep. */
static int decide(struct job *job, struct item *items)
{
    const struct tensor *t = job->tensor;
    double sums[N_STATISTICS] = {0}, layer_cos = 0;
    int has_overflowed = 0;
    job->max_cos = 0;
    for (int64_t i = 0; i < job->n_items; i++) {
        for (int s = 0; s < N_STATISTICS; s++)
            sums[s] += items[i].sums[s];
        job->max_cos = max_keeping_nan(job->max_cos, items[i].max_cos);
        has_overflowed |= job->mode == WRITE_CHANNEL && items[i].raw_from < items[i].end * job->row;
    }
    job->decision = NONE;
    if (t->is_considered) {
        const double delta = job->hyper->delta;
        if (job->layout == SEGMENTS)
            combine_segments(job, items);
        layer_cos = abs_cos(sums, job->hyper->eps);
        const struct projection p = projection_of(job);
        job->whole = projection_coefficient(&p, sums);
        if (job->max_cos < delta / sqrt((double)(t->outer * t->inner)))
            job->decision = CHANNEL;
        else if (layer_cos < delta / sqrt((double)numel(t)))
            job->decision = LAYER;
        learn(job, has_overflowed);
    }
    write_record(job, sums, layer_cos);
    if (!t->is_considered)
        return 0;
    return !job->is_two_stage || job->mode == DEFER || (int)job->mode != (int)job->decision || has_overflowed;
}

/* ---- one tensor's plan ---- */

static struct coefficients coefficients_of(const struct hyper *h, const struct tensor *t)
{
    struct coefficients k = {.eps = h->eps, .sign = h->maximize ? -1 : 1, .is_adam = h->is_adam, .nesterov = h->nesterov};
    k.step_size = h->lr;
    k.decay = h->weight_decay > 0 ? h->lr * h->weight_decay : 0;
    if (!h->is_adam) {
        k.keep_first = h->momentum;
        k.add_first = 1 - h->dampening;
        k.decay /= 1 - h->momentum;
        return k;
    }
    k.keep_first = h->beta1;
    k.add_first = 1 - h->beta1;
    k.keep_second = h->beta2;
    k.add_second = 1 - h->beta2;
    k.inverse_correction = 1 / sqrt(1 - pow(h->beta2, *t->step));
    k.step_size = h->lr / (1 - pow(h->beta1, *t->step));
    return k;
}

static enum layout layout_of(const struct tensor *t)
{
    if (!t->is_considered || numel(t) == 0)
        return FLAT;
    if (t->outer > 1)
        return PANELS;
    return t->inner > ROW_MAX ? SEGMENTS : ROWS;
}

static void set_pointers(struct tensor *t, void *const *column, int64_t n)
{
    t->weight = column[0];
    t->grad = column[n];
    t->first = column[2 * n];
    t->second = column[3 * n];
    t->step = column[4 * n];
}

static int64_t row_of(const struct tensor *t, enum layout layout)
{
    return layout == FLAT ? numel(t) : t->outer * t->inner;
}

/* Large items let rows overlap, small ones share a small tensor among threads. */
static int64_t elements_per_item(const struct tensor *t) { return numel(t) < 8 * ITEM ? HELD : ITEM; }

/* Units (elements, rows or channels) of an item, and how many there are of them in all. */
static int64_t units_per_item(const struct tensor *t, enum layout layout)
{
    const int64_t n_elements = elements_per_item(t);
    if (layout == ROWS)
        return at_least_one(n_elements / t->inner);
    if (layout != PANELS)
        return n_elements;
    /* Runs of at least 64 elements for the memory's sake, and no more channels than an item unless that needs. */
    const int64_t most = at_least_one(CHUNK / t->inner), least = at_least_one(64 / t->inner);
    const int64_t fair = n_elements / (t->outer * t->inner);
    return fair < least ? least : fair < most ? fair : most;
}

static int64_t n_units(const struct tensor *t, enum layout layout)
{
    return layout == FLAT ? numel(t) : layout == SEGMENTS ? t->inner : t->channels;
}

static int64_t n_items_of(const struct tensor *t, enum layout layout)
{
    const int64_t n_rows = layout == SEGMENTS ? t->channels : 1;
    return n_rows * divide_up(n_units(t, layout), units_per_item(t, layout));
}

/* Memory for the coefficients of the job's channels: none for one item, and none where it would be a good part of the
 * weight's own: such tensors are swept twice. */
static int64_t channel_bytes(const struct job *job)
{
    const struct tensor *t = job->tensor;
    if (job->layout == FLAT || job->n_items == 1 || (job->layout == ROWS && job->row < STORED))
        return 0;
    return divide_up(t->channels * (t->dtype == F64 ? 8 : 4), 8) * 8;
}

/* What is decided here must depend on shapes and hyperparameters only, but for `mode`, which changes no result. */
static void plan(struct job *job, struct tensor *t, const struct hyper *h, const struct job *former)
{
    *job = (struct job){.tensor = t, .hyper = h, .layout = layout_of(t)};
    if (h->is_adam)
        *t->step += 1;
    /* The powers of a bias correction take longer than a small tensor; mostly all tensors took as many steps. */
    const int is_same = former && (!h->is_adam || *former->tensor->step == *t->step);
    job->k = is_same ? former->k : coefficients_of(h, t);
    job->row = row_of(t, job->layout);
    job->n_items = n_items_of(t, job->layout);
    /* 1 - decay divides kappa. Small tensors are finished in the cache, where deferring costs nothing. To find
     * coefficients again from w1 would lose digits. */
    job->is_two_stage = (job->layout == ROWS || job->layout == SEGMENTS) && t->dtype == F32 && channel_bytes(job) &&
                        job->k.decay <= 0.5;
    job->mode = DEFER;
    if (job->is_two_stage && h->guesses && t->guess == NONE)
        job->mode = WRITE_NONE;
    if (job->is_two_stage && h->guesses && t->guess == CHANNEL && t->cooldown == 0 && job->layout == ROWS)
        job->mode = WRITE_CHANNEL;
}

/* The tensor's element at which unit `unit` of an item begins; panels have none. */
static int64_t begin_of(const struct item *item, int64_t unit)
{
    const struct job *job = item->job;
    return job->layout == ROWS ? unit * job->row : item->row * job->row + unit;
}

static void cut(struct job *job, struct item *items)
{
    const struct tensor *t = job->tensor;
    const int64_t step = units_per_item(t, job->layout), units = n_units(t, job->layout);
    const int64_t per_row = divide_up(units, step);
    for (int64_t i = 0; i < job->n_items; i++) {
        const int64_t begin = i % per_row * step, end = begin + step < units ? begin + step : units;
        items[i] = (struct item){.job = job, .begin = begin, .end = end, .row = i / per_row};
        items[i].raw_from = begin_of(items + i, job->mode == DEFER ? begin : end);
    }
}

/* ---- threads ---- */

static unsigned get_control(void)
{
#if defined(__SSE__)
    return _mm_getcsr();
#else
    return 0;
#endif
}

static void set_control(unsigned control)
{
#if defined(__SSE__)
    _mm_setcsr(control);
#else
    (void)control;
#endif
}

static void run_item(struct region *r, struct item *item, struct scratch *scratch)
{
    struct job *job = item->job;
    const int is_double = job->tensor->dtype == F64;
    if (r->is_finish) {
        r->kernels->finish[is_double](item, scratch);
        return;
    }
    if (job->n_items == 1 && job->tensor->channels <= CHUNK)
        job->channel = scratch->channel;
    r->kernels->sweep[is_double](item, scratch);
    if (job->n_items == 1 && decide(job, item)) /* now, while it is in the cache */
        r->kernels->finish[is_double](item, scratch);
}

/* Threads take items as they come; no result depends on who takes which. They round denormals as the caller does. */
static void work(void *data)
{
    struct region *r = data;
    struct scratch scratch;
    const int slot = __atomic_fetch_add(&r->n_entered, 1, __ATOMIC_RELAXED);
    if (slot >= r->max_threads)
        return;
    const unsigned control = get_control();
    set_control(r->control);
    for (;;) {
        const int64_t i = __atomic_fetch_add(&r->next_item, 1, __ATOMIC_RELAXED);
        if (i >= r->n_items)
            break;
        /* Backwards through what was swept forwards: its end is still in the cache. */
        run_item(r, r->context->items + (r->is_finish ? r->n_items - 1 - i : i), &scratch);
    }
    set_control(control);
}

static void *work_in_thread(void *data)
{
    work(data);
    return NULL;
}

/* Without OpenMP: threads of our own for this region only. */
static void run_on_own_threads(struct region *r)
{
    pthread_t threads[MAX_THREADS];
    pthread_attr_t attributes;
    int n_started = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 8 * sizeof(struct scratch)); /* some systems' default is too small for one */
    while (n_started < r->max_threads - 1 && !pthread_create(&threads[n_started], &attributes, work_in_thread, r))
        n_started++;
    pthread_attr_destroy(&attributes);
    work(r);
    for (int i = 0; i < n_started; i++)
        pthread_join(threads[i], NULL);
}

static void run(struct region *r, parallel_function *parallel, int64_t n_items, int64_t n_elements, int is_finish)
{
    const int n_threads = r->max_threads;
    r->n_items = n_items;
    r->next_item = 0;
    r->n_entered = 0;
    r->is_finish = is_finish;
    if (n_threads == 1 || n_items < 2 || n_elements < WORTH_THREADS)
        work(r);
    else if (parallel)
        parallel(work, r, (unsigned)n_threads, 0);
    else
        run_on_own_threads(r);
}

/* ---- the step ---- */

static int grow(void *array, int64_t *capacity, int64_t n, size_t size)
{
    void **memory = array;
    if (n <= *capacity)
        return 1;
    free(*memory);
    *memory = NULL;
    *capacity = 0;
    if (posix_memalign(memory, 64, (size_t)n * size))
        return 0;
    *capacity = n;
    return 1;
}

/* Wave [first, return) of jobs: as many as make up WAVE elements, at least one. */
static int64_t end_of_wave(const struct job *jobs, int64_t first, int64_t n_jobs, int64_t *n_elements)
{
    int64_t last = first;
    *n_elements = 0;
    while (last < n_jobs && (last == first || *n_elements + numel(jobs[last].tensor) <= WAVE))
        *n_elements += numel(jobs[last++].tensor);
    return last;
}

struct need {
    int64_t n_items, n_channel_bytes, n_log;
};

/* Elements that each item of the job may log. */
static int64_t log_room(const struct job *job)
{
    if (job->mode != WRITE_CHANNEL)
        return 0;
    return units_per_item(job->tensor, ROWS) * job->row / LOG_SHARE;
}

static struct need need_of(const struct job *jobs, int64_t first, int64_t last)
{
    struct need need = {0, 0, 0};
    for (int64_t i = first; i < last; i++) {
        need.n_items += jobs[i].n_items;
        need.n_channel_bytes += channel_bytes(jobs + i);
        need.n_log += jobs[i].n_items * log_room(jobs + i);
    }
    return need;
}

static int reserve(struct context *c, int64_t n_jobs)
{
    int64_t n_elements;
    for (int64_t first = 0, last; first < n_jobs; first = last) {
        last = end_of_wave(c->jobs, first, n_jobs, &n_elements);
        const struct need need = need_of(c->jobs, first, last);
        int64_t n_values = c->n_log;
        if (!grow(&c->items, &c->n_items, need.n_items, sizeof *c->items) ||
            !grow(&c->channels, &c->n_channel_bytes, need.n_channel_bytes, 1) ||
            !grow(&c->log_value, &n_values, need.n_log, sizeof *c->log_value) ||
            !grow(&c->log_at, &c->n_log, need.n_log, sizeof *c->log_at))
            return 0;
    }
    return 1;
}

/* Give the wave's jobs their items and memory. */
static int64_t lay_out(struct context *c, int64_t first, int64_t last)
{
    int64_t n_items = 0, n_channel_bytes = 0, n_log = 0;
    for (int64_t j = first; j < last; j++) {
        struct job *job = c->jobs + j;
        job->first_item = n_items;
        job->channel = channel_bytes(job) ? c->channels + n_channel_bytes : NULL;
        cut(job, c->items + n_items);
        const int64_t room = log_room(job);
        for (int64_t i = n_items; room && i < n_items + job->n_items; i++) {
            c->items[i].log_room = room;
            c->items[i].log_at = c->log_at + n_log;
            c->items[i].log_value = c->log_value + n_log;
            n_log += room;
        }
        n_items += job->n_items;
        n_channel_bytes += channel_bytes(job);
    }
    return n_items;
}

/* Decide the tensors that have several items or none, and keep the items of those that need a second sweep. */
static int64_t decide_wave(struct context *c, int64_t first, int64_t last, int64_t *n_elements)
{
    int64_t n_kept = 0;
    *n_elements = 0;
    for (int64_t j = first; j < last; j++) {
        struct job *job = c->jobs + j;
        struct item *items = c->items + job->first_item;
        if (job->n_items == 1 || !decide(job, items))
            continue;
        *n_elements += numel(job->tensor);
        memmove(c->items + n_kept, items, (size_t)job->n_items * sizeof *items);
        n_kept += job->n_items;
    }
    return n_kept;
}

static const struct kernels *kernels_of(int isa)
{
#if defined(__x86_64__)
    if (isa == ISA_AVX512)
        return &adamp_kernels_avx512;
    if (isa == ISA_AVX2)
        return &adamp_kernels_avx2;
#endif
    (void)isa;
    return &adamp_kernels_generic;
}

EXPORT int adamp_abi(void) { return ABI; }

EXPORT int adamp_tensor_bytes(void) { return (int)sizeof(struct tensor); }

EXPORT struct context *adamp_context_new(void) { return calloc(1, sizeof(struct context)); }

EXPORT void adamp_context_free(struct context *c)
{
    if (!c)
        return;
    free(c->jobs);
    free(c->items);
    free(c->channels);
    free(c->log_at);
    free(c->log_value);
    free(c);
}

/* Bytes that the context holds. */
EXPORT int64_t adamp_context_bytes(const struct context *c)
{
    return c->n_jobs * (int64_t)sizeof *c->jobs + c->n_items * (int64_t)sizeof *c->items +
           c->n_channel_bytes + c->n_log * 6;
}

/* Step all tensors once. `pointers` holds n weights, n gradients, n first moments, n second moments and n step counts; it
 * is NULL where adamp_repeat knows that they lie as before.
 * Returns 0, or -1 if memory ran out before anything but the step counts was changed. */
EXPORT int adamp_step(struct context *c, struct tensor *tensors, int64_t n, void *const *pointers,
                      const struct hyper *hyper, int n_threads, int isa, parallel_function *parallel)
{
    struct region r = {.kernels = kernels_of(isa), .context = c, .control = get_control()};
    int64_t n_elements;
    r.max_threads = n_threads < 1 ? 1 : n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    if (!grow(&c->jobs, &c->n_jobs, n, sizeof *c->jobs))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        if (pointers)
            set_pointers(tensors + i, pointers + i, n);
        plan(c->jobs + i, tensors + i, hyper, i ? c->jobs + i - 1 : NULL);
    }
    if (!reserve(c, n)) {
        for (int64_t i = 0; hyper->is_adam && i < n; i++)
            *tensors[i].step -= 1;
        return -1;
    }
    for (int64_t first = 0, last; first < n; first = last) {
        last = end_of_wave(c->jobs, first, n, &n_elements);
        run(&r, parallel, lay_out(c, first, last), n_elements, 0);
        const int64_t n_left = decide_wave(c, first, last, &n_elements);
        if (n_left)
            run(&r, parallel, n_left, n_elements, 1);
    }
    return 0;
}
