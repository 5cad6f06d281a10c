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

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
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

#define REAL float
#define IS_FLOAT 1
#define FMA FUSED_F
#define SQRT __builtin_sqrtf
#define NAME(x) PASTE(x, _f32)
#include "sweeps.h"
#undef REAL
#undef IS_FLOAT
#undef FMA
#undef SQRT
#undef NAME

#define REAL double
#define IS_FLOAT 0
#define FMA FUSED_D
#define SQRT __builtin_sqrt
#define NAME(x) PASTE(x, _f64)
#include "sweeps.h"

const struct kernels PASTE(adamp_kernels_, ADAMP_ISA) = {
    {sweep_f32, sweep_f64},
    {finish_f32, finish_f64},
};
