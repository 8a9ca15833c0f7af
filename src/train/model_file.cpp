#include "train/model_file.hpp"

#include <fcntl.h>
#include <ggml-cpp.h>
#include <ggml.h>
#include <gguf.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "model/gguf_file.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

constexpr const char* k_first = "first_moment.";
constexpr const char* k_second = "second_moment.";

ggml_context_ptr tensor_context(size_t count) {
  ggml_init_params params = {};
  params.mem_size = (count + 1) * ggml_tensor_overhead();
  params.no_alloc = true;
  return ggml_context_ptr(ggml_init(params));
}

void add_tensor(gguf_context* file, ggml_context* context, const ParameterShape& shape,
                const std::string& prefix, std::span<float> values) {
  ggml_tensor* tensor = shape.rows == 0
                            ? ggml_new_tensor_1d(context, GGML_TYPE_F32, shape.columns)
                            : ggml_new_tensor_2d(context, GGML_TYPE_F32, shape.columns, shape.rows);
  ggml_set_name(tensor, (prefix + shape.name).c_str());
  tensor->data = values.data();
  gguf_add_tensor(file, tensor);
}

// To a temporary file beside it, to the disk, then by its name.
void write_file(const std::string& path, const gguf_context* content) {
  const std::string temporary = path + ".new";
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  errno = file ? 0 : errno;
  bool sound = file != nullptr;
  try {
    sound = sound && gguf_write_to_file_ptr(content, file, false);
  } catch (const std::exception&) {
    sound = false;
  }
  sound = sound && std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  int why = errno;
  if (file && std::fclose(file) != 0 && sound) {
    sound = false;
    why = errno;
  }
  if (sound && std::rename(temporary.c_str(), path.c_str()) == 0) return;
  if (sound) why = errno;
  std::remove(temporary.c_str());
  throw Error(path + ": cannot be written: " + std::strerror(why ? why : EIO) +
                  "; what was there before is as it was",
              Blame::environment);
}

// A GGUF file with its tensors in memory.
struct LoadedFile {
  GgufPointer file;
  ggml_context_ptr tensors;
};

LoadedFile load(const std::string& path, bool with_data) {
  check_gguf_header(path);
  ggml_context* context = nullptr;
  LoadedFile result;
  gguf_init_params params = {};
  params.no_alloc = !with_data;
  params.ctx = &context;
  result.file.reset(gguf_init_from_file(path.c_str(), params));
  result.tensors.reset(context);
  if (!result.file) throw Error(path + ": is no sound GGUF file");
  return result;
}

// A key's value, of whichever integer or real type it has.
double number_at(const gguf_context* file, const std::string& path, const std::string& key,
                 double otherwise) {
  const int64_t id = gguf_find_key(file, key.c_str());
  if (id < 0) {
    if (std::isnan(otherwise)) throw Error(path + ": has no key " + key);
    return otherwise;
  }
  switch (gguf_get_kv_type(file, id)) {
    case GGUF_TYPE_UINT32: return gguf_get_val_u32(file, id);
    case GGUF_TYPE_INT32: return gguf_get_val_i32(file, id);
    case GGUF_TYPE_UINT64: return static_cast<double>(gguf_get_val_u64(file, id));
    case GGUF_TYPE_INT64: return static_cast<double>(gguf_get_val_i64(file, id));
    case GGUF_TYPE_FLOAT32: return gguf_get_val_f32(file, id);
    default: throw Error(path + ": key " + key + " is not one number");
  }
}

std::string text_at(const gguf_context* file, const std::string& key) {
  const int64_t id = gguf_find_key(file, key.c_str());
  if (id < 0 || gguf_get_kv_type(file, id) != GGUF_TYPE_STRING) return "";
  return gguf_get_val_str(file, id);
}

template <class Value>
std::vector<Value> array_at(const gguf_context* file, const std::string& path, const char* key,
                            gguf_type type) {
  const int64_t id = gguf_find_key(file, key);
  if (id < 0 || gguf_get_kv_type(file, id) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(file, id) != type) {
    throw Error(path + ": is no checkpoint of training: key " + key + " is missing");
  }
  const auto* values = static_cast<const Value*>(gguf_get_arr_data(file, id));
  return {values, values + gguf_get_arr_n(file, id)};
}

// Copies a tensor of the file into an array, as f32.
void read_values(const LoadedFile& from, const std::string& path, const std::string& name,
                 const ParameterShape& shape, std::span<float> to) {
  const ggml_tensor* tensor = ggml_get_tensor(from.tensors.get(), name.c_str());
  if (!tensor) throw Error(path + ": has no tensor " + name);
  const int64_t rows = shape.rows == 0 ? 1 : shape.rows;
  if (tensor->ne[0] != shape.columns || ggml_nrows(tensor) != rows) {
    throw Error(path + ": tensor " + name + " is " + std::to_string(tensor->ne[0]) + " x " +
                std::to_string(ggml_nrows(tensor)) + ", not " + std::to_string(shape.columns) +
                " x " + std::to_string(rows));
  }
  if (tensor->type == GGML_TYPE_F32) {
    std::memcpy(to.data(), tensor->data, to.size_bytes());
    return;
  }
  const ggml_type_traits* traits = ggml_get_type_traits(tensor->type);
  if (!traits->to_float) {
    throw Error(path + ": tensor " + name + " of type " + ggml_type_name(tensor->type) +
                " cannot be read as f32");
  }
  for (int64_t row = 0; row < rows; ++row) {
    traits->to_float(static_cast<const char*>(tensor->data) + row * tensor->nb[1],
                     to.data() + row * shape.columns, shape.columns);
  }
}

const char* epsilon_key(const TransformerShape& shape) {
  return shape.is_gpt() ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
}

}  // namespace

void GgufDeleter::operator()(gguf_context* file) const { gguf_free(file); }

GgufPointer describe_model(const TransformerShape& shape, const std::string& name) {
  GgufPointer file(gguf_init_empty());
  const std::string architecture = shape.architecture();
  const auto number = [&](const char* key, int value) {
    gguf_set_val_u32(file.get(), (architecture + "." + key).c_str(), static_cast<uint32_t>(value));
  };
  gguf_set_val_str(file.get(), "general.architecture", architecture.c_str());
  gguf_set_val_str(file.get(), "general.name", name.c_str());
  number("vocab_size", shape.vocabulary);
  number("context_length", shape.context);
  number("embedding_length", shape.width);
  number("block_count", shape.layers);
  number("feed_forward_length", shape.hidden);
  number("attention.head_count", shape.heads);
  number("attention.head_count_kv", shape.key_heads);
  gguf_set_val_f32(file.get(), (architecture + "." + epsilon_key(shape)).c_str(), shape.epsilon);
  if (shape.is_gpt()) return file;
  number("rope.dimension_count", shape.head_width());
  gguf_set_val_f32(file.get(), (architecture + ".rope.freq_base").c_str(), shape.rope_base);
  if (shape.positions == Positions::none) {
    // llama.cpp has no llama without rotary positions: angles scaled down to nothing are the same.
    gguf_set_val_str(file.get(), (architecture + ".rope.scaling.type").c_str(), "linear");
    gguf_set_val_f32(file.get(), (architecture + ".rope.scaling.factor").c_str(), 1e30f);
  }
  return file;
}

void write_model(const std::string& path, const gguf_context* description, Trainer& trainer) {
  const GgufPointer file(gguf_init_empty());
  gguf_set_kv(file.get(), description);
  const ggml_context_ptr context = tensor_context(trainer.parameters().size());
  for (TrainedTensor& tensor : trainer.parameters()) {
    add_tensor(file.get(), context.get(), tensor.shape, "", tensor.values);
  }
  write_file(path, file.get());
}

void write_checkpoint(const std::string& path, const std::string& identity, Trainer& trainer,
                      const LossRecord& record) {
  const GgufPointer file(gguf_init_empty());
  const TrainerState& state = trainer.state();
  gguf_set_val_str(file.get(), "general.architecture", "napier-checkpoint");
  gguf_set_val_str(file.get(), "napier.identity", identity.c_str());
  gguf_set_val_i64(file.get(), "napier.step", state.step);
  gguf_set_val_i64(file.get(), "napier.updates", state.updates);
  gguf_set_val_f32(file.get(), "napier.loss_scale", state.loss_scale);
  gguf_set_val_i64(file.get(), "napier.since_overflow", state.since_overflow);
  std::vector<int64_t> steps;
  std::vector<float> losses;
  for (const auto& [step, loss] : record.validation) {
    steps.push_back(step);
    losses.push_back(loss);
  }
  gguf_set_arr_data(file.get(), "napier.losses", GGUF_TYPE_FLOAT32, record.training.data(),
                    record.training.size());
  gguf_set_arr_data(file.get(), "napier.validation_steps", GGUF_TYPE_INT64, steps.data(),
                    steps.size());
  gguf_set_arr_data(file.get(), "napier.validation_losses", GGUF_TYPE_FLOAT32, losses.data(),
                    losses.size());
  const ggml_context_ptr context = tensor_context(3 * trainer.parameters().size());
  for (TrainedTensor& tensor : trainer.parameters()) {
    add_tensor(file.get(), context.get(), tensor.shape, "", tensor.values);
    add_tensor(file.get(), context.get(), tensor.shape, k_first, tensor.first_moment);
    add_tensor(file.get(), context.get(), tensor.shape, k_second, tensor.second_moment);
  }
  write_file(path, file.get());
}

LossRecord read_checkpoint(const std::string& path, const std::string& identity, Trainer& trainer) {
  const LoadedFile from = load(path, true);
  const gguf_context* file = from.file.get();
  if (text_at(file, "napier.identity") != identity) {
    throw Error(path +
                ": was made by another configuration or from other data; remove it to begin "
                "anew, or train into another folder");
  }
  const double none = std::nan("");
  LossRecord record;
  record.training = array_at<float>(file, path, "napier.losses", GGUF_TYPE_FLOAT32);
  const auto steps = array_at<int64_t>(file, path, "napier.validation_steps", GGUF_TYPE_INT64);
  const auto losses = array_at<float>(file, path, "napier.validation_losses", GGUF_TYPE_FLOAT32);
  for (size_t i = 0; i < std::min(steps.size(), losses.size()); ++i) {
    record.validation.push_back({steps[i], losses[i]});
  }
  TrainerState& state = trainer.state();
  state.step = static_cast<int64_t>(number_at(file, path, "napier.step", none));
  state.updates = static_cast<int64_t>(number_at(file, path, "napier.updates", none));
  state.loss_scale = static_cast<float>(number_at(file, path, "napier.loss_scale", none));
  state.since_overflow = static_cast<int64_t>(number_at(file, path, "napier.since_overflow", none));
  for (TrainedTensor& tensor : trainer.parameters()) {
    const std::string& name = tensor.shape.name;
    read_values(from, path, name, tensor.shape, tensor.values);
    read_values(from, path, k_first + name, tensor.shape, tensor.first_moment);
    read_values(from, path, k_second + name, tensor.shape, tensor.second_moment);
  }
  return record;
}

ModelStart read_model_start(const std::string& path) {
  LoadedFile from = load(path, false);
  gguf_context* file = from.file.get();
  const std::string architecture = text_at(file, "general.architecture");
  const std::map<std::string, FeedForward> known_kinds = {{"llama", FeedForward::swiglu},
                                                          {"arcee", FeedForward::squared_relu},
                                                          {"mpt", FeedForward::gelu}};
  const auto kind = known_kinds.find(architecture);
  if (kind == known_kinds.end()) {
    throw Error(path + ": is a model of architecture '" + architecture +
                "'; llama, arcee and mpt can be trained");
  }
  const auto number = [&](const char* key, double otherwise) {
    return number_at(file, path, architecture + "." + key, otherwise);
  };
  const auto whole = [&](const char* key, double otherwise) {
    return static_cast<int>(number(key, otherwise));
  };
  const double none = std::nan("");
  ModelStart start;
  TransformerShape& shape = start.shape;
  shape.feed_forward = kind->second;
  shape.context = whole("context_length", none);
  shape.width = whole("embedding_length", none);
  shape.layers = whole("block_count", none);
  shape.hidden = whole("feed_forward_length", none);
  shape.heads = whole("attention.head_count", none);
  shape.key_heads = whole("attention.head_count_kv", shape.heads);
  shape.epsilon = static_cast<float>(number(epsilon_key(shape), none));
  shape.rope_base = static_cast<float>(number("rope.freq_base", 10000));
  shape.tied = gguf_find_tensor(file, "output.weight") < 0;
  if (shape.is_gpt()) {
    for (const char* key : {"attention.clamp_kqv", "attention.max_alibi_bias"}) {
      if (number(key, 0) != 0) throw Error(path + ": has " + key + ", which is not trained");
    }
    const bool has_positions = gguf_find_tensor(file, "position_embd.weight") >= 0;
    shape.positions = has_positions ? Positions::learned : Positions::none;
  }
  shape.check(path);
  const ggml_tensor* embedding = ggml_get_tensor(from.tensors.get(), "token_embd.weight");
  if (!embedding) throw Error(path + ": has no tensor token_embd.weight");
  shape.vocabulary = static_cast<int>(embedding->ne[1]);
  if (!shape.is_gpt()) {
    if (whole("rope.dimension_count", shape.head_width()) != shape.head_width()) {
      throw Error(path + ": rotary positions turn a part of each head alone, which is not trained");
    }
    const double factor = number("rope.scaling.factor", 1);
    if (factor == double{1e30f}) {
      shape.positions = Positions::none;
    } else if (factor != 1) {
      throw Error(path + ": its rotary positions are scaled, which is not trained");
    }
  }
  std::set<std::string> known;
  for (const ParameterShape& parameter : parameter_shapes(shape)) known.insert(parameter.name);
  for (int64_t i = 0; i < gguf_get_n_tensors(file); ++i) {
    const char* name = gguf_get_tensor_name(file, i);
    if (known.count(name)) continue;
    throw Error(path + ": has the tensor " + printable(name) +
                ", which the models that can be trained have not");
  }
  start.description.reset(gguf_init_empty());
  gguf_set_kv(start.description.get(), file);
  gguf_remove_key(start.description.get(), "general.file_type");
  return start;
}

void read_model_weights(const std::string& path, Trainer& trainer) {
  const LoadedFile from = load(path, true);
  for (TrainedTensor& tensor : trainer.parameters()) {
    read_values(from, path, tensor.shape.name, tensor.shape, tensor.values);
  }
}

}  // namespace napier
