// How far one row of logits is from a text's token and from a reference's row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace napier {

// log(sum of exp(logits)), in double, stable for any finite logits.
double log_sum_exp(std::span<const float> logits);

// KL(reference || other) of two rows of logits in nats, not below 0 but for rounding; the norms are
// their log_sum_exp().
double kl_divergence(std::span<const float> reference, double reference_norm,
                     std::span<const float> other, double other_norm);

// How sharp the loss of a row of logits is about them, in percent (Keskar et al., 1609.04836, eq.
// 3, of logits z as "To FP8 and Back Again", 2405.18710, takes it):
//   100 (max L(z + y) - L(z)) / (1 + L(z)),  |y_i| <= epsilon (|z_i| + 1),
// where L is the cross-entropy of the target. L falls with the target's logit and rises with every
// other, so the largest loss is at the corner of the box where the one is least and the others
// largest: no search is needed.
double sharpness(std::span<const float> logits, size_t target, double epsilon);

// The likeliest tokens, first the likeliest; of equals the lower token. Fewer if the row is
// shorter.
struct TopTokens {
  static constexpr size_t k_most = 5;
  std::array<uint32_t, k_most> tokens = {};
  size_t count = 0;

  // How many of this one's tokens the other has too.
  size_t shared_with(const TopTokens& other) const;
};
TopTokens top_tokens(std::span<const float> logits);

}  // namespace napier
