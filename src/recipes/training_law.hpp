// The scaling law of floating-point quantised training (Capybara, arXiv 2501.02423).
#pragma once

#include <vector>

namespace napier {

// Of training with ExMy operands that share a scale in blocks.
struct TrainingSetting {
  double parameters = 1e9;  // N
  double tokens = 1e11;     // D
  double block = 128;       // B, elements that share a scale
};

struct FloatLayout {
  int exponent = 0;
  int mantissa = 0;
  int bits() const { return 1 + exponent + mantissa; }
};

// Nats a token:
// L = n / N^a + d / D^b + eps + D^b / N^a * log2(B) / (g (E + 0.5)^delta (M + 0.5)^nu)
double training_loss(const TrainingSetting& setting, const FloatLayout& layout);
// The same without quantisation: its first three terms.
double exact_training_loss(const TrainingSetting& setting);

// The tokens beyond which more of them make the loss worse: where dL/dD is zero.
double critical_tokens(const TrainingSetting& setting, const FloatLayout& layout);

// Of all layouts of `bits` (3 to 32; a sign, at least one bit of each) the one of least loss,
// whatever the setting.
FloatLayout best_layout(int bits);
// The same over the reals: M = nu P / (delta + nu) - 0.5, of P bits with the sign (its eq. 10).
double best_mantissa(int bits);

}  // namespace napier
