#include "analysis/operands.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include "support/test_support.hpp"

namespace napier {
namespace {

// Numbers that say where they stood: block, row and element.
std::vector<OperandBlock> numbered_blocks() {
  std::vector<OperandBlock> blocks(5);
  for (int b = 0; b < 5; ++b) {
    blocks[static_cast<size_t>(b)].k = b == 4 ? 10 : 100;
    for (int row = 0; row < 3; ++row) {
      for (int k = 0; k < blocks[static_cast<size_t>(b)].k; ++k) {
        const auto value = static_cast<float>(b * 10000 + row * 1000 + k);
        blocks[static_cast<size_t>(b)].x.push_back(value);
        if (row < 2) blocks[static_cast<size_t>(b)].w.push_back(-value);
      }
    }
  }
  return blocks;
}

TEST(Operands, WindowsArePartsOfRowsOfEveryBlock) {
  const auto blocks = numbered_blocks();
  const auto windows = draw_windows(blocks, 50, 32, test::seed());
  ASSERT_EQ(windows.size(), 50u);
  std::set<int> rows;
  for (size_t i = 0; i < windows.size(); i += 5) {
    std::set<int> seen;
    for (size_t j = i; j < i + 5; ++j) {
      const OperandBlock& window = windows[j];
      const int block = static_cast<int>(window.x[0]) / 10000;
      seen.insert(block);
      rows.insert(static_cast<int>(window.x[0]) / 1000 % 10);
      ASSERT_EQ(window.k, block == 4 ? 10 : 32);
      ASSERT_EQ(window.x_rows(), 1);
      ASSERT_EQ(window.w_rows(), 1);
      for (size_t k = 0; k < window.x.size(); ++k) {  // the same elements of both, in order
        EXPECT_EQ(window.x[k], window.x[0] + static_cast<float>(k));
        EXPECT_EQ(static_cast<int>(window.x[k]) % 1000, static_cast<int>(-window.w[k]) % 1000);
      }
      EXPECT_EQ(static_cast<int>(-window.w[0]) / 10000, block);
    }
    EXPECT_EQ(seen.size(), 5u);  // each block once before any comes again
  }
  EXPECT_EQ(rows.size(), 3u);
  const auto again = draw_windows(blocks, 50, 32, test::seed());
  EXPECT_TRUE(std::equal(again.begin(), again.end(), windows.begin(),
                         [](const auto& a, const auto& b) { return a.x == b.x && a.w == b.w; }));
}

}  // namespace
}  // namespace napier
