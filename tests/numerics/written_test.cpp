// The written forms: what is accepted, what it means, what it prints as, and what is said of the
// rest.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "napier/error.hpp"
#include "random_written.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

int repetitions() { return test::full_tier() ? 2'000'000 : 20'000; }

TEST(Written, RandomFormatsRoundTrip) {
  test::RandomWritten random(test::seed());
  for (int i = 0; i < repetitions(); ++i) {
    const Format format = random.format(64);
    const std::string name = format_name(format);
    ASSERT_EQ(parse_format(name), format) << name;
    ASSERT_EQ(format_name(parse_format(name)), name);
  }
}

// Shapes whose short spelling is another format's name.
TEST(Written, NamesNeverMeanAnotherFormat) {
  for (const NamedFormat& named : named_formats()) {
    EXPECT_EQ(parse_format(named.name), named.format);
    EXPECT_EQ(format_name(named.format), named.name);
    if (!named.format.is_float()) continue;
    for (const Specials specials :
         {Specials::ieee, Specials::fn, Specials::fnuz, Specials::none, Specials::p3109}) {
      for (const bool subnormals : {true, false}) {
        for (const bool is_signed : {true, false}) {
          for (const int bias : {int{named.format.bias}, 0, -1, 1, 7, 8, 11, 127}) {
            Format f = named.format;
            f.specials = specials;
            f.has_subnormals = subnormals;
            f.is_signed = is_signed;
            f.bias = static_cast<int16_t>(bias);
            if ((!is_signed && specials == Specials::fnuz) || named.format.bits() > 32) continue;
            EXPECT_EQ(parse_format(format_name(f)), f) << format_name(f);
          }
        }
      }
    }
  }
  EXPECT_EQ(format_name(parse_format("e2m1ieee")), "e2m1ieee");
  EXPECT_EQ(format_name(parse_format("e4m3b11ieee")), "e4m3b11ieee");
  EXPECT_EQ(format_name(parse_format("e8m0b127fnu")), "e8m0b127fnu");
}

TEST(Written, EveryShapeRoundTrips) {
  int shapes = 0;
  for (int e = 0; e <= 11; ++e) {
    for (int m = 0; m <= 23; ++m) {
      for (const char* tail : {"", "ieee", "fn", "fnnan", "fnuz", "none", "nosub", "u", "fnu",
                               "nonenosub", "nosubu", "b3", "b-2fn"}) {
        const std::string text = "e" + std::to_string(e) + "m" + std::to_string(m) + tail;
        Format format;
        try {
          format = parse_format(text);
        } catch (const ParseError&) {
          // No number, no room for the specials, nothing to be without, or too wide.
          EXPECT_TRUE(e + m <= 2 || e == 0 || e + m > 31) << text;
          continue;
        }
        ++shapes;
        EXPECT_EQ(parse_format(format_name(format)), format) << text;
        EXPECT_LE(format.bits(), 32);
      }
    }
  }
  EXPECT_GT(shapes, 2000);
}

TEST(Written, RandomArithmeticsRoundTrip) {
  test::RandomWritten random(test::seed());
  for (int i = 0; i < repetitions(); ++i) {
    const Arithmetic arithmetic = random.arithmetic();
    const std::string text = to_string(arithmetic);
    ASSERT_EQ(parse_arithmetic(text), arithmetic) << text;
    ASSERT_EQ(to_string(parse_arithmetic(text)), text);
    const std::string name = display_name(arithmetic);
    ASSERT_EQ(parse_arithmetic(name), arithmetic) << name;
    ASSERT_EQ(parse_arithmetic(" " + text + "\t"), arithmetic);
  }
}

TEST(Written, RandomPlansRoundTrip) {
  test::RandomWritten random(test::seed());
  for (int i = 0; i < repetitions() / 4; ++i) {
    const Plan plan = random.plan();
    const std::string text = to_string(plan);
    ASSERT_EQ(parse_plan(text), plan) << text;
    ASSERT_EQ(to_string(parse_plan(text)), text);
  }
}

TEST(Written, RandomListsSplit) {
  test::RandomWritten random(test::seed());
  for (int i = 0; i < repetitions() / 20; ++i) {
    std::vector<Arithmetic> list;
    std::string text;
    for (uint64_t n = 1 + random.below(5); n > 0; --n) {
      list.push_back(random.arithmetic());
      text += (text.empty() ? "" : random.below(2) ? "," : " , ") + to_string(list.back());
    }
    ASSERT_EQ(parse_arithmetic_list(text), list) << text;
    ASSERT_EQ(split_list(text).size(), list.size());
  }
}

TEST(Presets, HoldThoseOfTheFoundation) {
  std::set<std::string_view> names;
  for (const Preset& preset : presets()) {
    EXPECT_TRUE(names.insert(preset.name).second) << "twice: " << preset.name;
  }
  for (const char* name : {"f32", "bf16", "f16", "fp8_e4m3", "fp8_e5m2", "lmul-m2", "lmul-m3",
                           "lmul-m4", "lmul-m5", "lmul-m6", "lmul-m7", "lmul-f16", "lmul-e4m3",
                           "lmul-e5m2", "lmul-formula-m4", "mitchell"}) {
    EXPECT_TRUE(names.count(name)) << name;
  }
}

TEST(Presets, AreTheirWrittenFormAndTakeARounding) {
  for (const Preset& preset : presets()) {
    const Arithmetic arithmetic = parse_arithmetic(preset.name);
    EXPECT_EQ(arithmetic, parse_arithmetic(preset.written)) << preset.name;
    EXPECT_EQ(parse_arithmetic(to_string(arithmetic)), arithmetic) << preset.name;
    EXPECT_EQ(display_name(arithmetic), preset.name);
    EXPECT_FALSE(preset.summary.empty());
    for (const RoundingName& rounding : k_rounding_names) {
      const std::string name = std::string(preset.name) + "-" + std::string(rounding.name);
      const Arithmetic rounded = parse_arithmetic(name);
      Arithmetic expected = arithmetic;
      expected.x.cast.rounding = expected.w.cast.rounding = rounding.rounding;
      EXPECT_EQ(rounded, expected) << name;
      EXPECT_EQ(display_name(rounded), rounded == arithmetic ? preset.name : name);
    }
  }
  EXPECT_EQ(display_name(parse_arithmetic("lmul-m4-sr(7)")), "lmul-m4-sr(7)");
  EXPECT_EQ(display_name(parse_arithmetic("lmul-m4/acc=bf16")),
            "x=e8m4:rtz/w=e8m4:rtz/mul=lmul/acc=bf16");
}

// The paper truncates; fp8 is unscaled, saturating, to nearest even.
TEST(Presets, HaveTheirRoundings) {
  for (const char* name : {"lmul-m2", "lmul-m4", "lmul-m7", "lmul-f16", "lmul-e4m3", "mitchell"}) {
    EXPECT_EQ(parse_arithmetic(name).x.cast.rounding, Rounding::toward_zero) << name;
    EXPECT_EQ(parse_arithmetic(name).w.cast.rounding, Rounding::toward_zero) << name;
  }
  for (const char* name : {"fp8_e4m3", "fp8_e5m2", "lmul-m4-rne"}) {
    const Operand x = parse_arithmetic(name).x;
    EXPECT_EQ(x.cast.rounding, Rounding::nearest_even) << name;
    EXPECT_EQ(x.cast.overflow, Overflow::saturate) << name;
    EXPECT_TRUE(x.scaling.empty()) << name;
  }
}

struct Reading {
  const char* text;
  const char* canonical;
};

// The examples of the documents, spellings that mean the same, defaults left out.
TEST(Written, Examples) {
  for (const Reading& r : std::vector<Reading>{
           {"x=e8m4:rtz/w=e8m4:rtz/mul=lmul/acc=f32", "x=e8m4:rtz/w=e8m4:rtz/mul=lmul/acc=f32"},
           {"lmul-m4", "x=e8m4:rtz/w=e8m4:rtz/mul=lmul/acc=f32"},
           {"x=e4m3@row/w=e2m1@block16(e4m3)@tensor(f32)",
            "x=e4m3fn@row/w=e2m1fn@block16(e4m3fn)@tensor/mul=exact/acc=f32"},
           {"mul=lmul(reading=formula,l=3):e4m3:sat",
            "x=f32/w=f32/mul=lmul(reading=formula,l=3):e4m3fn/acc=f32"},
           {"mul=lmul(l=3,reading=adder)", "x=f32/w=f32/mul=lmul(l=3)/acc=f32"},
           {"lmul-m4-rne/acc=bf16", "x=e8m4/w=e8m4/mul=lmul/acc=bf16"},
           {"lmul-m4/mul=exact", "x=e8m4:rtz/w=e8m4:rtz/mul=exact/acc=f32"},
           {"acc=f16:rtz(chunk=16)", "x=f32/w=f32/mul=exact/acc=f16:rtz(chunk=16)"},
           {"acc=f16(chunk=16,outer=f32)", "x=f32/w=f32/mul=exact/acc=f16(chunk=16,outer=f32)"},
           {"acc=f16(chunk=16,outer=f16)", "x=f32/w=f32/mul=exact/acc=f16(chunk=16)"},
           {"acc=f32:inf", "x=f32/w=f32/mul=exact/acc=f32"},
           {"acc=f32:sat", "x=f32/w=f32/mul=exact/acc=f32:sat"},
           {"acc=f16:sat", "x=f32/w=f32/mul=exact/acc=f16"},
           {"acc=f16:sr(chunk=4)", "x=f32/w=f32/mul=exact/acc=f16:sr(chunk=4)"},
           {"acc=f16:sr(9)(chunk=4)", "x=f32/w=f32/mul=exact/acc=f16:sr(9)(chunk=4)"},
           {"x=f16:sr(0)", "x=f16:sr/w=f32/mul=exact/acc=f32"},
           {"x=f16:inf:sr(12):ftz", "x=f16:sr(12):inf:ftz/w=f32/mul=exact/acc=f32"},
           {"w=e5m2:literal@block32(e8m0,ocp)",
            "x=f32/w=e5m2:literal@block32(e8m0)/mul=exact/acc=f32"},
           {"w=e4m3@column(e8m0)@tensor(f32)",
            "x=f32/w=e4m3fn@column(e8m0)@tensor/mul=exact/acc=f32"},
           {"w=fp32/x=bfloat16", "x=bf16/w=f32/mul=exact/acc=f32"},
           {"x=e4m3b-2", "x=e4m3b-2/w=f32/mul=exact/acc=f32"},
           {"x=e4m3b7ieee", "x=e4m3ieee/w=f32/mul=exact/acc=f32"},
           {"x=e5m10/w=e8m23", "x=f16/w=f32/mul=exact/acc=f32"},
           {"x=e2m1fnnan/w=e0m7", "x=e2m1fnnan/w=e0m7/mul=exact/acc=f32"},
       }) {
    EXPECT_EQ(to_string(parse_arithmetic(r.text)), r.canonical) << r.text;
    EXPECT_EQ(parse_arithmetic(r.text), parse_arithmetic(r.canonical)) << r.text;
  }
  const Plan plan = parse_plan("kq*->lmul-m4; blk.0.*->f32; *->bf16");
  ASSERT_EQ(plan.rules.size(), 3u);
  EXPECT_EQ(plan.rules[0], (Rule{"kq*", parse_arithmetic("lmul-m4")}));
  EXPECT_EQ(plan.match("kq-0"), 0u);
  EXPECT_EQ(plan.match("kqv-0"), 0u);
  EXPECT_EQ(plan.match("blk.0.attn_q.weight"), 1u);
  EXPECT_EQ(plan.match("blk.10.attn_q.weight"), 2u);
  EXPECT_EQ(parse_plan("* -> f32; ").rules.size(), 1u);
}

struct Wrong {
  const char* text;
  int position;      // 1-based, as people count
  const char* says;  // a part of the sentence
};

template <class Parse>
void expect_errors(Parse parse, const std::vector<Wrong>& table) {
  for (const Wrong& wrong : table) {
    try {
      parse(wrong.text);
      ADD_FAILURE() << "'" << wrong.text << "' was taken";
    } catch (const ParseError& error) {
      const std::string sentence = error.what();
      EXPECT_EQ(error.offset() + 1, static_cast<size_t>(wrong.position)) << sentence;
      EXPECT_NE(sentence.find(wrong.says), std::string::npos) << sentence << "\n  " << wrong.says;
      EXPECT_EQ(sentence.rfind("'" + std::string(wrong.text) + "', position " +
                                   std::to_string(wrong.position) + ": ",
                               0),
                0u)
          << sentence;
      EXPECT_EQ(error.blame(), Blame::input);
    }
  }
}

TEST(Errors, OfFormats) {
  expect_errors(parse_format, {
                                  {"", 1, "unknown format ''"},
                                  {"e4m3fx", 1, "unknown format 'e4m3fx'"},
                                  {"bf17", 1, "did you mean 'bf16'?"},
                                  {"E4M3", 1, "unknown format"},
                                  {"e12m3", 2, "exponent bits must be 0 to 11"},
                                  {"e4m24", 4, "mantissa bits must be 0 to 23"},
                                  {"e4", 1, "unknown format"},
                                  {"em3", 1, "unknown format"},
                                  {"e4m3b", 1, "unknown format"},
                                  {"e4m3b4096", 6, "bias's magnitude must be 0 to 4095"},
                                  {"e99999999999m3", 2, "exponent bits must be 0 to 11"},
                                  {"e0m0", 1, "no positive number"},
                                  {"e1m0", 1, "no positive number"},
                                  {"e0m1fn", 1, "no positive number"},
                                  {"e0m4nosub", 1, "drop 'nosub'"},
                                  {"e0m4ieee", 1, "no exponent field"},
                                  {"e4m3fnuzu", 1, "no sign"},
                                  {"e11m23", 1, "more than 32 bits"},
                                  {"e4m3 ", 1, "unknown format"},
                              });
}

TEST(Errors, OfArithmetics) {
  expect_errors([](std::string_view t) { return parse_arithmetic(t); },
                {
                    {"", 1, "expected a preset or x=, w=, mul=, acc=, found the end"},
                    {"lmul-m44", 1, "did you mean 'lmul-m4'?"},
                    {"lmul-m4-rnx", 1, "unknown preset 'lmul-m4-rnx'"},
                    {"lmul-m4/", 9, "expected x=, w=, mul= or acc= after '/', found the end"},
                    {"lmul-m4/f32", 9, "expected x=, w=, mul= or acc= after '/', found 'f'"},
                    {"lmul-m4 f32", 8, "expected '/' and a field, or the end, found ' '"},
                    {"x=f32/x=f16", 7, "this field is given twice"},
                    {"x=", 3, "expected a format, found the end"},
                    {"x=/w=f32", 3, "expected a format, found '/'"},
                    {"x=e4m33", 6, "mantissa bits must be 0 to 23"},
                    {"x=f32/w=bf17", 9, "did you mean 'bf16'?"},
                    {"x=f64", 3, "f64 can only be an accumulator"},
                    {"x=e4m3:rnx", 8, "unknown setting 'rnx'"},
                    {"x=e4m3:rne:rtz", 11, "the rounding is given twice"},
                    {"x=e4m3:sat:inf", 11, "the overflow rule is given twice"},
                    {"x=e4m3:sr(x)", 11, "the seed of sr(seed) must be a whole number"},
                    {"x=e4m3:sr(4294967296)", 11, "must be a whole number from 0 to 4294967295"},
                    {"x=e4m3:sr(1", 12, "expected ')' after the seed, found the end"},
                    {"x=e4m3:rne(1)", 11, "found '('"},
                    {"x=e4m3@col", 8, "unknown granularity 'col'"},
                    {"x=e4m3@columm", 8, "did you mean 'column'?"},
                    {"x=e4m3@block8@column", 7, "block<n>, row, tensor, or column, tensor"},
                    {"x=e4m3@column@row", 7, "block<n>, row, tensor, or column, tensor"},
                    {"x=e4m3@row@column", 7, "block<n>, row, tensor, or column, tensor"},
                    {"x=e4m3@block", 13, "the block size must be a whole number from 1"},
                    {"x=e4m3@block0", 13, "not '0'"},
                    {"x=e4m3@block16x", 13, "not '16x'"},
                    {"x=e4m3@row(f33)", 12, "unknown format 'f33'"},
                    {"x=e4m3@row(f64)", 12, "at most 32 bits"},
                    {"x=e4m3@row(f32,best)", 16, "unknown scale method 'best'"},
                    {"x=e4m3@row(f32", 15, "expected ')' after the scale's format, found the end"},
                    {"x=e4m3@tensor@row", 7, "scales go from fine to coarse"},
                    {"x=e4m3@row@row", 7, "scales go from fine to coarse"},
                    {"mul=lmull", 5, "did you mean 'lmul'?"},
                    {"mul=", 5, "unknown multiplier ''"},
                    {"mul=lmul(q=3)", 10, "lmul has no setting 'q': expected reading, k or l"},
                    {"mul=exact(k=3)", 11, "exact has no setting 'k': it has none"},
                    {"mul=lmul(k=24)", 12, "k must be a whole number from 0 to 23, not '24'"},
                    {"mul=lmul(k=-1)", 12, "k must be a whole number from 0 to 23"},
                    {"mul=lmul(k=3,k=4)", 14, "'k' is given twice"},
                    {"mul=lmul(k3)", 10, "no setting 'k3'"},
                    {"mul=lmul(k)", 11, "expected '=' after 'k', found ')'"},
                    {"mul=lmul(reading=both)", 18, "reading must be adder or formula, not 'both'"},
                    {"mul=lmul(k=3", 13, "expected ')' after the settings of lmul, found the end"},
                    {"mul=lmul:", 10, "expected the product's format, found the end"},
                    {"mul=lmul:e4m3:ftz", 15, "unknown setting 'ftz'"},
                    {"acc=e8m0", 9, "a sum starts at zero"},
                    {"acc=f32:ftz", 9, "unknown setting 'ftz'"},
                    {"acc=f32(16)", 9, "expected chunk=n or align=n, found '1'"},
                    {"acc=f32(chunk=0)", 15, "chunk must be a whole number from 1"},
                    {"acc=f32(chunk=4,inner=f32)", 17, "'inner': expected chunk or outer"},
                    {"acc=f32(chunk=4,outer=e8m0)", 23, "starts at zero"},
                    {"acc=f32(chunk=4,outer=e5m99)", 26, "mantissa bits must be 0 to 23"},
                    {"acc=f32(chunk=4,outer=)", 23, "expected outer=format, found ')'"},
                    {"acc=f32(chunk=4,chunk=5)", 17, "'chunk' is given twice"},
                    {"acc=f32(chunck=4)", 9, "found 'c'; did you mean 'chunk'?"},
                    {"acc=f32(chunk)", 14, "expected '=' after 'chunk', found ')'"},
                    {"acc=f32(outer=f64)", 9, "expected chunk=n or align=n"},
                    {"acc=f32:sr(3)(4)", 15, "expected chunk=n or align=n"},
                    {"acc=f32(chunk=4", 16, "')' after the settings of chunk, found the end"},
                    {"x=\u00e94m3", 3, "expected a format, found '\u00e9'"},
                    {"x=e4m3\u4e2d", 7, "or the end, found '\u4e2d'"},
                    {"x=int33", 3, "int33 can only be an accumulator"},
                    {"  x=e4m3:rnx  ", 10, "unknown setting 'rnx'"},
                });
}

TEST(Errors, OfIntegersListsScalesAndSums) {
  struct Wrong {
    const char* text;
    const char* says;
  };
  for (const Wrong& wrong : {
           Wrong{"x=int1", "2 to 62 bits"},
           {"x=int8t", "int8s"},
           {"x=int63", "2 to 62 bits"},
           {"x=int40", "at most 32 bits"},
           {"x=pow4", "pow4a50"},
           {"x=pow9a50", "2 to 8 bits"},
           {"x=pow4a10", "25 to 100"},
           {"x=nf3", "did you mean 'nf4'"},
           {"x=int8:ftz", "no subnormals"},
           {"x=e4m3:wrap", "only integers wrap"},
           {"x=bitmod3", "needs a scale"},
           {"x=e4m3@row(f32,minmax)", "of integers"},
           {"x=int8@block4@row(f32,minmax)", "finest level"},
           {"x=int8:wrap@row(f32,minmax)", "saturate"},
           {"x=int8@row(f32,ocp)", "powers of two"},
           {"x=int8@row(f32,percentile)", "percentile=number"},
           {"x=int8@row(f32,percentile=101)", "up to 100"},
           {"x=int8@row(f32,given=-1)", "positive number"},
           {"x=int8@row(f32,given=nan)", "positive number"},
           {"x=int8@row(f32,given=1e-300)", "a scale of 1e-300 is out of the range of f32"},
           {"x=int8@row(e4m3,given=449)", "a scale of 449 is out of the range of e4m3fn"},
           {"x=int8@row(e4m3,given=0.0001)", "out of the range of e4m3fn"},
           {"x=int8@row(nf4)", "float or an integer"},
           {"x=int8@row(f32:sr)", "of a scale"},
           {"acc=nf4", "floats or integers"},
           {"acc=int32(align=4)", "aligned sums are floats"},
           {"acc=f32(align=4,chunk=2)", "align has no setting 'chunk'"},
           {"acc=f32(align=4,extra=99)", "0 to 24"},
           {"mul=exact:nf4", "floats or integers"},
           {"mul=table", "needs its file"},
       }) {
    try {
      parse_arithmetic(wrong.text);
      ADD_FAILURE() << wrong.text << " is read";
    } catch (const ParseError& error) {
      EXPECT_NE(std::string(error.what()).find(wrong.says), std::string::npos) << error.what();
    }
  }
}

TEST(Errors, OfPlansAndLists) {
  expect_errors(parse_plan, {
                                {"", 1, "expected a preset"},
                                {"kq* -> ", 8, "expected a preset"},
                                {"-> f32", 1, "expected a pattern"},
                                {"a b -> f32", 1, "has no spaces"},
                                {"kq* bf16", 1, "found no '->'"},
                                {"kq* -> f32; blk", 13, "found no '->'"},
                                {"kq* -> f32;; * -> f16", 12, "expected a rule"},
                                {";", 1, "expected a rule"},
                                {"kq* -> f32; * -> x=e4m3:rnx", 25, "unknown setting 'rnx'"},
                                {"kq* -> f32; * -> lmul-m44", 18, "did you mean 'lmul-m4'?"},
                            });
  expect_errors([](std::string_view text) { return split_list(text); },
                {
                    {"", 1, "expected an arithmetic here, found nothing"},
                    {"f32,", 5, "expected an arithmetic here"},
                    {"f32,,f16", 5, "expected an arithmetic here"},
                    {",f32", 1, "expected an arithmetic here"},
                    {"f32, ,f16", 5, "expected an arithmetic here"},
                });
  expect_errors(parse_arithmetic_list,
                {
                    {"f32,bf17", 5, "did you mean 'bf16'?"},
                    {"f32, x=e4m3:rnx", 13, "unknown setting 'rnx'"},
                    {"x=e4m3@row(f32,absmax), mul=lmul(k=3,l=99)", 40, "l must be a whole number"},
                });
}

}  // namespace
}  // namespace napier
