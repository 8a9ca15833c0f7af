#include "hw/synthesis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

// Of inputs to cells, where liberty's tables ask for one: a common value, ns.
constexpr double k_transition = 0.15;

Netlist read_netlist(const std::string& text) {
  const nlohmann::json document = nlohmann::json::parse(text);
  const auto& module = document.at("modules").at("unit");
  Netlist netlist;
  const auto net = [&](const nlohmann::json& bit) {
    if (bit.is_string()) return bit.get<std::string>() == "1" ? 1 : 0;  // x: either will do
    const int number = bit.get<int>();
    netlist.nets = std::max(netlist.nets, number + 1);
    return number;
  };
  for (const auto& [name, cell] : module.at("cells").items()) {
    NetlistCell entry{cell.at("type"), {}};
    for (const auto& [pin, bits] : cell.at("connections").items()) {
      entry.pins[pin] = net(bits.at(0));
    }
    netlist.cells.push_back(std::move(entry));
  }
  for (const auto& [name, port] : module.at("ports").items()) {
    for (const auto& bit : port.at("bits")) netlist.ports[name].push_back(net(bit));
  }
  return netlist;
}

const LibertyCell& cell_of(const Technology& technology, const std::string& type) {
  const auto found = technology.liberty.cells.find(type);
  if (found == technology.liberty.cells.end()) {
    throw Error("yosys left a cell '" + type + "' that " + technology.path + " has not",
                Blame::environment);
  }
  return found->second;
}

const LibertyPin& pin_of(const LibertyCell& cell, const std::string& name) {
  static const LibertyPin none;
  const auto found = cell.pins.find(name);
  return found == cell.pins.end() ? none : found->second;
}

// pF of the pins that each net drives.
std::vector<double> loads_of(const Netlist& netlist, const Technology& technology) {
  std::vector<double> loads(static_cast<size_t>(netlist.nets));
  for (const NetlistCell& cell : netlist.cells) {
    const LibertyCell& kind = cell_of(technology, cell.type);
    for (const auto& [pin, net] : cell.pins) {
      if (!pin_of(kind, pin).is_output)
        loads[static_cast<size_t>(net)] += pin_of(kind, pin).capacitance;
    }
  }
  return loads;
}

double mean_at(const std::vector<LibertyTable>& tables, double load) {
  if (tables.empty()) return 0;
  double sum = 0;
  for (const LibertyTable& table : tables) sum += table.at(k_transition, load);
  return sum / static_cast<double>(tables.size());
}

// The cells' modules with a parameter for the delay of every output, in picoseconds.
std::string with_delays(const Technology& technology) {
  std::istringstream lines(technology.cells);
  std::string result;
  const LibertyCell* cell = nullptr;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("module ")) {
      const size_t open = line.find('(');
      std::string name = line.substr(7, open - 7);
      while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.pop_back();
      if (name.starts_with('\\')) name.erase(0, 1);
      const auto found = technology.liberty.cells.find(name);
      cell = found == technology.liberty.cells.end() ? nullptr : &found->second;
      line.insert(open, "#(parameter NAPIER_DELAY = 0) ");
    } else if (const size_t at = line.find("assign "); at != line.npos && cell) {
      const size_t end = line.find(" =", at);
      const std::string target = line.substr(at + 7, end - at - 7);
      if (pin_of(*cell, target).is_output) line.insert(at + 7, "#(NAPIER_DELAY) ");
    }
    result += line + '\n';
  }
  return result;
}

std::string net_name(int net) {
  return net < 2 ? fmt::format("1'b{}", net) : fmt::format("n{}", net);
}

std::string simulated_netlist(const Netlist& netlist, const Technology& technology,
                              const std::vector<double>& loads, bool with_delay) {
  std::string ports;
  std::string body;
  for (const auto& [name, bits] : netlist.ports) {
    const bool is_output = name == "out";
    ports += fmt::format("{}{} [{}:0] {}", ports.empty() ? "" : ", ",
                         is_output ? "output" : "input", bits.size() - 1, name);
    for (size_t i = 0; i < bits.size(); ++i) {
      const std::string bit = fmt::format("{}[{}]", name, i);
      if (is_output) {
        body += fmt::format("  assign {} = {};\n", bit, net_name(bits[i]));
      } else if (bits[i] >= 2) {
        body += fmt::format("  assign n{} = {};\n", bits[i], bit);
      }
    }
  }
  std::string wires;
  for (int net = 2; net < netlist.nets; ++net) wires += fmt::format("  wire n{};\n", net);
  int number = 0;
  for (const NetlistCell& cell : netlist.cells) {
    const LibertyCell& kind = cell_of(technology, cell.type);
    double delay = 0;
    std::string pins;
    for (const auto& [pin, net] : cell.pins) {
      const LibertyPin& description = pin_of(kind, pin);
      if (description.is_output) {
        delay = std::max(delay, mean_at(description.delay, loads[static_cast<size_t>(net)]));
      }
      pins += fmt::format("{}.{}({})", pins.empty() ? "" : ", ", pin, net_name(net));
    }
    const long picoseconds = with_delay ? std::max(1L, std::lround(1000 * delay)) : 0;
    body += fmt::format("  {} #(.NAPIER_DELAY({})) c{} ({});\n", cell.type, picoseconds, number++,
                        pins);
  }
  return fmt::format("`timescale 1ps/1ps\nmodule netlist ({});\n{}{}endmodule\n", ports, wires,
                     body);
}

// How often each net changed between 0 and 1, from a VCD file of scalars named n<number>.
std::vector<double> toggles_of(const std::string& vcd, int nets) {
  std::vector<double> toggles(static_cast<size_t>(nets));
  std::map<std::string, size_t, std::less<>> by_code;
  std::vector<char> state(static_cast<size_t>(nets), 'x');
  std::istringstream lines(vcd);
  bool in_header = true;
  for (std::string line; std::getline(lines, line);) {
    if (in_header) {
      if (line.starts_with("$enddefinitions")) in_header = false;
      if (!line.starts_with("$var wire 1 ")) continue;
      std::istringstream words(line);
      std::string skip, code, name;
      words >> skip >> skip >> skip >> code >> name;
      if (name.size() > 1 && name[0] == 'n') by_code[code] = std::stoul(name.substr(1));
      continue;
    }
    if (line.empty() || (line[0] != '0' && line[0] != '1')) continue;
    const auto found = by_code.find(std::string_view(line).substr(1));
    if (found == by_code.end()) continue;
    char& before = state[found->second];
    if (before != 'x' && before != line[0]) ++toggles[found->second];
    before = line[0];
  }
  return toggles;
}

// yosys' commands that map gates to cells.
std::string mapping(const Goal& goal) {
  const std::string shuffle =
      goal.seed == 0 ? ""
                     : fmt::format("rename -scramble-name -seed {}\n", goal.seed % 1000000 + 1);
  // As yosys' own script begins, and others of the kind that abc's users write.
  constexpr std::array k_beginnings = {
      "strash;ifraig;scorr;dc2;dch,-f",
      "strash;ifraig;scorr;dc2;dc2;dch,-f",
      "strash;balance;rewrite;refactor;balance;rewrite,-z;balance;refactor,-z;balance;dch,-f",
      "strash;&get,-n;&fraig,-x;&put;dc2;dc2;dch,-f",
  };
  const bool is_small = goal.aim == Aim::area;
  const std::string delay =
      is_small ? "" : fmt::format(" -D {}", std::max(1L, std::lround(1000 * goal.target)));
  return fmt::format("{}abc -liberty cells.lib{} -script +{};{}{}\n", shuffle, delay,
                     k_beginnings[goal.seed % k_beginnings.size()],
                     goal.aim == Aim::speed ? "map,-B,0.9,{D}" : "amap",
                     is_small ? "" : ";topo;buffer,-c;topo;upsize,{D};dnsize,{D}");
}

// Of a netlist: the longest path, or the shortest cycle that its registers allow.
double delay_of(const HardwareUnit& unit, const std::string& netlist, const WorkFolder& folder) {
  // ns. What is longer has negative slack; OpenSTA's floats would round a much longer one's.
  constexpr double period = 1000;
  const bool has_clock = unit.latency() > 0;
  write_whole(
      folder.path("unit.tcl"),
      fmt::format(
          // A library sets the units as it is read, so they are set after it.
          "read_liberty cells.lib\nset_cmd_units -time ns\nread_verilog {}\nlink_design unit\n"
          "{}report_checks {} -path_delay max -format end -digits 4\n",
          netlist,
          has_clock ? fmt::format("create_clock -period {} [get_ports clock]\n", period) : "",
          has_clock ? "" : "-unconstrained"));
  const std::string report = run_tool({"sta", "-exit", "unit.tcl"}, folder.path());
  // Endpoint (its cell), required, actual, slack; without a clock "INF" is required.
  const size_t rule = report.find("-----", report.find("Endpoint"));
  std::istringstream line(report.substr(std::min(report.size(), report.find('\n', rule))));
  std::string word;
  double actual = 0;
  double slack = 0;
  while (line >> word && !word.ends_with(')')) {
  }
  line >> word >> actual;
  if (has_clock) line >> slack;
  if (!line) throw Error("OpenSTA reports no path of " + unit.name(), Blame::environment);
  return has_clock ? period - slack : actual;
}

// Unpacked.
std::string liberty_text(const std::string& path, const WorkFolder& folder) {
  const std::string text = read_input_file(path, "the liberty file");  // says it if it is not there
  if (!path.ends_with(".gz")) return text;
  need_tools({"gzip"});
  const std::string from = std::filesystem::absolute(path).string();  // gzip runs elsewhere
  const std::string unpacked = folder.path("unpacked.lib");
  try {
    run_tool({"gzip", "-t", "--", from}, folder.path());
  } catch (const Error&) {
    throw Error(path + ": the liberty file cannot be unpacked: it is no whole gzip file");
  }
  run_tool({"gzip", "-dc", "--", from}, folder.path(), unpacked);
  return read_input_file(unpacked, "the liberty file");
}

}  // namespace

std::vector<std::string> technology_files(const std::string& path) {
  std::vector<std::string> files;
  if (std::filesystem::exists(path)) return {path};
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('+', begin), path.size());
    files.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return files;
}

Technology load_technology(const std::string& path, const WorkFolder& folder) {
  Technology technology;
  technology.path = path;
  technology.liberty_path = folder.path("cells.lib");
  const std::vector<std::string> files = technology_files(path);
  std::vector<std::string> texts;
  for (const std::string& file : files) texts.push_back(liberty_text(file, folder));
  if (texts.size() > 1) texts[0] = merge_liberties(texts, files);
  write_whole(technology.liberty_path, texts[0]);
  technology.liberty =
      parse_liberty(read_input_file(technology.liberty_path, "the liberty file"), path);
  const auto& cells = technology.liberty.cells;
  const auto has = [&](auto&& wanted) {
    return std::any_of(cells.begin(), cells.end(), [&](const auto& cell) {
      return !cell.second.is_register && wanted(cell.second);
    });
  };
  if (!has([](const LibertyCell& cell) { return cell.is_inverter; }) ||
      !has([](const LibertyCell& cell) { return cell.inputs() > 1; })) {
    throw Error(path +
                ": no circuit can be made of its cells: an inverter and a gate of more inputs are "
                "needed, of all files together that are joined by '+'");
  }
  need_tools({"yosys"});
  write_whole(folder.path("cells.ys"),
              "read_liberty -ignore_miss_func cells.lib\n"
              "write_verilog -noattr cells.v\n");
  run_tool({"yosys", "-q", "-s", "cells.ys"}, folder.path());
  technology.cells = read_input_file(folder.path("cells.v"), "a tool's result");
  return technology;
}

std::vector<Synthesis> synthesise(const HardwareUnit& unit, const Technology& technology,
                                  std::span<const Goal> goals, const WorkFolder& folder) {
  need_tools({"yosys", "sta"});
  const auto& cells = technology.liberty.cells;
  if (unit.latency() > 0 && std::none_of(cells.begin(), cells.end(), [](const auto& cell) {
        return cell.second.is_register;
      })) {
    throw Error(technology.path + ": no pipeline can be made of its cells: it has no flip-flop");
  }
  write_whole(folder.path("unit.v"), unit.verilog());
  // abc's results depend on the order of cells: a saved design keeps it, a written one would not.
  std::string script = fmt::format(
      "read_verilog unit.v\nhierarchy -top unit\nsynth -flatten -top unit\n{}"
      "design -save generic\n",
      unit.latency() > 0 ? "dfflibmap -liberty cells.lib\nopt_clean\n" : "");
  for (size_t i = 0; i < goals.size(); ++i) {
    script += fmt::format(
        "design -load generic\n{}opt_clean -purge\nsplitnets\n"
        "rename -enumerate -pattern n%\nwrite_json net{}.json\n"
        "write_verilog -noattr -simple-lhs net{}.v\n",
        mapping(goals[i]), i, i);
  }
  write_whole(folder.path("unit.ys"), script);
  try {
    run_tool({"yosys", "-q", "-s", "unit.ys"}, folder.path());
  } catch (const Error& error) {
    throw Error(unit.name() + " on " + technology.path + ": " + error.what(), error.blame());
  }
  std::vector<Synthesis> results(goals.size());
  for (size_t i = 0; i < goals.size(); ++i) {
    const std::string name = fmt::format("net{}", i);
    Synthesis& result = results[i];
    result.verilog = read_input_file(folder.path(name + ".v"), "a tool's result");
    result.netlist = read_netlist(read_input_file(folder.path(name + ".json"), "a tool's result"));
    for (const NetlistCell& cell : result.netlist.cells) {
      result.area += cell_of(technology, cell.type).area;
    }
    result.delay = delay_of(unit, name + ".v", folder);
  }
  return results;
}

Synthesis synthesise(const HardwareUnit& unit, const Technology& technology, const Goal& goal,
                     const WorkFolder& folder) {
  return std::move(synthesise(unit, technology, std::span(&goal, 1), folder).front());
}

Energy measure_energy(const HardwareUnit& unit, const Synthesis& synthesis,
                      const Technology& technology, const Stimulus& stimulus,
                      const WorkFolder& folder) {
  need_tools({"iverilog"});
  if (stimulus.size() < 2) throw Error("energy is measured over at least 2 vectors");
  const Netlist& netlist = synthesis.netlist;
  const std::vector<double> loads = loads_of(netlist, technology);
  std::vector<double> per_toggle(loads.size());  // pJ
  const double volts = technology.liberty.voltage;
  for (size_t net = 0; net < loads.size(); ++net) per_toggle[net] = loads[net] * volts * volts / 2;
  for (const NetlistCell& cell : netlist.cells) {
    const LibertyCell& kind = cell_of(technology, cell.type);
    for (const auto& [pin, net] : cell.pins) {
      // Of an input: a flip-flop's clock, above all.
      const auto at = static_cast<size_t>(net);
      per_toggle[at] += mean_at(pin_of(kind, pin).energy, loads[at]);
    }
  }
  std::string vectors;
  for (size_t i = 0; i < stimulus.size(); ++i) vectors += stimulus.line(unit, i) + "\n";
  write_whole(folder.path("stimulus.txt"), vectors);
  const long half_period = std::lround(2000 * synthesis.delay) + 500;
  write_whole(
      folder.path("run.v"),
      fmt::format(
          "`timescale 1ps/1ps\nmodule run;\n  integer file, found;\n"
          "  reg [{1}:0] x;\n  reg [{2}:0] w;\n  reg [63:0] s;\n  reg clock;\n"
          "  wire [{0}:0] out;\n"
          "  netlist dut ({5}.x(x), .w(w), {3}.out(out));\n"
          "  initial begin\n    clock = 0;\n    $dumpfile(\"run.vcd\");\n    $dumpvars(1, dut);\n"
          "    file = $fopen(\"stimulus.txt\", \"r\");\n"
          "    found = $fscanf(file, \"%h %h %h\", x, w, s);\n"
          "    while (found == 3) begin\n"
          "      #{4};\n      clock = 1;\n      #{4};\n      clock = 0;\n"
          "      found = $fscanf(file, \"%h %h %h\", x, w, s);\n    end\n"
          "    $finish;\n  end\nendmodule\n",
          unit.out_bits() - 1, unit.lanes() * unit.x_bits() - 1, unit.lanes() * unit.w_bits() - 1,
          unit.sum_bits() > 0 ? fmt::format(".sum(s[{}:0]), ", unit.sum_bits() - 1) : "",
          half_period, unit.latency() > 0 ? ".clock(clock), " : ""));
  write_whole(folder.path("delayed.v"), with_delays(technology));
  const auto run = [&](bool with_delay) {
    write_whole(folder.path("sim.v"), simulated_netlist(netlist, technology, loads, with_delay));
    run_tool({"iverilog", "-g2005", "-s", "run", "-o", "run", "run.v", "sim.v", "delayed.v"},
             folder.path());
    run_tool({"vvp", "-n", "run"}, folder.path());
    const auto toggles =
        toggles_of(read_input_file(folder.path("run.vcd"), "a tool's result"), netlist.nets);
    double pj = 0;
    for (size_t net = 2; net < toggles.size(); ++net) pj += toggles[net] * per_toggle[net];
    return pj / static_cast<double>(stimulus.size() - 1);
  };
  return {run(true), run(false)};
}

std::string netlist_verilog(const Synthesis& synthesis, const Technology& technology) {
  return synthesis.verilog + technology.cells;
}

}  // namespace napier
