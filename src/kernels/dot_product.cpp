// The bf16 dot product of x86 (AVX512_BF16). Highway 1.0.3 has no target for it.
#include "kernels/dot_product.hpp"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)  // g++ 12 sees it in its own header (PR105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <bit>
#include <cmath>
#include <random>
#include <utility>

#define NAPIER_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define NAPIER_INLINE NAPIER_TARGET __attribute__((always_inline)) inline

namespace napier::dot {
namespace {

constexpr int k_lanes = 16;
constexpr int k_panel_vectors = static_cast<int>(k_panel) / k_lanes;
// Steps of k that stay in the caches while rows pass over them; of a row's longer sum the first
// part waits in the output.
constexpr int64_t k_steps = 1024;
// Steps of k that weights are asked for in advance, from the second cache.
constexpr int64_t k_ahead = 16;
constexpr int64_t k_rows_to_make_for = 12;

template <int N, class Body>
NAPIER_INLINE void unrolled(const Body& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) NAPIER_TARGET __attribute__((always_inline)) {
    (body(std::integral_constant<int, I>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}
#define NAPIER_LAMBDA NAPIER_TARGET __attribute__((always_inline))

NAPIER_INLINE __m512 dot(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

NAPIER_INLINE __m512i pair_at(const uint16_t* x) {  // one pair in all lanes
  int32_t pair;
  __builtin_memcpy(&pair, x, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// A Product has Weight load(w), 16 pairs of weights, of k_weight_group numbers each, and add(),
// both products of the pair of activations at `x` with each, added to the sums in order; k_rows of
// a tile keep their sums in registers, k_block_rows their sums and totals.
struct Exact {
  static constexpr int k_group = 1;
  static constexpr int k_weight_group = 1;
  static constexpr int k_rows = 8;
  static constexpr int k_block_rows = 4;
  using Weight = __m512i;
  NAPIER_INLINE Weight load(const uint16_t* w) const { return _mm512_loadu_si512(w); }
  template <int NV>
  NAPIER_INLINE void add(const uint16_t* x, const Weight (&w)[NV], __m512 (&sums)[NV]) const {
    const __m512i a = pair_at(x);
    unrolled<NV>([&](auto v) NAPIER_LAMBDA { sums[v] = dot(sums[v], a, w[v]); });
  }
};

template <bool k_factor, bool k_mask>
struct Adder {
  static constexpr int k_group = 1;
  static constexpr int k_weight_group = 1;
  static constexpr int k_rows = 8;
  static constexpr int k_block_rows = 4;
  int64_t factors;  // from a code to its factor
  struct Weight {
    __m512i code;
    __mmask32 nonzero;
  };
  NAPIER_INLINE Weight load(const uint16_t* at) const {
    const __m512i w = _mm512_loadu_si512(at);
    return {w, k_mask ? _mm512_test_epi16_mask(w, _mm512_set1_epi16(0x7FFF)) : __mmask32{0}};
  }
  template <int NV>
  NAPIER_INLINE void add(const uint16_t* x, const Weight (&w)[NV], __m512 (&sums)[NV]) const {
    const __m512i a = pair_at(x);
    const __m512i factor = k_factor ? pair_at(x + factors) : _mm512_set1_epi16(k_one);
    unrolled<NV>([&](auto v) NAPIER_LAMBDA {
      const __m512i product = k_mask ? _mm512_maskz_add_epi16(w[v].nonzero, a, w[v].code)
                                     : _mm512_add_epi16(a, w[v].code);
      sums[v] = dot(sums[v], product, factor);
    });
  }
};

// Each product is an exact sum of two exact products; it is added as one number.
struct Bilinear {
  static constexpr int k_group = 2;
  static constexpr int k_weight_group = 1;
  static constexpr int k_rows = 6;
  static constexpr int k_block_rows = 2;
  using Lanes = uint32_t __attribute__((vector_size(64)));
  struct Weight {
    __m512i first, second;  // (power, value) of each step
  };
  NAPIER_INLINE Weight load(const uint16_t* w) const {
    const auto pairs = (Lanes)_mm512_loadu_si512(w);
    constexpr uint32_t power = 0xFF800000;
    return {(__m512i)((pairs & power) | pairs >> 16),
            (__m512i)((pairs << 16 & power) | (pairs & 0xFFFF))};
  }
  template <int NV>
  NAPIER_INLINE void add(const uint16_t* x, const Weight (&w)[NV], __m512 (&sums)[NV]) const {
    const __m512i a = pair_at(x);
    const __m512i b = pair_at(x + 2);
    const __m512 zero = _mm512_setzero_ps();
    unrolled<NV>([&](auto v)
                     NAPIER_LAMBDA { sums[v] = _mm512_add_ps(sums[v], dot(zero, a, w[v].first)); });
    unrolled<NV>(
        [&](auto v) NAPIER_LAMBDA { sums[v] = _mm512_add_ps(sums[v], dot(zero, b, w[v].second)); });
  }
};

// The same with weights as the tile needs them, twice as large: made once for many rows.
struct BilinearMade : Bilinear {
  static constexpr int k_weight_group = 2;
  NAPIER_INLINE Weight load(const uint16_t* w) const {
    return {_mm512_loadu_si512(w), _mm512_loadu_si512(w + 2 * k_panel)};
  }
  NAPIER_INLINE static void make(const uint16_t* panel, int64_t steps, uint16_t* to) {
    for (int64_t k = 0; k < steps; k += 2, panel += 2 * k_panel, to += 4 * k_panel) {
      for (int64_t column = 0; column < k_panel; column += k_lanes) {
        const Weight made = Bilinear().load(panel + 2 * column);
        _mm512_storeu_si512(to + 2 * column, made.first);
        _mm512_storeu_si512(to + 2 * (k_panel + column), made.second);
      }
    }
  }
};

// What tiles of one task share.
struct Part {
  const PanelTask<uint16_t>* task;
  int64_t first_run, last_run;  // [first, last)
  int64_t begin, end;           // steps of k; with several runs, whole ones
  const uint16_t* w;            // of step `w_begin`
  int64_t w_begin;
};

// The finished sum of a run, scaled.
NAPIER_INLINE __m512 scaled(const PanelTask<uint16_t>& task, int64_t row, int64_t run,
                            int64_t column, __m512 sum) {
  if (task.x_code != nullptr) {
    const RowCode& code = task.x_code[row];
    const __mmask16 counts =
        _mm512_cmp_ps_mask(_mm512_abs_ps(sum), _mm512_set1_ps(code.least), _CMP_NLT_UQ);
    sum = _mm512_maskz_scalef_ps(counts, sum, _mm512_set1_ps(code.exponent));
  }
  if (task.x_scale != nullptr) {
    sum = _mm512_mul_ps(sum, _mm512_set1_ps(task.x_scale[row * task.runs + run]));
  }
  if (task.w_scale != nullptr) {
    const int64_t panel = column / k_panel;
    sum = _mm512_mul_ps(sum, _mm512_loadu_ps(task.w_scale + (panel * task.runs + run) * k_panel +
                                             column % k_panel));
  }
  return sum;
}

// MR rows times NV vectors of neighbouring columns. With blocks each run's sum is added to a total,
// which stays in registers too.
template <int MR, int NV, bool k_blocks, class Product>
NAPIER_INLINE void tile(const Product& product, const Part& part, int64_t row, int64_t column) {
  const PanelTask<uint16_t>& task = *part.task;
  const uint16_t* x = task.x + row * task.x_stride;
  const auto columns = [&](int v) NAPIER_LAMBDA { return column + v * k_lanes; };
  const auto mask = [&](int v) NAPIER_LAMBDA {
    const int64_t left = task.columns - columns(v);
    return static_cast<__mmask16>(left >= k_lanes ? 0xFFFF : left > 0 ? (1 << left) - 1 : 0);
  };
  const uint16_t* w[NV];
  unrolled<NV>([&](auto v) NAPIER_LAMBDA {
    w[v] = part.w + columns(v) / k_panel * task.panel_stride + columns(v) % k_panel * 2;
  });
  const auto out = [&](int r, int v) NAPIER_LAMBDA {
    return task.out + (row + r) * task.out_stride + columns(v);
  };
  const auto for_each = [&](const auto& body) NAPIER_LAMBDA {
    unrolled<MR>([&](auto r)
                     NAPIER_LAMBDA { unrolled<NV>([&](auto v) NAPIER_LAMBDA { body(r, v); }); });
  };

  int64_t k = part.begin;
  // What the parts before have left; of blocks, totals, else the sum so far.
  __m512 totals[MR][NV];
  for_each([&](auto r, auto v) NAPIER_LAMBDA {
    totals[r][v] = k == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask(v), out(r, v));
    if (k == 0) __builtin_prefetch(out(r, v), 1);  // outputs arrive while the sums are made
  });
  for (int64_t run = part.first_run; run < part.last_run; ++run) {
    __m512 sums[MR][NV];
    for_each([&](auto r, auto v)
                 NAPIER_LAMBDA { sums[r][v] = k_blocks ? _mm512_setzero_ps() : totals[r][v]; });
    for (const int64_t end = std::min(part.end, task.run_ends[run]); k < end; k += 2) {
      typename Product::Weight weights[NV];
      unrolled<NV>([&](auto v) NAPIER_LAMBDA {
        const uint16_t* at = w[v] + (k - part.w_begin) * k_panel * Product::k_weight_group;
        weights[v] = product.load(at);
        if (MR > 2) __builtin_prefetch(at + k_ahead * k_panel * Product::k_weight_group);
      });
      unrolled<MR>([&](auto r) NAPIER_LAMBDA {
        product.add(x + r * task.x_stride + k * Product::k_group, weights, sums[r]);
      });
    }
    const bool is_finished = k >= task.run_ends[run];
    for_each([&](auto r, auto v) NAPIER_LAMBDA {
      if (is_finished) sums[r][v] = scaled(task, row + r, run, columns(v), sums[r][v]);
      totals[r][v] = k_blocks ? _mm512_add_ps(totals[r][v], sums[r][v]) : sums[r][v];
    });
  }
  for_each([&](auto r, auto v) NAPIER_LAMBDA {
    if (mask(v) != 0) _mm512_mask_storeu_ps(out(r, v), mask(v), totals[r][v]);
  });
}

template <int MR, int NV, bool k_blocks, class Product>
NAPIER_TARGET __attribute__((noinline)) void tiles(const Product& product, const Part& part,
                                                   int64_t row) {
  const int64_t columns = part.task->columns;
  int64_t column = 0;
  if constexpr (NV > k_panel_vectors) {  // as long as there are so many panels
    for (; columns - column > NV * k_lanes - k_panel; column += NV * k_lanes) {
      tile<MR, NV, k_blocks>(product, part, row, column);
    }
  }
  for (; column < columns; column += k_panel) {
    tile<MR, k_panel_vectors, k_blocks>(product, part, row, column);
  }
}

template <bool k_blocks, class Product>
void run_rows(const Product& product, const Part& part) {
  const int64_t rows = part.task->rows;
  const bool several = part.task->columns > k_panel;
  int64_t row = 0;
  constexpr int NV = k_panel_vectors;
  constexpr int k_rows = k_blocks ? Product::k_block_rows : Product::k_rows;
  for (; row + k_rows <= rows; row += k_rows) tiles<k_rows, NV, k_blocks>(product, part, row);
  if constexpr (k_rows > 4) {
    for (; rows - row >= 4; row += 4) tiles<4, NV, k_blocks>(product, part, row);
  }
  // Few rows take several panels at once, as each sum waits for its last addition.
  for (; rows - row >= 2; row += 2) {
    several ? tiles<2, 2 * NV, k_blocks>(product, part, row)
            : tiles<2, NV, k_blocks>(product, part, row);
  }
  if (row < rows) {
    several ? tiles<1, 4 * NV, k_blocks>(product, part, row)
            : tiles<1, NV, k_blocks>(product, part, row);
  }
}

template <bool k_blocks, class Product>
void run_part(const Product& product, const Part& part) {
  run_rows<k_blocks>(product, part);
}

template <bool k_blocks>
NAPIER_TARGET void run_part(const Bilinear& product, Part part) {
  if (part.task->rows < k_rows_to_make_for || part.task->columns > k_panel) {
    return run_rows<k_blocks>(product, part);
  }
  thread_local Scratch<uint16_t> memory;
  const int64_t steps = part.end - part.begin;
  uint16_t* made = memory.at_least((steps + 1) / 2 * 4 * k_panel);
  BilinearMade::make(part.w + part.begin * k_panel, steps, made);
  part.w = made;
  part.w_begin = part.begin;
  run_rows<k_blocks>(BilinearMade(), part);
}

template <class Product>
void run_task(const Product& product, const PanelTask<uint16_t>& task) {
  const int64_t k = task.run_ends[task.runs - 1];
  Part part{&task, 0, 0, 0, 0, task.w, 0};
  while (part.begin < k || part.last_run == 0) {
    if (task.in_blocks) {
      part.first_run = part.last_run;
      do {
        part.end = task.run_ends[part.last_run++];
      } while (part.last_run < task.runs && part.end - part.begin < k_steps);
      run_part<true>(product, part);
    } else {
      part.last_run = 1;
      // A part that is left over is no smaller than half of the others.
      part.end = k - part.begin < k_steps + k_steps / 2 ? k : part.begin + k_steps;
      run_part<false>(product, part);
    }
    part.begin = part.end;
  }
}

// (a) and (b), products of the upper and the lower halves, as the kernels need them summed.
float summed(float sum, float a_high, float b_high, float a_low, float b_low) {
  sum = static_cast<float>(double{a_high} * double{b_high} + double{sum});
  return static_cast<float>(double{a_low} * double{b_low} + double{sum});
}

// Random pairs, with sums near enough to each other that the order and each rounding show.
NAPIER_TARGET bool sums_in_order() {
  std::mt19937 random(1);
  const auto draw = [&] {
    const uint32_t bits = static_cast<uint32_t>(random());
    return std::bit_cast<float>((bits & 0x807F0000) | (120 + bits % 16) << 23);
  };
  for (int trial = 0; trial < 500; ++trial) {
    alignas(64) float sums[k_lanes];
    alignas(64) uint32_t a[k_lanes];
    alignas(64) uint32_t b[k_lanes];
    float want[k_lanes];
    for (int i = 0; i < k_lanes; ++i) {
      const float a_high = draw(), a_low = draw(), b_high = draw(), b_low = draw();
      sums[i] = draw() * 256 + draw() * 0x1p-12f;
      a[i] = std::bit_cast<uint32_t>(a_high) | std::bit_cast<uint32_t>(a_low) >> 16;
      b[i] = std::bit_cast<uint32_t>(b_high) | std::bit_cast<uint32_t>(b_low) >> 16;
      want[i] = summed(sums[i], a_high, b_high, a_low, b_low);
    }
    _mm512_store_ps(sums, dot(_mm512_load_ps(sums), _mm512_load_si512(a), _mm512_load_si512(b)));
    for (int i = 0; i < k_lanes; ++i) {
      if (std::bit_cast<uint32_t>(sums[i]) != std::bit_cast<uint32_t>(want[i])) return false;
    }
  }
  return true;
}

}  // namespace

bool available() {
  static const bool found =
      __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && sums_in_order();
  return found;
}

void run_exact(const PanelTask<uint16_t>& task) { run_task(Exact(), task); }
void run_bilinear(const PanelTask<uint16_t>& task) { run_task(Bilinear(), task); }

namespace {

// Sixteen numbers below 2^16 become eight pairs, the first of each in the upper half.
NAPIER_INLINE void store_pairs(uint16_t* to, __m512i numbers) {
  const __m512i pairs =
      _mm512_or_si512(_mm512_slli_epi64(numbers, 16), _mm512_srli_epi64(numbers, 32));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi64_epi32(pairs));
}

// Calls body(values, outputs) for vectors of values, `size` numbers of output for each value;
// values beyond the last are zeros. Some encodings have a second output, else null.
template <class Body>
NAPIER_INLINE void for_vectors(const float* values, int64_t count, uint16_t* encoded,
                               uint16_t* second, int size, const Body& body) {
  int64_t i = 0;
  for (; i + k_lanes <= count; i += k_lanes) {
    uint16_t* to_second = second == nullptr ? nullptr : second + i * size;
    body(_mm512_castps_si512(_mm512_loadu_ps(values + i)), encoded + i * size, to_second);
  }
  if (i == count) return;
  const auto mask = static_cast<__mmask16>((1 << (count - i)) - 1);
  alignas(64) uint16_t last[2][2 * k_lanes];
  body(_mm512_castps_si512(_mm512_maskz_loadu_ps(mask, values + i)), last[0], last[1]);
  const int64_t left = (count - i + 1) / 2 * 2 * size;
  std::copy_n(last[0], left, encoded + i * size);
  if (second != nullptr) std::copy_n(last[1], left, second + i * size);
}

}  // namespace

NAPIER_TARGET void encode_exact(const float* values, int64_t count, uint16_t* encoded) {
  const auto encode = [](__m512i v, uint16_t* to, uint16_t*) NAPIER_LAMBDA {
    store_pairs(to, _mm512_maskz_srli_epi32(0xFFFF, v, 16));
  };
  for_vectors(values, count, encoded, nullptr, 1, encode);
}

NAPIER_TARGET void encode_codes(const float* values, int64_t count, CodeRule rule,
                                uint16_t* encoded, uint16_t* factors) {
  const __m512i low = _mm512_set1_epi32(0xFFFF);
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  const __m512i bias = _mm512_set1_epi32(rule.bias);
  const auto encode = [&](__m512i v, uint16_t* to, uint16_t* factor) NAPIER_LAMBDA {
    const __mmask16 nonzero = _mm512_test_epi32_mask(v, magnitude);
    const __m512i code = _mm512_add_epi32(_mm512_maskz_srli_epi32(0xFFFF, v, 16), bias);
    store_pairs(to, _mm512_mask_blend_epi32(nonzero, _mm512_set1_epi32(rule.zero),
                                            _mm512_and_si512(code, low)));
    store_pairs(factor, _mm512_maskz_set1_epi32(nonzero, k_one));
  };
  for_vectors(values, count, encoded, factors, 1, encode);
}

// x w by the formula is p(w) (x + (c - 1) p(x)) + w p(x), with p(v) = +-2^e: two exact products.
NAPIER_TARGET void encode_bilinear(const float* values, int64_t count, float offset,
                                   uint16_t* encoded) {
  const __m512 c = _mm512_set1_ps(offset);
  const auto encode = [&](__m512i v, uint16_t* to, uint16_t*) NAPIER_LAMBDA {
    const __m512i power = _mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xFF800000)));
    const __m512 p = _mm512_castsi512_ps(power);
    const __m512 rest = _mm512_fmadd_ps(c, p, _mm512_sub_ps(_mm512_castsi512_ps(v), p));
    const __m512i high = _mm512_and_si512(_mm512_castps_si512(rest),
                                          _mm512_set1_epi32(static_cast<int>(0xFFFF0000)));
    _mm512_storeu_si512(to, _mm512_or_si512(high, _mm512_maskz_srli_epi32(0xFFFF, power, 16)));
  };
  for_vectors(values, count, encoded, nullptr, 2, encode);
}

namespace {

template <bool k_factor, bool k_mask>
void run_codes(const PanelTask<uint16_t>& task) {
  run_task(Adder<k_factor, k_mask>{task.factors}, task);
}

}  // namespace

void run_adder(const PanelTask<uint16_t>& task) { run_codes<false, false>(task); }
void run_factored(const PanelTask<uint16_t>& task) { run_codes<true, false>(task); }
void run_masked(const PanelTask<uint16_t>& task) { run_codes<true, true>(task); }

}  // namespace napier::dot

#else

namespace napier::dot {

bool available() { return false; }
void run_exact(const PanelTask<uint16_t>&) {}
void run_adder(const PanelTask<uint16_t>&) {}
void run_factored(const PanelTask<uint16_t>&) {}
void run_masked(const PanelTask<uint16_t>&) {}
void run_bilinear(const PanelTask<uint16_t>&) {}
void encode_exact(const float*, int64_t, uint16_t*) {}
void encode_codes(const float*, int64_t, CodeRule, uint16_t*, uint16_t*) {}
void encode_bilinear(const float*, int64_t, float, uint16_t*) {}

}  // namespace napier::dot

#endif
