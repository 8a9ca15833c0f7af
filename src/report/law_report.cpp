#include "report/law_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "report/text_table.hpp"

namespace napier {
namespace {

constexpr int k_narrowest = 3;
constexpr int k_widest = 16;

std::string name_of(const FloatLayout& layout) {
  return fmt::format("E{}M{}", layout.exponent, layout.mantissa);
}

// "1.73e+15" as "1730T".
std::string trillions(double tokens) {
  const int digits = tokens < 1e12 ? 3 : tokens < 1e14 ? 1 : 0;
  return fmt::format("{:.{}f}T", tokens / 1e12, digits);
}

}  // namespace

std::string law_table(const TrainingSetting& setting, const std::vector<FloatLayout>& layouts) {
  const double exact = exact_training_loss(setting);
  std::string text = fmt::format(
      "Training {:.4g} parameters on {:.4g} tokens, {:.4g} elements a scale: loss {:.4f} nats a\n"
      "token unquantised\n\n",
      setting.parameters, setting.tokens, setting.block, exact);
  TextTable table({"layout", "loss", "above", "critical tokens"});
  for (const FloatLayout& layout : layouts) {
    const double loss = training_loss(setting, layout);
    table.add({name_of(layout), fmt::format("{:.4f}", loss), fmt::format("{:+.4f}", loss - exact),
               trillions(critical_tokens(setting, layout))});
  }
  text += table.text() + "\nThe best layout of each width, whatever the model:";
  for (int bits = k_narrowest; bits <= k_widest; ++bits) {
    text += fmt::format("{}{} bits {}", (bits - k_narrowest) % 5 == 0 ? "\n  " : ", ", bits,
                        name_of(best_layout(bits)));
  }
  return text +
         "\n\nA fit to 366 runs of 41M to 679M parameters (arXiv 2501.02423); beyond its critical\n"
         "tokens a layout's loss is said to rise. What lies far outside the runs is "
         "extrapolated.\n";
}

std::string law_json(const TrainingSetting& setting, const std::vector<FloatLayout>& layouts) {
  nlohmann::ordered_json document = {{"parameters", setting.parameters},
                                     {"tokens", setting.tokens},
                                     {"block", setting.block},
                                     {"exact_loss", exact_training_loss(setting)},
                                     {"layouts", nlohmann::ordered_json::array()},
                                     {"best", nlohmann::ordered_json::array()}};
  for (const FloatLayout& layout : layouts) {
    document["layouts"].push_back({{"layout", name_of(layout)},
                                   {"bits", layout.bits()},
                                   {"loss", training_loss(setting, layout)},
                                   {"critical_tokens", critical_tokens(setting, layout)}});
  }
  for (int bits = k_narrowest; bits <= k_widest; ++bits) {
    document["best"].push_back({{"bits", bits},
                                {"layout", name_of(best_layout(bits))},
                                {"mantissa", best_mantissa(bits)}});
  }
  return document.dump(2) + "\n";
}

}  // namespace napier
