// The Verilog against the C++ arithmetic, by simulation.
#include "hw/equivalence.hpp"

#include <fmt/format.h>

#include <cmath>
#include <random>
#include <string>

#include "napier/error.hpp"
#include "napier/gemm.hpp"
#include "napier/plan.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

struct Case {
  const char* arithmetic;
  UnitKind kind;
};

constexpr UnitKind k_every_kind[] = {UnitKind::raw, UnitKind::same, UnitKind::wide, UnitKind::step};

// A million vectors are Verilator's, which compiles first.
bool has_simulator() { return has_tool(test::full_tier() ? "verilator" : "iverilog"); }

// Every nth operation: enough to see that something is wrong.
Stimulus every(size_t n, const Stimulus& whole) {
  Stimulus part;
  part.lanes = whole.lanes;
  for (size_t i = 0; i < whole.size(); i += n) part.add(whole.x_of(i), whole.w_of(i), whole.sum[i]);
  return part;
}

void check(const std::string& arithmetic, UnitKind kind, int64_t count, bool icarus,
           Timing timing = Timing::combinational) {
  const HardwareUnit unit = make_unit(arithmetic, kind, timing);
  const WorkFolder folder;
  bool exhaustive = false;
  Stimulus stimulus = make_vectors(unit, count, test::seed(), exhaustive);
  EXPECT_EQ(exhaustive, unit.lanes() == 1 && unit.x_bits() + unit.w_bits() <= 16);
  // Of a pipeline, whose stages every pair has gone through where there are no registers.
  if (timing == Timing::pipelined && static_cast<int64_t>(stimulus.size()) > count) {
    stimulus = every(stimulus.size() / static_cast<size_t>(count), stimulus);
    exhaustive = false;
  }
  const Equivalence found = check_equivalence(unit, unit.verilog(), stimulus, folder, icarus);
  EXPECT_EQ(found.mismatches, 0) << unit.name() << ": " << found.first;
  if (exhaustive) {
    EXPECT_EQ(found.vectors, int64_t{1} << (unit.x_bits() + unit.w_bits()));
  } else {
    EXPECT_GE(found.vectors, count);  // all edges with each other, if they are more
  }
}

TEST(Equivalence, EveryPairOfEightBitCodes) {
  if (!has_tool("iverilog")) GTEST_SKIP() << "SKIPPED: needs iverilog";
  if (!test::full_tier()) {
    check("fp8_e4m3", UnitKind::same, 0, true);
    check("lmul-e4m3", UnitKind::step, 0, true);
    check("lmul-e5m2", UnitKind::raw, 0, true);
    check("x=e4m3fn/w=e2m1fn", UnitKind::wide, 0, true);
    check("int8", UnitKind::step, 0, true);
    return;
  }
  for (const char* arithmetic :
       {"fp8_e4m3", "fp8_e5m2", "lmul-e4m3", "lmul-e5m2", "x=e4m3fn/w=e2m1fn", "int8"}) {
    for (const UnitKind kind : k_every_kind) {
      const bool is_lmul = std::string(arithmetic).starts_with("lmul");
      if (kind == UnitKind::raw && !is_lmul) continue;
      if (kind == UnitKind::same && std::string(arithmetic) == "int8") continue;
      check(arithmetic, kind, 0, true);
    }
  }
}

TEST(Equivalence, WiderFormatsAndEveryAccumulator) {
  if (!has_simulator()) GTEST_SKIP() << "SKIPPED: needs iverilog, or verilator for the long tier";
  const int64_t count = test::full_tier() ? 1000000 : 600;
  for (const Case& c : {Case{"bf16", UnitKind::same},
                        Case{"bf16", UnitKind::step},
                        Case{"f16", UnitKind::step},
                        Case{"f32", UnitKind::step},
                        Case{"f32", UnitKind::wide},
                        Case{"f32", UnitKind::same},
                        Case{"lmul-m4", UnitKind::step},
                        Case{"lmul-m4", UnitKind::same},
                        Case{"lmul-m3", UnitKind::wide},
                        Case{"lmul-m7", UnitKind::raw},
                        Case{"lmul-f16", UnitKind::same},
                        Case{"lmul-formula-m4", UnitKind::step},
                        Case{"mitchell", UnitKind::step},
                        Case{"lmul-m4/acc=bf16", UnitKind::step},
                        Case{"fp8_e4m3/acc=f16", UnitKind::step},
                        Case{"lmul-e5m2/acc=e5m2", UnitKind::step},
                        Case{"x=e4m3fnuz/w=e5m2fnuz/acc=bf16:rtz", UnitKind::step},
                        Case{"x=e5m6:rtz:ftz/w=e5m6:literal/mul=lmul(k=3)", UnitKind::step},
                        Case{"x=f32/w=f32/mul=lmul", UnitKind::raw},
                        Case{"x=f32/w=f32/mul=lmul", UnitKind::same},
                        Case{"int16", UnitKind::wide},
                        Case{"uint8*int8", UnitKind::wide},
                        Case{"int4*uint8", UnitKind::step},
                        Case{"int16s", UnitKind::step},
                        Case{"x=bf16/w=bitmod4@row", UnitKind::wide},
                        Case{"x=bf16/w=pow4a65@row", UnitKind::step},
                        Case{"x=bf16/w=ternary@row", UnitKind::step},
                        Case{"x=bf16/w=bitmod4@row/mul=lmul", UnitKind::wide},
                        Case{"x=bf16/w=binary@row/mul=lmul(reading=formula)", UnitKind::wide},
                        Case{"x=int4@row/w=int4s@row/mul=lmul", UnitKind::step},
                        Case{"x=uint8@row(f32,minmax)/w=int8@row/mul=lmul", UnitKind::wide},
                        Case{"x=e3m0none/w=e3m0none/mul=lmul", UnitKind::wide},
                        Case{"x=e3m0none/w=e1m2none", UnitKind::step},
                        Case{"x=e3m0none/w=e3m0none", UnitKind::wide},
                        Case{"f32", UnitKind::add},
                        Case{"acc=bf16", UnitKind::add},
                        Case{"fp8_e4m3", UnitKind::convert},
                        Case{"fp8_e5m2-rtz", UnitKind::convert},
                        Case{"lmul-m4", UnitKind::convert},
                        Case{"f16", UnitKind::convert},
                        Case{"int8", UnitKind::convert},
                        Case{"uint8", UnitKind::convert},
                        Case{"int4s", UnitKind::convert},
                        Case{"int3", UnitKind::convert},
                        Case{"int8", UnitKind::requantise},
                        Case{"uint8", UnitKind::requantise}}) {
    check(c.arithmetic, c.kind, count, !test::full_tier());
  }
}

// What the kernel makes of dyadic sums is what the circuit makes of the same sums, of ratios too
// for which e does not fit the circuit's six bits.
TEST(Unit, RequantisesAsTheTreatmentDoes) {
  constexpr int64_t k = 7;
  std::mt19937_64 random(test::seed());
  for (const char* format : {"int8", "uint8", "int4s"}) {
    const HardwareUnit unit = make_unit(format, UnitKind::requantise);
    const bool is_signed = unit.arithmetic().x.cast.format.is_signed;
    for (int i = 0; i < 400; ++i) {
      const int power = i < 300 ? -4 - static_cast<int>(random() % 12) : i % 2 == 0 ? -60 : 40;
      const float x_scale = std::ldexp(1 + static_cast<float>(random() % 997) / 997, power);
      const float w_scale = 0.5f + static_cast<float>(random() % 997) / 997;
      const uint64_t zero = is_signed ? 0 : random() % 256;
      std::vector<float> x(k), w(k);
      int64_t sum = 0;
      for (size_t c = 0; c < k; ++c) {
        const int a = static_cast<int>(random() % 255) - 127;
        const int b = static_cast<int>(random() % 255) - 127;
        x[c] = static_cast<float>(a) * x_scale;
        w[c] = static_cast<float>(b) * w_scale;
        sum += a * b;
      }
      const std::string given = "int8@tensor(f32,given=";
      const Plan plan = parse_plan(fmt::format(
          "* -> x={0}{1})/w={0}{2})/acc=int32 with dyadic({3}@tensor(f32,given=0.5{4}))", given,
          x_scale, w_scale, format, is_signed ? "" : fmt::format(":{}", zero)));
      ThreadPool pool(1);
      float found = 0;
      pack_weights(
          plan.rules[0].arithmetic, plan.rules[0].treatments, 1, k,
          [&](int64_t, float* to) { std::copy(w.begin(), w.end(), to); }, pool)
          ->multiply(
              1, [&](int64_t, float* to) { std::copy(x.begin(), x.end(), to); }, &found, 1, pool);
      const uint64_t code =
          unit.evaluate(static_cast<uint32_t>(sum),
                        requantise_code(DyadicNumber::of_scales(x_scale, w_scale, 0.5f), zero), 0);
      const double number = to_double(unit.arithmetic().x.cast.format.decode(code));
      ASSERT_EQ(double{found}, 0.5 * (number - static_cast<double>(zero))) << sum << " " << format;
    }
  }
}

// A bit-serial unit's: every code of every list in powers of two whose sum is the list's number.
TEST(Equivalence, TermsOfWeights) {
  for (const char* arithmetic : {"bitmod3", "bitmod4"}) {
    const HardwareUnit unit = make_unit(arithmetic, UnitKind::terms);
    const auto lists = unit.arithmetic().w.cast.format.codebook->alternatives();
    ASSERT_EQ(lists.size(), 4U);
    const Format term = parse_format("e3m0none");
    ASSERT_EQ(unit.out_bits(), 2 * term.bits()) << "two terms, as BitMoD's paper has it";
    for (uint64_t list = 0; list < lists.size(); ++list) {
      for (uint64_t code = 0; code < uint64_t{1} << unit.w_bits(); ++code) {
        const uint64_t terms = unit.evaluate(list, code, 0);
        const double sum = to_double(term.decode(terms & 0xF)) + to_double(term.decode(terms >> 4));
        EXPECT_EQ(sum, to_double(lists[list]->decode(code))) << lists[list]->name() << " " << code;
      }
    }
    if (has_tool("iverilog")) check(arithmetic, UnitKind::terms, 0, true);
  }
}

// Sums of many products, aligned as tensor cores do; integers; sums in fixed point; weights that
// are powers of two, the terms of bit-serial units.
constexpr Case k_sums[] = {{"fp8_e4m3/acc=f32(align=16,extra=2)", UnitKind::dot},
                           {"lmul-e4m3/acc=f32(align=16,extra=2)", UnitKind::dot},
                           {"bf16/acc=e8m13:rtz(align=8)", UnitKind::dot},
                           {"lmul-m4/acc=f16:sat(align=5,extra=3)", UnitKind::dot},
                           {"f16/acc=f32(align=4,extra=24)", UnitKind::dot},
                           {"x=f16/w=e3m0none/acc=f32(align=4,extra=3)", UnitKind::dot},
                           {"int8", UnitKind::dot},
                           {"fp8_e4m3/acc=exact", UnitKind::dot},
                           {"lmul-e4m3/acc=exact", UnitKind::dot},
                           {"fp8_e4m3/acc=exact", UnitKind::round},
                           {"x=e5m2/w=e2m1fn/acc=exact", UnitKind::round},
                           {"fp8_e4m3/acc=exact", UnitKind::step},
                           {"lmul-e4m3/acc=exact", UnitKind::step},
                           {"x=e5m2/w=e2m1fn/acc=exact", UnitKind::step},
                           {"x=f16/w=e3m0none", UnitKind::step}};

TEST(Equivalence, SumsAlignedAndInFixedPoint) {
  if (!has_simulator()) GTEST_SKIP() << "SKIPPED: needs iverilog, or verilator for the long tier";
  for (const Case& c : k_sums) {
    check(c.arithmetic, c.kind, test::full_tier() ? 1000000 : 600, !test::full_tier());
  }
}

// An operation goes in at every cycle, so that a register too many or too few mixes operations up.
TEST(Equivalence, Pipelines) {
  if (!has_simulator()) GTEST_SKIP() << "SKIPPED: needs iverilog, or verilator for the long tier";
  const int64_t count = test::full_tier() ? 1000000 : 300;
  const bool icarus = !test::full_tier();
  for (const Case& c : k_sums) check(c.arithmetic, c.kind, count, icarus, Timing::pipelined);
  for (const UnitKind kind : {UnitKind::raw, UnitKind::same, UnitKind::wide, UnitKind::step,
                              UnitKind::add, UnitKind::convert}) {
    check("lmul-m7", kind, count, icarus, Timing::pipelined);
  }
}

TEST(Equivalence, VerilatorSaysTheSame) {
  if (!has_tool("verilator")) GTEST_SKIP() << "SKIPPED: needs verilator";
  if (!test::full_tier()) {
    check("fp8_e4m3/acc=f32(align=16,extra=2)", UnitKind::dot, 50000, false, Timing::pipelined);
    return;
  }
  for (const char* arithmetic : {"bf16", "f16", "lmul-m7", "lmul-f16", "mitchell", "f32"}) {
    for (const UnitKind kind : {UnitKind::same, UnitKind::wide, UnitKind::step}) {
      check(arithmetic, kind, 1000000, false);
    }
  }
}

struct Mutation {
  const char* arithmetic;
  UnitKind kind;
  const char* from;
  const char* to;
};

// Each change of the RTL is a plausible slip; a checker that lets one pass checks nothing.
TEST(Equivalence, FindsMutations) {
  if (!has_tool("iverilog")) GTEST_SKIP() << "SKIPPED: needs iverilog";
  constexpr UnitKind step = UnitKind::step;
  const char* const sums = "lmul-f16/acc=f16";
  const char* const dots = "lmul-e4m3/acc=f16(align=4,extra=1)";
  const Mutation mutations[] = {
      {sums, step, "half && (rest || base[0])", "half && rest"},
      {sums, step, "half && (rest || base[0])", "half"},
      {sums, step, "(|shifted[D-2:0]) | lost", "1'b0"},
      {sums, step, "low ? 1 - BIAS", "low ? -BIAS"},
      {sums, step, "sum == 0 ? a_sign && b_sign", "sum == 0 ? a_sign || b_sign"},
      {sums, step, "aligned[0] | lost", "aligned[0]"},
      {sums, step, "far = distance > Q + 3", "far = distance > 2"},
      {sums, step, "x_sign ^ w_sign", "x_sign"},
      {sums, step, "(x_infinite & w_zero)", "1'b0"},
      {sums, step, "OFFSET = L == 0 ? 0 : 1 << (P - L)", "OFFSET = 0"},
      {sums, step, "is_small ? 1 : exponent + BIAS", "exponent + BIAS"},
      {sums, step, "+ 1 - $signed({1'b0, count})", "- $signed({1'b0, count})"},
      {sums, step, "a_is_infinite && b_is_infinite && subtract", "1'b0"},
      {"bf16", UnitKind::same, "SATURATE ||", ""},
      {dots, UnitKind::dot, "assign heap[i*W +: W] = a > b ? a : b", "assign heap[i*W +: W] = a"},
      {dots, UnitKind::dot, "is_zero[i] ? LEAST : exponent", "exponent"},
      {dots, UnitKind::dot, "is_zero[i] || distance > F", "distance > F"},
      {dots, UnitKind::dot, "sign[i] ? -{1'b0, magnitude}", "sign[i] ? ~{1'b0, magnitude}"},
      {dots, UnitKind::dot, "total < 0 ? -total : total", "total"},
      {"lmul-e5m2/acc=f16(align=4)", UnitKind::dot, "is_negative && |(is_infinite & ~sign)",
       "1'b0"},
      {dots, UnitKind::dot, "total_infinite ? infinite_sign : finite_sign", "finite_sign"},
      {"fp8_e4m3/acc=exact", step, "sign ? sum - magnitude", "sign ? sum + magnitude"},
      {"fp8_e4m3/acc=exact", UnitKind::dot, "i < L; i = i + 1) begin",
       "i < L - 1; i = i + 1) begin"},
      {"fp8_e4m3/acc=exact", UnitKind::round, "total < 0 ? -total : total", "total"},
      {"int8", UnitKind::convert, "half && (rest || shifted[P+1])", "half"},
      {"int8", UnitKind::convert, "(1 << (N - 1)) - !sign", "(1 << (N - 1)) - 1"},
      {"int8", UnitKind::convert, "exponent > N - 1", "exponent > N"},
      {"int4s", UnitKind::convert, "(SYMMETRIC & sign)", "0"},
      {"uint8", UnitKind::convert, "sum < 0 ? 0 :", ""},
      {"uint8", UnitKind::convert, "sum[N] ?", "0 ?"},
      {"uint8*int8", UnitKind::wide, "XU ? {1'b0, x} : x", "XU ? {x[NX-1], x} : x"},
      {"int4*uint8", UnitKind::step, "WU ? {1'b0, w} : w", "WU ? {w[NW-1], w} : w"},
      {"int8", UnitKind::convert, "|| rounded > limit", ""},
      {"int8", UnitKind::requantise, "(|(product & below)) || scaled[1]", "|(product & below)"},
      {"int8", UnitKind::requantise, "$signed({1'b0, factor})", "$signed(factor)"},
      {"int8", UnitKind::requantise, "beyond ?", "1'b0 ?"},
      {"int8", UnitKind::requantise, "rounded > most ? most :", ""},
      {"int4s", UnitKind::requantise, "SYMMETRIC - (1 << (N - 1))", "-(1 << (N - 1))"},
      {"x=int8@row/w=int8@row/mul=lmul", UnitKind::wide, "sign ? -code : code", "code"},
      {"fp8_e4m3/acc=exact", step, "is_zero || is_infinite || is_nan ? 0", "0 ? 0"},
  };
  for (const Mutation& mutation : mutations) {
    const HardwareUnit unit = make_unit(mutation.arithmetic, mutation.kind);
    bool exhaustive = false;
    Stimulus stimulus = make_vectors(unit, 2500, test::seed(), exhaustive);
    if (exhaustive) stimulus = every(16, stimulus);
    std::string verilog = unit.verilog();
    const size_t at = verilog.find(mutation.from);
    ASSERT_NE(at, verilog.npos) << mutation.from;
    verilog.replace(at, std::string_view(mutation.from).size(), mutation.to);
    const WorkFolder folder;
    EXPECT_GT(check_equivalence(unit, verilog, stimulus, folder, true).mismatches, 0)
        << mutation.from << " -> " << mutation.to;
  }
}

TEST(Unit, RefusesWhatItDoesNotMake) {
  for (const char* text : {"x=e8m0u", "x=e0m7", "x=e4m3/acc=f32(chunk=8)", "x=e4m3/acc=f32:sr"}) {
    EXPECT_THROW(make_unit(text, UnitKind::step), Error) << text;
  }
  EXPECT_THROW(make_unit("bf16", UnitKind::raw), Error);
  EXPECT_THROW(make_unit("lmul-m4/mul=lmul(k=2)", UnitKind::raw), Error);
  EXPECT_THROW(make_unit("int8", UnitKind::same), Error);
  EXPECT_THROW(make_unit("int40", UnitKind::step), Error);
  EXPECT_THROW(make_unit("uint8", UnitKind::wide), Error);  // times itself
  EXPECT_THROW(make_unit("uint8*bf16", UnitKind::wide), Error);
  EXPECT_THROW(make_unit("x=int8/w=int8", UnitKind::wide), Error);  // int8 it is
  EXPECT_THROW(make_unit("x=int8/w=int8/mul=lmul", UnitKind::raw), Error);
  EXPECT_THROW(make_unit("x=int8/w=bf16", UnitKind::convert), Error);
  EXPECT_THROW(make_unit("bf16", UnitKind::requantise), Error);
  EXPECT_THROW(make_unit("x=e4m3/w=nf4@row/acc=exact", UnitKind::step), Error);
  EXPECT_THROW(make_unit("bf16", UnitKind::dot), Error);
  EXPECT_THROW(make_unit("bf16/acc=exact", UnitKind::step), Error);  // 500 bits
  EXPECT_THROW(make_unit("bf16/acc=exact", UnitKind::round), Error);
  EXPECT_THROW(make_unit("bf16", UnitKind::round), Error);
  EXPECT_THROW(make_unit("int8", UnitKind::round), Error);
  EXPECT_THROW(make_unit("int8", UnitKind::terms), Error);
  EXPECT_THROW(make_unit("bf16", UnitKind::terms), Error);
  EXPECT_THROW(make_unit("nf4", UnitKind::terms), Error);
  EXPECT_THROW(make_unit("bf16/acc=f32(align=100)", UnitKind::dot), Error);
  EXPECT_THROW(parse_unit_kind("fast"), Error);
}

}  // namespace
}  // namespace napier
