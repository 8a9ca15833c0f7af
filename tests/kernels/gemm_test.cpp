// Every kernel gives the bits of the scalar reference: over the registry of presets and arithmetics
// chosen to be awkward, ragged sizes, awkward data, every instruction set of this machine.
#include "napier/gemm.hpp"

#include <gtest/gtest.h>

#include "kernels/dot_product.hpp"
#include "kernels/targets.hpp"

#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

using Matrix = std::vector<float>;

bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

RowReader rows_of(const Matrix& matrix, int64_t k) {
  return [&matrix, k](int64_t row, float* to) { std::copy_n(matrix.begin() + row * k, k, to); };
}

Matrix multiply(const PackedWeights& weights, int64_t m, const Matrix& x, ThreadPool& pool) {
  Matrix out(m * weights.n(), -1.0f);
  weights.multiply(m, rows_of(x, weights.k()), out.data(), weights.n(), pool);
  return out;
}

void expect_same(const Matrix& got, const Matrix& want, int64_t n, const std::string& where) {
  int shown = 0;
  for (size_t i = 0; i < want.size() && shown < 3; ++i) {
    if (same(got[i], want[i])) continue;
    ADD_FAILURE() << where << ": out[" << i / n << "][" << i % n << "] is " << std::hexfloat
                  << got[i] << ", the reference has " << want[i];
    ++shown;
  }
}

// Kinds of data.
struct Data {
  const char* name;
  std::function<float(std::mt19937_64&)> draw;
};

float normal(std::mt19937_64& random) {
  return static_cast<float>(std::normal_distribution<double>()(random));
}

float of_magnitude(std::mt19937_64& random, int low, int high) {
  const int exponent = std::uniform_int_distribution<int>(low, high)(random);
  return std::ldexp(normal(random), exponent);
}

const std::vector<Data>& kinds_of_data() {
  static const std::vector<Data> kinds = {
      {"normal", normal},
      {"with zeros",
       [](std::mt19937_64& random) {
         const uint64_t pick = random() % 4;
         return pick == 0 ? 0.0f : pick == 1 ? -0.0f : normal(random);
       }},
      {"of a format's coarse values",
       [](std::mt19937_64& random) {
         return static_cast<float>(static_cast<int>(random() % 33) - 16) * 0.125f;
       }},
      {"wide", [](std::mt19937_64& random) { return of_magnitude(random, -30, 20); }},
      {"around the window",
       [](std::mt19937_64& random) { return of_magnitude(random, 40, 64) * (random() % 5 != 0); }},
      {"below the window", [](std::mt19937_64& random) { return of_magnitude(random, -70, -50); }},
      {"extreme", [](std::mt19937_64& random) { return of_magnitude(random, -149, 126); }},
      {"any bits",
       [](std::mt19937_64& random) {
         const uint32_t bits = static_cast<uint32_t>(random());
         const float value = std::bit_cast<float>(bits);
         return std::isnan(value) && random() % 16 != 0 ? 1.0f : value;
       }},
      {"with specials",
       [](std::mt19937_64& random) {
         switch (random() % 64) {
           case 0: return std::numeric_limits<float>::infinity();
           case 1: return -std::numeric_limits<float>::infinity();
           case 2: return std::numeric_limits<float>::quiet_NaN();
           case 3: return std::numeric_limits<float>::denorm_min();
           case 4: return -0.0f;
           case 5: return std::numeric_limits<float>::max();
           default: return normal(random);
         }
       }},
  };
  return kinds;
}

Matrix draw(const Data& data, int64_t count, std::mt19937_64& random) {
  Matrix result(count);
  for (float& value : result) value = data.draw(random);
  return result;
}

bool has_blocks(const Preset& preset) {
  return preset.written.find("@block") != std::string_view::npos;
}

// All presets without blocks, and more.
std::vector<std::string> arithmetics() {
  std::vector<std::string> result;
  for (const Preset& preset : presets()) {
    if (!has_blocks(preset)) result.emplace_back(preset.name);
  }
  for (const char* written : {
           "x=e4m3fn:rna/w=e5m2:rup",
           "x=e4m3fn:rdn/w=e4m3fn:rto",
           "x=e4m3fn:sr/w=e5m2:sr(7)",
           "x=e4m3fn:inf/w=e5m2:inf",
           "x=e5m2:rtz:inf/w=e5m2:rup:inf",
           "x=f16:rdn:inf/w=f32:inf",
           "x=e4m3fnuz/w=e5m2fnuz",
           "x=e2m1fn/w=e3m2fn",
           "x=e2m3fn:rna/w=e3m4",
           "x=e0m7/w=e0m3:rna",
           "x=f16:ftz/w=f16:literal",
           "x=e4m3fn:literal/w=e4m3fn:ftz",
           "x=bf16:ftz/w=bf16:literal",
           "x=e4m3nosub/w=e5m2nosub:rna",
           "x=e4m3nosub:rto/w=e5m2nosub:rup",
           "x=e4m3u/w=e4m3",
           "x=e4m3u:inf/w=e5m2",
           "x=e9m5/w=e8m4",
           "x=f32:literal/w=e8m3",
           "x=e8m0/w=e4m0:rna",
           "x=e5m0:rtz/w=e5m0:rto",
           // Products rounded.
           "x=e4m3fn/w=e4m3fn/mul=exact:f32",
           "x=e4m3fn/w=e4m3fn/mul=exact:e4m3fn:sat",
           "x=e4m3fn/w=e4m3fn/mul=exact:e4m3fn:inf",
           "x=bf16/w=bf16/mul=exact:bf16:rtz",
           "x=bf16/w=bf16/mul=exact:e5m2:rup:inf",
           "x=bf16/w=bf16/mul=exact:e5m2:rdn:inf",
           "x=f32/w=f32/mul=exact:f32:inf",
           "x=f32/w=f32/mul=exact:f16:rto",
           "x=e4m3fn/w=e4m3fn/mul=exact:e4m3fn:sr",
           // Multipliers.
           "lmul-e4m3/mul=lmul:e4m3fn:sat",
           "lmul-m4/mul=lmul:f32:inf",
           "lmul-m4/mul=lmul:bf16",
           "lmul-m7/mul=lmul(k=3)",
           "lmul-m7/mul=lmul(k=0)",
           "lmul-m4/mul=lmul(l=0)",
           "x=f32/w=f32/mul=lmul",
           "x=f32/w=f32/mul=mitchell",
           "x=f32/w=f32/mul=lmul(l=23)",
           "x=f16/w=f16/mul=lmul(k=10,l=4)",
           "lmul-m4-rne",
           "lmul-m4/x=e8m4:rtz:inf/w=e8m4:inf",
           "x=f32/w=f32/mul=lmul(reading=formula)",
           "x=f32/w=f32/mul=lmul(reading=formula,l=23)",
           "x=f32/w=f32/mul=lmul(reading=formula,k=22,l=22):f32:rtz",
           "lmul-m7/mul=lmul(reading=formula,k=5):e4m3fn:sat",
           "lmul-formula-m4/acc=bf16",
           "lmul-e5m2/mul=lmul(reading=formula)",
           "lmul-m4/x=e8m4:literal/w=e8m4:ftz",
           "x=e9m4/w=e9m4/mul=lmul",
           "lmul-m3/acc=f64",
           "lmul-m3/acc=bf16",
           // Accumulators.
           "acc=f64",
           "acc=f32:rtz",
           "acc=f32:rup",
           "acc=f32:sat",
           "acc=f32(chunk=8)",
           "acc=bf16",
           "acc=bf16:rdn",
           "acc=f16:inf",
           "acc=bf16(chunk=16)",
           "acc=f16(chunk=5)",
           "bf16/acc=bf16",
           "bf16/acc=bf16:rna",
           "bf16/acc=f16:rto",
           "bf16/acc=e8m4:rtz",
           "fp8_e4m3/acc=e4m3fn",
           "fp8_e4m3/acc=e4m3fn:rto(chunk=7)",
           "fp8_e4m3/acc=e4m3fn:inf",
           "fp8_e4m3/mul=exact:e4m3fn/acc=e4m3fn",
           "fp8_e4m3/acc=e4m3fnuz:rup",
           "lmul-e4m3/mul=lmul:e4m3fn:sat/acc=e4m3fn",
           "lmul-e4m3/acc=e4m3fn:sat(chunk=4)",
           "bf16/acc=e5m2:rtz(chunk=32,outer=f32)",
           "bf16/acc=bf16(chunk=4,outer=f64)",
           "bf16/acc=bf16:sr",
           "fp8_e4m3/acc=e4m3fn:sr(3)(chunk=3)",
           "bf16/acc=e4m3nosub",
           "bf16/acc=e0m12",
           "bf16/acc=e0m12:rup",
           "bf16/acc=e5m10u",
           "bf16/acc=e9m6",
           "x=e8m3/w=e8m3/acc=e8m2b138",
           "x=e8m3/w=e8m3/mul=exact:e8m2b138/acc=e8m9",
           "x=e3m4/w=e2m3b125/acc=e5m4b130",
           "fp8_e4m3/acc=bf16",
           "fp8_e5m2/acc=f16:sat",
           "fp8_e4m3/mul=exact:bf16/acc=bf16",
           // Integers and lists.
           "x=int8/w=int4",
           "x=int8:wrap/w=uint8:rup",
           "x=int8/w=int8/mul=exact:int8",
           "x=int16/w=int5s:rto/acc=f64",
           "x=int8/w=int8/acc=int32",
           "x=int8/w=int8/acc=int14:wrap",
           "x=int8/w=int8/acc=int8:wrap",
           "x=int16/w=uint8/acc=uint12:wrap",
           "x=int4/w=flint4/acc=int10:wrap(chunk=6)",
           "x=int8/w=int8/acc=int12:wrap(chunk=5,outer=f32)",
           "x=int8/w=int8/acc=int9s:wrap",
           "x=e5m2b-1:inf/w=int4/acc=int16:wrap",
           "x=int4/w=int4/mul=lmul(reading=formula)/acc=int8:wrap",
           "x=bf16/w=int8/acc=int16:wrap",
           "x=int8/w=int8/acc=int12(chunk=5,outer=int32)",
           "x=bf16/w=int8/acc=int16:rup",
           "x=int24/w=int16/acc=int48",
           "x=nf4/w=bnb_fp4",
           "x=pow8a50/w=flint4:rdn",
           "x=binary/w=ternary/acc=bf16",
           "x=binary8p3/w=binary8p4:inf",
           "x=binary8p1se/w=binary8p8uf:rtz",
           "x=int8/w=int8/mul=lmul",
           "x=int8/w=int8/acc=exact",
           "x=e4m3fn/w=e5m2/acc=exact",
           "bf16/acc=exact",
           "x=e4m3fn:inf/w=e4m3fn/acc=e8m13:rtz(align=32)",
           "x=e5m2:inf/w=e5m2:inf/acc=f32:rtz(align=4,extra=2)",
           "bf16/acc=f32(align=8)",
           "f16/acc=f16:rdn(align=5,extra=3)",
           "f32/acc=e5m3(align=7)",
           "fp8_e5m2/acc=exact",
           "x=e5m2:inf/w=bf16:inf/acc=exact",
           "f32/acc=exact",
           "x=e9m4/w=e9m4/acc=exact",
           "x=e9m0/w=e3m9/acc=exact",
           "x=int32/w=int21/acc=exact",
           "x=int30/w=int16",
           "x=int28@row/w=int25s:rtz@row/acc=int48",
           "x=int32/w=int8/acc=int40:wrap",
           "lmul-m4/acc=exact",
           "lmul-formula-m4/mul=lmul(reading=formula):bf16/acc=exact",
           "fp8_e5m2/mul=exact:bf16:rtz/acc=exact",
           "x=int8/w=int8/mul=realm",
           "x=int8/w=int8/mul=realm/acc=exact",
           "x=e4m3fn/w=e4m3fn/mul=realm/acc=exact",
           "x=int8/w=int6/mul=realm:int16/acc=int32",
           "x=e4m3fn/w=e4m3fn:literal/mul=realm(segments=1,bits=4)",
           "x=e4m3fn:inf/w=e2m1fn/mul=realm:e4m3fn",
           "lmul-m4/mul=realm",
           "x=nf4/w=int4/mul=mitchell",
           "x=pow4a50/w=int8/mul=lmul(reading=formula,k=4)",
       }) {
    result.emplace_back(written);
  }
  return result;
}

// Scaled operands, for k that their blocks divide.
const std::vector<std::string>& scaled_arithmetics() {
  static const std::vector<std::string> result = {
      "x=e4m3fn@row/w=e4m3fn@row",
      "x=e4m3fn@tensor/w=e4m3fn@tensor(e8m0)",
      "x=e4m3fn/w=e4m3fn@row",
      "x=e4m3fn@row/w=e2m1fn@block16(e4m3fn)@tensor(f32)",
      "x=e2m1fn@block16(e4m3fn)@tensor/w=e2m1fn@block16(e4m3fn)@tensor",
      "x=e4m3fn@block32(e8m0)/w=e2m1fn@block32(e8m0)",
      "x=e0m7@block8/w=e0m7@block32",
      "x=e4m3fn@block16(e8m0)@row/w=e5m2@block8",
      "x=e4m3fn@block16(f16)@row@tensor(e5m2)/w=e5m2@row(bf16)",
      "lmul-e4m3/x=e4m3fn@row/w=e4m3fn@block16",
      "lmul-e4m3/x=e4m3fn:rtz@block16(e8m0)/w=e4m3fn:rtz@block16(e8m0)/acc=bf16(chunk=4)",
      "lmul-formula-m4/x=e8m4:rtz@row/w=e8m4:rtz@block32",
      "x=e4m3fn:sr@row/w=e4m3fn:sr@block16",
      "x=e5m0:rto@row/w=f32@row/acc=f64",
      "x=e4m3u@row/w=e4m3fn:literal@block8",
      "x=e4m3fn@block2(e11m20)@tensor/w=f32",
      "x=uint8@row(f32,minmax)/w=int8@row(f32,minmax)",
      "x=int4@block16(f16,minmax)/w=int3@block8(e8m0:rup,minmax)/acc=bf16",
      "x=uint8@row(f32,minmax)/w=e4m3fn@row/mul=lmul",
      "x=int8@tensor(f32,percentile=99)/w=int4@row(f32,mse)",
      "x=e4m3fn@row(bf16:rup)/w=e2m1fn@block16(e8m0:rdn)@row",
      "x=int8@tensor(f32,given=0.05)/w=int4@block32(f16,full)",
      "x=bitmod3@block16/w=bitmod4@block32(int8)@row",
      "x=ant4@block8/w=nf4@block16(e4m3fn)@tensor/mul=lmul(k=3)",
      "x=ternary@row(f32,mean=1.3333)/w=binary@block8(f32,mean)",
      "x=int8@row/w=int8@row/acc=int32",
      "x=e4m3fn@tensor(f32,mse)/w=pow4a50@row",
      "x=e4m3fn@row/w=e2m1fn@block16(e4m3fn)@tensor/acc=e8m13:rtz(align=32)",
      "x=int8@row/w=int8@block8/acc=exact",
      "x=e5m2@block32(e8m0)/w=e5m2@block16(e8m0)/acc=exact",
      "x=bf16/w=e2m1fn@column/acc=exact",
      "x=e4m3fn@row/w=int4@block16/mul=realm",
      "x=int8@row/w=int8@row/acc=int15:wrap",
      "x=e4m3fn@column/w=e4m3fn@row",
      "x=int8@row/w=int8@column",
      "x=uint8@column(f32,minmax)/w=int4@column(e8m0)@tensor/acc=bf16",
      "x=bf16/w=e2m1fn@column(e4m3fn)@tensor/acc=f32:rtz(align=4)",
      "lmul-e4m3/x=e4m3fn@column@tensor(e5m2)/w=e4m3fn@block16",
      "x=f32/w=bitmod4@column(f32)/acc=e4m3fn",
      "lmul-formula-m4/x=e8m4:rtz@column/w=e8m4:rtz@row",
      "x=int8@column(f32,percentile=90)/w=int4@column(f32,mse)/mul=realm",
      "x=e4m3fn:sr@column/w=nf4@column",
  };
  return result;
}

struct Case {
  Shape shape;
  const Data* x;
  const Data* w;
};

// Every legal kernel against the reference.
void check(const Arithmetic& arithmetic, const Case& c, ThreadPool& pool, std::mt19937_64& random) {
  const auto [m, n, k] = c.shape;
  const Matrix x = draw(*c.x, m * k, random);
  const Matrix w = draw(*c.w, n * k, random);
  Matrix want(m * n);
  reference_gemm(arithmetic, c.shape, x.data(), w.data(), want.data());
  for (const KernelKind kind : legal_kernels(arithmetic, c.shape)) {
    const auto packed = pack_weights(arithmetic, n, k, rows_of(w, k), pool, kind);
    EXPECT_EQ(packed->kernel(), kind);
    expect_same(multiply(*packed, m, x, pool), want, n,
                std::string(kernel_name(kind)) + " on " + to_string(arithmetic) + ", " +
                    std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + ", x " +
                    c.x->name + ", w " + c.w->name);
    if (testing::Test::HasFailure()) return;
  }
}

// A few sizes for each arithmetic and kind of data: all of them over the whole of the test.
void check_all(const std::vector<std::string>& written, const std::vector<int64_t>& ks,
               uint64_t salt, int rounds) {
  ThreadPool pool(2);
  std::mt19937_64 random(test::seed() ^ salt);
  const int64_t sizes[] = {1, 2, 3, 7, 31, 33, 49, 100};
  const std::vector<Data>& kinds = kinds_of_data();
  for (const std::string& text : written) {
    SCOPED_TRACE(text);
    const Arithmetic arithmetic = parse_arithmetic(text);
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < kinds.size(); ++i) {
        // Now and then both operands alike, else one of them ordinary.
        const Data* x = random() % 3 == 0 ? &kinds[0] : &kinds[i];
        const Data* w = random() % 3 == 0 ? &kinds[0] : &kinds[i];
        if (i == 4) x = w = &kinds[i];
        if (i == 5) x = w = &kinds[i];
        const Shape shape{sizes[random() % 7], sizes[random() % 8], ks[random() % ks.size()]};
        check(arithmetic, {shape, x, w}, pool, random);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

const std::vector<int64_t> k_ragged = {1, 2, 3, 31, 33, 100};

// Runs body under each instruction set of this machine.
void on_every_target(const std::function<void()>& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
    body();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Gemm, KernelsGiveTheReferencesBits) {
  check_all(test::in_turn(arithmetics(), 0), k_ragged, 1, test::full_tier() ? 20 : 1);
}

TEST(Gemm, KernelsGiveTheReferencesBitsForScaledOperands) {
  check_all(test::in_turn(scaled_arithmetics(), 0), {32, 96, 160}, 2, test::full_tier() ? 20 : 2);
}

TEST(Gemm, KernelsGiveTheReferencesBitsForPresetsWithBlocks) {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) {
    if (has_blocks(preset)) names.emplace_back(preset.name);
  }
  check_all(names, {256}, 5, test::full_tier() ? 10 : 1);
}

TEST(Gemm, KernelsGiveTheReferencesBitsOnEveryInstructionSet) {
  size_t targets = 0;
  on_every_target([&] {
    ++targets;
    check_all(test::in_turn(arithmetics(), targets), k_ragged, 3, test::full_tier() ? 5 : 1);
    check_all(test::in_turn(scaled_arithmetics(), targets), {32, 96}, 4, 1);
  });
  EXPECT_GE(targets, 2U);
}

// Products at either end of f32's normal range, where kernels hand over to another.
TEST(Gemm, EdgesOfTheWindow) {
  ThreadPool pool(1);
  std::mt19937_64 random(test::seed());
  const auto number = [&](int exponent) {
    const float mantissa = 1.0f + static_cast<float>(random() % 32) / 32.0f;
    return std::ldexp(random() % 2 == 0 ? mantissa : -mantissa, exponent);
  };
  for (const char* text :
       {"lmul-m7", "lmul-m4/mul=lmul:f32:inf", "x=f32/w=f32/mul=lmul", "mitchell",
        "lmul-formula-m7", "x=f32/w=f32/mul=lmul(reading=formula,l=1):f32:inf",
        "x=f32/w=f32/mul=lmul(reading=formula,l=23)"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    for (const int edge : {-126, 127}) {
      for (int sum = edge - 4; sum <= edge + 4; ++sum) {
        for (int i = 0; i < 40; ++i) {
          const int low = std::max(-126, sum - 127);
          const int high = std::min(127, sum + 126);
          const int exponent = i == 0   ? low
                               : i == 1 ? high
                                        : low + static_cast<int>(random() % (high - low + 1));
          const Matrix x = {number(exponent)};
          const Matrix w = {number(sum - exponent)};
          Matrix want(1);
          reference_gemm(arithmetic, {1, 1, 1}, x.data(), w.data(), want.data());
          for (const KernelKind kind : legal_kernels(arithmetic, {1, 1, 1})) {
            const auto packed = pack_weights(arithmetic, 1, 1, rows_of(w, 1), pool, kind);
            expect_same(
                multiply(*packed, 1, x, pool), want, 1,
                std::string(kernel_name(kind)) + " on " + text + " at 2^" + std::to_string(sum));
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

// A row of zeros beside tiny numbers, and weights near the largest: what stands for a zero must not
// leave the range that the other rows were checked for.
TEST(Gemm, ARowOfZerosBesideTinyOnes) {
  ThreadPool pool(1);
  const Matrix x = {0x1p-100f, 0x1p-90f, 0, 0};
  const Matrix w = {0x1.fcp127f, 0x1.fcp127f};
  for (const char* text : {"lmul-m7", "lmul-m3", "mitchell", "lmul-formula-m4"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    Matrix want(2);
    reference_gemm(arithmetic, {2, 1, 2}, x.data(), w.data(), want.data());
    for (const KernelKind kind : legal_kernels(arithmetic, {2, 1, 2})) {
      const auto packed = pack_weights(arithmetic, 1, 2, rows_of(w, 2), pool, kind);
      expect_same(multiply(*packed, 2, x, pool), want, 1,
                  std::string(kernel_name(kind)) + " on " + text);
    }
  }
}

// What is rounded to zero keeps its sign: all rows of four of these numbers by all columns.
TEST(Gemm, SignsOfSumsThatVanish) {
  constexpr int64_t k = 4;
  const float numbers[] = {0.0f, -0.0f, 0x1p-9f, -0x1p-9f, 0x1p-3f};
  Matrix x;
  for (int row = 0; row < 625; ++row) {
    for (int i = 0, rest = row; i < k; ++i, rest /= 5) x.push_back(numbers[rest % 5]);
  }
  const Matrix w = {0x1p-9f, 0x1p-9f, -0x1p-9f, 0x1p-9f, -0.0f, 0.0f, 1.0f, 0.0f, 0, 0, 0, -0.0f};
  ThreadPool pool(1);
  int64_t negative_zeros = 0;
  for (const char* text : {"fp8_e4m3/acc=e4m3fn", "fp8_e4m3/mul=exact:e5m2/acc=e4m3fn",
                           "x=e4m3fn@row/w=e4m3fn/acc=e4m3fn", "fp8_e5m2/acc=e5m2:sat"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    const Shape shape{625, 3, k};
    Matrix want(shape.m * shape.n);
    reference_gemm(arithmetic, shape, x.data(), w.data(), want.data());
    negative_zeros += std::count_if(want.begin(), want.end(),
                                    [](float sum) { return sum == 0 && std::signbit(sum); });
    for (const KernelKind kind : legal_kernels(arithmetic, shape)) {
      const auto packed = pack_weights(arithmetic, shape.n, k, rows_of(w, k), pool, kind);
      expect_same(multiply(*packed, shape.m, x, pool), want, shape.n,
                  std::string(kernel_name(kind)) + " on " + text);
    }
  }
  EXPECT_GT(negative_zeros, 200);
}

// The fast paths are taken where the data allow it, and products then are the reference's too.
TEST(Gemm, LongSums) {
  ThreadPool pool(1);
  std::mt19937_64 random(test::seed());
  const std::vector<Data>& kinds = kinds_of_data();
  for (const char* text : {"f32", "lmul-m4", "lmul-m7", "lmul-e4m3", "lmul-formula-m4", "mitchell",
                           "bf16/acc=bf16", "x=e4m3fn@row/w=e2m1fn@block16(e4m3fn)@tensor"}) {
    check(parse_arithmetic(text), {{9, 50, 4096}, &kinds[0], &kinds[1]}, pool, random);
  }
}

// Sums of the largest products, of as many as an accumulator holds and of more: on the way to where
// integers saturate or wrap, and exact sums need another part. Then some are taken away again.
TEST(Gemm, SumsAtTheEndsOfTheirRange) {
  ThreadPool pool(1);
  struct Long {
    const char* text;
    float x, w;
    int64_t fits;  // products of +x w
  };
  for (const Long& c : {
           Long{"x=int8/w=int8/acc=int32", -128, -128, 131071},
           {"x=int8/w=int8/acc=int24", -128, -128, 511},
           {"x=int8/w=int8/acc=int24:wrap", -128, -128, 511},
           {"x=int16s/w=int16s/acc=int32(chunk=2,outer=f32)", 32767, 32767, 2},
           {"x=int16/w=int16/acc=int32(chunk=2,outer=f32)", -32768, -32768, 1},
           {"x=int16/w=int16/acc=int32(chunk=3,outer=int34)", 32767, 32767, 2},
           {"fp8_e5m2/acc=exact", 57344, 57344, 1000},
           {"bf16/acc=exact", 0x1p127f, 0x1.fep-100f, 1000},
           {"x=int32/w=int21/acc=exact", 2147483520, 1048575, 1000},
       }) {
    SCOPED_TRACE(c.text);
    const Arithmetic arithmetic = parse_arithmetic(c.text);
    for (const int64_t k : {c.fits, c.fits + 1, 2 * c.fits + 3}) {
      Matrix x(static_cast<size_t>(k), c.x);
      Matrix w(static_cast<size_t>(k), c.w);
      for (const bool cancels : {false, true}) {
        if (cancels) {
          for (int64_t i = k / 2; i < k; ++i) x[static_cast<size_t>(i)] = -c.x;
          x.back() = 1;  // what is left of exact sums
          w.back() = 1;
        }
        Matrix want(1);
        reference_gemm(arithmetic, {1, 1, k}, x.data(), w.data(), want.data());
        const auto packed = pack_weights(arithmetic, 1, k, rows_of(w, k), pool);
        expect_same(multiply(*packed, 1, x, pool), want, 1, std::to_string(k) + " products");
      }
    }
  }
}

TEST(Gemm, BitsDoNotDependOnThreads) {
  std::mt19937_64 random(test::seed());
  const std::vector<Data>& kinds = kinds_of_data();
  const int64_t m = 70, n = 150, k = 96;
  for (const char* text : {"f32", "lmul-m4", "lmul-formula-m4", "bf16/acc=bf16", "bf16/acc=bf16:sr",
                           "x=e4m3fn@tensor/w=e2m1fn@block16(e4m3fn)@tensor"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    const Matrix x = draw(kinds[8], m * k, random);
    const Matrix w = draw(kinds[1], n * k, random);
    Matrix one;
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      const auto packed = pack_weights(arithmetic, n, k, rows_of(w, k), pool);
      const Matrix out = multiply(*packed, m, x, pool);
      if (threads == 1) one = out;
      expect_same(out, one, n, std::string(text) + " with " + std::to_string(threads) + " threads");
    }
  }
}

// Rows whose own data force the slow path change nothing for their neighbours.
TEST(Gemm, ARowDoesNotDependOnItsCompany) {
  ThreadPool pool(2);
  std::mt19937_64 random(test::seed());
  const std::vector<Data>& kinds = kinds_of_data();
  const int64_t m = 23, n = 100, k = 64;
  for (const char* text :
       {"f32", "lmul-m4", "lmul-formula-m4", "bf16/acc=bf16:sr", "x=e4m3fn@row/w=e4m3fn@block16"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    Matrix x = draw(kinds[0], m * k, random);
    for (int64_t i = 0; i < k; ++i) {
      x[5 * k + i] = kinds[8].draw(random);
      x[11 * k + i] = kinds[6].draw(random);
    }
    const Matrix w = draw(kinds[1], n * k, random);
    const auto packed = pack_weights(arithmetic, n, k, rows_of(w, k), pool);
    const Matrix together = multiply(*packed, m, x, pool);
    for (int64_t row = 0; row < m; ++row) {
      const Matrix alone =
          multiply(*packed, 1, Matrix(x.begin() + row * k, x.begin() + (row + 1) * k), pool);
      expect_same(alone, Matrix(together.begin() + row * n, together.begin() + (row + 1) * n), n,
                  std::string(text) + ", row " + std::to_string(row) + " alone");
    }
  }
}

TEST(Gemm, WritesNothingBesideItsOutputs) {
  ThreadPool pool(2);
  const int64_t m = 11, n = 50, k = 8, stride = 64;
  const Matrix x(m * k, 1.0f);
  const Matrix w(n * k, 1.0f);
  for (const char* text : {"f32", "lmul-m4", "lmul-formula-m4", "bf16/acc=bf16", "acc=f32:sr"}) {
    const auto packed = pack_weights(parse_arithmetic(text), n, k, rows_of(w, k), pool);
    Matrix out(m * stride, -7.0f);
    packed->multiply(m, rows_of(x, k), out.data(), stride, pool);
    for (int64_t i = 0; i < m * stride; ++i) {
      if (i % stride >= n)
        ASSERT_EQ(out[i], -7.0f) << text << " wrote at " << i;
      else
        ASSERT_NE(out[i], -7.0f) << text << " left out " << i;
    }
  }
}

TEST(Gemm, EmptySumsAreZero) {
  ThreadPool pool(2);
  for (const char* text : {"f32", "lmul-m4", "bf16/acc=bf16(chunk=4)", "x=e4m3fn@row"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    for (const KernelKind kind : legal_kernels(arithmetic, {2, 3, 0})) {
      const auto packed = pack_weights(arithmetic, 3, 0, rows_of({}, 0), pool, kind);
      for (const float value : multiply(*packed, 2, {}, pool)) EXPECT_EQ(value, 0.0f) << text;
    }
  }
}

TEST(Gemm, BlocksThatDoNotDivideAreAnError) {
  ThreadPool pool(1);
  const Matrix w(3 * 40, 1.0f);
  const Arithmetic arithmetic = parse_arithmetic("x=e4m3fn@block16/w=e4m3fn");
  EXPECT_THROW(lower(arithmetic, {1, 3, 40}), Error);
  EXPECT_THROW(pack_weights(arithmetic, 3, 40, rows_of(w, 40), pool), Error);
}

TEST(Gemm, AKernelThatIsNotLegalIsAnError) {
  ThreadPool pool(1);
  const Matrix w(4, 1.0f);
  EXPECT_THROW(
      pack_weights(parse_arithmetic("lmul-m4"), 1, 4, rows_of(w, 4), pool, KernelKind::native),
      Error);
}

TEST(Lower, TakesTheFastKernelForEachPreset) {
  for (const Preset& preset : presets()) {
    const Arithmetic arithmetic = parse_arithmetic(preset.name);
    const Lowering lowering = lower(arithmetic, {1, 1, 256});
    if (arithmetic.accumulator.is_plain_f32() &&
        arithmetic.resolved_multiplier().form().kind != ProductForm::Kind::other) {
      EXPECT_NE(lowering.kernel, KernelKind::wide) << preset.name << ": " << lowering.reason;
    }
    EXPECT_NE(lowering.kernel, KernelKind::reference) << preset.name << ": " << lowering.reason;
    EXPECT_FALSE(lowering.reason.empty());
  }
  const auto or_dot = [](KernelKind kind) { return dot::available() ? KernelKind::dot : kind; };
  const auto kernel_of = [](const char* text) {
    return lower(parse_arithmetic(text), {1, 1, 1}).kernel;
  };
  EXPECT_EQ(kernel_of("lmul-m4"), or_dot(KernelKind::adder));
  EXPECT_EQ(kernel_of("lmul-formula-m4"), or_dot(KernelKind::bilinear));
  EXPECT_EQ(kernel_of("bf16"), or_dot(KernelKind::native));
  EXPECT_EQ(kernel_of("f16"), KernelKind::native);
  EXPECT_EQ(kernel_of("lmul-f16"), KernelKind::adder);
  EXPECT_EQ(kernel_of("fp8_e4m3/acc=e4m3fn"), KernelKind::narrow);
  EXPECT_EQ(kernel_of("bf16/acc=bf16"), KernelKind::wide);
  EXPECT_EQ(kernel_of("x=int8@row/w=int8@row/acc=int16:wrap"), KernelKind::wide);
  EXPECT_EQ(kernel_of("x=int8@row/w=int8@row/acc=int16"), KernelKind::wide);
  EXPECT_EQ(kernel_of("x=int8@column/w=int8@row"), KernelKind::native);
  EXPECT_EQ(kernel_of("fp8_e5m2/acc=exact"), KernelKind::wide);
  EXPECT_EQ(kernel_of("f32/acc=exact"), KernelKind::wide);
  EXPECT_EQ(kernel_of("lmul-m4/acc=exact"), KernelKind::wide);
  EXPECT_EQ(kernel_of("x=int32/w=int16"), KernelKind::wide);
  // What wraps in the middle is not what wraps at the end, without the lowest number.
  EXPECT_EQ(kernel_of("x=int8/w=int8/acc=int9s:wrap"), KernelKind::reference);
  EXPECT_EQ(lower(parse_arithmetic("acc=f32:sr"), {1, 1, 1}).kernel, KernelKind::reference);
}

// Scales in blocks, exact products: every format, every way of summing but at random.
TEST(Lower, NoBlockedFormatWithExactProductsIsScalar) {
  const char* const scales[] = {"@block32(e8m0)", "@block32(e4m3fn)@tensor", "@block16",
                                "@block64(f16)"};
  const char* const sums[] = {"f32",
                              "f64",
                              "f16:rtz",
                              "bf16",
                              "bf16(chunk=16,outer=f32)",
                              "exact",
                              "int32",
                              "e4m3fn",
                              "int24(chunk=8)",
                              "f32:rtz(align=16)",
                              "e8m13:rtz(align=32)"};
  int64_t seen = 0;
  for (const NamedFormat& named : named_formats()) {
    if (named.format.bits() > 16) continue;
    for (const char* scale : scales) {
      for (const char* sum : sums) {
        const std::string operand = std::string(named.name) + scale;
        for (const char* other : {operand.c_str(), "bf16", "int8@row"}) {
          const std::string text = "x=" + std::string(other) + "/w=" + operand + "/acc=" + sum;
          const Lowering lowering = lower(parse_arithmetic(text), {1, 1, 256});
          EXPECT_NE(lowering.kernel, KernelKind::reference) << text << ": " << lowering.reason;
          ++seen;
        }
      }
    }
  }
  EXPECT_GT(seen, 1000);
}

}  // namespace
}  // namespace napier
