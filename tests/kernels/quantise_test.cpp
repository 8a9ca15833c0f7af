// The vector quantiser gives what Operand::quantise gives, element by element.
#include "kernels/quantise.hpp"

#include <gtest/gtest.h>

#include "kernels/targets.hpp"

#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "napier/arithmetic.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// Inputs that matter to a format: all of its binades' neighbourhoods, ties, limits, and any bits.
std::vector<float> inputs(const Format& format, std::mt19937_64& random) {
  std::vector<float> result = {0.0f,   -0.0f,   INFINITY,        -INFINITY,     NAN,
                               1e-45f, -1e-45f, 1.17549435e-38f, 3.4028235e38f, -3.4028235e38f};
  const auto around = [&](float value) {
    for (const float at : {value, -value}) {
      result.push_back(at);
      result.push_back(std::nextafterf(at, INFINITY));
      result.push_back(std::nextafterf(at, -INFINITY));
    }
  };
  const bool all = format.bits() <= 10;
  for (uint64_t i = 0; i < (all ? format.code_count() : 1 << 10); ++i) {
    const uint64_t code = all ? i : random() >> (64 - format.bits());
    const Dyadic value = format.decode(code);
    if (!value.is_finite()) continue;
    const Dyadic next = format.decode(code == format.max_code() ? code : code + 1);
    around(to_float(value));
    if (next.is_finite()) around(to_float((value + next).scaled(-1)));
  }
  around(to_float(format.max_finite()) * 1.03125f);
  around(to_float(format.max_finite()) * 2);
  around(to_float(format.min_positive()) * 0.5f);
  around(to_float(format.min_positive()) * 0.25f);
  for (int i = 0; i < 500; ++i) {
    result.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
    result.push_back(std::ldexp(static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f,
                                static_cast<int>(random() % 24) - 12));
  }
  return result;
}

bool same(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

// The value of the mantissa's first `bits` bits.
double kept(const Dyadic& value, int bits) {
  if (value.kind != Dyadic::Kind::finite) return to_double(value);
  Dyadic result = value;
  result.significand &= ~uint64_t{0} << (63 - bits);
  return to_double(result);
}

void check(const Operand& operand, const Group& group, int kept_bits, std::mt19937_64& random) {
  const float scale = group.scale;
  const Quantiser quantiser(operand, kept_bits);
  const std::vector<float> in = inputs(operand.cast.format, random);
  const int64_t count = static_cast<int64_t>(in.size());
  std::vector<double> wide(count);
  std::vector<float> narrow(count);
  quantiser(in.data(), count, group, 3, wide.data());
  if (quantiser.fits_float()) quantiser(in.data(), count, group, 3, narrow.data());
  for (int64_t i = 0; i < count; ++i) {
    const Dyadic element = Dyadic::from_double(double{in[i]} / double{scale});
    const double want = kept(operand.quantise(element, 3 + i, group), std::min(kept_bits, 52));
    ASSERT_TRUE(same(wide[i], want))
        << std::hexfloat << in[i] << " / " << scale << " gives " << wide[i] << ", not " << want;
    if (!quantiser.fits_float()) continue;
    ASSERT_TRUE(same(narrow[i], want)) << std::hexfloat << in[i] << " / " << scale << " gives "
                                       << narrow[i] << " in f32, not " << want;
  }
}

void check_formats(int shapes, size_t turn) {
  std::mt19937_64 random(test::seed());
  std::vector<Format> formats;
  for (const NamedFormat& named : named_formats()) formats.push_back(named.format);
  for (const char* shape : {"e8m4", "e8m2", "e8m0", "e0m7", "e1m4", "e4m3nosub", "e5m2nosub",
                            "e4m3u", "e3m2b9", "e9m5", "e11m20", "e8m23b100"}) {
    formats.push_back(parse_format(shape));
  }
  for (int i = 0; i < shapes; ++i) {
    Format format;
    format.exponent_bits = static_cast<uint8_t>(random() % 9);
    format.mantissa_bits = static_cast<uint8_t>(1 + random() % 10);
    format.specials = static_cast<Specials>(random() % 4);
    if (format.exponent_bits == 0) format.specials = Specials::none;
    format.bias = static_cast<int16_t>(default_bias(format.exponent_bits, format.specials) +
                                       static_cast<int>(random() % 9) - 4);
    format.has_subnormals = format.exponent_bits == 0 || random() % 4 != 0;
    format.is_signed = format.specials == Specials::fnuz || random() % 4 != 0;
    formats.push_back(format);
  }
  for (const Format& format : test::in_turn(formats, turn)) {
    for (const RoundingName& rounding : k_rounding_names) {
      for (const Overflow overflow : {Overflow::saturate, Overflow::infinity}) {
        for (const Subnormals subnormals :
             {Subnormals::keep, Subnormals::flush, Subnormals::literal}) {
          Operand operand;
          operand.cast = {format, rounding.rounding, 5, overflow};
          operand.subnormals = subnormals;
          SCOPED_TRACE(to_string(operand));
          check(operand, {}, 52, random);
          if (subnormals == Subnormals::keep) check(operand, {0.37f}, 52, random);
          if (overflow == Overflow::saturate) check(operand, {}, 1, random);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Quantiser, GivesOperandsValuesOnEveryInstructionSet) {
  size_t turn = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
    check_formats(test::full_tier() ? 400 : 10, turn++);
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
}

// Every f32 with the lower half zero or one, which decides all ties of formats up to 14 bits.
TEST(Quantiser, AllUpperHalves) {
  const int64_t count = int64_t{1} << 17;
  std::vector<float> in(count);
  for (int64_t i = 0; i < count; ++i) {
    in[i] = std::bit_cast<float>(static_cast<uint32_t>(i >> 1 << 16 | (i & 1)));
  }
  std::vector<float> out(count);
  for (const char* text :
       {"e8m4:rtz", "e8m4", "e8m2", "e8m3:rtz:inf", "bf16:rtz", "bf16", "bf16:inf", "f16",
        "f16:inf", "e4m3fn", "e4m3fn:rtz", "e5m2", "e5m2:inf", "f32", "f32:inf"}) {
    const Operand operand = parse_arithmetic("x=" + std::string(text)).x;
    Quantiser{operand}(in.data(), count, {}, 0, out.data());
    for (int64_t i = 0; i < count; ++i) {
      const double want = to_double(operand.quantise(Dyadic::from_float(in[i])));
      ASSERT_TRUE(same(out[i], want))
          << text << ": " << std::hexfloat << in[i] << " gives " << out[i] << ", not " << want;
    }
  }
}

TEST(MagnitudeRange, SeesZerosAndLimits) {
  const std::vector<float> values = {1.0f, -0.0f, -8.0f, 0.25f, 3.0f};
  const MagnitudeRange range = magnitude_range(values.data(), 5);
  EXPECT_TRUE(range.has_zero);
  EXPECT_TRUE(range.is_normal());
  EXPECT_EQ(range.min_exponent(), -2);
  EXPECT_EQ(range.max_exponent(), 3);
  EXPECT_FALSE(magnitude_range(values.data(), 1).has_zero);
  for (const float special : {INFINITY, -NAN, 1e-40f}) {
    EXPECT_FALSE(magnitude_range(&special, 1).is_normal());
  }
}

}  // namespace
}  // namespace napier
