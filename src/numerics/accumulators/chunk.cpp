// Sums in two levels: each run of n products is summed from zero, and the run's sum is added to the
// total, in a format of its own or the same.
#include <algorithm>
#include <array>
#include <deque>
#include <mutex>

#include "families.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

enum Setting { k_chunk, k_outer };
constexpr int k_same = -1;

// Formats of totals, never moved, never destroyed.
struct Formats {
  std::mutex mutex;
  std::deque<Format> all;
};
Formats& formats() {
  static auto& instance = *new Formats;
  return instance;
}

const Format& format_at(int index) {
  const std::lock_guard lock(formats().mutex);
  return formats().all[static_cast<size_t>(index)];
}

int intern(std::string_view text) {
  const Format format = parse_format(text);
  if (!format.has_zero() || format.is_listed()) {
    throw ParseError(text, 0, "the total over chunks is a float or an integer, and starts at zero");
  }
  const std::lock_guard lock(formats().mutex);
  std::deque<Format>& all = formats().all;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == format) return static_cast<int>(i);
  }
  all.push_back(format);
  return static_cast<int>(all.size()) - 1;
}

Cast outer_cast(const Accumulator& accumulator) {
  Cast cast = accumulator.cast;
  if (accumulator.settings[k_outer] == k_same) return cast;
  cast.format = format_at(accumulator.settings[k_outer]);
  cast.overflow = default_overflow(cast.format);
  return cast;
}

constexpr std::array k_parameters = {
    Parameter{.name = "chunk",
              .min = 1,
              .max = 1 << 30,
              .summary = "products that are summed from zero",
              .required = true},
    Parameter{.name = "outer",
              .fallback = k_same,
              .summary = "the format of the total; default: the same",
              .intern = intern,
              .text = [](int index) { return format_name(format_at(index)); },
              .placeholder = "format"},
};

}  // namespace

const AccumulatorFamily k_chunk_accumulator = {
    .name = "chunk",
    .summary = "runs of products are summed from zero, then the runs' sums",
    .parameters = k_parameters,
    .sum =
        [](const Accumulator& accumulator, std::span<const Dyadic> products, uint64_t position) {
          const Cast of_total = outer_cast(accumulator);
          const auto chunk = static_cast<size_t>(accumulator.settings[k_chunk]);
          Dyadic total = Dyadic::zero();
          for (size_t first = 0; first < products.size(); first += chunk) {
            const auto run = products.subspan(first, std::min(chunk, products.size() - first));
            total = of_total(total + plain_sum(accumulator, run, position + first),
                             position + first + run.size() - 1);
          }
          return total;
        },
    .form =
        [](const Accumulator& accumulator) {
          return SumForm{.kind = SumForm::Kind::chunked,
                         .chunk = static_cast<uint32_t>(accumulator.settings[k_chunk]),
                         .outer = outer_cast(accumulator)};
        },
    .normalise =
        [](Accumulator& accumulator) {
          if (outer_cast(accumulator) == accumulator.cast) accumulator.settings[k_outer] = k_same;
        },
};

}  // namespace napier
