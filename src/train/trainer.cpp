#include "train/trainer.hpp"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "ggml/backend.hpp"
#include "model/engine.hpp"
#include "napier/error.hpp"
#include "napier/thread_pool.hpp"
#include "train/random.hpp"

namespace napier {
namespace {

// A graph has some 60 nodes a layer and way.
size_t graph_size(const TransformerShape& shape) {
  return 1024 + 512 * static_cast<size_t>(shape.layers);
}

ggml_context_ptr make_context(size_t tensors) {
  ggml_init_params params = {};
  params.mem_size =
      tensors * ggml_tensor_overhead() + 2 * ggml_graph_overhead_custom(tensors, false);
  params.no_alloc = true;
  ggml_context_ptr context(ggml_init(params));
  if (!context) throw Error("memory ran out", Blame::environment);
  return context;
}

struct ThreadsDeleter {
  void operator()(ggml_threadpool* threads) const { ggml_threadpool_free(threads); }
};

// The plans as one, by the names that Tape gives the gradients. All that is left runs in f32, here:
// its sums are then in one order, whatever the threads.
Plan joined_plan(const TrainerOptions& options) {
  Plan plan;
  const auto append = [&](const Plan& part, const std::string& prefix) {
    for (const Rule& rule : part.rules)
      plan.rules.push_back({prefix + rule.pattern, rule.arithmetic});
    const bool complete = !part.rules.empty() && part.rules.back().pattern == "*";
    if (!complete) plan.rules.push_back({prefix + "*", Arithmetic()});
  };
  const bool own = options.rule == GradientRule::own;
  append(own ? options.forward : options.activation_gradients, "dx-");
  append(own ? options.forward : options.weight_gradients, "dw-");
  append(options.forward, "");
  return plan;
}

// A graph with its tape and the memory of its results.
struct Graph {
  ggml_context_ptr context;
  std::unique_ptr<Tape> tape;
  ggml_cgraph* nodes = nullptr;
  ggml_backend_sched_ptr scheduler;
};

constexpr int64_t k_piece = 1 << 16;  // of an array, for sums that do not depend on threads

}  // namespace

struct Trainer::Engine {
  Engine(const TransformerShape& shape, const TrainerOptions& options);

  Graph build_graph(bool with_gradients);
  void build_update();
  void compute(Graph& graph, std::span<const int32_t> tokens, std::span<const int32_t> targets);
  void check_rules() const;
  void activate();
  double gradient_square_sum(const TrainedTensor& parameter) const;
  std::string first_without_finite();

  TransformerShape shape;
  TrainerOptions options;
  ThreadPool pool;
  ggml_backend_ptr cpu, napier;
  std::unique_ptr<ggml_threadpool, ThreadsDeleter> threads;
  std::shared_ptr<PlanRun> run;

  ggml_context_ptr state_context;  // leaves, in state_buffer
  ggml_backend_buffer_ptr state_buffer;
  std::map<std::string, ggml_tensor*> weights, gradients, first, second;
  TransformerInputs inputs;
  ggml_tensor* targets = nullptr;
  ggml_tensor* decayed = nullptr;    // AdamW's settings, of matrices
  ggml_tensor* undecayed = nullptr;  // of vectors
  std::vector<TrainedTensor> parameters;
  TrainerState state;

  StepState step_state;
  Graph pass;                    // forward and backward
  std::optional<Graph> forward;  // alone, of the loss; built when it is first asked for
  ggml_context_ptr update_context;
  ggml_cgraph* update = nullptr;
};

Trainer::Engine::Engine(const TransformerShape& shape, const TrainerOptions& options)
    : shape(shape), options(options), pool(options.threads) {
  start_engine();
  cpu.reset(ggml_backend_cpu_init());
  napier.reset(ggml_backend_dev_init(ggml_backend_dev_by_name("NAPIER"), nullptr));
  // ggml's threads meet after every operation, spinning: small ones are done sooner by one alone.
  constexpr int64_t k_worth_sharing = 1 << 18;
  const bool small = int64_t{shape.context} * options.sequences * shape.width < k_worth_sharing;
  const int others = small ? 1 : options.threads;
  ggml_backend_cpu_set_n_threads(cpu.get(), others);
  ggml_threadpool_params params = ggml_threadpool_params_default(others);
  params.poll = 0;  // else they spin while Napier's work
  threads.reset(ggml_threadpool_new(&params));
  ggml_backend_cpu_set_threadpool(cpu.get(), threads.get());
  run = std::make_shared<PlanRun>(joined_plan(options));

  const std::vector<ParameterShape> shapes = parameter_shapes(shape);
  state_context = make_context(4 * shapes.size() + 16);
  ggml_context* context = state_context.get();
  const auto tensor = [&](const ParameterShape& of, const char* prefix) {
    ggml_tensor* made = of.rows == 0
                            ? ggml_new_tensor_1d(context, GGML_TYPE_F32, of.columns)
                            : ggml_new_tensor_2d(context, GGML_TYPE_F32, of.columns, of.rows);
    ggml_set_name(made, (prefix + of.name).c_str());
    return made;
  };
  for (const ParameterShape& of : shapes) {
    weights[of.name] = tensor(of, "");
    ggml_set_param(weights[of.name]);
    gradients[of.name] = tensor(of, "gradient of ");
    first[of.name] = tensor(of, "first moment of ");
    second[of.name] = tensor(of, "second moment of ");
  }
  const int64_t length = shape.context;
  const int64_t positions = length * options.sequences;
  inputs.tokens = ggml_new_tensor_1d(context, GGML_TYPE_I32, positions);
  inputs.positions = ggml_new_tensor_1d(context, GGML_TYPE_I32, length);
  inputs.mask = ggml_new_tensor_2d(context, GGML_TYPE_F32, length, length);
  targets = ggml_new_tensor_1d(context, GGML_TYPE_I32, positions);
  decayed = ggml_new_tensor_1d(context, GGML_TYPE_F32, 7);
  undecayed = ggml_new_tensor_1d(context, GGML_TYPE_F32, 7);
  state_buffer.reset(ggml_backend_alloc_ctx_tensors(context, cpu.get()));
  if (!state_buffer) throw Error("memory ran out for the weights", Blame::environment);
  ggml_backend_buffer_clear(state_buffer.get(), 0);

  const auto values = [](ggml_tensor* of) {
    return std::span(static_cast<float*>(of->data), static_cast<size_t>(ggml_nelements(of)));
  };
  for (const ParameterShape& of : shapes) {
    parameters.push_back({of, values(weights[of.name]), values(first[of.name]),
                          values(second[of.name]), values(gradients[of.name])});
  }
  for (int64_t i = 0; i < length; ++i) {
    static_cast<int32_t*>(inputs.positions->data)[i] = static_cast<int32_t>(i);
    for (int64_t j = 0; j < length; ++j) {
      static_cast<float*>(inputs.mask->data)[i * length + j] =
          j <= i ? 0 : -std::numeric_limits<float>::infinity();
    }
  }
  state.loss_scale = options.loss_scaling.scale;
  pass = build_graph(true);
  build_update();
  check_rules();
}

void Trainer::Engine::activate() {
  BackendSettings settings = backend_settings();
  settings.threads = options.threads;
  configure_backend(std::move(settings));
  set_active_plan(run);
}

Graph Trainer::Engine::build_graph(bool with_gradients) {
  const size_t size = graph_size(shape);
  Graph graph;
  graph.context = make_context(size);
  ggml_context* context = graph.context.get();
  graph.tape = std::make_unique<Tape>(context, step_state, options.rule);
  Tape& tape = *graph.tape;
  if (with_gradients) {
    for (const auto& [name, weight] : weights) tape.want_gradient(weight);
  }
  ggml_tensor* logits = build_transformer(tape, shape, weights, inputs, options.dropout);
  tape.differentiate_cross_entropy(logits, targets);
  graph.nodes = ggml_new_graph_custom(context, size, false);
  if (!with_gradients) ggml_build_forward_expand(graph.nodes, tape.gradient(logits));
  for (const TrainedTensor& parameter : parameters) {
    if (!with_gradients) break;
    ggml_tensor* gradient = tape.gradient(weights[parameter.shape.name]);
    ggml_build_forward_expand(graph.nodes,
                              ggml_add_inplace(context, gradients[parameter.shape.name], gradient));
  }
  ggml_backend_t backends[] = {napier.get(), cpu.get()};
  graph.scheduler.reset(ggml_backend_sched_new(backends, nullptr, 2, size, false, true));
  activate();
  if (!graph.scheduler || !ggml_backend_sched_alloc_graph(graph.scheduler.get(), graph.nodes)) {
    throw Error(
        "memory ran out for the activations: take fewer sequences a pass ('batch'; "
        "'passes' makes up for it)",
        Blame::environment);
  }
  return graph;
}

void Trainer::Engine::build_update() {
  const size_t size = 4 * parameters.size() + 16;  // leaves count too
  update_context = make_context(size);
  update = ggml_new_graph_custom(update_context.get(), size, false);
  for (const TrainedTensor& parameter : parameters) {
    const std::string& name = parameter.shape.name;
    ggml_tensor* node =
        ggml_opt_step_adamw(update_context.get(), weights[name], gradients[name], first[name],
                            second[name], parameter.shape.rows == 0 ? undecayed : decayed);
    ggml_build_forward_expand(update, node);
  }
}

void Trainer::Engine::check_rules() const {
  const Plan& plan = run->plan();
  for (const size_t rule : run->unused_rules()) {
    const std::string& pattern = plan.rules[rule].pattern;
    if (pattern == "*" || pattern == "dx-*" || pattern == "dw-*") continue;  // may be ours
    throw Error("the rule '" + pattern +
                "' decides no multiplication of this model; the names are "
                "the weights', such as blk.0.attn_q.weight, and kq-0, kqv-0");
  }
}

void Trainer::Engine::compute(Graph& graph, std::span<const int32_t> tokens,
                              std::span<const int32_t> wanted) {
  std::memcpy(inputs.tokens->data, tokens.data(), tokens.size_bytes());
  std::memcpy(targets->data, wanted.data(), wanted.size_bytes());
  run->draw_anew(step_state.training ? step_state.seed : 0);
  activate();
  clear_backend_error();
  if (ggml_backend_sched_graph_compute(graph.scheduler.get(), graph.nodes) != GGML_STATUS_SUCCESS) {
    const std::string why = last_backend_error();
    throw Error(why.empty() ? "memory ran out in a step" : why);
  }
}

double Trainer::Engine::gradient_square_sum(const TrainedTensor& parameter) const {
  const std::span<const float> values = parameter.gradient;
  double sum = 0;
  for (size_t begin = 0; begin < values.size(); begin += 8) {  // eight sums, for vectors' sake
    double part = 0;
    for (size_t i = begin; i < std::min(values.size(), begin + 8); ++i) {
      part += double{values[i]} * values[i];
    }
    sum += part;
  }
  return sum;
}

// Runs the pass once more and looks at each result as it is made.
std::string Trainer::Engine::first_without_finite() {
  std::string found;
  const auto look = [](ggml_tensor* node, bool ask, void* data) {
    if (ask) return true;
    auto& name = *static_cast<std::string*>(data);
    if (node->type != GGML_TYPE_F32 || !ggml_is_contiguous(node)) return true;
    const auto* values = static_cast<const float*>(node->data);
    const bool finite = std::all_of(values, values + ggml_nelements(node), [](float value) {
      return std::isfinite(value) || value == -std::numeric_limits<float>::infinity();
    });
    if (!finite && name.empty()) name = node->name;  // other parts of the graph still run
    return finite;
  };
  ggml_backend_sched_set_eval_callback(pass.scheduler.get(), look, &found);
  ggml_backend_sched_graph_compute(pass.scheduler.get(), pass.nodes);
  ggml_backend_sched_set_eval_callback(pass.scheduler.get(), nullptr, nullptr);
  return found;
}

Trainer::Trainer(const TransformerShape& shape, const TrainerOptions& options)
    : engine_(std::make_unique<Engine>(shape, options)) {}
Trainer::~Trainer() = default;

const TransformerShape& Trainer::shape() const { return engine_->shape; }
std::span<TrainedTensor> Trainer::parameters() { return engine_->parameters; }
TrainerState& Trainer::state() { return engine_->state; }
const PlanRun& Trainer::run() const { return *engine_->run; }

size_t Trainer::bytes() const {
  size_t bytes = ggml_backend_buffer_get_size(engine_->state_buffer.get());
  const auto add = [&](const Graph& graph) {
    for (ggml_backend_t backend : {engine_->cpu.get(), engine_->napier.get()}) {
      bytes += ggml_backend_sched_get_buffer_size(graph.scheduler.get(), backend);
    }
  };
  add(engine_->pass);
  if (engine_->forward) add(*engine_->forward);
  return bytes;
}

void Trainer::initialise(uint64_t seed) {
  uint64_t number = 0;
  for (TrainedTensor& parameter : engine_->parameters) {
    const uint64_t own = random_bits(seed, number++);
    const double deviation = parameter.shape.deviation;
    engine_->pool.parallel_for(
        (static_cast<int64_t>(parameter.values.size()) + k_piece - 1) / k_piece,
        [&](int64_t piece) {
          const auto end = std::min<size_t>(parameter.values.size(), (piece + 1) * k_piece);
          for (size_t i = piece * k_piece; i < end; ++i) {
            parameter.values[i] =
                deviation == 0 ? 1 : static_cast<float>(deviation * random_normal(own, i));
          }
        });
    std::fill(parameter.first_moment.begin(), parameter.first_moment.end(), 0.0f);
    std::fill(parameter.second_moment.begin(), parameter.second_moment.end(), 0.0f);
  }
}

StepResult Trainer::step(std::span<const int32_t> tokens, std::span<const int32_t> targets,
                         double rate, uint64_t seed) {
  Engine& engine = *engine_;
  const TrainerOptions& options = engine.options;
  TrainerState& state = engine.state;
  const size_t pass = static_cast<size_t>(engine.shape.context) * options.sequences;
  if (tokens.size() != pass * options.passes || targets.size() != tokens.size()) {
    throw Error("a step takes " + std::to_string(pass * options.passes) + " tokens, not " +
                std::to_string(tokens.size()));
  }
  const auto counted = std::count_if(targets.begin(), targets.end(), [](int t) { return t >= 0; });
  for (auto& [name, gradient] : engine.gradients) {
    std::memset(gradient->data, 0, ggml_nbytes(gradient));
  }
  const float mean = 1.0f / static_cast<float>(std::max<int64_t>(1, counted));
  double loss = 0;
  for (int i = 0; i < options.passes; ++i) {
    engine.step_state.seed = random_bits(seed, static_cast<uint64_t>(i));
    engine.step_state.training = true;
    engine.step_state.gradient_scale = mean * state.loss_scale;
    engine.compute(engine.pass, tokens.subspan(pass * i, pass), targets.subspan(pass * i, pass));
    for (const float value : engine.step_state.losses) loss += value;
    if (!std::isfinite(loss)) {
      const std::string tensor = engine.first_without_finite();
      throw Error("step " + std::to_string(state.step + 1) + ": the loss is no finite number" +
                      (tensor.empty() ? "" : "; the first tensor with such values is " + tensor),
                  Blame::environment);
    }
  }

  StepResult result;
  result.loss = loss / std::max<double>(1, static_cast<double>(counted));
  std::vector<double> squares(engine.parameters.size());
  engine.pool.parallel_for(static_cast<int64_t>(squares.size()), [&](int64_t i) {
    squares[i] = engine.gradient_square_sum(engine.parameters[i]);
  });
  double square_sum = 0;
  std::string broken;
  for (size_t i = 0; i < squares.size(); ++i) {
    square_sum += squares[i];
    if (!std::isfinite(squares[i]) && broken.empty()) broken = engine.parameters[i].shape.name;
  }
  result.gradient_norm = std::sqrt(square_sum) / state.loss_scale;
  ++state.step;
  const bool dynamic = options.loss_scaling.dynamic;
  if (!broken.empty()) {
    if (!dynamic || state.loss_scale <= 1) {
      --state.step;
      throw Error("step " + std::to_string(state.step + 1) + ": the gradient of " + broken +
                      " is no finite number",
                  Blame::environment);
    }
    state.loss_scale /= 2;
    state.since_overflow = 0;
    result.skipped = true;
    return result;
  }

  double factor = 1 / double{state.loss_scale};
  if (options.clip > 0 && result.gradient_norm > options.clip) {
    factor *= options.clip / result.gradient_norm;
  }
  if (factor != 1) {
    const auto by = static_cast<float>(factor);
    engine.pool.parallel_for(static_cast<int64_t>(engine.parameters.size()), [&](int64_t i) {
      ggml_tensor* gradient = engine.gradients[engine.parameters[i].shape.name];
      auto* values = static_cast<float*>(gradient->data);
      for (int64_t j = 0; j < ggml_nelements(gradient); ++j) values[j] *= by;
    });
  }
  const double count = static_cast<double>(++state.updates);
  for (const bool decays : {true, false}) {
    const double settings[7] = {rate,
                                options.beta1,
                                options.beta2,
                                options.epsilon,
                                decays ? options.weight_decay : 0,
                                1 / (1 - std::pow(options.beta1, count)),
                                1 / (1 - std::pow(options.beta2, count))};
    auto* to = static_cast<float*>((decays ? engine.decayed : engine.undecayed)->data);
    for (int i = 0; i < 7; ++i) to[i] = static_cast<float>(settings[i]);
  }
  if (ggml_backend_graph_compute(engine.cpu.get(), engine.update) != GGML_STATUS_SUCCESS) {
    throw Error("memory ran out in the update of the weights", Blame::environment);
  }
  constexpr int64_t k_calm = 1000;  // updates after which a dynamic scale is tried twice as large
  if (dynamic && ++state.since_overflow == k_calm) {
    state.loss_scale *= 2;
    state.since_overflow = 0;
  }
  return result;
}

Trainer::Loss Trainer::loss(std::span<const int32_t> tokens, std::span<const int32_t> targets) {
  Engine& engine = *engine_;
  engine.step_state.training = false;
  engine.step_state.gradient_scale = 0;
  if (!engine.forward) engine.forward = engine.build_graph(false);
  engine.compute(*engine.forward, tokens, targets);
  Loss loss;
  for (const float value : engine.step_state.losses) loss.sum += value;
  loss.count = std::count_if(targets.begin(), targets.end(), [](int t) { return t >= 0; });
  return loss;
}

}  // namespace napier
