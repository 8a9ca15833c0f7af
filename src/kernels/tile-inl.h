// The register tile of the kernels with f32 lanes. Included once per instruction set.
#if defined(NAPIER_KERNELS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NAPIER_KERNELS_TILE_INL_H_
#undef NAPIER_KERNELS_TILE_INL_H_
#else
#define NAPIER_KERNELS_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <bit>

#include "kernels/panels.hpp"
#include "kernels/unroll-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using VecF32 = hn::Vec<F32>;

// Rows of a tile: as many as leave registers for the weights. With 16 registers 4 x 3 sums, else 8.
// Few rows take several panels at once, as each sum waits for its last addition.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
inline constexpr int k_tile_rows = 8;
#else
inline constexpr int k_tile_rows = 4;
#endif
inline constexpr int k_panels_of_two_rows = 2;
inline constexpr int k_panels_of_one_row = 4;
inline constexpr int k_tile_vectors = 3;

inline float power_of_two(int exponent) {  // of a normal number
  return std::bit_cast<float>((exponent + 127) << 23);
}

// MR rows times NP panels, in each NV vectors from column `column`. A Product has
//   k_group                  floats that encode an activation
//   Weight load(const float* w)           one vector of weights
//   Activation broadcast(const float* x)  one activation in all lanes
//   VecF32 add(activation, weight, sum)   sum + the product, rounded once
template <int MR, int NP, int NV, class Product>
HWY_INLINE void tile(const Product& product, const PanelTask<float>& task, int64_t row,
                     int64_t first_panel, int64_t column) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int k_vectors = NP * NV;
  const float* x = task.x + row * task.x_stride;
  const float* w = task.w + first_panel * task.panel_stride + column;
  const auto output = [&](int v) NAPIER_LAMBDA {  // the first column of a vector
    return (first_panel + v / NV) * k_panel + column + (v % NV) * lanes;
  };
  // Outputs are not in the caches, or not for writing: they arrive while the sums are made.
  for (int r = 0; r < MR; ++r) {
    float* out = task.out + (row + r) * task.out_stride;
    unrolled<k_vectors>([&](auto v) NAPIER_LAMBDA { __builtin_prefetch(out + output(v), 1); });
  }
  // Runs but the last leave their sums here.
  HWY_ALIGN float totals[MR * k_vectors * HWY_MAX_BYTES / sizeof(float)];

  for (int64_t run = 0, k = 0; run < task.runs; ++run) {
    VecF32 sums[MR][k_vectors];
    unrolled<MR>([&](auto r) NAPIER_LAMBDA {
      unrolled<k_vectors>([&](auto v) NAPIER_LAMBDA { sums[r][v] = hn::Zero(d); });
    });
    for (; k < task.run_ends[run]; ++k) {
      typename Product::Weight weights[k_vectors];
      unrolled<k_vectors>([&](auto v) NAPIER_LAMBDA {
        weights[v] =
            product.load(w + (v / NV) * task.panel_stride + k * k_panel + (v % NV) * lanes);
      });
      unrolled<MR>([&](auto r) NAPIER_LAMBDA {
        const auto activation = product.broadcast(x + r * task.x_stride + k * Product::k_group);
        unrolled<k_vectors>([&](auto v) NAPIER_LAMBDA {
          sums[r][v] = product.add(activation, weights[v], sums[r][v]);
        });
      });
    }

    unrolled<MR>([&](auto r) NAPIER_LAMBDA {
      // What a code's exponent multiplies by, in two steps, as 2^-250 is no f32 number; exact, as
      // the result is one.
      float half = 1;
      float rest = 1;
      if (task.x_code != nullptr) {
        const int exponent = static_cast<int>(task.x_code[row + r].exponent);
        half = power_of_two(exponent / 2);
        rest = power_of_two(exponent - exponent / 2);
      }
      unrolled<k_vectors>([&](auto v) NAPIER_LAMBDA {
        VecF32 sum = sums[r][v];
        const int64_t first = output(v);
        if (task.x_code != nullptr) {
          const auto seen = hn::Ge(hn::Abs(sum), hn::Set(d, task.x_code[row + r].least));
          sum = hn::Mul(hn::Mul(hn::IfThenElseZero(seen, sum), hn::Set(d, half)), hn::Set(d, rest));
        }
        if (task.x_scale != nullptr) {
          sum = hn::Mul(sum, hn::Set(d, task.x_scale[(row + r) * task.runs + run]));
        }
        if (task.w_scale != nullptr) {
          const int64_t panel = first / k_panel;
          sum = hn::Mul(sum, hn::LoadU(d, task.w_scale + (panel * task.runs + run) * k_panel +
                                              first % k_panel));
        }
        float* total = totals + (r * k_vectors + v) * lanes;
        if (task.in_blocks) {
          sum = hn::Add(run == 0 ? hn::Zero(d) : hn::Load(d, total), sum);
          hn::Store(sum, d, total);
        }
        if (run + 1 < task.runs) return;
        float* out = task.out + (row + r) * task.out_stride + first;
        const int64_t left = task.columns - first;
        if (left >= lanes) {
          hn::StoreU(sum, d, out);
        } else if (left > 0) {
          hn::Store(sum, d, total);
          for (int64_t i = 0; i < left; ++i) out[i] = total[i];
        }
      });
    });
  }
}

// All columns of NP panels for MR rows.
template <int MR, int NP, class Product>
HWY_INLINE void tiles(const Product& product, const PanelTask<float>& task, int64_t row,
                      int64_t panel) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t columns = NP > 1 ? k_panel : std::min(k_panel, task.columns - panel * k_panel);
  for (int64_t column = 0; column < columns;) {
    const int64_t left = columns - column;
    if (NP > 1 || left > 2 * lanes) {
      tile<MR, NP, 3>(product, task, row, panel, column);
      column += 3 * lanes;
    } else if (left > lanes) {
      tile<MR, 1, 2>(product, task, row, panel, column);
      column += 2 * lanes;
    } else {
      tile<MR, 1, 1>(product, task, row, panel, column);
      column += lanes;
    }
  }
}

// MR rows and all columns, NP panels at once.
template <int MR, int NP, class Product>
HWY_INLINE void tile_row(const Product& product, const PanelTask<float>& task, int64_t row) {
  const int64_t panels = (task.columns + k_panel - 1) / k_panel;
  int64_t panel = 0;
  if constexpr (NP > 1) {
    for (; (panel + NP) * k_panel <= task.columns; panel += NP) {
      tiles<MR, NP>(product, task, row, panel);
    }
  }
  for (; panel < panels; ++panel) tiles<MR, 1>(product, task, row, panel);
}

// Tiles of at most k_rows rows.
template <int k_rows = k_tile_rows, class Product>
void run_tiles(const Product& product, const PanelTask<float>& task) {
  int64_t row = 0;
  for (; row + k_rows <= task.rows; row += k_rows) tile_row<k_rows, 1>(product, task, row);
  if constexpr (k_rows > 4) {
    if (task.rows - row >= 4) {
      tile_row<4, 1>(product, task, row);
      row += 4;
    }
  }
  if (task.rows - row >= 2) {
    tile_row<2, k_panels_of_two_rows>(product, task, row);
    row += 2;
  }
  if (task.rows - row >= 1) tile_row<1, k_panels_of_one_row>(product, task, row);
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#endif  // NAPIER_KERNELS_TILE_INL_H_
