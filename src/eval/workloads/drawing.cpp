#include "eval/workloads/drawing.hpp"

#include <unordered_set>

#include "napier/error.hpp"

namespace napier {
namespace {

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

}  // namespace

std::string random_digits(Random& random, int count, bool positive) {
  const bool no_zero = positive || count > 1;
  std::string text(1, static_cast<char>('0' + random.between(no_zero ? 1 : 0, 9)));
  while (static_cast<int>(text.size()) < count) {
    text += static_cast<char>('0' + random.below(10));
  }
  return text;
}

bool is_for(Part part, std::string_view question) {
  return ((hash_of(question) >> 20) % 10 == 0) == (part == Part::test);
}

std::vector<Sample> different_samples(
    Part part, int count, uint64_t seed, int shortest, int longest,
    const std::function<Sample(Random& random, int length)>& draw) {
  Random random(seed);
  std::vector<int> lengths;
  for (int length = shortest; length <= longest; ++length) lengths.push_back(length);
  std::vector<Sample> samples;
  std::unordered_set<uint64_t> taken;
  for (size_t turn = 0; static_cast<int>(samples.size()) < count; ++turn) {
    if (lengths.empty()) {
      throw Error("there are not " + std::to_string(count) + " different samples of this workload");
    }
    turn %= lengths.size();
    constexpr int k_tries = 1000;
    for (int tries = 0;; ++tries) {
      if (tries == k_tries) {
        lengths.erase(lengths.begin() + static_cast<ptrdiff_t>(turn--));
        break;
      }
      Sample sample = draw(random, lengths[turn]);
      std::string question = sample.prompt;
      std::erase(question, ' ');  // may lie at random
      if (!is_for(part, question) || !taken.insert(hash_of(question)).second) continue;
      samples.push_back(std::move(sample));
      break;
    }
  }
  return samples;
}

}  // namespace napier
