#include "train/config.hpp"

#include <cmath>
#include <filesystem>
#include <numbers>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"
#include "recipes/recipe.hpp"
#include "recipes/toml_section.hpp"

namespace napier {
namespace {

Plan plan_at(const Section& section, const char* key, const std::filesystem::path& folder) {
  std::string text = section.text(key);
  if (text.empty()) return {};
  try {
    if (text.ends_with(".toml")) text = (folder / text).string();
    Plan plan = plan_argument(text).plan;
    for (const Rule& rule : plan.rules) {
      if (!rule.treatments.empty()) {
        throw section.wrong(key, "treats the operands of '" + rule.pattern +
                                     "', which training cannot differentiate yet");
      }
    }
    return plan;
  } catch (const ParseError& problem) {
    throw section.wrong(key, std::string("is no plan: ") + problem.what());
  }
}

void read_model(const Section& model, const std::filesystem::path& folder, TrainConfig& config) {
  model.allow({"from", "context", "layers", "heads", "kv_heads", "width", "hidden", "tied",
               "positions", "rope_base", "feed_forward", "dropout"});
  config.options.dropout = static_cast<float>(model.real("dropout", 0, 0, 0.9));
  TransformerShape& shape = config.shape;
  shape.context = model.number("context", 0);
  if (model.has("from")) {
    for (const char* key : {"layers", "heads", "kv_heads", "width", "hidden", "tied", "positions",
                            "rope_base", "feed_forward"}) {
      if (model.has(key)) throw model.wrong(key, "is decided by the model of 'from'; leave it out");
    }
    config.from = (folder / model.text("from")).lexically_normal().string();
    return;
  }
  shape.layers = model.number("layers", 0);
  shape.heads = model.number("heads", 0);
  shape.key_heads = model.number("kv_heads", shape.heads);
  shape.width = model.number("width", 0);
  shape.feed_forward =
      static_cast<FeedForward>(model.choice("feed_forward", {"swiglu", "relu2", "gelu"}));
  // As many parameters as a plain feed-forward part of 4 times the width, in eights.
  const int plain =
      shape.feed_forward == FeedForward::swiglu ? shape.width * 8 / 3 : shape.width * 4;
  shape.hidden = model.number("hidden", (plain + 7) / 8 * 8);
  shape.tied = model.flag("tied", true);
  shape.positions = static_cast<Positions>(model.choice("positions", {"rope", "learned", "none"}));
  if (shape.is_gpt() && !model.has("positions")) shape.positions = Positions::learned;
  shape.rope_base = static_cast<float>(model.real("rope_base", 10000, 1, 1e9));
  shape.check(model.where());
}

void read_data(const Section& data, const std::filesystem::path& folder, TrainConfig& config) {
  data.allow({"text", "task", "samples", "tokenizer", "validation"});
  if (data.has("text") == data.has("task")) {
    throw data.wrong("text", "or 'task' must be there, and not both");
  }
  if (data.has("text")) config.text = (folder / data.text("text")).lexically_normal().string();
  config.workload = data.text("task");
  config.samples = data.number("samples", 10000);
  if (config.samples == 0) throw data.wrong("samples", "must be at least 1");
  if (data.text("tokenizer").ends_with(".model")) {
    config.tokenizer = Tokenizer::sentencepiece;
    config.vocabulary = (folder / data.text("tokenizer")).lexically_normal().string();
  } else {
    config.tokenizer = static_cast<Tokenizer>(data.choice("tokenizer", {"characters", "bytes"}));
  }
  if (!config.from.empty() && data.has("tokenizer")) {
    throw data.wrong("tokenizer", "is decided by the model of 'from'; leave it out");
  }
  config.validation = data.real("validation", config.text.empty() ? 0 : 0.1, 0, 0.9);
}

void read_training(const Section& train, TrainConfig& config) {
  train.allow({"steps", "batch", "passes", "rate", "least_rate", "warmup", "beta1", "beta2",
               "epsilon", "weight_decay", "clip", "seed", "loss_scale", "dynamic_loss_scale",
               "checkpoint_every", "validate_every"});
  TrainerOptions& options = config.options;
  config.steps = train.number("steps", 0);
  if (config.steps == 0) throw train.wrong("steps", "must be at least 1");
  options.sequences = train.number("batch", 32);
  options.passes = train.number("passes", 1);
  if (options.sequences == 0) throw train.wrong("batch", "must be at least 1");
  if (options.passes == 0) throw train.wrong("passes", "must be at least 1");
  config.rate = train.real("rate", 1e-3, 0, 100);
  config.least_rate = train.real("least_rate", config.rate / 10, 0, config.rate);
  config.warmup = train.number("warmup", 100);
  options.beta1 = train.real("beta1", 0.9, 0, 0.999999);
  options.beta2 = train.real("beta2", 0.99, 0, 0.999999);
  options.epsilon = train.real("epsilon", 1e-8, 1e-30, 1);
  options.weight_decay = train.real("weight_decay", 0.1, 0, 100);
  options.clip = train.real("clip", 1, 0, 1e9);
  config.seed = static_cast<uint64_t>(train.number("seed", 1614));
  options.loss_scaling.dynamic = train.flag("dynamic_loss_scale", false);
  options.loss_scaling.scale = static_cast<float>(train.real("loss_scale", 1, 0x1p-20, 0x1p60));
  config.checkpoint_every = train.number("checkpoint_every", 500);
  config.validate_every = train.number("validate_every", 0);
}

void read_arithmetic(const Section& section, const std::filesystem::path& folder,
                     TrainConfig& config) {
  section.allow({"forward", "activation_gradients", "weight_gradients", "gradient"});
  TrainerOptions& options = config.options;
  options.forward = plan_at(section, "forward", folder);
  options.activation_gradients = plan_at(section, "activation_gradients", folder);
  options.weight_gradients = plan_at(section, "weight_gradients", folder);
  options.rule = static_cast<GradientRule>(section.choice("gradient", {"exact", "own"}));
  if (options.rule == GradientRule::exact) return;
  for (const char* key : {"activation_gradients", "weight_gradients"}) {
    if (section.has(key)) {
      throw section.wrong(key,
                          "says nothing under gradient = \"own\", whose products are exact; "
                          "leave it out");
    }
  }
}

}  // namespace

TrainConfig read_train_config(const std::string& path) {
  const toml::table table = read_toml(path, "the configuration");
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const Section top(table, path);
  top.allow({"name", "output", "model", "data", "train", "arithmetic"});
  TrainConfig config;
  config.path = path;
  config.content = read_input_file(path, "the configuration", k_settings_limit);
  config.name = top.text("name", true);
  config.output = (folder / top.text("output", true)).lexically_normal().string();
  read_model(top.section("model"), folder, config);
  read_data(top.section("data"), folder, config);
  read_training(top.section("train"), config);
  read_arithmetic(top.section("arithmetic"), folder, config);
  return config;
}

double rate_at(const TrainConfig& config, int64_t step) {
  if (step < config.warmup) {
    return config.rate * static_cast<double>(step + 1) / (config.warmup + 1);
  }
  const double length = std::max(1, config.steps - config.warmup);
  const double done = std::min(1.0, static_cast<double>(step - config.warmup) / length);
  return config.least_rate +
         (config.rate - config.least_rate) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace napier
