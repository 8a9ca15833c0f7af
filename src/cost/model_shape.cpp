#include "cost/model_shape.hpp"

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>

#include "model/engine.hpp"
#include "model/gguf_file.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// name, layers, embedding, heads, kv heads, head, feed-forward, vocabulary, window
constexpr std::array k_shapes = {
    NamedShape{"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, 0,
               "Meta, config.json of the model"},
    NamedShape{"llama-3.1-70b", 80, 8192, 64, 8, 128, 28672, 128256, 0,
               "Meta, config.json of the model"},
    NamedShape{"mistral-7b", 32, 4096, 32, 8, 128, 14336, 32000, 4096,
               "Mistral AI, config.json of Mistral-7B-v0.1"},
};

void add_weight(ModelShape& shape, std::string name, double n, double k, double used = 1,
                double stored = 1) {
  MatmulWork work;
  work.name = std::move(name);
  work.multiplications = n * k * used;
  work.x_elements = k * used;
  work.w_elements = n * k * used;
  work.w_stored = n * k * stored;
  work.used_part = used / stored;
  work.outputs = n * used;
  work.columns = n;
  work.sum_length = k;
  shape.matmuls.push_back(std::move(work));
}

// Both products of a layer's attention.
void add_attention(ModelShape& shape, int layer, double heads, double kv_heads, double key_size,
                   double value_size, double context) {
  MatmulWork kq;
  kq.name = fmt::format("kq-{}", layer);
  kq.is_cache = true;
  kq.multiplications = heads * key_size * context;
  kq.x_elements = heads * key_size;
  kq.w_elements = kq.w_stored = kv_heads * key_size * context;
  kq.w_fresh = kv_heads * key_size;
  kq.outputs = heads * context;
  kq.columns = context;
  kq.sum_length = key_size;
  MatmulWork kqv = kq;
  kqv.name = fmt::format("kqv-{}", layer);
  kqv.multiplications = heads * value_size * context;
  kqv.x_elements = heads * context;
  kqv.w_elements = kqv.w_stored = kv_heads * value_size * context;
  kqv.w_fresh = kv_heads * value_size;
  kqv.outputs = heads * value_size;
  kqv.columns = value_size;
  kqv.sum_length = context;
  shape.matmuls.push_back(std::move(kq));
  shape.matmuls.push_back(std::move(kqv));
  shape.elementwise += 2 * heads * context;  // soft-max: scale, normalise
}

struct GgufDeleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
struct GgmlDeleter {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

// A GGUF file's metadata and tensors' shapes.
class Description {
 public:
  explicit Description(const std::string& path) : path_(path) {
    check_gguf_header(path);
    start_engine();  // which keeps ggml's own messages from the terminal
    clear_engine_error();
    ggml_context* tensors = nullptr;
    gguf_.reset(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = &tensors}));
    tensors_.reset(tensors);
    if (!gguf_) throw Error(path + ": is no sound GGUF file: " + first_engine_error());
    const int64_t key = gguf_find_key(gguf_.get(), "general.architecture");
    if (key < 0 || gguf_get_kv_type(gguf_.get(), key) != GGUF_TYPE_STRING) {
      throw Error(path + ": names no architecture (general.architecture)");
    }
    architecture_ = gguf_get_val_str(gguf_.get(), key);
  }

  const ggml_tensor* first() const { return ggml_get_first_tensor(tensors_.get()); }
  const ggml_tensor* next(const ggml_tensor* tensor) const {
    return ggml_get_next_tensor(tensors_.get(), const_cast<ggml_tensor*>(tensor));
  }
  const ggml_tensor* find(const std::string& name) const {
    return ggml_get_tensor(tensors_.get(), name.c_str());
  }

  const std::string& architecture() const { return architecture_; }

  // A number, or the layer's of an array of them (of truths too).
  std::optional<int64_t> number(const std::string& suffix, int layer,
                                bool only_arrays = false) const {
    const int64_t key = gguf_find_key(gguf_.get(), (architecture_ + "." + suffix).c_str());
    if (key < 0) return std::nullopt;
    const gguf_type kind = gguf_get_kv_type(gguf_.get(), key);
    if (only_arrays && kind != GGUF_TYPE_ARRAY) return std::nullopt;
    switch (kind) {
      case GGUF_TYPE_UINT32: return gguf_get_val_u32(gguf_.get(), key);
      case GGUF_TYPE_INT32: return gguf_get_val_i32(gguf_.get(), key);
      case GGUF_TYPE_ARRAY: {
        const auto type = gguf_get_arr_type(gguf_.get(), key);
        if ((type != GGUF_TYPE_INT32 && type != GGUF_TYPE_UINT32 && type != GGUF_TYPE_BOOL) ||
            layer < 0 || static_cast<size_t>(layer) >= gguf_get_arr_n(gguf_.get(), key)) {
          return std::nullopt;
        }
        const void* const data = gguf_get_arr_data(gguf_.get(), key);
        if (type == GGUF_TYPE_BOOL) return static_cast<const int8_t*>(data)[layer] != 0;
        return static_cast<const int32_t*>(data)[layer];
      }
      default: return std::nullopt;
    }
  }
  int64_t needed(const std::string& suffix, int layer) const {
    const auto found = number(suffix, layer);
    if (!found || *found < 1) {
      throw Error(path_ + ": has no sound number '" + architecture_ + "." + suffix + "'");
    }
    return *found;
  }

 private:
  std::string path_;
  std::string architecture_;
  std::unique_ptr<gguf_context, GgufDeleter> gguf_;
  std::unique_ptr<ggml_context, GgmlDeleter> tensors_;
};

// Which layers see only the last tokens, by architecture, as llama.cpp has it (its src/models/)
// where the file's attention.sliding_window_pattern does not say.
struct WindowRule {
  std::string_view architecture;
  int64_t every;               // one layer of so many sees all
  bool is_first_full = false;  // of these the first, else the last
  int64_t fallback = 0;        // tokens, where the file names no window; 0: none
  bool is_chunked = false;     // a token sees its own run of so many alone
  int64_t layers = 0;          // only of models of so many
};
constexpr std::array k_window_rules = {
    WindowRule{"afmoe", 4},
    WindowRule{"cohere2", 4},
    WindowRule{.architecture = "cohere2moe", .every = 4, .is_first_full = true},
    WindowRule{.architecture = "exaone4", .every = 4, .fallback = 4096, .layers = 64},
    WindowRule{.architecture = "exaone-moe", .every = 4, .fallback = 128},
    WindowRule{.architecture = "gemma2", .every = 2, .fallback = 4096},
    WindowRule{"gemma3", 6},
    WindowRule{"gemma3n", 5},
    WindowRule{"gpt-oss", 2},
    WindowRule{.architecture = "laguna", .every = 4, .is_first_full = true},
    WindowRule{.architecture = "llama4", .every = 4, .fallback = 8192, .is_chunked = true},
    WindowRule{"mellum", 4},
    WindowRule{"muse-glimmer", 4},
    WindowRule{"olmo2", 4},
    WindowRule{"plamo3", 8},
    WindowRule{.architecture = "smallthinker", .every = 4, .is_first_full = true},
};

std::string describe(int count, int layers, int64_t window, bool is_chunked) {
  if (count == 0) return "";
  return fmt::format("{} of {} layers attend to {} {} tokens", count, layers,
                     is_chunked ? "the token's own run of" : "the last", window);
}

// How far the layers of a file look back.
class Windows {
 public:
  Windows(const Description& file, int layers) : file_(&file) {
    const auto rule =
        std::find_if(k_window_rules.begin(), k_window_rules.end(),
                     [&](const auto& r) { return r.architecture == file.architecture(); });
    if (rule != k_window_rules.end() && (rule->layers == 0 || rule->layers == layers))
      rule_ = *rule;
    window_ = file.number("attention.sliding_window", -1).value_or(rule_ ? rule_->fallback : 0);
  }

  bool has(int layer) const {
    if (window_ <= 0) return false;
    constexpr const char* key = "attention.sliding_window_pattern";
    if (const auto flag = file_->number(key, layer, true)) return *flag != 0;
    // Of an architecture that is not listed llama.cpp heeds no window.
    const auto written = file_->number(key, -1);
    if (!written && !rule_) return false;
    const int64_t every = written.value_or(rule_ ? rule_->every : 0);
    if (every <= 0) return true;
    return rule_ && rule_->is_first_full ? layer % every != 0 : layer % every < every - 1;
  }

  // Of `context` tokens, the last one itself included, those that it attends to.
  int64_t attended(int layer, int64_t context) const {
    if (!has(layer)) return context;
    return rule_ && rule_->is_chunked ? (context - 1) % window_ + 1 : std::min(window_, context);
  }

  std::string description(int layers) const {
    int count = 0;
    for (int layer = 0; layer < layers; ++layer) count += has(layer);
    return describe(count, layers, window_, rule_ && rule_->is_chunked);
  }

 private:
  const Description* file_;
  std::optional<WindowRule> rule_;
  int64_t window_ = 0;
};

// What this file's counts do not know how to count.
bool multiplies_otherwise(std::string_view name) {
  for (const std::string_view part :
       {"ssm_", "time_mix", "attn_kv_a_mqa", "attn_kv_b", "shortconv", "conv1d", "cross_attn"}) {
    if (name.find(part) != name.npos) return true;
  }
  return false;
}

}  // namespace

double ModelShape::multiplications() const {
  double total = 0;
  for (const MatmulWork& work : matmuls) total += work.multiplications;
  return total;
}

std::span<const NamedShape> named_shapes() { return k_shapes; }

ModelShape shape_of(const NamedShape& s, int64_t context) {
  ModelShape shape{std::string(s.name), std::string(s.source), {}, 0, ""};
  if (s.window > 0) shape.windows = describe(s.layers, s.layers, s.window, false);
  const int64_t attended = s.window > 0 ? std::min<int64_t>(s.window, context) : context;
  const double query = double(s.heads) * s.head_size;
  const double key = double(s.kv_heads) * s.head_size;
  for (int layer = 0; layer < s.layers; ++layer) {
    const auto add = [&](const char* role, double n, double k) {
      add_weight(shape, fmt::format("blk.{}.{}.weight", layer, role), n, k);
    };
    add("attn_q", query, s.embedding);
    add("attn_k", key, s.embedding);
    add("attn_v", key, s.embedding);
    add_attention(shape, layer, s.heads, s.kv_heads, s.head_size, s.head_size,
                  static_cast<double>(attended));
    add("attn_output", s.embedding, query);
    add("ffn_gate", s.feed_forward, s.embedding);
    add("ffn_up", s.feed_forward, s.embedding);
    add("ffn_down", s.embedding, s.feed_forward);
    // Two norms of square, scale and weight; rotation; sigmoid's x and the gate.
    shape.elementwise += 2 * 3 * s.embedding + 2 * (query + key) + 2 * s.feed_forward;
  }
  add_weight(shape, "output.weight", s.vocabulary, s.embedding);
  shape.elementwise += 3 * s.embedding;
  return shape;
}

ModelShape shape_of_file(const std::string& path, int64_t context) {
  const Description file(path);
  ModelShape shape{path, "the file's description", {}, 0, ""};
  const int64_t embedding = file.needed("embedding_length", -1);
  const auto layers = static_cast<int>(file.needed("block_count", -1));
  const Windows windows(file, layers);
  shape.windows = windows.description(layers);

  const auto add_matrix = [&](const ggml_tensor& tensor, const std::string& name) {
    const auto k = static_cast<double>(tensor.ne[0]);
    const auto n = static_cast<double>(tensor.ne[1]);
    if (tensor.ne[2] == 1) return add_weight(shape, name, n, k);
    const int64_t used = file.needed("expert_used_count", -1);
    if (used > tensor.ne[2]) {
      throw Error(path + fmt::format(": '{}' has {} experts, and 'expert_used_count' is {}",
                                     printable(name), tensor.ne[2], used));
    }
    add_weight(shape, name, n, k, static_cast<double>(used), static_cast<double>(tensor.ne[2]));
  };
  for (int layer = 0; layer < layers; ++layer) {
    const std::string prefix = fmt::format("blk.{}.", layer);
    const auto heads = static_cast<double>(file.needed("attention.head_count", layer));
    const auto kv_heads = static_cast<double>(
        file.number("attention.head_count_kv", layer).value_or(static_cast<int64_t>(heads)));
    const double size = static_cast<double>(embedding) / heads;
    const auto sized = [&](const char* key) {
      const auto found = file.number(key, layer);
      return found ? static_cast<double>(*found) : size;
    };
    bool attends = false;
    for (const ggml_tensor* t = file.first(); t; t = file.next(t)) {
      const std::string name = t->name;
      if (!name.starts_with(prefix)) continue;
      if (multiplies_otherwise(name)) {
        throw Error(path + ": '" + printable(name) +
                    "' belongs to an operation whose multiplications are not counted here");
      }
      const std::string role = name.substr(prefix.size());
      if (!role.ends_with(".weight")) continue;
      if (role.find("norm") != role.npos) {
        const double times = role == "attn_q_norm.weight"   ? heads
                             : role == "attn_k_norm.weight" ? kv_heads
                                                            : 1;
        const bool per_head = static_cast<double>(t->ne[0]) <= size;
        shape.elementwise += 3 * static_cast<double>(t->ne[0]) * (per_head ? times : 1);
        continue;
      }
      if (t->ne[1] == 1 || role.find("rope") != role.npos) continue;
      add_matrix(*t, name);
      const double outputs = shape.matmuls.back().outputs;
      if (role.starts_with("ffn_up")) shape.elementwise += outputs;  // the activation's x, or
      if (role.starts_with("ffn_gate") && !role.starts_with("ffn_gate_inp")) {
        shape.elementwise += outputs;  // both, where there is a gate
      }
      if (role == "attn_k.weight" || role == "attn_qkv.weight") attends = true;
    }
    if (!attends) {
      throw Error(path + fmt::format(": layer {} has neither attn_k nor attn_qkv: what it "
                                     "multiplies is not counted here",
                                     layer));
    }
    // Some have heads of another size where they have a window.
    const auto sized_here = [&](const std::string& key) {
      const bool apart = windows.has(layer) && file.number(key + "_swa", layer);
      return sized((key + (apart ? "_swa" : "")).c_str());
    };
    const double key_size = sized_here("attention.key_length");
    add_attention(shape, layer, heads, kv_heads, key_size, sized_here("attention.value_length"),
                  static_cast<double>(windows.attended(layer, context)));
    std::optional<int64_t> rotated;
    if (windows.has(layer)) rotated = file.number("rope.dimension_count_swa", layer);
    if (!rotated) rotated = file.number("rope.dimension_count", layer);
    shape.elementwise +=
        2 * (heads + kv_heads) * (rotated ? static_cast<double>(*rotated) : key_size);
  }
  const ggml_tensor* output = file.find("output.weight");
  if (!output) output = file.find("token_embd.weight");  // tied
  if (!output) throw Error(path + ": has no output.weight and no token_embd.weight");
  add_matrix(*output, output->name);
  if (const ggml_tensor* norm = file.find("output_norm.weight")) {
    shape.elementwise += 3 * static_cast<double>(norm->ne[0]);
  }
  return shape;
}

ModelShape shape_of_model(const std::string& name_or_path, int64_t context) {
  std::string names;
  for (const NamedShape& shape : named_shapes()) {
    if (shape.name == name_or_path) return shape_of(shape, context);
    names += ", " + std::string(shape.name);
  }
  if (name_or_path.empty()) throw Error("a model is needed: a GGUF file" + names);
  if (name_or_path.find_first_of("./") == std::string::npos &&
      !std::filesystem::exists(name_or_path)) {
    throw Error("'" + name_or_path + "' is no model: give a GGUF file" + names);
  }
  return shape_of_file(name_or_path, context);
}

}  // namespace napier
