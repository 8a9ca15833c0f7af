// What `napier hw report` prints.
#pragma once

#include <string>
#include <vector>

#include "analysis/hardware_study.hpp"

namespace napier {

// Ratios are to the first row of each kind and technology.
std::string hardware_table(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                           const std::string& operands);
std::string hardware_json(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                          const std::string& operands);
std::string hardware_csv(const std::vector<HardwareRow>& rows);

}  // namespace napier
