// Columns for a terminal.
#pragma once

#include <string>
#include <vector>

namespace napier {

// The first column is flush left, the others flush right. Widths count UTF-8 characters.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : rows_{std::move(header)} {}

  // A result that is no number may come as "-nan", whose sign says nothing: it is left out.
  void add(std::vector<std::string> row);
  // With a rule below the header and a newline at each line's end.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace napier
