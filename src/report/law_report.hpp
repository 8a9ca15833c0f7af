// The law of floating-point training as tables.
#pragma once

#include <string>
#include <vector>

#include "recipes/training_law.hpp"

namespace napier {

// For each layout its loss, what that is above unquantised training, and its critical tokens; then
// the best layout of every width from 3 to 16 bits.
std::string law_table(const TrainingSetting& setting, const std::vector<FloatLayout>& layouts);

// {parameters, tokens, block, exact_loss, layouts: [{layout, bits, loss, critical_tokens}],
// best: [{bits, layout, mantissa}]}.
std::string law_json(const TrainingSetting& setting, const std::vector<FloatLayout>& layouts);

}  // namespace napier
