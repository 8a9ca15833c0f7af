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
