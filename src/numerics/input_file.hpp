// Files that are read whole.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "napier/plan.hpp"

namespace napier {

// The content of the file at `path`, which `what` names in messages, as "the text". A pipe is read
// to its end. Throws Error where there is no such file, it cannot be read, is a directory or a
// device (but for /dev/stdin), or has more than `limit` bytes. Safe on several threads.
//   const std::string toml = read_input_file("sweep.toml", "the sweep file", k_settings_limit);
std::string read_input_file(const std::string& path, const std::string& what,
                            size_t limit = std::numeric_limits<size_t>::max());

// Bytes that no file of settings, and no table of 65536 products, has reason to exceed.
constexpr size_t k_settings_limit = size_t{1} << 24;

// The files that a plan's arithmetics were read from, as their texts name them: tables of products.
std::vector<std::string> files_of(const Plan& plan);

}  // namespace napier
