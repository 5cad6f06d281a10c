/* The loops, compiled once per instruction set with -DADAMP_ISA=... and that set's flags.
 *
 * Every element's arithmetic is written with explicit fused operations and compiled without contraction, so that it
 * has the same bits in the vector body of a loop, in its tail, and in the other function that recomputes it. Sums
 * run in 16 lanes whatever the width of the registers: AVX2 and AVX-512 agree to the bit. */
#include <math.h>
#include <string.h>

#include "engine.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

#if defined(__FMA__) || defined(__aarch64__)
#define FUSED_F(a, b, c) __builtin_fmaf(a, b, c)
#define FUSED_D(a, b, c) __builtin_fma(a, b, c)
#else /* the library's function would take a hundred times as long */
#define FUSED_F(a, b, c) ((a) * (b) + (c))
#define FUSED_D(a, b, c) ((a) * (b) + (c))
#endif

/* The few vector operations that C's operators do not have. Vectors are as wide as the registers; loads and stores go
 * through pointers to them, unaligned. differing_lanes is a bit per lane whose bits are not the same. */
#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#define FUSED_VF(a, b, c) ((vector_f32)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define FUSED_VD(a, b, c) ((vector_f64)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define ROOT_VF(a) ((vector_f32)_mm512_sqrt_ps((__m512)(a)))
#define ROOT_VD(a) ((vector_f64)_mm512_sqrt_pd((__m512d)(a)))
#define DIFFERING_LANES(a, b) ((unsigned)_mm512_cmpneq_epi32_mask((__m512i)(a), (__m512i)(b)))
#elif defined(__AVX2__)
#include <immintrin.h>
#define VECTOR_BYTES 32
#define FUSED_VF(a, b, c) ((vector_f32)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define FUSED_VD(a, b, c) ((vector_f64)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define ROOT_VF(a) ((vector_f32)_mm256_sqrt_ps((__m256)(a)))
#define ROOT_VD(a) ((vector_f64)_mm256_sqrt_pd((__m256d)(a)))
#define DIFFERING_LANES(a, b) \
    (0xffu & ~(unsigned)_mm256_movemask_ps((__m256)_mm256_cmpeq_epi32((__m256i)(a), (__m256i)(b))))
#else
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#include <arm_neon.h>
#define FUSED_VF(a, b, c) ((vector_f32)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define FUSED_VD(a, b, c) ((vector_f64)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#else
#define FUSED_VF(a, b, c) ((a) * (b) + (c))
#define FUSED_VD(a, b, c) ((a) * (b) + (c))
#endif
#define ROOT_VF(a) root_f32(a)
#define ROOT_VD(a) root_f64(a)
#define DIFFERING_LANES(a, b) differing_lanes(a, b)
#endif

typedef float vector_f32 __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef double vector_f64 __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));

/* Fixed numbers of lanes, for sums across them; the compiler splits what is wider than the registers. */
typedef float eight_f32 __attribute__((vector_size(32)));
typedef double eight_f64 __attribute__((vector_size(64)));
typedef double vector_8 __attribute__((vector_size(64)));
typedef double vector_4 __attribute__((vector_size(32)));
typedef double vector_2 __attribute__((vector_size(16)));

#if VECTOR_BYTES == 16
static inline vector_f32 root_f32(vector_f32 x)
{
    for (int i = 0; i < 4; i++)
        x[i] = __builtin_sqrtf(x[i]);
    return x;
}

static inline vector_f64 root_f64(vector_f64 x)
{
    for (int i = 0; i < 2; i++)
        x[i] = __builtin_sqrt(x[i]);
    return x;
}

static inline unsigned differing_lanes(vector_f32 a, vector_f32 b)
{
    uint32_t x[4], y[4];
    unsigned lanes = 0;
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (int i = 0; i < 4; i++)
        lanes |= (unsigned)(x[i] != y[i]) << i;
    return lanes;
}
#endif

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void widen_bf16(int64_t n, const uint16_t *restrict from, float *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = float_of((uint32_t)from[i] << 16);
}

static void narrow_bf16(int64_t n, const float *restrict from, uint16_t *restrict to)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(from[i]);
        uint32_t nearest_even = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
        uint32_t is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
        to[i] = (uint16_t)(is_nan ? 0x7fc0u : nearest_even);
    }
}

static void widen_f16(int64_t n, const uint16_t *restrict from, float *restrict to)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t sign = (uint32_t)(from[i] & 0x8000u) << 16, rest = from[i] & 0x7fffu;
        float normal = float_of((rest << 13) + (112u << 23)); /* 112: difference of the exponents' biases */
        float special = float_of((rest << 13) | 0x7f800000u);
        float subnormal = (float)(int32_t)rest * 0x1p-24f;
        float size = rest >= 0x7c00u ? special : rest < 0x0400u ? subnormal : normal;
        to[i] = float_of(bits_of(size) | sign);
    }
}

static void narrow_f16(int64_t n, const float *restrict from, uint16_t *restrict to)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t sign = (bits_of(from[i]) >> 16) & 0x8000u, size = bits_of(from[i]) & 0x7fffffffu;
        uint32_t normal = (size - (112u << 23) + 0x0fffu + ((size >> 13) & 1u)) >> 13;
        /* 0.5 has the ulp of half precision's subnormals: the addition rounds to them, and its last bits are they. */
        uint32_t subnormal = bits_of(float_of(size < (113u << 23) ? size : 0u) + 0.5f) - bits_of(0.5f);
        uint32_t special = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
        uint32_t half = size >= 0x47800000u ? special : size < (113u << 23) ? subnormal : normal;
        to[i] = (uint16_t)(half | sign);
    }
}

/* Take the statistics of `n` channels into the item's. */
static void absorb_rows(struct item *item, int64_t n, const double *restrict rows)
{
    const double eps = item->job->hyper->eps;
    double cosines[GATHERED];
    for (int64_t done = 0; done < n; done += GATHERED, rows += GATHERED * N_STATISTICS) {
        const int64_t m = n - done < GATHERED ? n - done : GATHERED;
        for (int64_t r = 0; r < m; r++)
            cosines[r] = abs_cos(rows + r * N_STATISTICS, eps);
        for (int64_t r = 0; r < m; r++) {
            item->max_cos = max_keeping_nan(item->max_cos, cosines[r]);
            for (int i = 0; i < N_STATISTICS; i++)
                item->sums[i] += rows[r * N_STATISTICS + i];
        }
    }
}

#define REAL float
#define IS_FLOAT 1
#define FMA FUSED_F
#define SQRT __builtin_sqrtf
#define VFMA FUSED_VF
#define VSQRT ROOT_VF
#define NAME(x) PASTE(x, _f32)
#include "sweeps.h"
#undef REAL
#undef IS_FLOAT
#undef FMA
#undef SQRT
#undef VFMA
#undef VSQRT
#undef NAME

#define REAL double
#define IS_FLOAT 0
#define FMA FUSED_D
#define SQRT __builtin_sqrt
#define VFMA FUSED_VD
#define VSQRT ROOT_VD
#define NAME(x) PASTE(x, _f64)
#include "sweeps.h"

const struct kernels PASTE(adamp_kernels_, ADAMP_ISA) = {
    {sweep_f32, sweep_f64},
    {finish_f32, finish_f64},
};
