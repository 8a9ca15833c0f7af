// From a unit's Verilog to standard cells: area, delay, energy.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "hw/equivalence.hpp"
#include "hw/liberty.hpp"
#include "hw/tool.hpp"
#include "hw/unit.hpp"

namespace napier {

// A technology ready for use: its liberty file unpacked, its cells as Verilog.
struct Technology {
  std::string path;  // as it was named
  Liberty liberty;
  std::string liberty_path;  // unpacked
  std::string cells;         // Verilog modules, one a cell, by yosys
};

// The files of "cells.lib+registers.lib.gz", or the one that is so called.
std::vector<std::string> technology_files(const std::string& path);
// Reads a liberty file (.lib, or .lib.gz), or several of one technology. Throws Error.
Technology load_technology(const std::string& path, const WorkFolder& folder);

// A cell: its pins' nets.
struct NetlistCell {
  std::string type;
  std::map<std::string, int> pins;
};

// Nets are numbers; 0 and 1 are the constants.
struct Netlist {
  std::vector<NetlistCell> cells;
  std::map<std::string, std::vector<int>> ports;
  int nets = 2;
};

struct Synthesis {
  Netlist netlist;
  double area = 0;      // um^2
  double delay = 0;     // ns, the longest path or, of a pipeline, the shortest cycle, by OpenSTA
  std::string verilog;  // the netlist
};

// What abc maps for.
enum class Aim : uint8_t {
  area,   // few cells
  sized,  // few cells, then buffers and stronger cells until the target is met
  speed,  // short paths, then the same
};

// One mapping: `target` is abc's delay target in ns (which it may miss; of area there is none);
// `seed` shuffles the names that abc sees and takes another script in turn, since its results
// depend on both (0: names as they are).
struct Goal {
  Aim aim = Aim::area;
  double target = 0;
  uint64_t seed = 0;
};

// yosys' synth once, since it makes the same gates for every goal; for each goal abc on the
// technology's cells, and OpenSTA. Throws Error where a tool is absent.
std::vector<Synthesis> synthesise(const HardwareUnit& unit, const Technology& technology,
                                  std::span<const Goal> goals, const WorkFolder& folder);
Synthesis synthesise(const HardwareUnit& unit, const Technology& technology, const Goal& goal,
                     const WorkFolder& folder);

struct Energy {
  double pj = 0;              // an operation, glitches included
  double pj_glitch_free = 0;  // were every net to change at most once
};

// Simulates the netlist gate by gate (Icarus) on the stimulus, one operation a vector, with each
// cell's delay at its load; toggles times (1/2 C V^2 of the pins driven + the cell's internal
// energy); of a pipeline, registers and their clock pins too. No wires (there is no layout), no
// clock tree, no leakage.
Energy measure_energy(const HardwareUnit& unit, const Synthesis& synthesis,
                      const Technology& technology, const Stimulus& stimulus,
                      const WorkFolder& folder);

// The netlist with its cells, to be checked as the unit itself is.
std::string netlist_verilog(const Synthesis& synthesis, const Technology& technology);

}  // namespace napier
