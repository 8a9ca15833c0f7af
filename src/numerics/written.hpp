// Reading an arithmetic and what goes with it inside a longer text.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/treatment.hpp"

namespace napier {

// text[begin, end), trimmed; error positions count in the whole text.
Arithmetic parse_arithmetic(std::string_view text, size_t begin, size_t end);
Operand parse_operand(std::string_view text, size_t begin, size_t end);
// One treatment at least.
std::vector<Treatment> parse_treatments(std::string_view text, size_t begin, size_t end);

}  // namespace napier
