#include "report/text_table.hpp"

#include <algorithm>

namespace napier {
namespace {

size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

void TextTable::add(std::vector<std::string> row) {
  for (std::string& cell : row) {
    for (size_t at; (at = cell.find("-nan")) != cell.npos;) cell.erase(at, 1);
  }
  rows_.push_back(std::move(row));
}

std::string TextTable::text() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string& cell = rows_[r][i];
      const std::string space(widths[i] - width_of(cell), ' ');
      if (i == 0) {
        text += cell;
        if (widths.size() > 1) text += space;
      } else {
        text += "  " + space + cell;
      }
    }
    text += '\n';
    if (r > 0) continue;
    for (size_t i = 0; i < widths.size(); ++i)
      text += (i ? "  " : "") + std::string(widths[i], '-');
    text += '\n';
  }
  return text;
}

}  // namespace napier
