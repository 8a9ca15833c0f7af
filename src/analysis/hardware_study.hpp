// Area, delay and energy of units on operands of a law or of a model.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/operands.hpp"
#include "cost/price_table.hpp"
#include "hw/synthesis.hpp"
#include "hw/unit.hpp"

namespace napier {

struct HardwareOptions {
  std::vector<std::string> technologies;  // liberty files
  int vectors = 1000;                     // operations that energy is measured over
  int repeats = 3;                        // syntheses, with names shuffled
  // What each unit is made for: 0, least area; above, so many ns, with the least area that is found
  // to meet them; k_equal_delay, as many ns as the slowest unit of a kind needs at its fastest.
  std::vector<double> delays = {0};
  uint64_t seed = 1614;
  std::function<void(std::string_view what, double done)> on_progress;

  void check() const;  // throws Error
};

constexpr double k_equal_delay = -1;

struct MeanAndDeviation {
  double mean = 0;
  double deviation = 0;  // standard, over syntheses
};

struct HardwareRow {
  std::string arith;
  UnitKind kind = UnitKind::wide;
  Timing timing = Timing::combinational;
  int lanes = 1;  // products an operation
  std::string technology;
  double delay_asked = 0;  // of the options' delays
  double target = 0;       // ns to be met; 0: least area
  int repeats = 0;
  int missed = 0;  // syntheses that do not meet the target
  double cells = 0;
  MeanAndDeviation area;   // um^2
  MeanAndDeviation delay;  // ns
  MeanAndDeviation pj;     // an operation, with glitches
  MeanAndDeviation pj_glitch_free;
};

struct UnitRequest {
  std::string arith;
  UnitKind kind = UnitKind::wide;
  Timing timing = Timing::combinational;
};

// What a unit is given, operation after operation: the operands of a row in order, sums running
// from zero along it. Operands are quantised (and scaled, integers by their row's largest) as the
// arithmetic has it. Both operands change with every operation.
Stimulus operations_of(const std::string& arith, const HardwareUnit& unit,
                       const std::vector<OperandBlock>& blocks, size_t count);

// Every unit in every technology. Each netlist is checked against the arithmetic on the stimulus
// before it is measured; one that differs is an Error (environment).
std::vector<HardwareRow> study_hardware(const std::vector<UnitRequest>& units,
                                        const std::vector<OperandBlock>& blocks,
                                        const HardwareOptions& options);

// Prices from the rows of the first of the options' delays (glitch-free, as of pipelined units), as
// TOML: multiplications of kind wide, additions, conversions, and steps of kinds step and dot, a
// product each.
std::string price_toml(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                       const std::string& operands);

}  // namespace napier
