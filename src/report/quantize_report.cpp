#include "report/quantize_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "report/text_table.hpp"

namespace napier {
namespace {

constexpr double k_outlier_share = 0.06;  // of positions, as LLM.int8() counts outlier columns

double mean_square(const MatrixStatistics& s) {
  if (s.rows == 0) return 0;
  return std::accumulate(s.squares.begin(), s.squares.end(), 0.0) / s.rows /
         static_cast<double>(s.squares.size());
}

}  // namespace

std::string quantized_table(const Quantized& quantized) {
  TextTable table({"matrix", "largest", "99.9 %", "outliers", "product"});
  for (const ComputedMatrix& one : quantized.matrices) {
    const MatrixStatistics& s = one.statistics;
    const bool read = s.rows > 0;
    table.add({one.matrix.name, read ? fmt::format("{:.4g}", s.largest()) : "-",
               read ? fmt::format("{:.4g}", s.percentile(99.9)) : "-",
               read ? fmt::format("{}", s.outlier_columns(k_outlier_share)) : "-",
               display_name(one.rule)});
  }
  std::string text = table.text() + "\n";
  text +=
      "Largest, 99.9 %: of the activations' magnitudes. Outliers: columns with a magnitude of 6 "
      "or\n"
      "more in 6 % of the tokens, as LLM.int8() counts them.\n";
  if (quantized.chunks_before > 0) {
    text += fmt::format("Went on after {} chunks of a run that was cut off.\n",
                        quantized.chunks_before);
  }
  return text + fmt::format("Written to {}\n", quantized.path);
}

std::string quantized_json(const Quantized& quantized) {
  nlohmann::ordered_json document = {{"path", quantized.path},
                                     {"chunks", quantized.chunks},
                                     {"chunks_before", quantized.chunks_before},
                                     {"matrices", nlohmann::ordered_json::array()}};
  for (const ComputedMatrix& one : quantized.matrices) {
    const MatrixStatistics& s = one.statistics;
    size_t numbers = 0;
    for (const Treatment& treatment : one.rule.treatments) {
      if (!treatment.numbers) continue;
      numbers += treatment.numbers->factors.size() + treatment.numbers->left.size() +
                 treatment.numbers->right.size();
    }
    nlohmann::ordered_json entry = {
        {"name", one.matrix.name},
        {"rows", one.matrix.rows},
        {"columns", one.matrix.k},
        {"product", to_string(one.rule.arithmetic) + to_string(one.rule.treatments)},
        {"numbers", numbers},
        {"tokens", s.rows}};
    const auto put = [&](const char* key, double value) {
      entry[key] = s.rows > 0 ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
    };
    put("absmax", s.largest());
    put("p99", s.percentile(99));
    put("p999", s.percentile(99.9));
    put("mean_square", mean_square(s));
    put("outlier_columns", static_cast<double>(s.outlier_columns(k_outlier_share)));
    document["matrices"].push_back(std::move(entry));
  }
  return document.dump(2) + "\n";
}

}  // namespace napier
