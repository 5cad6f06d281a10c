/* Steps tensors of all kinds and prints a hash of every bit that is left: two processors that print the same lines
 * agree to the bit. Arguments: the instruction set and the number of threads, as `adamp_step` takes them.
 *
 * Includes the driver itself, so that the compiler checks what is called. Built and run by compare_processors.sh. */
#include <inttypes.h>
#include <stdio.h>

#include "../../adamp/csrc/step.c"

enum { N_STEPS = 6, N_SHAPES = 6, N_ALGORITHMS = 5, N_VIEWS = 4 };

static const int64_t SHAPES[N_SHAPES][3] = {{1, 5, 3}, {1, 33, 40}, {1, 300, 100}, {1, 3, 20000}, {1, 4000, 5},
                                            {24, 36, 35}};

/* lr, beta1, beta2, eps, weight_decay, delta, wd_ratio, momentum, dampening, is_adam, nesterov, maximize, guesses */
static const struct hyper ALGORITHMS[N_ALGORITHMS] = {
    {1e-3, .9, .999, 1e-8, .01, .1, .1, 0, 0, 1, 0, 0, 1}, {.3, .9, .999, 1e-8, .1, 1, 0, 0, 0, 1, 1, 0, 1},
    {.1, 0, 0, 1e-8, 1e-5, .1, .1, .9, 0, 0, 1, 0, 1},     {.1, 0, 0, 1e-8, 0, 5, .1, .9, .3, 0, 0, 1, 1},
    {.1, 0, 0, 1e-8, .1, .1, .1, 0, 0, 0, 0, 0, 1},
};

static uint64_t state;

static double uniform(void) /* in (-1, 1) */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(state >> 11) * 0x1p-52 - 1;
}

static uint64_t hash(uint64_t before, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        before = (before ^ at[i]) * 1099511628211u;
    return before;
}

static size_t bytes_of(int dtype) { return dtype == F64 ? 8 : dtype == F32 ? 4 : 2; }

/* Bits of a half with about three digits of `x`, without a conversion that a processor could do otherwise. */
static uint16_t half_of(double x)
{
    const double size = fabs(x) < 0x1p-14 ? 0x1p-14 : fabs(x);
    const int exponent = ilogb(size);
    return (uint16_t)((x < 0 ? 0x8000 : 0) | (exponent + 15) << 10 | (int)((size / ldexp(1, exponent) - 1) * 1024));
}

static void put(void *base, int dtype, int64_t at, double x)
{
    const float narrow = (float)x;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (dtype == F64)
        ((double *)base)[at] = x;
    else if (dtype == F32)
        ((float *)base)[at] = narrow;
    else
        ((uint16_t *)base)[at] = dtype == BF16 ? (uint16_t)(bits >> 16) : half_of(x);
}

/* Noise; noise without its part along each channel of `start`; that less or more than it along all or some channels. */
static void draw(const struct tensor *t, const double *start, int view, void *grad)
{
    for (int64_t c = 0; c < t->channels; c++) {
        double dot = 0, square = 0;
        const uint64_t seed = state;
        for (int pass = 0; pass < 2; pass++) {
            state = seed + (uint64_t)c;
            for (int64_t o = 0; o < t->outer; o++)
                for (int64_t i = 0; i < t->inner; i++) {
                    const int64_t at = (o * t->channels + c) * t->inner + i;
                    const double x = uniform(), along = view == 2 ? -2 : view == 3 ? (c % 2 ? 1 : -1) : 0;
                    dot += pass ? 0 : x * start[at];
                    square += pass ? 0 : start[at] * start[at];
                    if (pass)
                        put(grad, t->dtype, at, view ? x - (dot / square - along) * start[at] : x);
                }
        }
    }
}

static void run_case(int shape, int algorithm, int dtype, int isa, int n_threads)
{
    struct tensor t = {.outer = SHAPES[shape][0], .channels = SHAPES[shape][1], .inner = SHAPES[shape][2]};
    const struct hyper *hyper = ALGORITHMS + algorithm;
    const int64_t n = numel(&t);
    const size_t wide = dtype == F64 ? 8 : 4;
    double *start = malloc((size_t)n * sizeof *start), stats[6] = {0};
    void *weight = malloc((size_t)n * 8), *grad = malloc((size_t)n * 8);
    void *first = calloc((size_t)n, wide), *second = calloc((size_t)n, wide);
    int64_t counts[3] = {0};
    float step = 0;
    struct context *context = adamp_context_new();
    t.dtype = dtype, t.is_considered = 1, t.stats = stats, t.counts = counts;
    state = 1;
    for (int64_t i = 0; i < n; i++)
        put(weight, dtype, i, start[i] = uniform());
    void *const pointers[] = {weight, grad, hyper->is_adam || hyper->momentum > 0 ? first : NULL,
                              hyper->is_adam ? second : NULL, hyper->is_adam ? &step : NULL};
    printf("shape %d algorithm %d dtype %d:", shape, algorithm, dtype);
    for (int k = 0; k < N_STEPS; k++) {
        draw(&t, start, k % N_VIEWS, grad);
        t.guess = (k + 1) % 3, t.cooldown = 0;
        if (adamp_step(context, &t, 1, pointers, hyper, n_threads, isa, NULL))
            exit(1);
        printf(" %d", t.decision);
    }
    uint64_t all = hash(14695981039346656037u, weight, (size_t)n * bytes_of(dtype));
    all = hash(hash(all, first, (size_t)n * wide), second, (size_t)n * wide);
    printf(" %016" PRIx64 "\n", hash(hash(all, stats, sizeof stats), counts, sizeof counts));
    adamp_context_free(context);
    free(start), free(weight), free(grad), free(first), free(second);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 3)
        return 2;
    for (int shape = 0; shape < N_SHAPES; shape++)
        for (int algorithm = 0; algorithm < N_ALGORITHMS; algorithm++)
            for (int dtype = F32; dtype <= F16; dtype++)
                run_case(shape, algorithm, dtype, atoi(arguments[1]), atoi(arguments[2]));
    return 0;
}
