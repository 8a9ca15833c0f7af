// Multiplications a second of the kernel that lower() picks, for every preset: one token (m = 1)
// and a batch. Weights are packed once, outside the measurement, as the backend does.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "napier/gemm.hpp"

namespace {

using napier::PackedWeights;
using napier::ThreadPool;

constexpr int64_t k_size = 512;  // n and k

std::vector<float> numbers(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  return values;
}

void multiply(benchmark::State& state, const std::string& preset, int64_t m) {
  ThreadPool pool;
  const std::vector<float> w = numbers(k_size * k_size);
  const std::vector<float> x = numbers(m * k_size);
  std::vector<float> out(static_cast<size_t>(m * k_size));
  const auto reader = [](const std::vector<float>& matrix) {
    return [&matrix](int64_t row, float* to) {
      std::copy_n(matrix.begin() + row * k_size, k_size, to);
    };
  };
  const auto packed =
      napier::pack_weights(napier::parse_arithmetic(preset), k_size, k_size, reader(w), pool);
  for ([[maybe_unused]] auto _ : state) {
    packed->multiply(m, reader(x), out.data(), k_size, pool);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetLabel(std::string(napier::kernel_name(packed->kernel())));
  state.counters["multiplications"] = benchmark::Counter(
      static_cast<double>(m * k_size * k_size), benchmark::Counter::kIsIterationInvariantRate);
}

[[maybe_unused]] const bool registered = [] {
  for (const napier::Preset& preset : napier::presets()) {
    for (const int64_t m : {int64_t{1}, int64_t{128}}) {
      const std::string name = std::string(preset.name) + "/m:" + std::to_string(m);
      benchmark::RegisterBenchmark(name.c_str(), multiply, std::string(preset.name), m)
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
