#include "train/training.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "napier/error.hpp"
#include "train/data.hpp"
#include "train/random.hpp"

namespace napier {
namespace {

namespace fs = std::filesystem;

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

float validation_loss(Trainer& trainer, std::span<const int32_t> data, int sequences) {
  double sum = 0;
  int64_t count = 0;
  const int context = trainer.shape().context;
  for (size_t begin = 0; begin + 1 < data.size();
       begin += static_cast<size_t>(context) * sequences) {
    const Batch batch = batch_at(data, context, sequences, begin);
    const Trainer::Loss loss = trainer.loss(batch.tokens, batch.targets);
    sum += loss.sum;
    count += loss.count;
  }
  return static_cast<float>(sum / static_cast<double>(std::max<int64_t>(1, count)));
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path)) {
    throw Error(path + ": is no folder and cannot be made: " + error.message());
  }
}

}  // namespace

TrainRun train(TrainConfig config, const std::function<void(const TrainProgress&)>& on_step) {
  const TrainData data = read_train_data(config);
  make_folder(config.output);
  const std::string checkpoint = (fs::path(config.output) / "checkpoint.gguf").string();
  const std::string identity = config.content + "\ndata " + std::to_string(data.hash) + "\n";

  Trainer trainer(config.shape, config.options);
  TrainRun run;
  for (const TrainedTensor& tensor : trainer.parameters()) run.parameters += tensor.values.size();
  run.tokens = data.training.size();
  run.model = (fs::path(config.output) / "model.gguf").string();
  constexpr uint64_t k_weights = 1, k_places = 2, k_drops = 3;  // what a seed is for
  if (fs::exists(checkpoint)) {
    run.record = read_checkpoint(checkpoint, identity, trainer);
    run.resumed_at = trainer.state().step;
  } else if (config.from.empty()) {
    trainer.initialise(random_bits(config.seed, k_weights));
  } else {
    read_model_weights(config.from, trainer);
  }

  const int windows = config.options.sequences * config.options.passes;
  const double started = now();
  double stepping = 0;  // seconds of it: without validation and checkpoints
  double smooth = run.record.training.empty() ? 0 : run.record.training.back();
  int64_t last_saved = trainer.state().step;
  for (int64_t step = trainer.state().step; step < config.steps; ++step) {
    const Batch batch = random_batch(data.training, config.shape.context, windows,
                                     random_bits(config.seed, k_places), step);
    StepResult result;
    const double began = now();
    try {
      const uint64_t drops =
          random_bits(random_bits(config.seed, k_drops), static_cast<uint64_t>(step));
      result = trainer.step(batch.tokens, batch.targets, rate_at(config, step), drops);
    } catch (const Error& error) {
      const std::string left = fs::exists(checkpoint) ? "; " + checkpoint + " is left as of step " +
                                                            std::to_string(last_saved)
                                                      : "; no checkpoint was written yet";
      throw Error(config.path + ": " + error.what() + left, error.blame());
    }
    stepping += now() - began;
    run.skipped += result.skipped;
    run.record.training.push_back(static_cast<float>(result.loss));
    smooth = run.record.training.size() == 1 ? result.loss : 0.95 * smooth + 0.05 * result.loss;
    const int64_t done = step + 1;
    const bool last = done == config.steps;
    const bool validates =
        !data.validation.empty() &&
        (last || (config.validate_every > 0 && done % config.validate_every == 0));
    if (validates) {
      run.record.validation.push_back(
          {done, validation_loss(trainer, data.validation, config.options.sequences)});
    }
    if (last || (config.checkpoint_every > 0 && done % config.checkpoint_every == 0)) {
      write_checkpoint(checkpoint, identity, trainer, run.record);
      last_saved = done;
    }
    const double taken = now() - started;
    const auto steps = static_cast<double>(done - run.resumed_at);
    run.tokens_per_second = steps * windows * config.shape.context / stepping;
    if (on_step) {
      on_step({done, smooth, run.tokens_per_second,
               taken / steps * static_cast<double>(config.steps - done)});
    }
  }
  write_model(run.model, data.description.get(), trainer);
  run.bytes = trainer.bytes();
  run.kernels = coverage_text(trainer.run(), false);
  return run;
}

}  // namespace napier
