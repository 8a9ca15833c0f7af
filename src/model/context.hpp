// A model at work under a plan.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "model/coverage.hpp"
#include "model/graph_census.hpp"
#include "model/model.hpp"
#include "napier/plan.hpp"

struct ggml_threadpool;
struct llama_context;

namespace napier {

class PlanRun;

// What the cache of keys and values holds. f16 rounds every key and value, whatever the plan says.
enum class CacheType : uint8_t { f32, f16 };

struct ContextOptions {
  int context = 512;    // tokens that attention can look back on
  int max_outputs = 0;  // logits' rows that one decode can give; 0: one per token
  int threads = 2;
  CacheType cache = CacheType::f32;
  // Told of each matrix multiplication when it is done and its operands are still there.
  GraphCensus::MatmulWatcher on_matmul = nullptr;

  // Throws Error if no context could be like this.
  void check() const;
};

// One sequence, decoded under one plan; flash attention is off, since it would hide attention's two
// products from the plan. Not thread safe; contexts of one model may take turns. The model must
// outlive it. Throws Error where the plan, or what the model asks for, cannot be done.
class Context {
 public:
  Context(const Model& model, const Plan& plan, const ContextOptions& options);

  llama_context* handle() const { return context_.get(); }

  // Appends tokens to the sequence. The last `outputs` of them get logits. The error thrown by the
  // first decode is the plan's or the model's (input), by later ones the machine's.
  void decode(std::span<const Token> tokens, int outputs);
  // Logits of row `index` of the last decode's outputs; valid until the next.
  std::span<const float> logits(int index) const;
  // Forgets the sequence.
  void clear();

  // Decodes a token or two and forgets them: weights get packed, and the plan is held against the
  // model's graph. Throws Error if a rule decides nothing. Leaves coverage empty.
  void warm_up();

  // What has been computed so far in which arithmetic. Throws Error (environment) if a matrix
  // multiplication that the plan names was not run by Napier.
  ModelCoverage coverage() const;

 private:
  struct Deleter {
    void operator()(llama_context* context) const;
    void operator()(ggml_threadpool* threads) const;
  };

  void activate() const;  // the plan and the threads of the backend, which all contexts share

  const Model* model_;
  std::shared_ptr<PlanRun> run_;
  std::unique_ptr<GraphCensus> census_;  // llama.cpp holds its address
  std::unique_ptr<ggml_threadpool, Deleter> threads_;
  std::unique_ptr<llama_context, Deleter> context_;
  int thread_count_;
  bool warm_ = false;
  int position_ = 0;
  int outputs_ = 0;
};

}  // namespace napier
