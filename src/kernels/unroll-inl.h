// Loops without a loop. Included once per instruction set.
#if defined(NAPIER_KERNELS_UNROLL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NAPIER_KERNELS_UNROLL_INL_H_
#undef NAPIER_KERNELS_UNROLL_INL_H_
#else
#define NAPIER_KERNELS_UNROLL_INL_H_
#endif

#include <hwy/highway.h>

#include <type_traits>
#include <utility>

// What a lambda needs beside vectors: the instruction set, and to be inlined. Left out of line, it
// keeps what it captures in memory.
#undef NAPIER_LAMBDA
#define NAPIER_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

// Calls body(std::integral_constant<int, i>()) for i < N. Sums in an array stay in registers only
// where every index is a constant, and g++ 12 leaves larger loops rolled.
template <int N, class Body>
HWY_INLINE void unrolled(const Body& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) NAPIER_LAMBDA {
    (body(std::integral_constant<int, I>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#endif  // NAPIER_KERNELS_UNROLL_INL_H_
