#include "train/data.hpp"

#include <algorithm>
#include <cmath>

#include "eval/workload.hpp"
#include "model/gguf_file.hpp"
#include "model/model.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"
#include "train/random.hpp"
#include "train/vocabulary.hpp"

namespace napier {
namespace {

std::string data_text(const TrainConfig& config) {
  if (!config.workload.empty()) {
    std::string text;
    for (const Sample& sample :
         find_workload(config.workload).make(Part::train, config.samples, config.seed)) {
      text += sample.prompt + sample.answer;
      if (!text.ends_with('\n')) text += '\n';
    }
    return text;
  }
  std::string text = read_input_file(config.text, "the text");
  if (text.empty()) throw Error(config.text + ": the text is empty");
  return text;
}

Vocabulary vocabulary_of(const TrainConfig& config, const std::string& text,
                         const std::string& where) {
  switch (config.tokenizer) {
    case Tokenizer::bytes: return Vocabulary::of_bytes();
    case Tokenizer::sentencepiece:
      return Vocabulary::of_pieces(read_sentencepiece(config.vocabulary));
    default: return Vocabulary::of_characters(text, where);
  }
}

// llama.cpp, which aborts on some broken files, tries the file in a process of its own.
void probe(const std::string& path, const std::string& text) {
  check_gguf_header(path);
  ContextOptions options;
  options.context = 64;
  probe_model(path, options, text.substr(0, 100));
}

}  // namespace

TrainData read_train_data(TrainConfig& config) {
  TrainData data;
  const std::string text = data_text(config);
  const std::string where = config.text.empty() ? "task " + config.workload : config.text;
  if (config.from.empty()) {
    const Vocabulary vocabulary = vocabulary_of(config, text, where);
    config.shape.vocabulary = vocabulary.size();
    data.training = vocabulary.tokenise(text, where);
    data.description = describe_model(config.shape, config.name);
    vocabulary.write(data.description.get());
  } else {
    probe(config.from, text);
    ModelStart start = read_model_start(config.from);
    const int context = config.shape.context == 0 ? start.shape.context : config.shape.context;
    if (start.shape.positions == Positions::learned && context != start.shape.context) {
      throw Error(config.path + ": key 'context' is " + std::to_string(context) + ", but " +
                  config.from + " has learned " + std::to_string(start.shape.context) +
                  " positions; leave it out");
    }
    config.shape = start.shape;
    config.shape.context = context;
    config.shape.check(config.from);
    data.training = Model(config.from).tokenise(text, false, false);
    data.description = std::move(start.description);
    for (const int32_t token : data.training) {
      if (token >= 0 && token < config.shape.vocabulary) continue;
      throw Error(config.from + ": its vocabulary has a token " + std::to_string(token) +
                  ", but its embedding only " + std::to_string(config.shape.vocabulary));
    }
  }
  for (const int32_t token : data.training)
    data.hash = mix(data.hash ^ static_cast<uint64_t>(token));

  const auto kept = static_cast<size_t>(
      std::floor(static_cast<double>(data.training.size()) * (1 - config.validation)));
  data.validation.assign(data.training.begin() + static_cast<ptrdiff_t>(kept), data.training.end());
  data.training.resize(kept);
  const auto least = static_cast<size_t>(config.shape.context) + 1;
  if (data.training.size() < least) {
    throw Error(where + ": has " + std::to_string(data.training.size()) +
                " tokens to train on; a context of " + std::to_string(config.shape.context) +
                " needs at least " + std::to_string(least));
  }
  return data;
}

Batch random_batch(std::span<const int32_t> data, int context, int count, uint64_t seed,
                   int64_t step) {
  Batch batch;
  const uint64_t own = random_bits(seed, static_cast<uint64_t>(step));
  const auto length = static_cast<size_t>(context);
  for (int i = 0; i < count; ++i) {
    const size_t begin = random_below(own, static_cast<uint64_t>(i), data.size() - length);
    const auto window = data.subspan(begin, length + 1);
    batch.tokens.insert(batch.tokens.end(), window.begin(), window.end() - 1);
    batch.targets.insert(batch.targets.end(), window.begin() + 1, window.end());
  }
  return batch;
}

Batch batch_at(std::span<const int32_t> data, int context, int count, size_t begin) {
  Batch batch;
  const size_t length = static_cast<size_t>(context) * static_cast<size_t>(count);
  batch.tokens.assign(length, 0);
  batch.targets.assign(length, -1);
  for (size_t i = 0; i < length && begin + i + 1 < data.size(); ++i) {
    batch.tokens[i] = data[begin + i];
    batch.targets[i] = data[begin + i + 1];
  }
  return batch;
}

}  // namespace napier
