#include "hw/equivalence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "napier/error.hpp"

namespace napier {
namespace {

uint64_t mask(int bits) { return bits == 0 ? 0 : ~uint64_t{0} >> (64 - bits); }

// Codes at the edges of a format.
std::vector<uint64_t> edges(const Format& format) {
  const uint64_t one = static_cast<uint64_t>(format.bias) << format.mantissa_bits;
  const uint64_t normal = uint64_t{1} << format.mantissa_bits;
  std::vector<uint64_t> codes = {0,
                                 1,
                                 2,
                                 normal - 1,
                                 normal,
                                 normal + 1,
                                 one - 1,
                                 one,
                                 one + 1,
                                 format.max_code() - 1,
                                 format.max_code(),
                                 format.max_code() + 1,
                                 format.magnitude_mask()};
  const size_t count = codes.size();
  for (size_t i = 0; i < count; ++i) {
    codes[i] &= format.magnitude_mask();
    codes.push_back(codes[i] | format.sign_mask());
  }
  return codes;
}

}  // namespace

Stimulus make_vectors(const HardwareUnit& unit, int64_t count, uint64_t seed, bool& exhaustive) {
  std::mt19937_64 random(seed);
  Stimulus stimulus;
  const bool has_sum = unit.sum_bits() > 0;
  std::vector<uint64_t> sums;
  if (has_sum && !unit.is_integer()) sums = edges(unit.arithmetic().accumulator.cast.format);
  // A sum that is anything, or at an edge, or near minus the product of the last vector: its own
  // product alone, from a sum of zero, with a few last bits changed.
  const auto sum_for = [&](uint64_t x, uint64_t w) -> uint64_t {
    if (!has_sum) return 0;
    const uint64_t kind = random() % 4;
    if (kind == 0 && !sums.empty()) return sums[random() % sums.size()];
    if (kind <= 1) return random() & mask(unit.sum_bits());
    const uint64_t product = unit.evaluate(x, w, 0);
    const uint64_t sign = uint64_t{1} << (unit.sum_bits() - 1);
    return (product ^ sign ^ (random() % 16) ^ (kind == 3 ? random() & 0xFFFF : 0)) &
           mask(unit.sum_bits());
  };
  exhaustive = unit.x_bits() + unit.w_bits() <= 16;
  if (exhaustive) {
    for (uint64_t x = 0; x <= mask(unit.x_bits()); ++x) {
      for (uint64_t w = 0; w <= mask(unit.w_bits()); ++w) {
        stimulus.push_back({x, w, sum_for(x, w)});
      }
    }
    return stimulus;
  }
  if (!unit.is_integer()) {
    const Arithmetic& arithmetic = unit.arithmetic();
    const bool adds = unit.kind() == UnitKind::add;
    const bool converts = unit.kind() == UnitKind::convert;
    const Format& sum = arithmetic.accumulator.cast.format;
    const auto x_edges = edges(adds ? sum : converts ? k_f32 : arithmetic.x.cast.format);
    for (const uint64_t x : x_edges) {
      for (const uint64_t w : edges(adds ? sum : arithmetic.w.cast.format)) {
        stimulus.push_back({x, converts ? 0 : w, sum_for(x, w)});
      }
    }
  }
  while (static_cast<int64_t>(stimulus.size()) < count) {
    const uint64_t x = random() & mask(unit.x_bits());
    uint64_t w = random() & mask(unit.w_bits());
    // Sums that nearly cancel.
    if (unit.kind() == UnitKind::add && random() % 2 == 0) {
      w = x ^ (uint64_t{1} << (unit.x_bits() - 1)) ^ (random() % 64);
    }
    stimulus.push_back({x, w, sum_for(x, w)});
  }
  return stimulus;
}

Equivalence check_equivalence(const HardwareUnit& unit, const std::string& verilog,
                              const Stimulus& stimulus, const WorkFolder& folder, bool icarus) {
  need_tools({icarus ? "iverilog" : "verilator"});
  std::string vectors;
  for (const auto& [x, w, sum] : stimulus) {
    vectors += fmt::format("{:x} {:x} {:x} {:x}\n", x, w, sum, unit.evaluate(x, w, sum));
  }
  write_whole(folder.path("vectors.txt"), vectors);
  write_whole(folder.path("dut.v"), verilog);
  const bool has_sum = unit.sum_bits() > 0;
  // Verilator 5.006 does not see what $fscanf changes: hence the copies.
  write_whole(
      folder.path("check.v"),
      fmt::format(
          "`timescale 1ns/1ps\nmodule check;\n"
          "  integer file, found;\n  reg [63:0] x, w, s, expected, bad, seen;\n"
          "  reg [63:0] read_x, read_w, read_s;\n"
          "  wire [{0}:0] out;\n"
          "  unit dut (.x(x[{1}:0]), .w(w[{2}:0]), {3}.out(out));\n"
          "  initial begin\n    file = $fopen(\"vectors.txt\", \"r\");\n    bad = 0;\n    seen = "
          "0;\n"
          "    found = $fscanf(file, \"%h %h %h %h\", read_x, read_w, read_s, expected);\n"
          "    while (found == 4) begin\n"
          "      x = read_x;\n      w = read_w;\n      s = read_s;\n      #100;\n      seen = seen "
          "+ 1;\n"
          "      if (out !== expected[{0}:0]) begin\n        bad = bad + 1;\n"
          "        if (bad == 1) $display(\"FIRST x=%h w=%h sum=%h gives %h, not %h\", x, w, s, "
          "out, expected);\n"
          "      end\n      found = $fscanf(file, \"%h %h %h %h\", read_x, read_w, read_s, "
          "expected);\n    end\n"
          "    $display(\"SEEN %0d BAD %0d\", seen, bad);\n    $finish;\n  end\nendmodule\n",
          unit.out_bits() - 1, unit.x_bits() - 1, unit.w_bits() - 1,
          has_sum ? fmt::format(".sum(s[{}:0]), ", unit.sum_bits() - 1) : ""));
  std::string text;
  if (icarus) {
    run_tool({"iverilog", "-g2005", "-o", "check", "check.v", "dut.v"}, folder.path());
    text = run_tool({"vvp", "-n", "check"}, folder.path());
  } else {
    run_tool({"verilator", "--binary", "-O3", "-Wno-fatal", "-Wno-WIDTH", "-Wno-lint",
              "--top-module", "check", "-Mdir", "verilated", "-o", "check", "check.v", "dut.v"},
             folder.path());
    text = run_tool({folder.path("verilated/check")}, folder.path());
  }
  Equivalence result;
  const size_t at = text.find("SEEN ");
  long seen = -1;
  long bad = -1;
  if (at == text.npos || std::sscanf(text.c_str() + at, "SEEN %ld BAD %ld", &seen, &bad) != 2 ||
      seen != static_cast<long>(stimulus.size())) {
    throw Error("the simulation of " + unit.name() + " did not run to its end", Blame::environment);
  }
  result.vectors = seen;
  result.mismatches = bad;
  if (const size_t first = text.find("FIRST "); first != text.npos) {
    result.first = text.substr(first + 6, text.find('\n', first) - first - 6);
  }
  return result;
}

}  // namespace napier
