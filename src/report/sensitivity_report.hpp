// Where an arithmetic hurts: tables, JSON, CSV, heat maps.
#pragma once

#include <string>

#include "eval/sensitivity.hpp"

namespace napier {

std::string sensitivity_table(const Sensitivity& sensitivity);
std::string sensitivity_json(const Sensitivity& sensitivity);
// A line for each arithmetic and part.
std::string sensitivity_csv(const Sensitivity& sensitivity);
// Heat maps of layers and roles for each arithmetic, then the operands' exponents and mantissas.
std::string sensitivity_svg(const Sensitivity& sensitivity);

}  // namespace napier
