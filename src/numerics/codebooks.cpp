// The registry of codebooks: one entry each, naming its source.
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "napier/codebook.hpp"

namespace napier {
namespace {

using Values = std::vector<double>;

// Codes that are a sign and an index into magnitudes; `special` in place of -0 where it is not 0.
Values with_signs(const Values& magnitudes, double special = 0) {
  Values values = magnitudes;
  for (const double magnitude : magnitudes) values.push_back(-magnitude);
  values[magnitudes.size()] = special;
  return values;
}

// Over 12, as f32 holds it.
Values twelfths(Values values) {
  for (double& value : values) value = double{static_cast<float>(value / 12)};
  return values;
}

// bitsandbytes compares magnitudes with numbers of six or more digits (csrc/kernels.cu,
// dQuantizeFP4), which are not quite half way; a number on one goes to the side of zero.
Values bnb_fp4_decisions() {
  const Values upward = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                         0.4166667f,  0.583333f,  0.8333333f};
  Values decisions;
  for (size_t i = upward.size(); i-- > 0;) {
    decisions.push_back(std::nextafter(-upward[i], -std::numeric_limits<double>::infinity()));
  }
  decisions.insert(decisions.end(), upward.begin(), upward.end());
  return decisions;
}

// BitMoD's lists (HPCA 2025, arXiv 2411.11745, and its code): the code of -0 is a number that each
// group chooses: the nearer one of "extra resolution", the farther one of "extra asymmetry".
Values bitmod3(double special) { return with_signs({0, 1, 2, 4}, special); }
Values bitmod4(double special) { return with_signs({0, 1, 2, 3, 4, 6, 8, 12}, special); }

// ANT (MICRO 2022, arXiv 2208.14286) in BitMoD's setting: each group is int4 or flint4.
Values flint4() { return with_signs({0, 1, 2, 3, 4, 6, 8, 16}); }

using Codebooks = std::vector<Codebook>;

// Lists are made when first asked for and never destroyed: a plugin is asked for its plan before
// other statics are made, and for its report after they are gone.
Codebook choice(const char* name, const char* summary, const Codebooks& lists) {
  std::vector<const Codebook*> pointers;
  for (const Codebook& list : lists) pointers.push_back(&list);
  return {name, lists.front().values(), summary, {}, std::move(pointers)};
}

const Codebooks& bitmod3_lists() {
  static const auto& lists = *new Codebooks{
      {"bitmod3_p3", bitmod3(3), "BitMoD FP3 with 3"},
      {"bitmod3_n3", bitmod3(-3), "BitMoD FP3 with -3"},
      {"bitmod3_p6", bitmod3(6), "BitMoD FP3 with 6"},
      {"bitmod3_n6", bitmod3(-6), "BitMoD FP3 with -6"},
  };
  return lists;
}

const Codebooks& bitmod4_lists() {
  static const auto& lists = *new Codebooks{
      {"bitmod4_p10", bitmod4(10), "BitMoD FP4 with 10"},
      {"bitmod4_n10", bitmod4(-10), "BitMoD FP4 with -10"},
      {"bitmod4_p16", bitmod4(16), "BitMoD FP4 with 16"},
      {"bitmod4_n16", bitmod4(-16), "BitMoD FP4 with -16"},
  };
  return lists;
}

const Codebooks& ant4_lists() {
  static const auto& lists = *new Codebooks{
      {"ant4_int", with_signs({0, 1, 2, 3, 4, 5, 6, 7}), "ANT's int4"},
      {"ant4_flint", flint4(), "ANT's flint4"},
  };
  return lists;
}

// One entry each.
Codebooks make_codebooks() {
  return {
      {"nf4",
       {-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1.0},
       "bitsandbytes' NormalFloat (QLoRA, arXiv 2305.14314)"},
      {"bnb_fp4", twelfths(with_signs({0, 0.0625, 8, 12, 4, 6, 2, 3})),
       "bitsandbytes' fp4, which is not OCP's", bnb_fp4_decisions()},
      {"flint4", flint4(), "ANT's flint4: float and integer in one (arXiv 2208.14286)"},
      choice("ant4", "ANT: int4 or flint4, whichever serves a group better", ant4_lists()),
      choice("bitmod3",
             "BitMoD's FP3: 0 1 2 4 and one of 3 -3 6 -6, chosen by each group (arXiv 2411.11745)",
             bitmod3_lists()),
      choice("bitmod4",
             "BitMoD's FP4: 0 1 2 3 4 6 8 12 and one of 10 -10 16 -16, chosen by each group",
             bitmod4_lists()),
      {"binary",
       {-1, 1},
       "the sign; 0 counts as positive",
       {-std::numeric_limits<double>::denorm_min()}},
  };
}

std::string power_name(int bits, int hundredths) {
  return "pow" + std::to_string(bits) + "a" + std::to_string(hundredths);
}

Codebook make_power_codebook(int bits, int hundredths) {
  const int largest = (1 << (bits - 1)) - 1;
  const auto power = [&](double i) { return std::pow(i, 100.0 / hundredths); };
  const auto single = [&](double value) { return double{static_cast<float>(value)}; };
  Values magnitudes;
  for (int i = 0; i <= largest; ++i) magnitudes.push_back(single(power(i)));
  // A decision belongs to the value below it; ties go to the even one.
  Values decisions;
  const double infinity = std::numeric_limits<double>::infinity();
  for (int i = largest - 1; i >= 0; --i) {
    const double tie = -power(i + 0.5);
    decisions.push_back(i % 2 == 0 ? std::nextafter(tie, -infinity) : tie);
  }
  for (int i = 0; i < largest; ++i) {
    const double tie = power(i + 0.5);
    decisions.push_back(i % 2 == 0 ? tie : std::nextafter(tie, 0));
  }
  return {power_name(bits, hundredths), with_signs(magnitudes), "PowerQuant's powers of integers",
          std::move(decisions)};
}

}  // namespace

std::span<const Codebook> codebooks() {
  static const auto& all = *new Codebooks(make_codebooks());
  return all;
}

const Codebook& power_codebook(int bits, int hundredths) {
  static std::mutex mutex;
  static auto& made = *new std::map<std::pair<int, int>, std::unique_ptr<Codebook>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Codebook>& codebook = made[{bits, hundredths}];
  if (!codebook) {
    codebook = std::make_unique<Codebook>(make_power_codebook(bits, hundredths));
  }
  return *codebook;
}

}  // namespace napier
