#include "hw/equivalence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "napier/error.hpp"

namespace napier {
namespace {

uint64_t mask(int bits) { return bits == 0 ? 0 : ~uint64_t{0} >> (64 - bits); }

// Codes at the edges of a format.
std::vector<uint64_t> edges(const Format& format) {
  if (!format.is_float()) return {};
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

// Codes of `bits` in one number, the first lowest.
std::string hexadecimal(std::span<const uint64_t> codes, int bits) {
  const size_t all = codes.size() * static_cast<size_t>(bits);
  std::string digits((all + 3) / 4, '0');
  for (size_t i = 0; i < all; ++i) {
    const uint64_t code = codes[i / static_cast<size_t>(bits)];
    if ((code >> (i % static_cast<size_t>(bits)) & 1) == 0) continue;
    char& digit = digits[digits.size() - 1 - i / 4];
    const int value = (digit <= '9' ? digit - '0' : digit - 'a' + 10) + (1 << i % 4);
    digit = "0123456789abcdef"[value];
  }
  return digits;
}

}  // namespace

void Stimulus::add(std::span<const uint64_t> x_codes, std::span<const uint64_t> w_codes,
                   uint64_t sum_code) {
  x.insert(x.end(), x_codes.begin(), x_codes.end());
  w.insert(w.end(), w_codes.begin(), w_codes.end());
  sum.push_back(sum_code);
}

std::string Stimulus::line(const HardwareUnit& unit, size_t i) const {
  return hexadecimal(x_of(i), unit.x_bits()) + " " + hexadecimal(w_of(i), unit.w_bits()) +
         fmt::format(" {:x}", sum[i]);
}

Stimulus make_vectors(const HardwareUnit& unit, int64_t count, uint64_t seed, bool& exhaustive) {
  std::mt19937_64 random(seed);
  Stimulus stimulus;
  const bool has_sum = unit.sum_bits() > 0;
  std::vector<uint64_t> sums;
  const bool is_fixed = !unit.is_integer() && unit.arithmetic().accumulator.is_exact();
  if (has_sum && !unit.is_integer() && !is_fixed) {
    sums = edges(unit.arithmetic().accumulator.cast.format);
  }
  // A sum that is anything, or at an edge, or near minus the product of the last vector: its own
  // product alone, from a sum of zero, with a few last bits changed.
  const auto sum_for = [&](auto x, auto w) -> uint64_t {
    if (!has_sum) return 0;
    const uint64_t kind = random() % 4;
    if (kind == 0 && !sums.empty()) return sums[random() % sums.size()];
    if (kind <= 1) return random() & mask(unit.sum_bits());
    const uint64_t product = unit.evaluate(x, w, 0);
    const uint64_t sign = uint64_t{1} << (unit.sum_bits() - 1);
    return (product ^ sign ^ (random() % 16) ^ (kind == 3 ? random() & 0xFFFF : 0)) &
           mask(unit.sum_bits());
  };
  stimulus.lanes = static_cast<size_t>(unit.lanes());
  exhaustive = unit.lanes() == 1 && unit.x_bits() + unit.w_bits() <= 16;
  if (exhaustive) {
    for (uint64_t x = 0; x <= mask(unit.x_bits()); ++x) {
      for (uint64_t w = 0; w <= mask(unit.w_bits()); ++w) {
        stimulus.add(x, w, sum_for(x, w));
      }
    }
    return stimulus;
  }
  if (unit.lanes() > 1) {
    std::vector<uint64_t> x_edges, w_edges;
    if (!unit.is_integer()) x_edges = edges(unit.arithmetic().x.cast.format);
    if (!unit.is_integer()) w_edges = edges(unit.arithmetic().w.cast.format);
    const auto draw = [&](std::vector<uint64_t>& codes, const std::vector<uint64_t>& at_edges,
                          int bits, uint64_t kind) {
      const uint64_t base = random();
      const uint64_t sign = uint64_t{1} << (bits - 1);
      const uint64_t few = (uint64_t{1} << std::max(1, bits - 3)) - 1;
      for (uint64_t& code : codes) {
        const uint64_t any = random();
        code = kind == 0 && !at_edges.empty() && any % 4 != 0 ? at_edges[random() % at_edges.size()]
               : kind <= 1                                    ? any
                                                              : (base ^ (any & (sign | few)));
        code &= mask(bits);
      }
    };
    std::vector<uint64_t> x(stimulus.lanes), w(stimulus.lanes);
    while (static_cast<int64_t>(stimulus.size()) < count) {
      const uint64_t kind = random() % 8;
      draw(x, x_edges, unit.x_bits(), kind);
      draw(w, w_edges, unit.w_bits(), kind);
      stimulus.add(x, w, sum_for(std::span<const uint64_t>(x), std::span<const uint64_t>(w)));
    }
    return stimulus;
  }
  if (unit.kind() == UnitKind::round) {
    // Anything, and 25 bits anywhere, which are ties, with a last bit more or less.
    while (static_cast<int64_t>(stimulus.size()) < count) {
      const uint64_t few = ((random() & 0x1FFFFFF) << random() % 40) + random() % 3 - 1;
      const uint64_t x = random() % 2 == 0 ? few : random();
      stimulus.add((random() % 2 == 0 ? x : -x) & mask(unit.x_bits()), 0, 0);
    }
    return stimulus;
  }
  if (unit.kind() == UnitKind::requantise) {
    // Numbers m 2^-e by which sums come near the range, within it, to ties, or beyond; then
    // anything.
    const int bits = unit.x_bits();
    while (static_cast<int64_t>(stimulus.size()) < count) {
      const uint64_t any = random() & mask(bits);
      const uint64_t ends[] = {0, 1, mask(bits), mask(bits - 1), mask(bits - 1) + 1};
      const uint64_t kind = random() % 8;
      const uint64_t few = any >> random() % static_cast<uint64_t>(bits);
      uint64_t sum = kind == 0 ? ends[random() % 5] : kind % 2 == 0 ? few : -few;
      uint64_t m = (uint64_t{1} << 30) + random() % ((uint64_t{1} << 30) + 1);
      if (kind <= 2) m = uint64_t{1} << (30 + random() % 2);  // with which there are ties
      const int length = static_cast<int>(std::bit_width(few)) + 31 - unit.out_bits();
      DyadicNumber number(1);
      number.m = m;
      number.e = length + static_cast<int>(random() % 8) - 3;
      const uint64_t w = kind == 7 ? random() : requantise_code(number, random());
      stimulus.add(sum & mask(bits), w & mask(unit.w_bits()), 0);
    }
    return stimulus;
  }
  if (unit.is_integer() && unit.kind() == UnitKind::convert) {
    // Halves of integers and their neighbours, beyond the range too; then any f32.
    for (const uint64_t x : edges(k_f32)) stimulus.add(x, 0, 0);
    while (static_cast<int64_t>(stimulus.size()) < count) {
      const auto twice = static_cast<int32_t>(random() & mask(unit.out_bits() + 2));
      const float half = 0.5f * static_cast<float>(twice - (2 << unit.out_bits()));
      const uint64_t near = std::bit_cast<uint32_t>(half) + random() % 3 - 1;
      stimulus.add((random() % 4 != 0 ? near : random()) & mask(32), random() & mask(unit.w_bits()),
                   0);
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
        stimulus.add(x, converts ? 0 : w, sum_for(x, w));
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
    stimulus.add(x, w, sum_for(x, w));
  }
  return stimulus;
}

Equivalence check_equivalence(const HardwareUnit& unit, const std::string& verilog,
                              const Stimulus& stimulus, const WorkFolder& folder, bool icarus) {
  need_tools({icarus ? "iverilog" : "verilator"});
  std::string vectors;
  for (size_t i = 0; i < stimulus.size(); ++i) {
    const uint64_t expected = unit.evaluate(stimulus.x_of(i), stimulus.w_of(i), stimulus.sum[i]);
    vectors += stimulus.line(unit, i) + fmt::format(" {:x}\n", expected);
  }
  write_whole(folder.path("vectors.txt"), vectors);
  write_whole(folder.path("dut.v"), verilog);
  const bool has_sum = unit.sum_bits() > 0;
  // A pipeline is given an operation every cycle: what comes out belongs to an earlier one.
  // Verilator 5.006 does not see what $fscanf changes: hence the copies.
  write_whole(
      folder.path("check.v"),
      fmt::format(
          "`timescale 1ns/1ps\nmodule check;\n"
          "  integer file, found, applied, seen, cycle, bad;\n  reg clock;\n"
          "  reg [{1}:0] x, read_x;\n  reg [{2}:0] w, read_w;\n"
          "  reg [63:0] s, read_s, expected;\n  reg [63:0] history [0:15];\n"
          "  wire [{0}:0] out;\n  wire [63:0] due = history[seen % 16];\n"
          "  unit dut ({4}.x(x), .w(w), {3}.out(out));\n"
          "  initial begin\n    file = $fopen(\"vectors.txt\", \"r\");\n    bad = 0;\n"
          "    seen = 0;\n    applied = 0;\n    cycle = 0;\n    clock = 0;\n"
          "    found = $fscanf(file, \"%h %h %h %h\", read_x, read_w, read_s, expected);\n"
          "    while (found == 4 || seen < applied) begin\n"
          "      if (found == 4) begin\n        x = read_x;\n        w = read_w;\n"
          "        s = read_s;\n        history[applied % 16] = expected;\n"
          "        applied = applied + 1;\n      end\n"
          "      #50;\n      clock = 1;\n      #50;\n      clock = 0;\n"
          "      cycle = cycle + 1;\n      if (cycle > {5}) begin\n"
          "        if (out !== due[{0}:0]) begin\n          bad = bad + 1;\n"
          "          if (bad == 1) $display(\"FIRST %0d gives %h, not %h\", seen, out, due);\n"
          "        end\n        seen = seen + 1;\n      end\n"
          "      if (found == 4)\n"
          "        found = $fscanf(file, \"%h %h %h %h\", read_x, read_w, read_s, expected);\n"
          "    end\n"
          "    $display(\"SEEN %0d BAD %0d\", seen, bad);\n    $finish;\n  end\nendmodule\n",
          unit.out_bits() - 1, unit.lanes() * unit.x_bits() - 1, unit.lanes() * unit.w_bits() - 1,
          has_sum ? fmt::format(".sum(s[{}:0]), ", unit.sum_bits() - 1) : "",
          unit.latency() > 0 ? ".clock(clock), " : "", std::max(0, unit.latency() - 1)));
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
    char* end = nullptr;
    const size_t at_fault = std::strtoull(text.c_str() + first + 6, &end, 10);
    const std::string_view rest(end);
    result.first = "x, w, sum = " + stimulus.line(unit, std::min(at_fault, stimulus.size() - 1)) +
                   std::string(rest.substr(0, rest.find('\n')));
  }
  return result;
}

}  // namespace napier
