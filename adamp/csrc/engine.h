/* The native step of AdamP, SGDP and SGDW: types shared by the driver and the kernels.
 *
 * A step must read the whole gradient and weight before it knows whether a tensor is projected, but to read them
 * twice costs a third more time. So the sweep that updates the moments also gathers the statistics of the decision
 * and writes the weight as the decision probably is; where it was wrong, a second sweep turns the weights into those
 * of the right one, to the bit. Results therefore depend neither on the guess nor on the number of threads:
 *
 *   w1 = w - (lam w + s u)                      the step without projection
 *   w2 = w1 + kappa (w1 + s u)                  the projected step, always computed from w1
 *
 * with s the step size, lam the decay, and kappa = (lam (1 - wd_ratio) + s (w.u) / (|w| + eps)^2) / (1 - lam) of the
 * row or of the tensor. w1 -> w2 needs nothing else. w2 -> w1 is w2 - kappa / (1 + kappa) (w2 + s u), which rounds to
 * the bits of w1 for nearly all elements; the sweep tries it on each and logs the others. */
#ifndef ADAMP_ENGINE_H
#define ADAMP_ENGINE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHUNK = 1024,       /* elements that go through all stages while they lie in the first-level cache */
    HELD = 16384,       /* a tensor of so many elements is decided at once, its direction u held in the cache */
    ITEM = 65536,       /* most elements of one unit of work; a place in it fits 16 bits */
    ROW_MAX = HELD,     /* longest row whose direction u is held until the row's statistics are complete */
    STORED = 192,       /* elements of a channel below which its coefficient is found again rather than kept */
    GATHERED = 64,      /* rows whose square roots and divisions are taken together */
    LOG_SHARE = 512,    /* an item may log one in so many elements; when that is not enough it stops guessing */
    AHEAD = 512,        /* elements after those in work that a second sweep asks of the memory */
    WAVE = 1 << 19,     /* elements after which the tensors swept so far are finished, while the cache has them */
};

#define EXPORT __attribute__((visibility("default")))

enum dtype { F32 = 0, F64 = 1, BF16 = 2, F16 = 3 };
enum decision { NONE = 0, CHANNEL = 1, LAYER = 2 };
enum statistic { GW = 0, GG = 1, WW = 2, WU = 3, N_STATISTICS = 4 };

/* What a sweep may write before the decision. DEFER writes no weight. */
enum mode { WRITE_NONE = 0, WRITE_CHANNEL = 1, DEFER = 2 };

/* How a tensor is cut into items. FLAT: no projection. ROWS: whole rows. SEGMENTS: parts of a row longer than
 * ROW_MAX. PANELS: some channels of a tensor whose channels do not lie in one piece each. */
enum layout { FLAT = 0, ROWS = 1, SEGMENTS = 2, PANELS = 3 };

/* One parameter, as Python fills it in. Memory order is (outer, channels, inner). */
struct tensor {
    void *weight;
    const void *grad;
    void *first;              /* exp_avg or momentum_buffer; NULL without momentum */
    void *second;             /* exp_avg_sq; NULL for SGD */
    float *step;              /* steps taken so far; NULL for SGD */
    void *stats;              /* the diagnostics' six numbers, in the arithmetic's type */
    int64_t *counts;          /* and three counts */
    int64_t outer, channels, inner;
    int32_t dtype;
    int32_t is_considered;    /* the projection is considered */
    int32_t guess;            /* kept from step to step; changes the time and never the result */
    int32_t strikes;
    int32_t cooldown;
    int32_t decision;         /* out */
};

struct hyper {
    double lr, beta1, beta2, eps, weight_decay, delta, wd_ratio, momentum, dampening;
    int32_t is_adam, nesterov, maximize, guesses;
};

/* Scalars of one tensor's step, in double; the kernels round each of them once. */
struct coefficients {
    double keep_first, add_first, keep_second, add_second, inverse_correction, eps;
    double sign, step_size, decay;
    int is_adam, nesterov;
};

struct job {
    struct tensor *tensor;
    struct coefficients k;
    const struct hyper *hyper;
    enum layout layout;
    enum mode mode;
    int is_two_stage;         /* projected weights are computed from w1 */
    enum decision decision;
    int64_t first_item, n_items, row;
    void *channel;            /* per channel, in the arithmetic's type: kappa if is_two_stage, else what replaces lam;
                               * NULL where they are not kept */
    double whole;             /* the same for the layer view */
    double max_cos;
};

struct item {
    struct job *job;
    int64_t begin, end;       /* elements (FLAT, SEGMENTS), rows (ROWS), channels (PANELS) */
    int64_t row;              /* SEGMENTS */
    int64_t raw_from;         /* elements of the tensor from here on were not written */
    double sums[N_STATISTICS];
    double max_cos;
    int64_t n_logged, log_room;
    uint16_t *log_at;         /* place in the item */
    float *log_value;         /* w1 there */
};

/* On each thread's stack. */
struct scratch {
    _Alignas(64) char direction[HELD * sizeof(float)];
    _Alignas(64) double channel[CHUNK]; /* of a tensor that is one item */
    _Alignas(64) double grad[CHUNK], weight[CHUNK], each[CHUNK], rows[(CHUNK + GATHERED) * N_STATISTICS];
};

struct kernels {
    void (*sweep[2])(struct item *, struct scratch *);    /* indexed by "is double" */
    void (*finish[2])(struct item *, struct scratch *);
};

extern const struct kernels adamp_kernels_generic, adamp_kernels_avx2, adamp_kernels_avx512;

/* GOMP_parallel: libgomp's entry point, which libomp has too. Found at run time, so that this library neither needs
 * OpenMP to be built nor starts a second pool beside torch's. */
typedef void parallel_function(void (*body)(void *), void *data, unsigned n_threads, unsigned flags);

struct context;

EXPORT int adamp_step(struct context *c, struct tensor *tensors, int64_t n, void *const *pointers,
                      const struct hyper *hyper, int n_threads, int isa, parallel_function *parallel);

/* Written so that a NaN norm stays NaN. */
static inline double at_least(double norm, double eps) { return norm < eps ? eps : norm; }

/* A norm beyond the arithmetic's range tells no angle: divided by it, every cosine would be 0 and be projected. */
static inline double abs_cos(const double *s, double eps)
{
    const double cos = fabs(s[GW]) / at_least(sqrt(s[GG]), eps) / at_least(sqrt(s[WW]), eps);
    return isinf(s[GG] + s[WW]) ? NAN : cos;
}

static inline double max_keeping_nan(double a, double b) { return b > a || b != b ? b : a; }

/* What turns w.u and |w| into a row's or tensor's coefficient: kappa where projected weights come from w1, else what
 * replaces the decay in w - (decay w + s u). */
struct projection {
    double eps, step_size, base, divisor;
};

static inline struct projection projection_of(const struct job *job)
{
    const double decay = job->k.decay, ratio = job->hyper->wd_ratio, step_size = job->k.step_size;
    if (job->is_two_stage)
        return (struct projection){job->hyper->eps, step_size, decay * (1 - ratio), 1 - decay};
    return (struct projection){job->hyper->eps, -step_size, decay * ratio, 1};
}

static inline double projection_coefficient(const struct projection *p, const double *s)
{
    const double norm = sqrt(s[WW]) + p->eps;
    return (p->base + p->step_size * (s[WU] / (norm * norm))) / p->divisor;
}

#endif
