#include "analysis/capture.hpp"

#include <ggml.h>
#include <gguf.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <set>

#include "analysis/error_study.hpp"
#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// A tensor's rows as the file has them, by GGUF's own reader.
std::set<std::vector<float>> rows_of_file(const std::string& path, const char* name) {
  ggml_context* tensors = nullptr;
  gguf_context* file = gguf_init_from_file(path.c_str(), {.no_alloc = false, .ctx = &tensors});
  const ggml_tensor* tensor = ggml_get_tensor(tensors, name);
  std::set<std::vector<float>> rows;
  const auto* data = static_cast<const float*>(tensor->data);
  for (int64_t i = 0; i < tensor->ne[1]; ++i, data += tensor->ne[0]) {
    rows.insert(std::vector<float>(data, data + tensor->ne[0]));
  }
  gguf_free(file);
  ggml_free(tensors);
  return rows;
}

TEST(Capture, TakesTheRowsThatTheModelMultiplies) {
  NAPIER_NEED_SHARED("data/models/stories260K.gguf");
  NAPIER_NEED_SHARED("data/text/tinystories.txt");
  const std::string path = test::shared_file("data/models/stories260K.gguf");
  std::ifstream file(test::shared_file("data/text/tinystories.txt"));
  std::string text(4000, ' ');
  file.read(text.data(), 4000);
  const Model model(path);
  CaptureOptions options;
  options.context.context = 128;
  options.chunks = 2;
  options.blocks = 6;
  const std::vector<Token> tokens = model.tokenise(text, true, false);
  const std::vector<CapturedMatmul> captured = capture_operands(model, tokens, options);

  std::set<std::string> names;
  int checked = 0;
  for (const CapturedMatmul& matmul : captured) {
    names.insert(matmul.name);
    ASSERT_EQ(matmul.blocks.size(), 6u) << matmul.name;
    for (const OperandBlock& block : matmul.blocks) {
      ASSERT_EQ(block.x_rows(), 4);
      if (matmul.name == "blk.2.ffn_up.weight") {
        const auto rows = rows_of_file(path, "blk.2.ffn_up.weight");
        for (int64_t j = 0; j < block.w_rows(); ++j) {
          const auto row = block.w_row(j);
          EXPECT_TRUE(rows.count({row.begin(), row.end()}));
          ++checked;
        }
      }
      if (!matmul.name.starts_with("kqv-")) continue;
      for (int64_t i = 0; i < block.x_rows(); ++i) {  // attention's weights of a token
        double sum = 0;
        for (const float value : block.x_row(i)) {
          EXPECT_GE(value, 0);
          sum += value;
        }
        EXPECT_NEAR(sum, 1, 1e-5);
        ++checked;
      }
    }
  }
  EXPECT_EQ(names.size(), 5 * 9 + 1u);  // five layers of nine, and the output
  EXPECT_EQ(checked, 6 * 16 + 5 * 6 * 4);

  const auto again = capture_operands(model, tokens, options);
  EXPECT_EQ(again.back().blocks.back().x, captured.back().blocks.back().x);
  const auto roles = sources_of(captured, true);
  EXPECT_EQ(roles.size(), 10u);
  EXPECT_EQ(roles.front().blocks.size(), 5 * 6u);
  options.chunks = 1000;
  EXPECT_THROW(capture_operands(model, tokens, options), Error);
}

}  // namespace
}  // namespace napier
