// Energy of netlists small enough to count by hand, and what the flow makes of real units.
#include "hw/synthesis.hpp"

#include <unistd.h>

#include <cmath>
#include <random>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// Pins of 2 fF; an inverter (100 ps) and a NAND (300 ps) with 7 and 11 fJ inside a transition.
constexpr const char* k_liberty = R"lib(library (tiny) {
  /* a comment */
  time_unit : "1ps";
  capacitive_load_unit (1, ff);
  voltage_unit : "1V";
  nom_voltage : 2.0;
  lu_table_template (delays) {
    variable_1 : total_output_net_capacitance;
    variable_2 : input_net_transition;
    index_1 ("1, 3");
    index_2 ("100, 200");
  }
  cell (INV) {
    area : 3;
    pin (A) { direction : input; capacitance : 2; }
    pin (Y) {
      direction : output;
      function : "!A";
      internal_power () {
        rise_power (scalar) { values ("7"); }
        fall_power (scalar) { values ("7"); }
      }
      timing () { cell_rise (delays) { values ("50, 150", "50, 150"); } }
    }
  }
  cell ("NAND") {
    area : 4;
    pin (A) { direction : input; capacitance : 2; }
    pin (B) { direction : input; capacitance : 2; }
    pin (Y) {
      direction : output;
      function : "!(A&B)";
      internal_power () {
        rise_power (scalar) { values ("10"); }
        fall_power (scalar) { values ("12"); }
      }
      timing () { cell_rise (scalar) { values ("300"); } }
    }
  }
}
)lib";

constexpr const char* k_cells =
    "module INV(A, Y);\n  input A;\n  output Y;\n  assign Y = ~A;\nendmodule\n"
    "module NAND(A, B, Y);\n  input A;\n  input B;\n  output Y;\n  assign Y = ~(A & B);\n"
    "endmodule\n";

TEST(Liberty, ReadsUnitsAxesAndPins) {
  const Liberty library = parse_liberty(k_liberty, "tiny.lib");
  EXPECT_EQ(library.voltage, 2);
  ASSERT_EQ(library.cells.size(), 2u);
  const LibertyPin& y = library.cells.at("INV").pins.at("Y");
  EXPECT_TRUE(y.is_output);
  EXPECT_NEAR(library.cells.at("NAND").pins.at("B").capacitance, 0.002, 1e-15);
  // 2nd axis is the transition: between 100 and 200 ps, 50 and 150 ps.
  EXPECT_NEAR(y.delay.at(0).at(0.15, 0.002), 0.1, 1e-12);
  EXPECT_NEAR(y.delay.at(0).at(9, 9), 0.15, 1e-12);
  EXPECT_NEAR(y.energy.at(0).at(0.15, 0.1), 0.007, 1e-12);  // fF V^2 = fJ
}

TEST(Liberty, BrokenFilesAreErrors) {
  const std::string whole = k_liberty;
  int thrown = 0;
  for (size_t end = 0; end < whole.size() - 2; end += 7) {
    try {
      parse_liberty(whole.substr(0, end), "t.lib");
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("t.lib"), std::string::npos);
      ++thrown;
    }
  }
  EXPECT_GT(thrown, 100);
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {  // no crash, whatever is changed
    std::string text = whole;
    for (int j = 0; j < 4; ++j) text[random() % text.size()] = "(){};:\"\\x/*"[random() % 11];
    try {
      parse_liberty(text, "t.lib");
    } catch (const Error&) {
    }
  }
  EXPECT_THROW(parse_liberty("library (x) { nom_voltage : 1; }", "t.lib"), Error);
}

// out[0] = NAND(x[0], INV(x[0])): always 1, but for a glitch of 100 ps that the NAND's inertia of
// 300 ps swallows, unless the inverter is slower.
TEST(Energy, CountsTogglesLoadsAndGlitches) {
  if (!has_tool("iverilog")) GTEST_SKIP() << "SKIPPED: needs iverilog";
  Technology technology;
  technology.liberty = parse_liberty(k_liberty, "tiny.lib");
  technology.cells = k_cells;
  const HardwareUnit unit = make_unit("int2", UnitKind::wide);
  Synthesis synthesis;
  synthesis.delay = 1;
  synthesis.netlist.ports = {{"x", {2, 3}}, {"w", {4, 5}}, {"out", {7, 0, 0, 0}}};
  synthesis.netlist.cells = {{"INV", {{"A", 2}, {"Y", 6}}},
                             {"NAND", {{"A", 2}, {"B", 6}, {"Y", 7}}}};
  synthesis.netlist.nets = 8;
  Stimulus stimulus;
  for (int i = 0; i < 11; ++i) stimulus.add(static_cast<uint64_t>(i % 2), 0, 0);
  // Each of 10 vectors toggles x[0] (4 fF: 8 fJ at 2 V) and the inverter (2 fF: 4 fJ, 7 inside).
  const double quiet = 0.008 + 0.004 + 0.007;
  {
    const WorkFolder folder;
    const Energy energy = measure_energy(unit, synthesis, technology, stimulus, folder);
    EXPECT_NEAR(energy.pj_glitch_free, quiet, 1e-9);
    EXPECT_NEAR(energy.pj, quiet, 1e-9);
  }
  {  // Four inverters more than the NAND is slow: at x's 5 rises it falls and rises (11 fJ each).
    synthesis.netlist.cells = {
        {"INV", {{"A", 2}, {"Y", 6}}},   {"INV", {{"A", 6}, {"Y", 8}}},
        {"INV", {{"A", 8}, {"Y", 9}}},   {"INV", {{"A", 9}, {"Y", 10}}},
        {"INV", {{"A", 10}, {"Y", 11}}}, {"NAND", {{"A", 2}, {"B", 11}, {"Y", 7}}}};
    synthesis.netlist.nets = 12;
    const WorkFolder folder;
    const Energy energy = measure_energy(unit, synthesis, technology, stimulus, folder);
    EXPECT_NEAR(energy.pj_glitch_free, 0.008 + 5 * 0.011, 1e-9);
    EXPECT_NEAR(energy.pj, 0.008 + 5 * 0.011 + 0.011, 1e-9);
  }
}

constexpr const char* k_osu018 = "/usr/share/qflow/tech/osu018/osu018_stdcells.lib";

TEST(Synthesis, NetlistsComputeWhatTheUnitDoes) {
  if (!has_tool("yosys") || !has_tool("sta") || !has_tool("iverilog") ||
      access(k_osu018, R_OK) != 0) {
    GTEST_SKIP() << "SKIPPED: needs yosys, opensta, iverilog and qflow-tech-osu018";
  }
  const WorkFolder folder;
  const Technology technology = load_technology(k_osu018, folder);
  EXPECT_EQ(technology.liberty.voltage, 1.8);
  struct Case {
    const char* arithmetic;
    Timing timing;
    Aim aim;
  };
  double combinational = 0;
  for (const Case& c : {Case{"lmul-e4m3", Timing::combinational, Aim::area},
                        Case{"lmul-e4m3", Timing::pipelined, Aim::area},
                        Case{"lmul-e4m3", Timing::combinational, Aim::speed},
                        Case{"fp8_e4m3", Timing::combinational, Aim::sized}}) {
    const HardwareUnit unit = make_unit(c.arithmetic, UnitKind::same, c.timing);
    const Synthesis synthesis = synthesise(unit, technology, Goal{c.aim, 1, 3}, folder);
    bool exhaustive = false;
    const Stimulus stimulus = make_vectors(unit, 0, 1, exhaustive);
    const Equivalence found =
        check_equivalence(unit, netlist_verilog(synthesis, technology), stimulus, folder, true);
    EXPECT_TRUE(exhaustive);
    EXPECT_EQ(found.mismatches, 0) << found.first;
    // yosys' own sum of the areas.
    write_whole(folder.path("net.v"), synthesis.verilog);
    write_whole(folder.path("stat.ys"),
                "read_liberty -lib cells.lib\nread_verilog net.v\nhierarchy -top unit\n"
                "tee -o stat.txt stat -liberty cells.lib\n");
    run_tool({"yosys", "-q", "-s", "stat.ys"}, folder.path());
    const std::string stat = read_input_file(folder.path("stat.txt"), "a tool's result");
    const size_t at = stat.find("Chip area for module '\\unit': ");
    ASSERT_NE(at, stat.npos);
    EXPECT_NEAR(std::stod(stat.substr(at + 30)), synthesis.area, 1e-3);
    EXPECT_GT(synthesis.delay, 0.5);
    EXPECT_LT(synthesis.delay, 50);
    if (c.aim == Aim::area && c.timing == Timing::combinational) combinational = synthesis.delay;
    if (c.aim == Aim::speed) {
      EXPECT_LT(synthesis.delay, 0.9 * combinational);
    }
    // A cycle adds a register's own delay and setup to the logic between two.
    if (c.timing == Timing::pipelined) {
      EXPECT_NEAR(synthesis.delay, combinational + 0.4, 0.35);
    }
  }
}

}  // namespace
}  // namespace napier
