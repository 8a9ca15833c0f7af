// The registry of accumulators.
#include "napier/accumulator.hpp"

#include <array>

#include "accumulators/families.hpp"

namespace napier {
namespace {

constexpr std::array k_families = {
#define NAPIER_ACCUMULATOR(name) &k_##name##_accumulator,
#include "accumulators/registry.inc"
#undef NAPIER_ACCUMULATOR
};

}  // namespace

std::span<const AccumulatorFamily* const> accumulator_families() { return k_families; }

}  // namespace napier
