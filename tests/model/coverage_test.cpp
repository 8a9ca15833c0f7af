#include "model/coverage.hpp"

#include <ggml.h>

#include <memory>
#include <string>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(Coverage, RolesAreNamesWithoutTheirLayer) {
  EXPECT_EQ(role_of("blk.12.attn_q.weight"), "attn_q");
  EXPECT_EQ(role_of("blk.0.ffn_gate_exps.weight"), "ffn_gate_exps");
  EXPECT_EQ(role_of("output.weight"), "output");
  EXPECT_EQ(role_of("kq-31"), "kq");
  EXPECT_EQ(role_of("node_17"), "node");
  EXPECT_EQ(role_of("blk.x"), "blk.x");
  EXPECT_EQ(role_of(""), "");
  EXPECT_EQ(layer_of("blk.12.attn_q.weight"), 12);
  EXPECT_EQ(layer_of("kqv-3"), 3);
  for (const char* none : {"output.weight", "node_17", "blk.x", "", "blk.99999999999.a.weight"}) {
    EXPECT_EQ(layer_of(none), std::nullopt) << none;
  }
}

// A graph of one product, [4 x 3] by [4 x 2], named p.
class CoverageTest : public testing::Test {
 protected:
  CoverageTest() : context_(ggml_init({1 << 18, nullptr, false})) {
    ggml_tensor* a = ggml_new_tensor_2d(context_, GGML_TYPE_F32, 4, 3);
    ggml_tensor* b = ggml_new_tensor_2d(context_, GGML_TYPE_F32, 4, 2);
    product_ = ggml_mul_mat(context_, a, b);
    ggml_set_name(product_, "p");
    ggml_tensor* scaled = ggml_scale(context_, product_, 2);
    ggml_cgraph* graph = ggml_new_graph(context_);
    ggml_build_forward_expand(graph, scaled);
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
      GraphCensus::on_node(ggml_graph_node(graph, i), true, &census_);
    }
  }
  ~CoverageTest() override { ggml_free(context_); }

  ggml_context* context_;
  ggml_tensor* product_;
  GraphCensus census_;
};

TEST_F(CoverageTest, CountsMultiplications) {
  ASSERT_TRUE(census_.matmuls().contains("p"));
  EXPECT_EQ(census_.matmuls().at("p").multiplications, 4u * 3 * 2);
  EXPECT_EQ(census_.elementwise().at("SCALE"), 6u);
  const ModelCoverage coverage =
      make_coverage(parse_plan("p -> bf16"), census_, {{"p", {1, 24, {}}}});
  EXPECT_EQ(coverage.share(), 1);
  EXPECT_EQ(coverage.elementwise_share(), 6.0 / 30);
  EXPECT_EQ(make_coverage(Plan{}, census_, {}).share(), 0);
}

TEST_F(CoverageTest, ABypassIsAnErrorThatNamesTheMatmul) {
  for (const auto& ran : {std::map<std::string, MatmulCount>{}, {{"p", {1, 23, {}}}}}) {
    try {
      make_coverage(parse_plan("p -> bf16"), census_, ran);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::environment);
      EXPECT_NE(std::string(error.what()).find("'p' bypassed"), std::string::npos) << error.what();
    }
  }
}

TEST_F(CoverageTest, ARuleThatDecidesNothingIsAnError) {
  EXPECT_NO_THROW(check_every_rule_decides(parse_plan("* -> bf16"), census_));
  EXPECT_THROW(check_every_rule_decides(parse_plan("q -> bf16"), census_), Error);
  EXPECT_THROW(check_every_rule_decides(parse_plan("p -> bf16; * -> f32"), census_), Error);
}

}  // namespace
}  // namespace napier
