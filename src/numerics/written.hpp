// Reading an arithmetic inside a longer text.
#pragma once

#include <cstddef>
#include <string_view>

#include "napier/arithmetic.hpp"

namespace napier {

// text[begin, end), trimmed; error positions count in the whole text.
Arithmetic parse_arithmetic(std::string_view text, size_t begin, size_t end);

}  // namespace napier
