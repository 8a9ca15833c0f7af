// The ways to look products up, beside each other and beside the multiplier itself.
#include "kernels/table.hpp"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cstdio>
#include <fstream>
#include <random>

#include "kernels/kernel.hpp"
#include "napier/arithmetic.hpp"
#include "support/test_support.hpp"

namespace napier::table {
namespace {

// Two planes, four planes, infinities, few codes, numbers that share upper halves.
const char* const k_arithmetics[] = {
    "x=e4m3fn/w=e4m3fn/mul=exact:e4m3fn", "x=int8/w=uint8",
    "x=e5m2/w=e4m3fn/mul=lmul",           "x=nf4/w=int4/mul=mitchell",
    "x=pow8a25/w=int4/mul=exact:bf16",
};

TEST(Table, HoldsTheMultipliersProducts) {
  for (const char* written : k_arithmetics) {
    const Arithmetic arithmetic = parse_arithmetic(written);
    const auto products = products_of(arithmetic, nullptr);
    ASSERT_NE(products, nullptr) << written;
    const Multiplier multiplier = arithmetic.resolved_multiplier();
    const auto planes = static_cast<size_t>(products->planes);
    for (const float x : products->x.values()) {
      const size_t i = products->x.code(x);
      for (const float w : products->w.values()) {
        const size_t j = products->w.code(w);
        const float want =
            to_float(multiplier.multiply(Dyadic::from_float(x), Dyadic::from_float(w)));
        const float got = products->products[i * k_codes + j];
        ASSERT_TRUE(got == want || (got != got && want != want)) << written << ' ' << x << ' ' << w;
        uint32_t bits = 0;
        for (size_t plane = 0; plane < planes; ++plane) {
          const uint32_t byte = products->bytes[(i * planes + plane) * k_codes + j];
          bits |= byte << (8 * (4 - planes + plane));
        }
        ASSERT_EQ(bits, std::bit_cast<uint32_t>(got)) << written << ' ' << x << ' ' << w;
      }
    }
  }
}

TEST(Table, SumsAreTheSameByGatheringAndByPermuting) {
  std::mt19937 random(test::seed());
  constexpr int64_t k = 37;
  for (const char* written : k_arithmetics) {
    const auto products = products_of(parse_arithmetic(written), nullptr);
    ASSERT_NE(products, nullptr) << written;
    std::vector<uint8_t> x(k);
    std::vector<uint8_t> w(k_panels * k * k_panel + 64);
    for (uint8_t& code : x) code = static_cast<uint8_t>(random() % products->x.values().size());
    for (uint8_t& code : w) code = static_cast<uint8_t>(random() % products->w.values().size());
    for (int64_t panels = 1; panels <= k_panels; ++panels) {
      std::vector<float> want(panels * k_panel);
      for (int64_t i = 0; i < panels * k_panel; ++i) {
        for (int64_t step = 2; step < k; ++step) {
          const uint8_t code = w[i / k_panel * k * k_panel + step * k_panel + i % k_panel];
          want[i] += products->products[x[step] * k_codes + code];
        }
      }
      const auto check = [&](const char* how, auto sum) {
        std::vector<float> got(panels * k_panel);
        sum(*products, x.data(), w.data(), k * k_panel, panels, 2, k, got.data());
        for (size_t i = 0; i < want.size(); ++i) {
          ASSERT_TRUE(got[i] == want[i] || (got[i] != got[i] && want[i] != want[i]))
              << how << ' ' << written << ' ' << panels << ' ' << i;
        }
      };
      for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
        hwy::SetSupportedTargetsForTest(target);
        hwy::GetChosenTarget().Update(target);
        check(hwy::TargetName(target), sum_products);
        hwy::SetSupportedTargetsForTest(0);
      }
      hwy::GetChosenTarget().DeInit();
      if (has_byte_permutations()) check("permuted", sum_permuted);
    }
  }
}

// A multiplier of EvoApprox's kind: the two lowest bits of each product are gone, and 0 x 0 is 4.
std::string table_file() {
  const std::string path = testing::TempDir() + "napier_products.txt";
  std::ofstream file(path);
  for (int x = 0; x < k_codes; ++x) {
    for (int w = 0; w < k_codes; ++w) {
      const int product = static_cast<int8_t>(x) * static_cast<int8_t>(w);
      file << (x == 0 && w == 0 ? 4 : product / 4 * 4) << (w == k_codes - 1 ? "\n" : ",");
    }
  }
  return path;
}

// Integer and exact sums of looked-up products: the reference's bits, at the table's speed.
TEST(Table, SumsOfIntegersAndExactOnesAreTheReferences) {
  const std::string path = table_file();
  const std::string table = "/mul=table(file=" + path + ")";
  ThreadPool pool(2);
  std::mt19937 random(test::seed());
  for (const std::string& text : {
           "x=int8@row/w=int8@row" + table,
           "x=int8@row/w=int8@row" + table + "/acc=int32",
           "x=int8@row/w=int6@block16" + table + "/acc=int32",
           "x=int8@tensor/w=int8@row" + table + "/acc=int40:wrap",
           "x=int8@row/w=int8@row" + table + "/acc=int27",
           "x=int8@row/w=int8@row" + table + "/acc=exact",
           "x=int8@row/w=int5@row" + table + ":e4m3fn/acc=exact",
           std::string("x=e4m3fn@row/w=e2m1fn@block32(e8m0)/mul=realm/acc=exact"),
           std::string("x=int4@row/w=int8@row/mul=realm:int16:rtz/acc=int32"),
       }) {
    SCOPED_TRACE(text);
    const Arithmetic arithmetic = parse_arithmetic(text);
    for (const Shape& shape : {Shape{1, 1, 32}, Shape{5, 100, 288}}) {
      ASSERT_EQ(lower(arithmetic, shape).kernel, KernelKind::table)
          << lower(arithmetic, shape).reason;
      std::normal_distribution<float> normal;
      std::vector<float> x(static_cast<size_t>(shape.m * shape.k));
      std::vector<float> w(static_cast<size_t>(shape.n * shape.k));
      for (float& value : x) value = random() % 8 == 0 ? 0 : normal(random);
      for (float& value : w) value = random() % 8 == 0 ? 0 : normal(random);
      std::vector<float> want(static_cast<size_t>(shape.m * shape.n));
      reference_gemm(arithmetic, shape, x.data(), w.data(), want.data());
      const auto rows = [&](const std::vector<float>& of) {
        return
            [&of, k = shape.k](int64_t row, float* to) { std::copy_n(of.data() + row * k, k, to); };
      };
      for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
        hwy::SetSupportedTargetsForTest(target);
        hwy::GetChosenTarget().Update(target);
        const auto packed = pack_weights(arithmetic, shape.n, shape.k, rows(w), pool);
        EXPECT_EQ(packed->kernel(), KernelKind::table);
        std::vector<float> got(want.size());
        packed->multiply(shape.m, rows(x), got.data(), shape.n, pool);
        for (size_t i = 0; i < want.size(); ++i) {
          ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
              << hwy::TargetName(target) << ' ' << i << ": " << got[i] << ", not " << want[i];
        }
        hwy::SetSupportedTargetsForTest(0);
      }
      hwy::GetChosenTarget().DeInit();
    }
  }
  // Products of up to 2^14: int27 holds 4095 of them, int24 less than is worth a kernel.
  const auto kernel = [&](const char* sum, int64_t k) {
    const std::vector<float> row(static_cast<size_t>(k), 1.0f);
    return pack_weights(
               parse_arithmetic("x=int8/w=int8" + table + "/acc=" + sum), 1, k,
               [&](int64_t, float* to) { std::copy(row.begin(), row.end(), to); }, pool)
        ->kernel();
  };
  EXPECT_EQ(kernel("int27", 4095), KernelKind::table);
  EXPECT_EQ(kernel("int27", 4096), KernelKind::reference);
  EXPECT_EQ(kernel("int24", 32), KernelKind::reference);
  EXPECT_EQ(kernel("bf16", 32), KernelKind::reference);
  std::remove(path.c_str());
}

TEST(Table, SaysWhatHasNone) {
  const auto why_not = [](const char* written) {
    std::string why;
    EXPECT_EQ(products_of(parse_arithmetic(written), &why), nullptr) << written;
    return why;
  };
  EXPECT_EQ(why_not("x=bf16/w=e4m3fn"), "an operand has more than 8 bits");
  EXPECT_EQ(why_not("x=e4m3fn/w=e4m3fn/mul=exact:e4m3fn:sr"), "products are rounded at random");
  EXPECT_EQ(why_not("x=uint8@row(f32,minmax)/w=int8"), "its groups have different numbers");
}

}  // namespace
}  // namespace napier::table
