// ZeroQuant-FP's LoRC: what the weights' rounding took away, at a low rank.
#include <memory>

#include "napier/error.hpp"
#include "recipes/low_rank.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

void check(const StepSpec&) {}

void run(StepContext& context) {
  context.each([&](MatrixRule& m) {
    Treatment* own = nullptr;
    const std::vector<float>* factors = nullptr;
    for (Treatment& treatment : m.rule.treatments) {
      if (treatment.kind == TreatmentKind::lowrank) own = &treatment;
      if (treatment.kind == TreatmentKind::equalise) factors = &treatment.numbers->factors;
    }
    if (!own) throw Error("the plan's rule for it does not say 'with lowrank'");
    std::vector<float> weights = context.weights.all(m.matrix);
    if (factors) {
      for (size_t i = 0; i < weights.size(); ++i) weights[i] *= (*factors)[i % factors->size()];
    }
    const std::vector<float> rounded =
        rounded_weights(m.rule.arithmetic.w, m.matrix.rows, m.matrix.k, weights);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] -= rounded[i];
    LowRank found = low_rank(weights, m.matrix.rows, m.matrix.k, static_cast<int64_t>(own->number));
    auto numbers = std::make_shared<MatrixNumbers>();
    numbers->left = std::move(found.left);
    numbers->right = std::move(found.right);
    own->numbers = std::move(numbers);
  });
}

}  // namespace

const Step k_lowrank_step = {"lowrank", "the rounding's error at a low rank, by singular values",
                             {},        [](const StepSpec&) { return false; },
                             check,     run};

}  // namespace napier
