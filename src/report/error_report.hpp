// What `napier error` prints.
#pragma once

#include <string>
#include <vector>

#include "analysis/error_study.hpp"
#include "report/line_chart.hpp"

namespace napier {

// Tables for people end in what the figures mean; JSON has every figure in full; CSV one line each.
std::string products_table(const std::vector<ProductRow>& rows, const ErrorStudyOptions& options);
// Of study_codes(); as JSON and CSV they are products.
std::string codes_table(const std::vector<ProductRow>& rows);
std::string products_json(const std::vector<ProductRow>& rows, const ErrorStudyOptions& options);
std::string products_csv(const std::vector<ProductRow>& rows);

std::string dots_table(const std::vector<DotRow>& rows);
std::string dots_json(const std::vector<DotRow>& rows);
std::string dots_csv(const std::vector<DotRow>& rows);
// Signal to noise against the length of the sums: a line an arithmetic, of the first operands.
LineChart dots_chart(const std::vector<DotRow>& rows);

std::string offsets_table(const std::vector<OffsetRow>& rows, const ErrorStudyOptions& options);
std::string offsets_json(const std::vector<OffsetRow>& rows, const ErrorStudyOptions& options);
std::string offsets_csv(const std::vector<OffsetRow>& rows);
// Mean squared error of products against kept bits, all operands together: a line an offset, and a
// level line for each of `levels`, arithmetics measured on the same operands.
LineChart offsets_chart(const std::vector<OffsetRow>& rows, const std::vector<ProductRow>& levels);

}  // namespace napier
