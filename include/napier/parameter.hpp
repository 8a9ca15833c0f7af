// Settings of what the registries hold.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace napier {

// A named setting of a multiplier or an accumulator: an integer in [min, max], one of `words` (then
// the value is its index), or, where `intern` is given, a text (then the value is the number that
// intern() gives it, the same for the same text). `fallback` is what stands when it is not written;
// `required`: it must be.
struct Parameter {
  std::string_view name;
  int fallback = 0;
  int min = 0;
  int max = 0;
  std::span<const std::string_view> words = {};
  std::string_view summary = {};
  int (*intern)(std::string_view text) = nullptr;  // throws Error where the text is wrong
  std::string (*text)(int value) = nullptr;
  std::string_view placeholder = "n";  // what stands for a value in `napier formats` and errors
  bool required = false;
};

}  // namespace napier
