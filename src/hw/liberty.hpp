// Standard cells as a liberty file describes them: what area and energy need of it.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

namespace napier {

// A table over input transition (ns) and output load (pF), read between its points.
struct LibertyTable {
  std::vector<double> transitions;
  std::vector<double> loads;
  std::vector<double> values;  // [transition][load]

  // Bilinear, and constant beyond the edges; 0 for an empty table.
  double at(double transition, double load) const;
};

struct LibertyPin {
  bool is_output = false;
  double capacitance = 0;            // pF, of an input
  std::vector<LibertyTable> energy;  // pJ a transition inside the cell, rising and falling
  std::vector<LibertyTable> delay;   // ns, rising and falling, from each input
};

struct LibertyCell {
  double area = 0;  // in the library's unit, um^2
  std::map<std::string, LibertyPin> pins;
  bool is_register = false;  // a flip-flop
  bool is_inverter = false;
  bool has_function = false;  // of an output, so that circuits can be made of it

  // Of what has a function.
  int inputs() const {
    int count = 0;
    for (const auto& [name, pin] : pins) count += has_function && !pin.is_output;
    return count;
  }
};

// One technology. Thread safe once made.
struct Liberty {
  std::string name;
  double voltage = 0;
  std::map<std::string, LibertyCell> cells;
};

// Throws Error with the line for a file that is no liberty file, or without voltage or cells.
Liberty parse_liberty(const std::string& text, const std::string& path);

// One text of several files of a technology: the first with the others' cells and templates. Throws
// Error where units or voltages are not the same, and for a cell that is there twice.
std::string merge_liberties(std::span<const std::string> texts, std::span<const std::string> paths);

}  // namespace napier
