// 256 bytes in four registers, 64 of them chosen by two instructions (AVX512_VBMI), which Highway
// 1.0.3 does not use. A product's bytes are looked up one by one and put together.
#include "kernels/table.hpp"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)  // g++ 12 sees it in its own header (PR105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <array>
#include <utility>

#define NAPIER_TARGET __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#define NAPIER_INLINE NAPIER_TARGET __attribute__((always_inline)) inline

namespace napier::table {
namespace {

constexpr int k_vectors = static_cast<int>(k_panel) / 16;
constexpr int k_registers = k_codes / 64;  // of a plane

template <int N, class Body>
NAPIER_INLINE void unrolled(const Body& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) NAPIER_TARGET __attribute__((always_inline)) {
    (body(std::integral_constant<int, I>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}
#define NAPIER_LAMBDA NAPIER_TARGET __attribute__((always_inline))

// Where in 64 codes that of column 16 v + i stands, so that interleaving the planes, which is done
// in blocks of 16 bytes, gives vector v. Four planes become numbers t of block b in four vectors;
// of two planes, pairs of upper halves, even and odd ones part.
template <int planes>
constexpr std::array<uint8_t, 64> order() {
  std::array<uint8_t, 64> result{};
  for (int v = 0; v < 4; ++v) {
    for (int b = 0; b < 4; ++b) {
      for (int t = 0; t < 4; ++t) {
        const int within = planes == 4 ? 4 * v + t : 2 * t + v % 2 + v / 2 * 8;
        const int column = 16 * v + 4 * b + t;
        result[16 * b + within] = static_cast<uint8_t>(column < k_panel ? column : 0);
      }
    }
  }
  return result;
}

// The first three vectors of products, from their bytes.
template <int planes>
NAPIER_INLINE void put_together(const __m512i (&bytes)[planes], __m512 (&products)[k_vectors]) {
  if constexpr (planes == 2) {
    const __m512i low = _mm512_unpacklo_epi8(bytes[0], bytes[1]);
    const __m512i high = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000));
    products[0] = _mm512_castsi512_ps(_mm512_slli_epi32(low, 16));
    products[1] = _mm512_castsi512_ps(_mm512_and_si512(low, upper));
    products[2] = _mm512_castsi512_ps(_mm512_slli_epi32(high, 16));
  } else {
    const __m512i low01 = _mm512_unpacklo_epi8(bytes[0], bytes[1]);
    const __m512i high01 = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(bytes[2], bytes[3]);
    const __m512i high23 = _mm512_unpackhi_epi8(bytes[2], bytes[3]);
    products[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(low01, low23));
    products[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(low01, low23));
    products[2] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(high01, high23));
  }
}

template <int planes, int panels>
NAPIER_TARGET void sum(const Products& products, const uint8_t* x, const uint8_t* w,
                       int64_t panel_stride, int64_t begin, int64_t end, float* sums) {
  static constexpr std::array<uint8_t, 64> k_order = order<planes>();
  const __m512i in_order = _mm512_loadu_si512(k_order.data());
  __m512 total[panels][k_vectors];
  unrolled<panels>([&](auto p) NAPIER_LAMBDA {
    unrolled<k_vectors>([&](auto v) NAPIER_LAMBDA { total[p][v] = _mm512_setzero_ps(); });
  });
  for (int64_t k = begin; k < end; ++k) {
    const uint8_t* row = products.bytes.data() + int64_t{x[k]} * planes * k_codes;
    __m512i plane[planes][k_registers];
    unrolled<planes>([&](auto i) NAPIER_LAMBDA {
      unrolled<k_registers>([&](auto j) NAPIER_LAMBDA {
        plane[i][j] = _mm512_loadu_si512(row + i * k_codes + j * 64);
      });
    });
    unrolled<panels>([&](auto p) NAPIER_LAMBDA {
      const __m512i codes =
          _mm512_permutexvar_epi8(in_order, _mm512_loadu_si512(w + p * panel_stride + k * k_panel));
      const __mmask64 upper = _mm512_movepi8_mask(codes);
      __m512i bytes[planes];
      unrolled<planes>([&](auto i) NAPIER_LAMBDA {
        bytes[i] =
            _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(plane[i][0], codes, plane[i][1]),
                                   _mm512_permutex2var_epi8(plane[i][2], codes, plane[i][3]));
      });
      __m512 found[k_vectors];
      put_together<planes>(bytes, found);
      unrolled<k_vectors>(
          [&](auto v) NAPIER_LAMBDA { total[p][v] = _mm512_add_ps(total[p][v], found[v]); });
    });
  }
  unrolled<panels>([&](auto p) NAPIER_LAMBDA {
    unrolled<k_vectors>(
        [&](auto v) NAPIER_LAMBDA { _mm512_storeu_ps(sums + p * k_panel + v * 16, total[p][v]); });
  });
}

template <int planes>
void sum_panels(const Products& products, const uint8_t* x, const uint8_t* w, int64_t panel_stride,
                int64_t panels, int64_t begin, int64_t end, float* sums) {
  if (panels == k_panels)
    return sum<planes, k_panels>(products, x, w, panel_stride, begin, end, sums);
  for (int64_t p = 0; p < panels; ++p) {
    sum<planes, 1>(products, x, w + p * panel_stride, panel_stride, begin, end, sums + p * k_panel);
  }
}

}  // namespace

bool has_byte_permutations() {
  static const bool found =
      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");
  return found;
}

void sum_permuted(const Products& products, const uint8_t* x, const uint8_t* w,
                  int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums) {
  const auto run = products.planes == 2 ? sum_panels<2> : sum_panels<4>;
  run(products, x, w, panel_stride, panels, begin, end, sums);
}

}  // namespace napier::table

#else

namespace napier::table {

bool has_byte_permutations() { return false; }
void sum_permuted(const Products&, const uint8_t*, const uint8_t*, int64_t, int64_t, int64_t,
                  int64_t, float*) {}

}  // namespace napier::table

#endif
