#include "model/context.hpp"

#include <ggml-cpu.h>
#include <gguf.h>
#include <llama.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ggml/session.hpp"
#include "model/engine.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// llama.cpp splits longer batches itself: attention's products over one such part bound memory.
constexpr int k_max_ubatch = 2048;

// How many positions an embedding of them has, beyond which llama.cpp aborts; without, no limit.
int learned_positions(const Model& model) {
  std::array<char, 32> architecture = {};
  llama_model_meta_val_str(model.handle(), "general.architecture", architecture.data(),
                           architecture.size());
  const std::string_view name = architecture.data();
  bool learned = name == "gpt2" || name == "starcoder";
  if (name == "mpt") {
    const std::unique_ptr<gguf_context, decltype(&gguf_free)> file(
        gguf_init_from_file(model.path().c_str(), {.no_alloc = true, .ctx = nullptr}), gguf_free);
    learned = file && gguf_find_tensor(file.get(), "position_embd.weight") >= 0;
  }
  return learned ? model.training_context() : std::numeric_limits<int>::max();
}

}  // namespace

struct Context::Engine {
  struct Deleter {
    void operator()(llama_context* context) const { llama_free(context); }
    void operator()(ggml_threadpool* threads) const { ggml_threadpool_free(threads); }
  };

  static bool on_node(ggml_tensor* node, bool ask, void* engine) {
    return GraphCensus::on_node(node, ask, static_cast<Engine*>(engine)->census);
  }

  int thread_count = 0;
  int positions = std::numeric_limits<int>::max();  // that the model has
  GraphCensus* census = nullptr;                    // of the context whose turn it is
  const PlanRun* turn = nullptr;                    // and its plan
  std::map<std::string, bool, std::less<>> taken;   // whether the plan names a multiplication
  std::unique_ptr<ggml_threadpool, Deleter> threads;
  std::unique_ptr<llama_context, Deleter> context;
};

void ContextOptions::check() const {
  if (context < 2) {
    throw Error("a context of " + std::to_string(context) +
                " tokens is too short: at least 2 are needed");
  }
  constexpr int k_longest = 1 << 24;
  if (context > k_longest) {
    throw Error("a context of " + std::to_string(context) + " tokens is too long: give at most " +
                std::to_string(k_longest));
  }
  if (threads < 1 || threads > GGML_MAX_N_THREADS) {
    throw Error(std::to_string(threads) + " threads cannot work: give 1 to " +
                std::to_string(GGML_MAX_N_THREADS));
  }
}

Context::Context(const Model& model, const Plan& plan, const ContextOptions& options)
    : Context(std::make_shared<Engine>(), model, plan) {
  options.check();
  engine_->thread_count = options.threads;
  engine_->positions = learned_positions(model);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(options.context);
  params.n_batch = params.n_ctx;
  params.n_ubatch = static_cast<uint32_t>(std::min(options.context, k_max_ubatch));
  params.n_outputs_max = static_cast<uint32_t>(options.max_outputs);
  params.n_seq_max = 1;
  params.n_threads = options.threads;
  params.n_threads_batch = options.threads;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = options.cache == CacheType::f32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
  params.no_perf = true;
  params.cb_eval = Engine::on_node;
  params.cb_eval_user_data = engine_.get();

  clear_engine_error();
  activate();
  engine_->context.reset(llama_init_from_model(model.handle(), params));
  if (!engine_->context) {
    throw Error(model.path() + ": llama.cpp makes no context of " +
                    std::to_string(options.context) + " tokens: " + first_engine_error(),
                Blame::environment);
  }
  // The engine would start threads for every part of a graph, and let them spin while Napier's
  // work.
  ggml_threadpool_params threads = ggml_threadpool_params_default(options.threads);
  threads.poll = 0;
  engine_->threads.reset(ggml_threadpool_new(&threads));
  ggml_threadpool* pool = engine_->threads.get();
  if (pool) llama_attach_threadpool(handle(), pool, pool);
}

Context::Context(std::shared_ptr<Engine> engine, const Model& model, const Plan& plan)
    : model_(&model),
      run_(std::make_shared<PlanRun>(plan)),
      census_(std::make_unique<GraphCensus>()),
      engine_(std::move(engine)) {
  run_->follow_sequence();
}

std::optional<Context> Context::sibling(const Plan& plan) const {
  const auto differs = [&](const auto& entry) {
    return plan.match(entry.first).has_value() != entry.second;
  };
  const auto& taken = engine_->taken;
  if (taken.empty() || std::any_of(taken.begin(), taken.end(), differs)) return std::nullopt;
  return Context(engine_, *model_, plan);
}

llama_context* Context::handle() const { return engine_->context.get(); }

void Context::activate() const {
  BackendSettings settings = backend_settings();
  settings.threads = engine_->thread_count;
  configure_backend(std::move(settings));
  set_active_plan(run_);
  engine_->census = census_.get();
  engine_->turn = run_.get();
}

void Context::decode(std::span<const Token> tokens, int outputs) {
  const auto count = static_cast<int32_t>(tokens.size());
  std::vector<Token> ids(tokens.begin(), tokens.end());
  std::vector<llama_pos> positions(tokens.size());
  std::vector<int32_t> sequences(tokens.size(), 1);
  std::vector<int8_t> wanted(tokens.size());
  llama_seq_id sequence = 0;
  std::vector<llama_seq_id*> sequence_ids(tokens.size(), &sequence);
  for (int32_t i = 0; i < count; ++i) {
    positions[i] = position_ + i;
    wanted[i] = i >= count - outputs;
  }
  llama_batch batch = {};
  batch.n_tokens = count;
  batch.token = ids.data();
  batch.pos = positions.data();
  batch.n_seq_id = sequences.data();
  batch.seq_id = sequence_ids.data();
  batch.logits = wanted.data();

  if (position_ > 0 && engine_->turn != run_.get()) {
    throw Error("a context went on without clear() after a sibling's turn", Blame::environment);
  }
  if (count > engine_->positions - position_) {
    throw Error(model_->path() + ": has learned " + std::to_string(engine_->positions) +
                " positions; give a context of no more tokens");
  }
  clear_engine_error();
  clear_backend_error();
  activate();
  const int32_t result = llama_decode(handle(), batch);
  llama_synchronize(handle());
  if (result != 0) {
    // -2 is llama.cpp's code for memory that ran out.
    const Blame blame = warm_ || result == -2 ? Blame::environment : Blame::input;
    std::string why = last_backend_error();
    if (why.empty()) why = first_engine_error();
    if (why.empty()) why = "code " + std::to_string(result);
    const std::string what =
        blame == Blame::input ? "" : "decoding " + std::to_string(count) + " tokens failed: ";
    throw Error(model_->path() + ": " + what + why, blame);
  }
  warm_ = true;
  position_ += count;
  outputs_ = outputs;
}

std::span<const float> Context::logits(int index) const {
  const float* row = llama_get_logits_ith(handle(), index - outputs_);
  if (!row) throw Error(model_->path() + ": the model gives no logits: it is no language model");
  return {row, static_cast<size_t>(model_->vocabulary_size())};
}

void Context::clear() {
  llama_memory_clear(llama_get_memory(handle()), true);
  run_->forget_sequence();
  position_ = 0;
}

int Context::keep(int count) {
  if (count >= position_) return position_;
  if (!llama_memory_seq_rm(llama_get_memory(handle()), 0, count, -1)) count = 0;
  if (count == 0) clear();
  run_->forget_sequence();  // whose last token is another now
  position_ = count;
  return position_;
}

void Context::warm_up() {
  const Token token = model_->bos() == LLAMA_TOKEN_NULL ? 0 : model_->bos();
  const std::array tokens = {token, token};
  decode(tokens, 1);
  clear();
  check_every_rule_decides(run_->plan(), *census_);
  for (const auto& [name, count] : census_->matmuls()) {
    engine_->taken[name] = run_->match(name).has_value();
  }
  // What is left to the engine for a single token is then too small to share between threads.
  if (coverage().engine == 0) llama_set_n_threads(handle(), 1, engine_->thread_count);
  census_->clear();
  run_->reset_coverage();
}

void Context::observe(MatmulObserver observer) { run_->observe(std::move(observer)); }

std::vector<std::string> Context::matmul_names() const {
  std::vector<std::string> names;
  for (const auto& [name, taken] : engine_->taken) names.push_back(name);
  return names;
}

ModelCoverage Context::coverage() const {
  std::map<std::string, MatmulCount> ran;
  for (const CoverageEntry& entry : run_->coverage().entries) {  // one a kernel
    MatmulCount& count = ran[entry.name];
    count.calls += entry.calls;
    count.multiplications += entry.multiplications;
    count.treated += entry.treated;
  }
  return make_coverage(run_->plan(), *census_, ran);
}

}  // namespace napier
