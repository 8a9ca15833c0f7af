#include "analysis/capture.hpp"

#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "ggml/observation.hpp"
#include "ggml/tensors.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// Below `count`; near enough to uniform for counts that are small beside 2^64.
int64_t pick(std::mt19937_64& random, int64_t count) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(count));
}

// `wanted` different ones of `count`, or all (Floyd's algorithm).
std::vector<int64_t> pick_some(std::mt19937_64& random, int64_t count, int64_t wanted) {
  std::vector<int64_t> chosen;
  for (int64_t i = std::max<int64_t>(0, count - wanted); i < count; ++i) {
    const int64_t one = pick(random, i + 1);
    const bool taken = std::find(chosen.begin(), chosen.end(), one) != chosen.end();
    chosen.push_back(taken ? i : one);
  }
  return chosen;
}

class Capture {
 public:
  explicit Capture(const CaptureOptions& options) : options_(options), random_(options.seed) {}

  void watch(const MatmulObservation& observation) {
    const ggml_tensor& node = observation.node();
    const std::string name(observation.name());
    const auto [found, is_new] = index_.try_emplace(name, matmuls_.size());
    if (is_new) {
      matmuls_.push_back({name, {}});
      seen_.push_back(0);
    }
    // Reservoir sampling over calls, several tries a call since attention has a matrix a head.
    std::vector<OperandBlock>& blocks = matmuls_[found->second].blocks;
    for (int i = 0; i < options_.blocks; ++i) {
      const int64_t seen = seen_[found->second]++;
      if (seen < options_.blocks) {
        blocks.push_back(take(node));
      } else if (const int64_t at = pick(random_, seen + 1); at < options_.blocks) {
        blocks[static_cast<size_t>(at)] = take(node);
      }
    }
  }

  std::vector<CapturedMatmul> take_all() { return std::move(matmuls_); }

 private:
  OperandBlock take(const ggml_tensor& node) {
    const ggml_tensor* w = node.src[0];
    const ggml_tensor* x = node.src[1];
    OperandBlock block;
    block.k = w->ne[0];
    const auto read = [&](const ggml_tensor* from, int64_t i1, int64_t i2, int64_t i3,
                          std::vector<float>& to) {
      to.resize(to.size() + static_cast<size_t>(block.k));
      read_row(from, i1, i2, i3, to.data() + to.size() - block.k);
    };
    int64_t w2 = 0;
    int64_t w3 = 0;
    if (node.op == GGML_OP_MUL_MAT_ID) {  // x [k, slots or 1, tokens], ids [slots, tokens]
      const ggml_tensor* ids = node.src[2];
      const int64_t slot = pick(random_, ids->ne[0]);
      const int64_t token = pick(random_, ids->ne[1]);
      int32_t expert;
      std::memcpy(&expert,
                  static_cast<const char*>(ids->data) + slot * ids->nb[0] + token * ids->nb[1],
                  sizeof expert);
      w2 = expert;
      read(x, slot % x->ne[1], token, 0, block.x);
    } else {  // matrices of w are shared by consecutive ones of x
      const int64_t x2 = pick(random_, x->ne[2]);
      const int64_t x3 = pick(random_, x->ne[3]);
      w2 = x2 / (x->ne[2] / w->ne[2]);
      w3 = x3 / (x->ne[3] / w->ne[3]);
      for (const int64_t i : pick_some(random_, x->ne[1], options_.x_rows)) {
        read(x, i, x2, x3, block.x);
      }
    }
    for (const int64_t j : pick_some(random_, w->ne[1], options_.w_rows)) {
      read(w, j, w2, w3, block.w);
    }
    return block;
  }

  CaptureOptions options_;
  std::mt19937_64 random_;
  std::vector<CapturedMatmul> matmuls_;
  std::vector<int64_t> seen_;  // blocks offered so far
  std::map<std::string, size_t> index_;
};

}  // namespace

std::vector<CapturedMatmul> capture_operands(const Model& model, std::span<const Token> text,
                                             const CaptureOptions& options) {
  const auto length = static_cast<size_t>(options.context.context);
  const auto chunks = static_cast<size_t>(std::max(options.chunks, 1));
  if (text.size() / length < chunks) {
    throw Error("the text has " + std::to_string(text.size()) + " tokens; " +
                std::to_string(chunks) + " chunks of " + std::to_string(length) + " need " +
                std::to_string(length * chunks));
  }
  Capture capture(options);
  Context context(model, parse_plan("f32"), options.context);
  context.observe([&](const MatmulObservation& matmul) { capture.watch(matmul); });
  for (size_t i = 0; i < chunks; ++i) {
    const auto source = text.subspan(i * length, length);
    std::vector<Token> chunk(source.begin(), source.end());
    if (model.adds_bos()) chunk[0] = model.bos();
    context.clear();
    context.decode(chunk, options.context.context);
  }
  return capture.take_all();
}

}  // namespace napier
