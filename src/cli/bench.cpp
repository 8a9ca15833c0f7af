// napier bench: speeds of the kernels on this machine.
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "kernels/speed.hpp"
#include "napier/error.hpp"
#include "report/text_table.hpp"

namespace napier::cli {
namespace {

struct BenchArguments {
  std::string arithmetics;
  std::string shapes = "1024x1024x1024,1x2048x2048";
  int threads = 1;
  int repeats = 9;
  bool json = false;
};

// 8 GiB of them in f32.
constexpr int64_t k_most_weights = int64_t{1} << 31;

// "m x n x k" without spaces.
Shape parse_shape(const std::string& text) {
  int64_t sizes[3];
  const char* at = text.data();
  const char* const end = at + text.size();
  bool sound = true;
  for (int i = 0; i < 3 && sound; ++i) {
    if (i > 0) sound = at != end && *at++ == 'x';
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    sound = sound && error == std::errc{} && sizes[i] >= 1 && sizes[i] <= 1 << 20;
    at = next;
  }
  const bool fits = sizes[1] * sizes[2] <= k_most_weights;
  if (sound && at == end && !fits) {
    throw Error("--shape: '" + text + "' has more than " + std::to_string(k_most_weights) +
                " weights; give a smaller one");
  }
  if (!sound || at != end) {
    throw Error("--shape: '" + text +
                "' is no shape: give MxNxK, such as 128x2048x2048: rows of "
                "activations, outputs, length of the sums");
  }
  return {sizes[0], sizes[1], sizes[2]};
}

struct Row {
  std::string arith;
  Shape shape;
  KernelKind kernel;
  double gmacs;
  double ratio;
};

std::vector<Row> measure(const BenchArguments& arguments) {
  std::vector<std::string> names;
  if (arguments.arithmetics.empty()) {
    for (const Preset& preset : presets()) names.emplace_back(preset.name);
  } else {
    names = split_list(arguments.arithmetics);
  }
  std::vector<Shape> shapes;
  for (const std::string& text : split_list(arguments.shapes)) shapes.push_back(parse_shape(text));
  if (arguments.repeats < 1) throw Error("--repeats: at least 1 is needed");
  std::vector<Arithmetic> arithmetics{parse_arithmetic("bf16")};
  for (const std::string& name : names) arithmetics.push_back(parse_arithmetic(name));

  ThreadPool pool(arguments.threads);
  std::vector<Row> rows;
  for (const Shape& shape : shapes) {
    std::vector<KernelKind> kernels;
    std::vector<std::function<void()>> tasks;
    for (const Arithmetic& arithmetic : arithmetics) {
      const auto task = std::make_shared<SpeedTask>(SpeedCase{arithmetic, shape, {}, 0, 0}, pool);
      kernels.push_back(task->kernel());
      tasks.emplace_back([task] { (*task)(); });
    }
    const std::vector<double> seconds = best_seconds(tasks, arguments.repeats);
    const double products = static_cast<double>(shape.m) * static_cast<double>(shape.n * shape.k);
    for (size_t i = 0; i < names.size(); ++i) {
      rows.push_back({names[i], shape, kernels[i + 1], products / seconds[i + 1] * 1e-9,
                      seconds[0] / seconds[i + 1]});
    }
  }
  return rows;
}

void run_bench(const BenchArguments& arguments) {
  const std::vector<Row> rows = measure(arguments);
  if (arguments.json) {
    auto list = nlohmann::ordered_json::array();
    for (const Row& row : rows) {
      list.push_back({{"kernel", kernel_name(row.kernel)},
                      {"arith", row.arith},
                      {"m", row.shape.m},
                      {"n", row.shape.n},
                      {"k", row.shape.k},
                      {"threads", arguments.threads},
                      {"gmacs", row.gmacs},
                      {"ratio_to_native", row.ratio}});
    }
    fmt::print("{}\n", list.dump(2));
    return;
  }
  TextTable table({"arithmetic", "m x n x k", "kernel", "products/s", "of native"});
  for (const Row& row : rows) {
    table.add({row.arith, fmt::format("{} x {} x {}", row.shape.m, row.shape.n, row.shape.k),
               std::string(kernel_name(row.kernel)), fmt::format("{:.2f} G", row.gmacs),
               fmt::format("{:.3f}", row.ratio)});
  }
  fmt::print(
      "{}\n{} thread{}, the best of {} in turn; activations are packed within it, weights "
      "before. Native: bf16\noperands, exact products, f32 sums, the same shape in the same "
      "run. Where the row of bf16 is far from 1 the machine was busy: measure again.\n",
      table.text(), arguments.threads, arguments.threads == 1 ? "" : "s", arguments.repeats);
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "Speed of the kernels on this machine");
  auto arguments = std::make_shared<BenchArguments>();
  command->add_option("--arith", arguments->arithmetics, "arithmetics; without it, every preset")
      ->type_name("LIST");
  command->add_option("--shape", arguments->shapes, "rows x outputs x length of the sums")
      ->type_name("MxNxK,...")
      ->capture_default_str();
  add_threads(*command, arguments->threads, 1);
  command->add_option("-r,--repeats", arguments->repeats, "of which the fastest counts")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "print JSON");
  command->footer("Example: napier bench --arith lmul-m4,fp8_e4m3 --shape 512x2048x2048");
  command->callback([arguments] { run_bench(*arguments); });
}

}  // namespace napier::cli
