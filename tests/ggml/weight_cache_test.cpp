#include "ggml/weight_cache.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace napier {
namespace {

class Sized : public PackedWeights {
 public:
  explicit Sized(size_t bytes) : bytes_(bytes) {}
  const Arithmetic& arithmetic() const override { return arithmetic_; }
  KernelKind kernel() const override { return KernelKind::reference; }
  int64_t n() const override { return 1; }
  int64_t k() const override { return 1; }
  size_t bytes() const override { return bytes_; }
  void multiply(int64_t, const RowReader&, float*, int64_t, ThreadPool&) const override {}

 private:
  Arithmetic arithmetic_;
  size_t bytes_;
};

class WeightCacheTest : public testing::Test {
 protected:
  // Rows of 4 x 10 bytes at the given address; returns whether it had to be packed.
  bool ask(uint64_t buffer, uintptr_t address, size_t bytes = 10, size_t budget = 25) {
    bool packed = false;
    PackedKey key;
    key.buffer = buffer;
    key.data = reinterpret_cast<const void*>(address);
    key.n = 4;
    key.k = 5;
    key.row_stride = 10;
    key.element_stride = 2;
    const auto got = cache.get(key, budget, [&] {
      packed = true;
      return std::make_shared<Sized>(bytes);
    });
    EXPECT_EQ(got->bytes(), bytes);
    return packed;
  }

  WeightCache cache;
};

TEST_F(WeightCacheTest, PacksOnce) {
  EXPECT_TRUE(ask(1, 1000));
  EXPECT_FALSE(ask(1, 1000));
  EXPECT_TRUE(ask(2, 1000));  // the same address in a later buffer
  EXPECT_EQ(cache.entries(), 2u);
  EXPECT_EQ(cache.bytes(), 20u);
}

TEST_F(WeightCacheTest, WhatExceedsTheBudgetIsNotKept) {
  EXPECT_TRUE(ask(1, 1000, 26));
  EXPECT_TRUE(ask(1, 1000, 26));
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST_F(WeightCacheTest, TooManyInTurnKeepSome) {
  for (int round = 0; round < 3; round++) {
    int packed = 0;
    for (uintptr_t address = 1000; address < 5000; address += 1000) packed += ask(1, address);
    EXPECT_EQ(packed, round == 0 ? 4 : 2) << "round " << round;
  }
  EXPECT_EQ(cache.bytes(), 20u);
}

TEST_F(WeightCacheTest, WhatIsNoLongerUsedGivesWay) {
  ask(1, 1000);
  ask(1, 2000);
  for (int round = 0; round < 2; round++) {
    ask(2, 1000);
    ask(2, 2000);
  }
  EXPECT_FALSE(ask(2, 1000));
  EXPECT_FALSE(ask(2, 2000));
  EXPECT_EQ(cache.bytes(), 20u);
}

TEST_F(WeightCacheTest, InvalidatedByBufferAndByRange) {
  const auto at = [](uintptr_t address) { return reinterpret_cast<const void*>(address); };
  ask(1, 1000);
  ask(2, 1000);
  cache.invalidate(1);
  EXPECT_TRUE(ask(1, 1000));
  EXPECT_FALSE(ask(2, 1000));
  cache.invalidate(1, at(900), at(1000));  // ends where the matrix begins
  EXPECT_FALSE(ask(1, 1000));
  cache.invalidate(1, at(1039), at(1040));  // its last byte
  EXPECT_TRUE(ask(1, 1000));
  EXPECT_FALSE(ask(2, 1000));
  cache.clear();
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST_F(WeightCacheTest, WhatIsWrittenWhileItIsPackedIsNotKept) {
  PackedKey key;
  key.buffer = 1;
  cache.get(key, 100, [&] {
    cache.invalidate(1);
    return std::make_shared<Sized>(10);
  });
  EXPECT_EQ(cache.entries(), 0u);
}

}  // namespace
}  // namespace napier
