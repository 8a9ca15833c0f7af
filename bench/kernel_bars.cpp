// Prints how fast each kernel is beside what is asked of it. All kernels of a shape take turns in
// one process; native is the faster of Napier's own bf16 multiplication and oneDNN's, both given
// activations in f32, as models have them. oneDNN's on activations that are bf16 already stands
// beside them.
#include "kernels/targets.hpp"

#include <fmt/format.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/panels.hpp"
#include "kernels/speed.hpp"
#include "napier/error.hpp"
#include "per_element.hpp"
#include "report/text_table.hpp"

#ifdef NAPIER_HAS_ONEDNN
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace napier::bench {
namespace {

constexpr int k_repeats = 15;

struct Bar {
  const char* name;
  const char* arithmetic;
  double least;  // of native
  double zeros = 0;
  int spread = 0;  // binades of the activations, as in SpeedCase
};

// Of issue and design: what leaves nothing on the table.
const std::vector<Bar> k_bars = {
    {"adder, zeros in both, 7 mantissa bits", "lmul-m7", 0.93, 0.05},
    {"adder, 4 mantissa bits", "lmul-m4", 0.93},
    {"bilinear", "lmul-formula-m7", 0.48},
    {"exact products, e4m3", "fp8_e4m3", 0.95},
    {"exact products, e5m2", "fp8_e5m2", 0.95},
    {"adder, zeros times 0", "lmul-m4", 0.85, 0.05, 40},
    {"adder, zeros cleared", "lmul-m4", 0.70, 0.05, 70},
    {"adder of f32 patterns, zeros in both", "lmul-f16", 0.45, 0.05},
    {"sums in bf16, e4m3 operands", "fp8_e4m3/acc=bf16", 0.13},
    {"sums in e4m3, e4m3 operands", "fp8_e4m3/acc=e4m3fn", 0.11},
    {"products in e4m3, looked up", "fp8_e4m3/mul=exact:e4m3fn", 0.05},
    {"products and sums in e4m3", "fp8_e4m3/mul=exact:e4m3fn/acc=e4m3fn", 0.065},
};

struct Task {
  std::string name;
  std::function<void()> run;
  double products;
  double least = 0;
  std::string kernel;
};

#ifdef NAPIER_HAS_ONEDNN
std::function<void()> onednn_matmul(const Shape& shape, bool is_given_f32) {
  using dnnl::memory;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::stream stream(engine);
  const auto bf16 = memory::data_type::bf16;
  const memory::desc x({shape.m, shape.k}, bf16, memory::format_tag::ab);
  const memory::desc w({shape.k, shape.n}, bf16, memory::format_tag::any);
  const memory::desc out({shape.m, shape.n}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::matmul::desc matmul_desc(x, w, out);
  const dnnl::matmul::primitive_desc description(matmul_desc, engine);
  const dnnl::matmul matmul(description);
  const memory x_memory(description.src_desc(), engine);
  const memory w_memory(description.weights_desc(), engine);
  const memory out_memory(description.dst_desc(), engine);
  std::mt19937 random(1);
  for (const memory& each : {x_memory, w_memory}) {
    auto* codes = static_cast<uint16_t*>(each.get_data_handle());
    std::generate_n(codes, each.get_desc().get_size() / sizeof *codes, [&] {
      const uint32_t bits = static_cast<uint32_t>(random());
      return static_cast<uint16_t>((bits & 0x807F) | (120 + (bits >> 8) % 8) << 7);
    });
  }
  const memory given({{shape.m, shape.k}, memory::data_type::f32, memory::format_tag::ab}, engine);
  std::generate_n(static_cast<float*>(given.get_data_handle()), shape.m * shape.k,
                  [&] { return std::normal_distribution<float>()(random); });
  const dnnl::reorder round_to_bf16(given, x_memory);
  return [=]() mutable {
    omp_set_num_threads(1);
    dnnl::stream own = stream;
    memory from = given;
    memory to = x_memory;
    if (is_given_f32) round_to_bf16.execute(own, from, to);
    matmul.execute(
        own, {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, w_memory}, {DNNL_ARG_DST, out_memory}});
    own.wait();
  };
}
#endif

double products_of(const Shape& shape) {
  return static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
}

Task kernel_task(const std::string& name, const char* arithmetic, const Shape& shape,
                 ThreadPool& pool, double zeros = 0, int spread = 0,
                 std::optional<KernelKind> kernel = {}) {
  const auto task = std::make_shared<SpeedTask>(
      SpeedCase{parse_arithmetic(arithmetic), shape, kernel, zeros, spread}, pool);
  return {name, [task] { (*task)(); }, products_of(shape), 0,
          std::string(kernel_name(task->kernel()))};
}

// As many bytes as the weights of a shape have in bf16, other ones each time.
Task reading_task(const Shape& shape) {
  constexpr size_t k_beyond_caches = size_t{256} << 20;  // bytes
  const size_t numbers = static_cast<size_t>(shape.n * shape.k) / 4;
  const size_t copies = k_beyond_caches / (numbers * sizeof(uint64_t)) + 1;
  const auto memory = std::make_shared<Scratch<uint64_t>>();
  uint64_t* data = memory->at_least(static_cast<int64_t>(numbers * copies));
  std::fill_n(data, numbers * copies, 1);
  return {"reading the weights alone",
          [=, next = size_t{0}]() mutable {
            const uint64_t* from = memory->at_least(0) + next++ % copies * numbers;
            const uint64_t sum = std::accumulate(from, from + numbers, uint64_t{0});
            if (sum == 0) throw Error("ones add up to 0", Blame::environment);  // it is needed
          },
          products_of(shape), 0, ""};
}

void print_shape(const Shape& shape) {
  ThreadPool one(1);
  std::vector<Task> tasks;
  tasks.push_back(kernel_task("native: Napier's bf16", "bf16", shape, one));
  size_t natives = 1;
#ifdef NAPIER_HAS_ONEDNN
  if (shape.m > 8) {
    tasks.push_back(
        {"native: oneDNN's bf16", onednn_matmul(shape, true), products_of(shape), 0, ""});
    natives = 2;
    tasks.push_back({"oneDNN's, bf16 activations given", onednn_matmul(shape, false),
                     products_of(shape), 0, ""});
  }
#endif
  if (shape.m == 1) tasks.push_back(reading_task(shape));
  for (const Bar& bar : k_bars) {
    Task task = kernel_task(bar.name, bar.arithmetic, shape, one, bar.zeros, bar.spread);
    task.least = bar.least;
    tasks.push_back(std::move(task));
  }
  std::vector<std::function<void()>> runs;
  for (const Task& task : tasks) runs.push_back(task.run);
  const std::vector<double> seconds = best_seconds(runs, k_repeats);
  double native = 0;
  for (size_t i = 0; i < natives; ++i) native = std::max(native, tasks[i].products / seconds[i]);

  fmt::print("{} x {} x {}, one thread\n\n", shape.m, shape.n, shape.k);
  TextTable table({"", "kernel", "products/s", "of native", "bar"});
  for (size_t i = 0; i < tasks.size(); ++i) {
    const double speed = tasks[i].products / seconds[i];
    table.add({tasks[i].name, tasks[i].kernel, fmt::format("{:.1f} G", speed * 1e-9),
               fmt::format("{:.3f}", speed / native),
               tasks[i].least == 0 ? "" : fmt::format("{:.3f}", tasks[i].least)});
  }
  fmt::print("{}\n", table.text());
}

// What a machine with AVX2 alone runs: the adder beside exact products, both in f32 lanes, with the
// same bits as elsewhere.
void print_avx2() {
  if ((hwy::SupportedTargets() & HWY_AVX2) == 0) return;
  const Shape shape{1024, 1024, 1024};
  ThreadPool one(1);
  hwy::SetSupportedTargetsForTest(HWY_AVX2);
  std::vector<Task> tasks = {
      kernel_task("exact, f32", "f32", shape, one, 0, 0, KernelKind::native),
      kernel_task("adder, zeros in both, 7 mantissa bits", "lmul-m7", shape, one, 0.05, 0,
                  KernelKind::adder),
      kernel_task("adder of f32 patterns, zeros in both", "lmul-f16", shape, one, 0.05, 0,
                  KernelKind::adder),
  };
  std::vector<std::function<void()>> runs;
  for (const Task& task : tasks) runs.push_back(task.run);
  const std::vector<double> seconds = best_seconds(runs, k_repeats);
  hwy::SetSupportedTargetsForTest(0);
  fmt::print("{} x {} x {}, one thread, AVX2\n\n", shape.m, shape.n, shape.k);
  TextTable table({"", "kernel", "products/s", "of exact", "bar"});
  for (size_t i = 0; i < tasks.size(); ++i) {
    table.add({tasks[i].name, tasks[i].kernel,
               fmt::format("{:.1f} G", tasks[i].products / seconds[i] * 1e-9),
               fmt::format("{:.3f}", seconds[0] / seconds[i]), i == 0 ? "" : "0.900"});
  }
  fmt::print("{}\n", table.text());
}

// Two threads, and a function called for each product, beside the adder.
void print_others() {
  const Shape shape{1024, 1024, 1024};
  const Shape small{8, 256, 1024};
  ThreadPool one(1);
  ThreadPool two(2);
  const std::vector<float> x(static_cast<size_t>(small.m * small.k), 1.5f);
  const std::vector<float> w(static_cast<size_t>(small.n * small.k), 0.75f);
  std::vector<float> out(static_cast<size_t>(small.m * small.n));
  const Task adder = kernel_task("", "lmul-m7", shape, one);
  const Task both = kernel_task("", "lmul-m7", shape, two);
  const std::vector<double> seconds = best_seconds(
      {adder.run, both.run,
       [&] { per_element_gemm(small.m, small.n, small.k, x.data(), w.data(), out.data()); }},
      k_repeats);
  const double speed = products_of(shape) / seconds[0];
  const double function = products_of(small) / seconds[2];
  fmt::print("adder with two threads against one: {:.2f} (bar 1.85)\n", seconds[0] / seconds[1]);
  fmt::print("adder against a function called for each product ({:.2f} G/s): {:.0f} (bar 300)\n",
             function * 1e-9, speed / function);
}

}  // namespace
}  // namespace napier::bench

// napier_bars [MxNxK ...]
int main(int count, char** arguments) {
  std::vector<napier::Shape> shapes;
  for (int i = 1; i < count; ++i) {
    napier::Shape shape;
    if (std::sscanf(arguments[i], "%ldx%ldx%ld", &shape.m, &shape.n, &shape.k) != 3) {
      fmt::print(stderr, "napier_bars: '{}' is no shape: give MxNxK\n", arguments[i]);
      return 2;
    }
    shapes.push_back(shape);
  }
  const bool all = shapes.empty();
  if (all) {
    shapes = {{1024, 1024, 1024}, {512, 2048, 2048}, {512, 8192, 2048}, {512, 2048, 8192},
              {512, 256, 256},    {1, 2048, 2048},   {1, 8192, 2048},   {1, 128256, 2048}};
  }
  for (const napier::Shape& shape : shapes) napier::bench::print_shape(shape);
  if (!all) return 0;
  napier::bench::print_avx2();
  napier::bench::print_others();
}
