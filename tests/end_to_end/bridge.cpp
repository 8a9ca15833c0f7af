// What the NumPy oracle asks of Napier and of llama.cpp, for ctypes. Used by tests only.
#include <llama.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <string_view>

#include "napier/arithmetic.hpp"
#include "napier/gemm.hpp"
#include "napier/plan.hpp"

using namespace napier;

namespace {

RowReader rows_of(const float* matrix, int64_t k) {
  return [=](int64_t row, float* out) {
    std::memcpy(out, matrix + row * k, static_cast<size_t>(k) * sizeof(float));
  };
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// out[m][n] = sum over k of x[m][k] (*) w[n][k], by the kernel that lower() picks. Gives the
// kernel's name, or nullptr with a sentence in `error` (of 512 bytes).
EXPORT const char* bridge_multiply(const char* arithmetic, int64_t m, int64_t n, int64_t k,
                                   const float* x, const float* w, float* out, int threads,
                                   char* error) {
  try {
    ThreadPool pool(threads);
    const auto packed = pack_weights(parse_arithmetic(arithmetic), n, k, rows_of(w, k), pool);
    packed->multiply(m, rows_of(x, k), out, n, pool);
    return kernel_name(packed->kernel()).data();
  } catch (const std::exception& problem) {
    std::strncpy(error, problem.what(), 511);
    return nullptr;
  }
}

// The same of a tensor under a plan, by the rule that it falls under, with its treatments.
EXPORT const char* bridge_multiply_as(const char* plan, const char* name, int64_t m, int64_t n,
                                      int64_t k, const float* x, const float* w, float* out,
                                      char* error) {
  try {
    ThreadPool pool(1);
    const Plan parsed = parse_plan(plan);
    const Rule& rule = parsed.rules.at(parsed.match(name).value());
    const auto packed = pack_weights(rule.arithmetic, rule.treatments, n, k, rows_of(w, k), pool);
    packed->multiply(m, rows_of(x, k), out, n, pool);
    return kernel_name(packed->kernel()).data();
  } catch (const std::exception& problem) {
    std::strncpy(error, problem.what(), 511);
    return nullptr;
  }
}

// Every single product: out[k][m][n] = x[m][k] (*) w[n][k], each a matrix product with K = 1.
EXPORT const char* bridge_products(const char* arithmetic, int64_t m, int64_t n, int64_t k,
                                   const float* x, const float* w, float* out, char* error) {
  try {
    ThreadPool pool(1);
    const Arithmetic parsed = parse_arithmetic(arithmetic);
    std::string_view name;
    for (int64_t i = 0; i < k; i++) {
      const RowReader w_row = [=](int64_t row, float* to) { *to = w[row * k + i]; };
      const RowReader x_row = [=](int64_t row, float* to) { *to = x[row * k + i]; };
      const auto packed = pack_weights(parsed, n, 1, w_row, pool);
      packed->multiply(m, x_row, out + i * m * n, n, pool);
      name = kernel_name(packed->kernel());
    }
    return name.data();
  } catch (const std::exception& problem) {
    std::strncpy(error, problem.what(), 511);
    return nullptr;
  }
}

// llama.cpp as it is: its own CPU backend, no plan, attention not fused, K and V in f32.
struct Engine {
  llama_model* model = nullptr;
  llama_context* context = nullptr;
};

// nullptr where the model cannot be loaded. Never closed.
EXPORT void* bridge_open(const char* model_path, uint32_t context) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  auto* engine = new Engine;
  engine->model = llama_model_load_from_file(model_path, llama_model_default_params());
  if (engine->model == nullptr) return nullptr;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = context;
  params.n_threads = params.n_threads_batch = 1;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = GGML_TYPE_F32;
  engine->context = llama_init_from_model(engine->model, params);
  return engine->context == nullptr ? nullptr : engine;
}

// Logits of the tokens from `first` on, of a sequence that begins anew; 0, or llama_decode's error.
EXPORT int bridge_logits(void* opened, const int32_t* tokens, int32_t count, int32_t first,
                         float* out) {
  const auto* engine = static_cast<const Engine*>(opened);
  llama_memory_clear(llama_get_memory(engine->context), true);
  llama_batch batch = llama_batch_init(count, 0, 1);
  for (int32_t i = 0; i < count; i++) {
    batch.token[i] = tokens[i];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = i >= first;
  }
  batch.n_tokens = count;
  const int error = llama_decode(engine->context, batch);
  llama_batch_free(batch);
  if (error != 0) return error;
  const auto width =
      static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(engine->model)));
  for (int32_t i = first; i < count; i++) {
    std::memcpy(out, llama_get_logits_ith(engine->context, i), width * sizeof(float));
    out += width;
  }
  return 0;
}

// llama.cpp's own tokens of a text, with BOS where the vocabulary wants it. Gives their number, its
// negative where `capacity` is too small (as llama_tokenize), or 0 where the model cannot be read.
EXPORT int32_t bridge_tokenise(const char* model_path, const char* text, int32_t length,
                               int32_t* tokens, int32_t capacity) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* model = llama_model_load_from_file(model_path, params);
  if (model == nullptr) return 0;
  const int32_t count = llama_tokenize(llama_model_get_vocab(model), text, length, tokens, capacity,
                                       /*add_special=*/true, /*parse_special=*/false);
  llama_model_free(model);
  return count;
}
