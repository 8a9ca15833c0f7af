#include "report/training_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "report/line_chart.hpp"

namespace napier {
namespace {

// The mean of the last steps, over which single batches no longer show.
double last_loss(const LossRecord& record) {
  const size_t count = std::min<size_t>(50, record.training.size());
  double sum = 0;
  for (size_t i = record.training.size() - count; i < record.training.size(); ++i) {
    sum += record.training[i];
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

}  // namespace

std::string losses_csv(const LossRecord& record) {
  std::string text = "step,training,validation\n";
  auto validation = record.validation.begin();
  for (size_t i = 0; i < record.training.size(); ++i) {
    const auto step = static_cast<int64_t>(i) + 1;
    text += fmt::format("{},{:.9g},", step, record.training[i]);
    if (validation != record.validation.end() && validation->step == step) {
      text += fmt::format("{:.9g}", validation->loss);
      ++validation;
    }
    text += '\n';
  }
  return text;
}

std::string losses_svg(const std::string& title, const LossRecord& record) {
  LineChart chart;
  chart.title = title;
  chart.x_label = "step";
  chart.y_label = "loss, nats a token";
  ChartLine training = {"training", {}, false};
  const size_t each = std::max<size_t>(1, record.training.size() / 300);
  for (size_t begin = 0; begin + each <= record.training.size(); begin += each) {
    double sum = 0;
    for (size_t i = begin; i < begin + each; ++i) sum += record.training[i];
    const auto count = static_cast<double>(each);
    training.points.push_back({static_cast<double>(begin) + (count + 1) / 2, sum / count, 0});
  }
  chart.lines.push_back(std::move(training));
  if (!record.validation.empty()) {
    ChartLine validation = {"validation", {}, true};
    for (const auto& [step, loss] : record.validation) {
      validation.points.push_back({static_cast<double>(step), loss, 0});
    }
    chart.lines.push_back(std::move(validation));
  }
  return chart.svg();
}

std::string training_text(const TrainConfig& config, const TrainRun& run) {
  std::string text = fmt::format("{}: {} parameters, {} tokens of data, {} steps", run.model,
                                 run.parameters, run.tokens, run.record.training.size());
  if (run.resumed_at > 0) text += fmt::format(" (gone on from step {})", run.resumed_at);
  text += fmt::format("\nloss {:.4f} nats a token (mean of the last steps)", last_loss(run.record));
  if (!run.record.validation.empty()) {
    text += fmt::format(", {:.4f} on validation data", run.record.validation.back().loss);
  }
  text += fmt::format("\n{:.0f} tokens/s, {:.0f} MiB of memory\n", run.tokens_per_second,
                      static_cast<double>(run.bytes) / (1 << 20));
  if (run.skipped > 0) {
    text += fmt::format("{} steps were skipped: gradients overflowed under the loss scale\n",
                        run.skipped);
  }
  text += config.options.rule == GradientRule::own
              ? "gradients by the arithmetic's own derivative\n"
              : "gradients by the exact product's derivative\n";
  return text + run.kernels;
}

std::string training_json(const TrainConfig& config, const TrainRun& run) {
  nlohmann::ordered_json json = {
      {"name", config.name},
      {"model", run.model},
      {"parameters", run.parameters},
      {"tokens", run.tokens},
      {"steps", run.record.training.size()},
      {"resumed_at", run.resumed_at},
      {"seed", config.seed},
      {"forward", to_string(config.options.forward)},
      {"activation_gradients", to_string(config.options.activation_gradients)},
      {"weight_gradients", to_string(config.options.weight_gradients)},
      {"gradient", config.options.rule == GradientRule::own ? "own" : "exact"},
      {"loss", last_loss(run.record)},
      {"tokens_per_second", run.tokens_per_second},
      {"bytes", run.bytes},
      {"skipped", run.skipped},
  };
  if (!run.record.validation.empty()) json["validation_loss"] = run.record.validation.back().loss;
  return json.dump(2) + "\n";
}

}  // namespace napier
