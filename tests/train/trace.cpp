// Trains as `napier train` does, and writes down what an oracle needs to do the same:
//   trace CONFIG.toml FOLDER STEPS
// data.i32 (all that is trained on), start.gguf (the first weights), and for each step N
// tokens-N.i32, targets-N.i32, losses.txt (the loss and the gradient's norm, a line a step),
// gradients-1.gguf, weights-1.gguf.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "train/data.hpp"
#include "train/random.hpp"

namespace napier {
namespace {

void write(const std::string& path, const std::vector<int32_t>& values) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(int32_t)));
}

void run(const std::string& path, const std::string& folder, int steps) {
  TrainConfig config = read_train_config(path);
  const TrainData data = read_train_data(config);
  config.options.clip = 0;  // gradients are written as they are
  Trainer trainer(config.shape, config.options);
  trainer.initialise(config.seed);
  std::filesystem::create_directories(folder);
  write(folder + "/data.i32", data.training);
  write_model(folder + "/start.gguf", data.description.get(), trainer);
  std::ofstream losses(folder + "/losses.txt");
  losses.precision(17);
  const int windows = config.options.sequences * config.options.passes;
  for (int step = 0; step < steps; ++step) {
    const Batch batch =
        random_batch(data.training, config.shape.context, windows, config.seed, step);
    const std::string number = std::to_string(step + 1);
    write(folder + "/tokens-" + number + ".i32", batch.tokens);
    write(folder + "/targets-" + number + ".i32", batch.targets);
    const double rate = rate_at(config, step);
    const StepResult result = trainer.step(batch.tokens, batch.targets, rate, config.seed + step);
    losses << result.loss << " " << result.gradient_norm << " " << rate << "\n";
    if (step > 0) continue;
    write_model(folder + "/weights-1.gguf", data.description.get(), trainer);
    std::vector<std::vector<float>> kept;
    for (TrainedTensor& tensor : trainer.parameters()) {
      kept.emplace_back(tensor.values.begin(), tensor.values.end());
      std::copy(tensor.gradient.begin(), tensor.gradient.end(), tensor.values.begin());
    }
    write_model(folder + "/gradients-1.gguf", data.description.get(), trainer);
    for (size_t i = 0; i < kept.size(); ++i) {
      std::copy(kept[i].begin(), kept[i].end(), trainer.parameters()[i].values.begin());
    }
  }
}

}  // namespace
}  // namespace napier

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    napier::run(argv[1], argv[2], std::atoi(argv[3]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trace: %s\n", error.what());
    return 1;
  }
  return 0;
}
