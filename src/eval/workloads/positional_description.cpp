// Positional Description Matters for Transformers Arithmetic (arXiv 2311.14737): what the digits'
// places look like. Products with factors of up to n digits, padded with zeros to n and their
// product to 2n, a space before each digit so that each is a token; sums whose digits lie apart by
// random spaces, so that no place is a digit's own. The paper has no code: docs/training.md says
// what of these forms is not confirmed.
#include <algorithm>

#include "eval/workloads/drawing.hpp"
#include "eval/workloads/natural.hpp"

namespace napier {
namespace {

std::string padded(const std::string& digits, size_t width) {
  return std::string(width - std::min(width, digits.size()), '0') + digits;
}

// "1 2 3"; further spaces after a digit with a probability, one by one.
std::string spaced(const std::string& digits, Random* random = nullptr) {
  std::string text;
  for (const char digit : digits) {
    if (!text.empty()) text += ' ';
    constexpr int k_percent = 30;
    constexpr int k_most = 4;
    for (int i = 0; random && !text.empty() && i < k_most && random->chance(k_percent); ++i) {
      text += ' ';
    }
    text += digit;
  }
  return text;
}

enum class Form { plain, padded, padded_reversed };

// As many factors of each number of digits, in each of the two places.
Workload product(int digits, Form form) {
  const auto draw = [=](Random& random, int length) {
    const auto width = static_cast<size_t>(digits);
    std::string a = random_digits(random, length);
    std::string b = random_digits(random, random.between(1, digits));
    const int longest = static_cast<int>(std::max(a.size(), b.size()));
    std::string result = (Natural(a) * Natural(b)).digits();
    if (form != Form::plain) {
      a = padded(a, width);
      b = padded(b, width);
      result = padded(result, 2 * width);
    }
    if (form == Form::padded_reversed) result = reversed(result);
    return Sample{spaced(a) + " * " + spaced(b) + " =", " " + spaced(result) + "\n", longest};
  };
  Workload workload;
  workload.name = "positional-multiply-" + std::to_string(digits) +
                  (form == Form::plain    ? ""
                   : form == Form::padded ? "-padded"
                                          : "-padded-reverse");
  workload.summary = "a * b of up to " + std::to_string(digits) + " digits, spaced" +
                     (form == Form::plain ? "" : ", padded with zeros") +
                     (form == Form::padded_reversed ? ", the product's last digit first" : "") +
                     " (arXiv 2311.14737)";
  workload.stop = "\n";
  workload.max_tokens = 4 * digits + 1;
  workload.make = [=](Part part, int count, uint64_t seed) {
    return different_samples(part, count, seed, 1, digits, draw);
  };
  workload.notation = form == Form::padded_reversed ? Notation::reversed : Notation::integer;
  return workload;
}

// Trained on up to 10 digits, asked up to 12.
Workload sum(bool random_spaces) {
  const auto draw = [=](Random& random, int length) {
    const std::string a = random_digits(random, length);
    const std::string b = random_digits(random, length);
    Random* spaces = random_spaces ? &random : nullptr;
    return Sample{spaced(a, spaces) + " + " + spaced(b, spaces) + " =",
                  " " + spaced((Natural(a) + Natural(b)).digits()) + "\n", length};
  };
  Workload workload;
  workload.name = random_spaces ? "positional-add-spaces" : "positional-add";
  workload.summary = std::string("a + b of up to 10 digits, questions of up to 12, spaced") +
                     (random_spaces ? ", further spaces at random" : "") + " (arXiv 2311.14737)";
  workload.stop = "\n";
  constexpr int k_trained = 10, k_asked = 12;
  workload.max_tokens = 2 * (k_asked + 1);
  workload.make = [=](Part part, int count, uint64_t seed) {
    return different_samples(part, count, seed, 1, part == Part::train ? k_trained : k_asked, draw);
  };
  return workload;
}

}  // namespace

std::vector<Workload> positional_description() {
  std::vector<Workload> workloads;
  for (const int digits : {5, 15}) {
    for (const Form form : {Form::plain, Form::padded, Form::padded_reversed}) {
      workloads.push_back(product(digits, form));
    }
  }
  for (const bool random_spaces : {false, true}) workloads.push_back(sum(random_spaces));
  return workloads;
}

}  // namespace napier
