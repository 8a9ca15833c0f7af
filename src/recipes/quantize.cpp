#include "recipes/quantize.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "eval/passages.hpp"
#include "eval/sweep.hpp"
#include "ggml/session.hpp"
#include "model/context.hpp"
#include "model/model.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

using Clock = std::chrono::steady_clock;

// A state on disk costs a write of all samples: at most a twentieth of the time.
constexpr std::chrono::seconds k_save_every{1};
constexpr int k_times_the_cost = 20;
constexpr const char* k_embedding = "token_embd.weight";

class MemoryLimit {
 public:
  explicit MemoryLimit(size_t bytes) : before_(backend_settings()) {
    BackendSettings settings = before_;
    settings.cache_bytes = bytes;
    configure_backend(std::move(settings));
  }
  ~MemoryLimit() { configure_backend(before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  BackendSettings before_;
};

// At most so many chunks as are asked for.
std::vector<Passage> passages_of(const Model& model, const QuantizeOptions& options) {
  std::vector<Passage> passages = chunk_passages(
      model, read_input_file(options.text, "the calibration text"), options.context, 0);
  const auto wanted = static_cast<size_t>(options.chunks);
  if (wanted > 0 && passages.size() > wanted) passages.resize(wanted);
  return passages;
}

int gather_statistics(const Model& model, const std::vector<Passage>& passages,
                      const std::vector<WeightMatrix>& matrices, const QuantizeOptions& options,
                      ComputedFile& file, Statistics& statistics) {
  const int before = file.chunks_done();
  if (before >= static_cast<int>(passages.size())) return 0;
  const MemoryLimit limit(std::filesystem::file_size(model.path()) / 10);
  ContextOptions context_options;
  context_options.context = options.context;
  context_options.threads = options.threads;
  Context context(model, parse_plan("f32"), context_options);
  StatisticsCollector collector(matrices, statistics,
                                static_cast<int64_t>(passages.size()) * options.context);
  context.observe([&](const MatmulObservation& matmul) { collector.watch(matmul); });
  auto saved = Clock::now();
  Clock::duration pause = k_save_every;
  for (size_t i = static_cast<size_t>(before); i < passages.size(); ++i) {
    options.on_progress("calibrating", static_cast<double>(i) / passages.size());
    context.clear();
    context.decode(passages[i].tokens, static_cast<int>(passages[i].tokens.size()));
    if (i + 1 < passages.size() && Clock::now() - saved < pause) continue;
    const auto began = Clock::now();
    file.save(statistics, static_cast<int>(i) + 1);
    saved = Clock::now();
    pause = std::max<Clock::duration>(k_save_every, k_times_the_cost * (saved - began));
  }
  return static_cast<int>(passages.size()) - before;
}

// Steps see matrices; weights of experts are several in one tensor. Throws Error where the recipe
// would have such weights computed.
void refuse_experts(const std::string& model_path, const Recipe& recipe,
                    const std::vector<WeightMatrix>& matrices) {
  for (const std::string& name : WeightReader(model_path).names()) {
    const bool is_seen = std::any_of(matrices.begin(), matrices.end(),
                                     [&](const WeightMatrix& m) { return m.name == name; });
    const auto rule = recipe.plan.match(name);
    if (is_seen || name == k_embedding || !rule) continue;
    const Rule& decides = recipe.plan.rules[*rule];
    if (decides.arithmetic == Arithmetic{} && decides.treatments.empty()) continue;
    for (const StepSpec& step : recipe.steps) {
      if (!glob_matches(step.text("matrices", "*"), name)) continue;
      throw Error(model_path + ": '" + name + "' holds a matrix for each expert, and recipe '" +
                  recipe.name +
                  "' would have them computed, which is done for single matrices only: put the "
                  "rule '*_exps.weight -> f32' first in its plan");
    }
  }
}

ComputedFrom origin_of(const Recipe& recipe, const std::string& model_path) {
  return {file_hash(model_path), recipe.identity(), ""};
}

}  // namespace

void QuantizeOptions::check() const {
  ContextOptions context_options;
  context_options.context = context;
  context_options.threads = threads;
  context_options.check();
  if (chunks < 0) {
    throw Error(std::to_string(chunks) + " chunks cannot be read: 0 means all of the text");
  }
}

Quantized quantize(const std::string& model_path, const Recipe& recipe,
                   const QuantizeOptions& options) {
  options.check();
  if (!recipe.is_computed()) {
    throw Error("recipe '" + recipe.name +
                "' needs nothing computed: napier eval runs it as it is");
  }
  if (recipe.needs_text() && options.text.empty()) {
    throw Error("recipe '" + recipe.name + "' needs a text: give --calibrate FILE");
  }
  ComputedFrom from = origin_of(recipe, model_path);
  if (recipe.needs_text()) {
    from.text = file_hash(options.text) + ", " + std::to_string(options.chunks) + " chunks of " +
                std::to_string(options.context);
  }
  Quantized result;
  result.path = options.output.empty() ? computed_path(model_path, recipe.name) : options.output;
  const std::vector<WeightMatrix> matrices = weight_matrices(model_path);
  refuse_experts(model_path, recipe, matrices);
  // What is wrong with the text is said before anything is written.
  std::optional<Model> model;
  std::vector<Passage> passages;
  if (recipe.needs_text()) passages = passages_of(model.emplace(model_path), options);
  ComputedFile file = ComputedFile::make(result.path, from);

  Statistics statistics = file.statistics();
  result.chunks_before = file.chunks_done();
  if (recipe.needs_text()) {
    result.chunks = gather_statistics(*model, passages, matrices, options, file, statistics);
    model.reset();  // steps read the file: its weights are not needed in memory
  }

  // The recipe's own rule for each matrix, or what an earlier run left.
  std::vector<MatrixRule> rules;
  for (const WeightMatrix& matrix : matrices) {
    const auto rule = recipe.plan.match(matrix.name);
    if (!rule) continue;
    rules.push_back({matrix, recipe.plan.rules[*rule]});
    rules.back().rule.pattern = matrix.name;
  }
  const auto all_rules = [&] {
    std::vector<Rule> all;
    for (const MatrixRule& one : rules) all.push_back(one.rule);
    return all;
  };
  const std::vector<Rule> before = file.rules();
  if (before.empty()) {
    file.save(all_rules(), 0);
  } else if (before.size() != rules.size()) {
    throw Error(result.path + ".partial: is damaged; remove it");
  } else {
    for (size_t i = 0; i < rules.size(); ++i) rules[i].rule = before[i];
  }

  const WeightReader weights(model_path);
  ThreadPool pool(options.threads);
  for (int s = file.steps_done(); s < static_cast<int>(recipe.steps.size()); ++s) {
    const StepSpec& spec = recipe.steps[static_cast<size_t>(s)];
    StepContext context{spec,
                        weights,
                        statistics,
                        pool,
                        rules,
                        static_cast<size_t>(file.rules_done()),
                        [&](size_t index) { file.save_rule(index, rules[index].rule); },
                        [&](double done) { options.on_progress("step " + spec.name, done); }};
    try {
      step_called(spec.name).run(context);
    } catch (const Error& error) {
      if (error.blame() == Blame::input) file.discard();  // it would go wrong again
      throw Error("recipe '" + recipe.name + "', step '" + spec.name + "': " + error.what(),
                  error.blame());
    }
    file.save(all_rules(), s + 1);
  }
  file.finish();
  for (MatrixRule& one : rules) {
    ComputedMatrix& matrix = result.matrices.emplace_back();
    matrix.matrix = one.matrix;
    matrix.rule = std::move(one.rule);
    matrix.statistics = std::move(statistics[one.matrix.name]);
    matrix.statistics.samples.clear();
  }
  return result;
}

bool has_computed(const Recipe& recipe, const std::string& model_path) {
  std::error_code error;
  return std::filesystem::exists(computed_path(model_path, recipe.name), error);
}

namespace {

Plan computed_plan(const Recipe& recipe, const std::string& model_path) {
  const std::string path = computed_path(model_path, recipe.name);
  if (!has_computed(recipe, model_path)) {
    throw Error(
        path + ": is not there; recipe '" + recipe.name +
        "' is computed for each model: run napier quantize, or napier eval with --calibrate FILE");
  }
  const ComputedFile file = ComputedFile::open(path, origin_of(recipe, model_path));
  Plan plan;
  plan.rules = file.rules();
  const size_t computed = plan.rules.size();
  // The recipe's own rules decide what is no matrix of the file's: attention's products, experts.
  // One that decides nothing more is left out, since plans do not have such rules.
  std::vector<std::string> others = {"kq-0", "kqv-0"};
  const std::vector<WeightMatrix> multiplied = weight_matrices(model_path);
  for (const std::string& name : WeightReader(model_path).names()) {
    const bool is_ours = std::any_of(multiplied.begin(), multiplied.end(),
                                     [&](const WeightMatrix& m) { return m.name == name; });
    if (!is_ours && name != k_embedding) others.push_back(name);
  }
  std::vector<bool> decides(recipe.plan.rules.size());
  for (const std::string& name : others) {
    if (const auto rule = recipe.plan.match(name)) decides[*rule] = true;
  }
  for (size_t i = 0; i < decides.size(); ++i) {
    if (decides[i]) plan.rules.push_back(recipe.plan.rules[i]);
  }
  if (computed == 0) throw Error(path + ": holds no rule; make it again with napier quantize");
  return plan;
}

}  // namespace

Plan plan_for(const Recipe& recipe, const std::string& model_path) {
  const Plan plan = recipe.is_computed() ? computed_plan(recipe, model_path) : recipe.plan;
  return recipe.multiplier.empty() ? plan : with_multiplier(plan, recipe.multiplier);
}

}  // namespace napier
