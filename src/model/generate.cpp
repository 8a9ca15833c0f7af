#include "model/generate.hpp"

#include <llama.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <string>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr int k_penalty_window = 64;

struct SamplerDeleter {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using Sampler = std::unique_ptr<llama_sampler, SamplerDeleter>;

Sampler make_sampler(const Model& model, const SamplingOptions& options, uint32_t seed) {
  Sampler chain(llama_sampler_chain_init(llama_sampler_chain_default_params()));
  const auto add = [&](llama_sampler* sampler) { llama_sampler_chain_add(chain.get(), sampler); };
  if (options.repeat_penalty != 1) {
    add(llama_sampler_init_penalties(model.vocabulary_size(), k_penalty_window,
                                     options.repeat_penalty, 0, 0));
  }
  if (options.temperature <= 0) {
    add(llama_sampler_init_greedy());
    return chain;
  }
  add(llama_sampler_init_top_k(options.top_k));
  add(llama_sampler_init_top_p(options.top_p, 1));
  add(llama_sampler_init_min_p(options.min_p, 1));
  add(llama_sampler_init_temp(options.temperature));
  add(llama_sampler_init_dist(seed));
  return chain;
}

}  // namespace

size_t incomplete_tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // 0b10xxxxxx goes on
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

Generation generate(const Model& model, Context& context, std::span<const Token> prompt, int count,
                    int room, const SamplingOptions& options, const TextSink& sink) {
  Generation generation;
  generation.seed =
      options.seed < 0 ? std::random_device()() & 0x7FFFFFFF : static_cast<uint32_t>(options.seed);
  const Sampler sampler = make_sampler(model, options, generation.seed);
  for (const Token token : prompt) llama_sampler_accept(sampler.get(), token);
  context.decode(prompt, 1);

  const auto start = std::chrono::steady_clock::now();
  std::string pending;
  int used = static_cast<int>(prompt.size());
  const auto wanted = static_cast<size_t>(std::max(count, 0));
  while (generation.ids.size() < wanted) {
    const Token token = llama_sampler_sample(sampler.get(), context.handle(), -1);
    if (model.ends_generation(token)) break;
    generation.ids.push_back(token);
    pending += model.piece(token);
    const size_t whole = pending.size() - incomplete_tail(pending);
    if (whole > 0 && !sink(std::string_view(pending).substr(0, whole))) break;
    pending.erase(0, whole);
    if (generation.ids.size() == wanted || used == room) break;
    context.decode(std::span(&token, 1), 1);
    ++used;
  }
  if (!pending.empty()) sink(pending);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  generation.tokens_per_second = static_cast<double>(generation.ids.size()) / seconds.count();
  return generation;
}

}  // namespace napier
