// Small graphs through the backend, against reference_gemm on operands that the test keeps itself.
#include "ggml/backend.hpp"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ggml/session.hpp"
#include "ggml/tensors.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

using Floats = std::vector<float>;

ggml_backend_dev_t device(const char* name) {
  register_ggml_backend();
  return ggml_backend_dev_by_name(name);
}

std::shared_ptr<PlanRun> use_plan(std::string_view text) {
  auto run = std::make_shared<PlanRun>(parse_plan(text));
  set_active_plan(run);
  clear_backend_error();
  return run;
}

Floats random_floats(size_t count, uint64_t salt = 0) {
  std::mt19937_64 random(test::seed() + salt);
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// What a tensor of a type holds of these values, and its bytes.
struct Stored {
  Floats values;
  std::vector<char> bytes;
};

Stored store(ggml_type type, const Floats& values, int64_t row) {
  const int64_t rows = static_cast<int64_t>(values.size()) / row;
  Stored stored;
  stored.bytes.resize(ggml_row_size(type, row) * rows);
  if (type == GGML_TYPE_F32) {
    std::memcpy(stored.bytes.data(), values.data(), stored.bytes.size());
    stored.values = values;
    return stored;
  }
  stored.values.resize(values.size());
  ggml_quantize_chunk(type, values.data(), stored.bytes.data(), 0, rows, row, nullptr);
  ggml_get_type_traits(type)->to_float(stored.bytes.data(), stored.values.data(),
                                       static_cast<int64_t>(values.size()));
  return stored;
}

// A graph computed by the NAPIER backend alone.
class Graph {
 public:
  Graph() : context_(ggml_init({1 << 20, nullptr, true})) {
    backend_.reset(ggml_backend_dev_init(device("NAPIER"), nullptr));
  }

  ggml_context* context() { return context_.get(); }
  ggml_backend_t backend() { return backend_.get(); }

  void allocate() { buffer_.reset(ggml_backend_alloc_ctx_tensors(context_.get(), backend_.get())); }

  ggml_status compute(ggml_tensor* result) {
    if (!graph_) {
      graph_ = ggml_new_graph(context_.get());
      ggml_build_forward_expand(graph_, result);
    }
    return ggml_backend_graph_compute(backend_.get(), graph_);
  }

 private:
  ggml_context_ptr context_;
  ggml_backend_ptr backend_;
  ggml_backend_buffer_ptr buffer_;
  ggml_cgraph* graph_ = nullptr;
};

Floats read(const ggml_tensor* tensor) {
  Floats values(ggml_nelements(tensor));
  ggml_backend_tensor_get(tensor, values.data(), 0, values.size() * sizeof(float));
  return values;
}

Floats reference(std::string_view arithmetic, int64_t m, int64_t n, int64_t k, const float* x,
                 const float* w) {
  Floats out(m * n);
  reference_gemm(parse_arithmetic(arithmetic), {m, n, k}, x, w, out.data());
  return out;
}

// f32 sums follow an order of their own: a bound relative to the size of what is summed.
void expect_close(const float* got, const Floats& expected, const std::string& what) {
  float size = 0;
  for (const float value : expected) size = std::max(size, std::fabs(value));
  for (size_t i = 0; i < expected.size(); i++) {
    ASSERT_NEAR(got[i], expected[i], 2e-6f * size) << what << ", element " << i;
  }
}

struct Case {
  ggml_type type_w = GGML_TYPE_F32;
  ggml_type type_x = GGML_TYPE_F32;
  int64_t m = 3, n = 5, k = 32;
  int64_t w2 = 1, w3 = 1, x2 = 1, x3 = 1;
  bool permuted = false;  // operands stored as [k, batch, rows], as llama.cpp's K and Q are
  bool apart = false;     // w stored as [batch, k, rows]: elements of a row are not adjacent
};

// Logical w[k, n, w2, w3] and x[k, m, x2, x3] are drawn dense and stored as the case says.
ggml_tensor* operand(Graph& graph, ggml_type type, std::array<int64_t, 4> ne, bool permuted,
                     bool apart, ggml_tensor** stored) {
  if (permuted) {
    *stored = ggml_new_tensor_4d(graph.context(), type, ne[0], ne[2], ne[1], ne[3]);
    return ggml_permute(graph.context(), *stored, 0, 2, 1, 3);
  }
  if (apart) {
    *stored = ggml_new_tensor_4d(graph.context(), type, ne[2], ne[0], ne[1], ne[3]);
    return ggml_permute(graph.context(), *stored, 2, 0, 1, 3);
  }
  *stored = ggml_new_tensor(graph.context(), type, 4, ne.data());
  return *stored;
}

// Fills the storage; returns the values in logical order.
Floats fill(ggml_tensor* stored, std::array<int64_t, 4> ne, bool permuted, bool apart,
            uint64_t salt) {
  const Floats drawn = random_floats(ggml_nelements(stored), salt);
  const Stored data = store(stored->type, drawn, stored->ne[0]);
  ggml_backend_tensor_set(stored, data.bytes.data(), 0, data.bytes.size());
  Floats logical;
  for (int64_t i3 = 0; i3 < ne[3]; i3++) {
    for (int64_t i2 = 0; i2 < ne[2]; i2++) {
      for (int64_t i1 = 0; i1 < ne[1]; i1++) {
        for (int64_t i0 = 0; i0 < ne[0]; i0++) {
          int64_t at = i0 + ne[0] * (i1 + ne[1] * (i2 + ne[2] * i3));
          if (permuted) at = i0 + ne[0] * (i2 + ne[2] * (i1 + ne[1] * i3));
          if (apart) at = i2 + ne[2] * (i0 + ne[0] * (i1 + ne[1] * i3));
          logical.push_back(data.values[at]);
        }
      }
    }
  }
  return logical;
}

void check_mul_mat(const Case& c, std::string_view arithmetic) {
  const auto run = use_plan(arithmetic);
  Graph graph;
  const std::array<int64_t, 4> ne_w{c.k, c.n, c.w2, c.w3}, ne_x{c.k, c.m, c.x2, c.x3};
  ggml_tensor *stored_w, *stored_x;
  ggml_tensor* w = operand(graph, c.type_w, ne_w, c.permuted, c.apart, &stored_w);
  ggml_tensor* x = operand(graph, c.type_x, ne_x, c.permuted, false, &stored_x);
  ggml_tensor* out = ggml_mul_mat(graph.context(), w, x);
  graph.allocate();
  const Floats values_w = fill(stored_w, ne_w, c.permuted, c.apart, 1);
  const Floats values_x = fill(stored_x, ne_x, c.permuted, false, 2);
  ASSERT_TRUE(ggml_backend_supports_op(graph.backend(), out));
  ASSERT_EQ(graph.compute(out), GGML_STATUS_SUCCESS) << last_backend_error();

  const Floats got = read(out);
  for (int64_t i3 = 0; i3 < c.x3; i3++) {
    for (int64_t i2 = 0; i2 < c.x2; i2++) {
      const int64_t w2 = i2 / (c.x2 / c.w2), w3 = i3 / (c.x3 / c.w3);
      const Floats expected =
          reference(arithmetic, c.m, c.n, c.k, values_x.data() + (i3 * c.x2 + i2) * c.m * c.k,
                    values_w.data() + (w3 * c.w2 + w2) * c.n * c.k);
      expect_close(got.data() + (i3 * c.x2 + i2) * c.m * c.n, expected,
                   std::string(arithmetic) + " " + ggml_type_name(c.type_w) + " plane " +
                       std::to_string(i3) + "," + std::to_string(i2));
    }
  }
  const Coverage coverage = run->coverage();
  ASSERT_EQ(coverage.entries.size(), 1u);
  EXPECT_EQ(coverage.multiplications(), static_cast<uint64_t>(c.m * c.n * c.k * c.x2 * c.x3));
}

TEST(MulMat, EveryLayoutOfOperands) {
  for (const char* arithmetic : {"f32", "lmul-m4", "mul=lmul(reading=formula)/x=e5m2/w=e4m3"}) {
    check_mul_mat({}, arithmetic);
    check_mul_mat({.m = 1, .n = 17, .k = 33}, arithmetic);
    check_mul_mat({.w2 = 2, .x2 = 6}, arithmetic);                            // grouped queries
    check_mul_mat({.w2 = 2, .w3 = 2, .x2 = 4, .x3 = 6}, arithmetic);          // and sequences
    check_mul_mat({.m = 1, .w2 = 2, .x2 = 6, .permuted = true}, arithmetic);  // kq
    check_mul_mat({.w2 = 2, .x2 = 6, .x3 = 2, .permuted = true}, arithmetic);
    check_mul_mat({.w2 = 2, .x2 = 6, .apart = true}, arithmetic);
    check_mul_mat({.type_w = GGML_TYPE_F16, .w2 = 2, .x2 = 6, .apart = true}, arithmetic);
  }
}

TEST(MulMat, EveryTypeOfWeights) {
  for (int type = 0; type < GGML_TYPE_COUNT; type++) {
    const auto w = static_cast<ggml_type>(type);
    if (!ggml_get_type_traits(w)->to_float || ggml_quantize_requires_imatrix(w)) continue;
    // The search of these takes seconds.
    if (std::string_view(ggml_type_name(w)).starts_with("iq") && !test::full_tier()) continue;
    if (w == GGML_TYPE_Q8_1 || w == GGML_TYPE_Q8_K) continue;  // activations only: no quantiser
    for (const char* arithmetic : {"f32", "lmul-m4"}) {
      check_mul_mat({.type_w = w, .k = 256, .w2 = 2, .x2 = 2}, arithmetic);
    }
  }
  check_mul_mat({.type_x = GGML_TYPE_F16}, "f32");
}

TEST(MulMatId, RowsGoToTheirExperts) {
  for (const int64_t broadcast : {0, 1}) {
    use_plan("lmul-m4");
    Graph graph;
    const int64_t k = 32, n = 6, experts = 4, used = 2, tokens = 5;
    ggml_tensor* w = ggml_new_tensor_3d(graph.context(), GGML_TYPE_F32, k, n, experts);
    ggml_tensor* x =
        ggml_new_tensor_3d(graph.context(), GGML_TYPE_F32, k, broadcast ? 1 : used, tokens);
    ggml_tensor* ids = ggml_new_tensor_2d(graph.context(), GGML_TYPE_I32, used, tokens);
    ggml_tensor* out = ggml_mul_mat_id(graph.context(), w, x, ids);
    graph.allocate();
    const Floats values_w = fill(w, {k, n, experts, 1}, false, false, 1);
    const Floats values_x = fill(x, {k, x->ne[1], tokens, 1}, false, false, 2);
    const std::vector<int32_t> chosen{0, 3, 3, 1, 1, 0, 0, 3, 3, 1};  // expert 2 by nobody
    ggml_backend_tensor_set(ids, chosen.data(), 0, chosen.size() * sizeof(int32_t));
    ASSERT_EQ(graph.compute(out), GGML_STATUS_SUCCESS) << last_backend_error();
    const Floats got = read(out);
    for (int64_t token = 0; token < tokens; token++) {
      for (int64_t slot = 0; slot < used; slot++) {
        const float* row = values_x.data() + (token * x->ne[1] + slot % x->ne[1]) * k;
        const int32_t expert = chosen[token * used + slot];
        expect_close(got.data() + (token * used + slot) * n,
                     reference("lmul-m4", 1, n, k, row, values_w.data() + expert * n * k),
                     "token " + std::to_string(token));
      }
    }
  }
}

TEST(MulMat, SameBitsWithAnyNumberOfThreads) {
  use_plan("lmul-m4");
  Floats first;
  for (const int threads : {1, 2, 3}) {
    Graph graph;
    ggml_tensor* w = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, 96, 200);
    ggml_tensor* x = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, 96, 70);
    ggml_tensor* out = ggml_mul_mat(graph.context(), w, x);
    graph.allocate();
    fill(w, {96, 200, 1, 1}, false, false, 1);
    fill(x, {96, 70, 1, 1}, false, false, 2);
    const auto set_threads =
        reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
            ggml_backend_registration(), "ggml_backend_set_n_threads"));
    set_threads(graph.backend(), threads);
    ASSERT_EQ(graph.compute(out), GGML_STATUS_SUCCESS);
    if (first.empty()) first = read(out);
    EXPECT_EQ(first, read(out)) << threads << " threads";
  }
}

// ---- weights: kept packed, and forgotten when they are written ----

class Weights : public testing::Test {
 protected:
  static constexpr int64_t k = 32, n = 8, m = 2;

  // A weight at `place` (of the weights' buffer type, or the CPU's) and a multiplication with it.
  void build(bool ours = true) {
    w = ggml_new_tensor_2d(weights.get(), GGML_TYPE_F32, k, n);
    ggml_set_name(w, "blk.0.attn_q.weight");
    buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(
        weights.get(), ours ? backend_buffer_type() : ggml_backend_cpu_buffer_type()));
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    multiply();
  }

  void multiply() {
    x = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, k, m);
    out = ggml_mul_mat(graph.context(), w, x);
    graph.allocate();
    values_x = fill(x, {k, m, 1, 1}, false, false, 9);
  }

  void set(const Floats& values) {
    ggml_backend_tensor_set(w, values.data(), 0, values.size() * sizeof(float));
  }

  void expect(const Floats& values_w, std::string_view arithmetic = "lmul-m4") {
    ASSERT_EQ(graph.compute(out), GGML_STATUS_SUCCESS) << last_backend_error();
    expect_close(read(out).data(), reference(arithmetic, m, n, k, values_x.data(), values_w.data()),
                 std::string(arithmetic));
  }

  const Floats a = random_floats(n * k, 10), b = random_floats(n * k, 11);
  ggml_context_ptr weights{ggml_init({1 << 16, nullptr, true})};
  ggml_backend_buffer_ptr buffer;
  Graph graph;
  ggml_tensor *w = nullptr, *x = nullptr, *out = nullptr;
  Floats values_x;

  void TearDown() override { configure_backend({}); }
};

TEST_F(Weights, AreNamedAndKept) {
  const auto run = use_plan("blk.*->lmul-m4");
  build();
  set(a);
  expect(a);
  expect(a);
  EXPECT_EQ(packed_weights_in_use().entries, 1u);
  const Coverage coverage = run->coverage();
  ASSERT_EQ(coverage.entries.size(), 1u);
  EXPECT_EQ(coverage.entries[0].name, "blk.0.attn_q.weight");
  EXPECT_EQ(coverage.entries[0].calls, 2u);
  EXPECT_EQ(coverage.multiplications(), 2u * m * n * k);
  buffer.reset();
  EXPECT_EQ(packed_weights_in_use().entries, 0u);
}

TEST_F(Weights, AreForgottenWhenWritten) {
  use_plan("lmul-m4");
  build();
  set(a);
  expect(a);
  set(b);
  expect(b);
  ggml_backend_tensor_memset(w, 0, 0, ggml_nbytes(w));
  expect(Floats(n * k));
  set(a);
  expect(a);
  ggml_backend_buffer_clear(buffer.get(), 0);
  expect(Floats(n * k));
  float last = 7;
  ggml_backend_tensor_set(w, &last, ggml_nbytes(w) - sizeof last, sizeof last);
  Floats expected(n * k);
  expected.back() = last;
  expect(expected);
}

TEST_F(Weights, OfAnotherModelAtTheSameAddressAreOthers) {
  use_plan("lmul-m4");
  Floats memory = a;  // stands for a mapped file
  for (const Floats& values : {a, b}) {
    memory = values;
    ggml_context_ptr model(ggml_init({1 << 16, nullptr, true}));
    Graph once;
    ggml_backend_buffer_ptr mapped(ggml_backend_dev_buffer_from_host_ptr(
        device("NAPIER_WEIGHTS"), memory.data(), memory.size() * sizeof(float), 0));
    ggml_backend_buffer_set_usage(mapped.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    ggml_tensor* weight = ggml_new_tensor_2d(model.get(), GGML_TYPE_F32, k, n);
    ggml_set_name(weight, "blk.0.attn_q.weight");
    ggml_backend_tensor_alloc(mapped.get(), weight, memory.data());
    ggml_tensor* input = ggml_new_tensor_2d(once.context(), GGML_TYPE_F32, k, m);
    ggml_tensor* result = ggml_mul_mat(once.context(), weight, input);
    once.allocate();
    const Floats given = fill(input, {k, m, 1, 1}, false, false, 9);
    ASSERT_EQ(once.compute(result), GGML_STATUS_SUCCESS);
    expect_close(read(result).data(), reference("lmul-m4", m, n, k, given.data(), values.data()),
                 "model");
    EXPECT_EQ(packed_weights_in_use().entries, 1u);
  }
  EXPECT_EQ(packed_weights_in_use().entries, 0u);
}

TEST_F(Weights, OfTwoArithmeticsAtOnce) {
  build();
  set(a);
  for (int round = 0; round < 2; round++) {
    for (const char* arithmetic : {"lmul-m4", "f32", "lmul-m2"}) {
      use_plan(arithmetic);
      expect(a, arithmetic);
    }
  }
  EXPECT_EQ(packed_weights_in_use().entries, 3u);
}

TEST_F(Weights, BeyondTheBudgetStillRun) {
  BackendSettings settings;
  settings.cache_bytes = 1;
  configure_backend(settings);
  use_plan("lmul-m4");
  build();
  set(a);
  expect(a);
  expect(a);
  EXPECT_EQ(packed_weights_in_use().bytes, 0u);
}

// A matrix that could not be kept is packed part by part, of 64 rows here.
TEST(LargeWeights, BeyondTheBudgetHaveTheSameBits) {
  constexpr int64_t columns = 1 << 16, rows = 130, tokens = 2;
  Floats memory = random_floats(columns * rows, 12);
  for (const char* arithmetic : {"lmul-m4", "x=int8@row/w=int8@tensor"}) {
    use_plan(arithmetic);
    ggml_context_ptr model(ggml_init({1 << 16, nullptr, true}));
    Graph graph;
    ggml_backend_buffer_ptr mapped(ggml_backend_dev_buffer_from_host_ptr(
        device("NAPIER_WEIGHTS"), memory.data(), memory.size() * sizeof(float), 0));
    ggml_backend_buffer_set_usage(mapped.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    ggml_tensor* weight = ggml_new_tensor_2d(model.get(), GGML_TYPE_F32, columns, rows);
    ggml_set_name(weight, "output.weight");
    ggml_backend_tensor_alloc(mapped.get(), weight, memory.data());
    ggml_tensor* input = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, columns, tokens);
    ggml_tensor* result = ggml_mul_mat(graph.context(), weight, input);
    graph.allocate();
    fill(input, {columns, tokens, 1, 1}, false, false, 9);
    ASSERT_EQ(graph.compute(result), GGML_STATUS_SUCCESS) << last_backend_error();
    EXPECT_EQ(packed_weights_in_use().entries, 1u);
    const Floats whole = read(result);
    mapped.reset();

    BackendSettings settings;
    settings.cache_bytes = 1 << 20;
    configure_backend(settings);
    mapped.reset(ggml_backend_dev_buffer_from_host_ptr(device("NAPIER_WEIGHTS"), memory.data(),
                                                       memory.size() * sizeof(float), 0));
    ggml_backend_buffer_set_usage(mapped.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    weight->buffer = nullptr;
    weight->data = nullptr;
    ggml_backend_tensor_alloc(mapped.get(), weight, memory.data());
    ASSERT_EQ(graph.compute(result), GGML_STATUS_SUCCESS) << last_backend_error();
    configure_backend({});
    EXPECT_EQ(packed_weights_in_use().entries, 0u);
    EXPECT_EQ(read(result), whole) << arithmetic;
  }
}

// Nothing tells us when others write to their own buffers.
TEST_F(Weights, InOtherBuffersAreReadEachTime) {
  use_plan("lmul-m4");
  build(false);
  set(a);
  expect(a);
  set(b);
  expect(b);
  EXPECT_EQ(packed_weights_in_use().entries, 0u);
}

TEST_F(Weights, InTrainingAreReadEachTime) {
  const auto run = use_plan("blk.*->lmul-m4");
  build();
  w->flags |= GGML_TENSOR_FLAG_PARAM;
  std::memcpy(w->data, a.data(), ggml_nbytes(w));
  expect(a);
  std::memcpy(w->data, b.data(), ggml_nbytes(w));
  expect(b);
  EXPECT_EQ(packed_weights_in_use().entries, 0u);
}

TEST_F(Weights, ThatAreNotFiniteAreNamed) {
  use_plan("lmul-m4");
  build();
  Floats values = a;
  values[3 * k + 5] = std::numeric_limits<float>::quiet_NaN();
  set(values);
  EXPECT_EQ(graph.compute(out), GGML_STATUS_FAILED);
  EXPECT_EQ(last_backend_error(),
            "blk.0.attn_q.weight: weight 5 of row 3 is not a finite number: the model file is "
            "damaged");
}

// ---- what goes wrong is said, not done ----

TEST(Errors, BlockThatDoesNotDivideTheRow) {
  use_plan("x=e4m3@block32/w=e4m3@block32");
  Graph graph;
  ggml_tensor* w = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, 40, 4);
  ggml_tensor* x = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, 40, 2);
  ggml_tensor* out = ggml_mul_mat(graph.context(), w, x);
  ggml_set_name(out, "kq-3");
  graph.allocate();
  ggml_backend_tensor_memset(w, 0, 0, ggml_nbytes(w));
  ggml_backend_tensor_memset(x, 0, 0, ggml_nbytes(x));
  std::string told;
  BackendSettings settings;
  settings.on_error = [&](const std::string& sentence) { told = sentence; };
  configure_backend(settings);
  EXPECT_EQ(graph.compute(out), GGML_STATUS_FAILED);
  configure_backend({});
  EXPECT_EQ(last_backend_error().rfind("kq-3: ", 0), 0u) << last_backend_error();
  EXPECT_EQ(told, last_backend_error());
}

TEST(Errors, PlanChangedUnderTheGraph) {
  use_plan("f32");
  Graph graph;
  ggml_tensor* w = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, 32, 4);
  ggml_tensor* out = ggml_mul_mat(graph.context(), w, w);
  ggml_set_name(out, "kq-3");
  graph.allocate();
  ggml_backend_tensor_memset(w, 0, 0, ggml_nbytes(w));
  EXPECT_EQ(graph.compute(out), GGML_STATUS_SUCCESS);
  use_plan("kqv*->f32");
  EXPECT_FALSE(ggml_backend_supports_op(graph.backend(), out));
  EXPECT_EQ(graph.compute(out), GGML_STATUS_FAILED);
  EXPECT_NE(last_backend_error().find("kq-3: the active plan does not name it"), std::string::npos);
  set_active_plan(nullptr);
  EXPECT_EQ(graph.compute(out), GGML_STATUS_FAILED);
}

TEST(Errors, ForcedFlashAttention) {
  Graph graph;
  ggml_context* context = graph.context();
  ggml_tensor* cache = ggml_new_tensor_4d(context, GGML_TYPE_F16, 64, 32, 2, 1);
  ggml_set_name(cache, "cache_k_l4");
  ggml_tensor* q = ggml_new_tensor_4d(context, GGML_TYPE_F32, 64, 1, 2, 1);
  ggml_tensor* k = ggml_view_tensor(context, cache);
  ggml_tensor* out = ggml_flash_attn_ext(context, q, k, k, nullptr, 1, 0, 0);
  graph.allocate();
  use_plan("kq-3->f32;blk.*->f32");
  EXPECT_FALSE(ggml_backend_supports_op(graph.backend(), out));
  use_plan("kqv-4->f32");
  EXPECT_TRUE(ggml_backend_supports_op(graph.backend(), out));
  EXPECT_EQ(graph.compute(out), GGML_STATUS_FAILED);
  EXPECT_NE(last_backend_error().find("-fa off"), std::string::npos);
}

// ---- with ggml's scheduler, as llama.cpp uses it ----

class Scheduled : public testing::Test {
 protected:
  Scheduled() : context(ggml_init({1 << 20, nullptr, true})) {
    for (ggml_backend_dev_t dev : {device("NAPIER"), device("NAPIER_WEIGHTS"),
                                   ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)}) {
      backends.emplace_back(ggml_backend_dev_init(dev, nullptr));
      pointers.push_back(backends.back().get());
    }
    scheduler.reset(ggml_backend_sched_new(pointers.data(), nullptr, 3, 64, false, false));
  }

  // kq-0 = k q, between two additions, and then the product with a weight.
  void build() {
    k = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 32, 8);
    q = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 32, 4);
    w = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 8, 3);
    ggml_set_name(w, "output.weight");
    buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), backend_buffer_type()));
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    ggml_backend_buffer_clear(buffer.get(), 0);
    kq = ggml_mul_mat(context.get(), ggml_scale(context.get(), k, 2),
                      ggml_scale(context.get(), q, 3));
    ggml_set_name(kq, "kq-0");
    out = ggml_mul_mat(context.get(), w, ggml_scale(context.get(), kq, 2));
    graph = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, out);
  }

  ggml_status compute() { return ggml_backend_sched_graph_compute(scheduler.get(), graph); }

  ggml_context_ptr context;
  std::vector<ggml_backend_ptr> backends;
  std::vector<ggml_backend_t> pointers;
  ggml_backend_sched_ptr scheduler;
  ggml_backend_buffer_ptr buffer;
  ggml_tensor *k, *q, *w, *kq, *out;
  ggml_cgraph* graph;
};

TEST_F(Scheduled, ActivationsAloneReachUs) {
  const auto run = use_plan("kq-*->f32");
  build();
  ASSERT_EQ(compute(), GGML_STATUS_SUCCESS);
  const Coverage coverage = run->coverage();
  ASSERT_EQ(coverage.entries.size(), 1u);
  EXPECT_EQ(coverage.entries[0].name, "kq-0");
  EXPECT_EQ(coverage.multiplications(), 32u * 8 * 4);
  ASSERT_EQ(coverage.engine.size(), 1u);
  EXPECT_EQ(coverage.engine[0].name, "output.weight");
  EXPECT_EQ(coverage.engine_multiplications(), 8u * 3 * 4);
  ASSERT_EQ(compute(), GGML_STATUS_SUCCESS);
  EXPECT_EQ(run->coverage().engine[0].calls, 2u);
}

TEST_F(Scheduled, WhatRanElsewhereIsFound) {
  use_plan("output*->f32");
  build();
  ASSERT_EQ(compute(), GGML_STATUS_SUCCESS);
  use_plan("f32");  // the graph stays laid out as it was
  EXPECT_EQ(compute(), GGML_STATUS_FAILED);
  EXPECT_NE(last_backend_error().find("kq-0: the plan names it, but another backend ran it"),
            std::string::npos)
      << last_backend_error();
}

TEST_F(Scheduled, RulesThatMatchNothingAreKnown) {
  const auto run = use_plan("output*->f32;nothing->bf16;*->f32");
  build();
  ASSERT_EQ(compute(), GGML_STATUS_SUCCESS);
  EXPECT_EQ(run->unused_rules(), std::vector<size_t>{1});
}

// llama.cpp's question for every weight of a model it loads.
TEST(WeightsDevice, TakesEveryWeightWhateverThePlan) {
  set_active_plan(nullptr);
  ggml_context_ptr context(ggml_init({1 << 16, nullptr, true}));
  ggml_tensor* w = ggml_new_tensor_2d(context.get(), GGML_TYPE_Q4_0, 64, 8);
  ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 64, 512);
  ggml_tensor* ids = ggml_new_tensor_1d(context.get(), GGML_TYPE_I32, 4);
  ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(backend_buffer_type(), 0));
  ggml_tensor* product = ggml_mul_mat(context.get(), w, x);
  ggml_tensor* rows = ggml_get_rows(context.get(), w, ids);
  w->buffer = empty.get();
  const ggml_backend_dev_t weights = device("NAPIER_WEIGHTS");
  EXPECT_TRUE(ggml_backend_dev_supports_op(weights, product));
  EXPECT_FALSE(ggml_backend_dev_supports_op(weights, rows));
  EXPECT_FALSE(ggml_backend_dev_supports_op(device("NAPIER"), product));
  EXPECT_NE(ggml_backend_dev_buffer_type(weights), ggml_backend_cpu_buffer_type());
  EXPECT_TRUE(ggml_backend_buft_is_host(ggml_backend_dev_buffer_type(weights)));
}

}  // namespace
}  // namespace napier
