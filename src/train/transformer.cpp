#include "train/transformer.hpp"

#include <cmath>

#include "napier/error.hpp"

namespace napier {
namespace {

std::string in_layer(int layer, const char* role) {
  return "blk." + std::to_string(layer) + "." + role + ".weight";
}

}  // namespace

const char* TransformerShape::architecture() const {
  switch (feed_forward) {
    case FeedForward::swiglu: return "llama";
    case FeedForward::squared_relu: return "arcee";
    default: return "mpt";
  }
}

void TransformerShape::check(const std::string& where) const {
  const auto wrong = [&](const char* key, int value, const char* what) {
    return Error(where + ": key '" + key + "' is " + std::to_string(value) + "; " + what);
  };
  constexpr int k_most = 1 << 20;
  struct Named {
    const char* key;
    int value;
  };
  for (const auto& [key, value] : {Named{"context", context},
                                   {"layers", layers},
                                   {"heads", heads},
                                   {"kv_heads", key_heads},
                                   {"width", width},
                                   {"hidden", hidden}}) {
    if (value < 1 || value > k_most) throw wrong(key, value, "give a number from 1 on");
  }
  if (context < 2) throw wrong("context", context, "at least 2 positions are needed");
  if (width % heads != 0) throw wrong("heads", heads, "it must divide the width");
  if (heads % key_heads != 0) throw wrong("kv_heads", key_heads, "it must divide the heads");
  if (head_width() % 2 != 0) throw wrong("width", width, "width / heads must be even");
  if (positions == (is_gpt() ? Positions::rope : Positions::learned)) {
    throw Error(where +
                ": key 'positions': llama.cpp has models with feed_forward = \"gelu\" and "
                "learned positions or none, and with \"swiglu\" or \"relu2\" and rotary "
                "positions or none");
  }
}

std::vector<ParameterShape> parameter_shapes(const TransformerShape& shape) {
  const int64_t width = shape.width, hidden = shape.hidden, vocabulary = shape.vocabulary;
  const int64_t keys = int64_t{shape.key_heads} * shape.head_width();
  const double normal = 0.02;
  const double residual = normal / std::sqrt(2.0 * shape.layers);
  std::vector<ParameterShape> result = {{"token_embd.weight", width, vocabulary, normal}};
  if (shape.positions == Positions::learned) {
    result.push_back({"position_embd.weight", width, shape.context, normal});
  }
  for (int i = 0; i < shape.layers; ++i) {
    result.push_back({in_layer(i, "attn_norm"), width, 0, 0});
    if (shape.is_gpt()) {
      result.push_back({in_layer(i, "attn_qkv"), width, width + 2 * keys, normal});
    } else {
      result.push_back({in_layer(i, "attn_q"), width, width, normal});
      result.push_back({in_layer(i, "attn_k"), width, keys, normal});
      result.push_back({in_layer(i, "attn_v"), width, keys, normal});
    }
    result.push_back({in_layer(i, "attn_output"), width, width, residual});
    result.push_back({in_layer(i, "ffn_norm"), width, 0, 0});
    if (shape.feed_forward == FeedForward::swiglu) {
      result.push_back({in_layer(i, "ffn_gate"), width, hidden, normal});
    }
    result.push_back({in_layer(i, "ffn_up"), width, hidden, normal});
    result.push_back({in_layer(i, "ffn_down"), hidden, width, residual});
  }
  result.push_back({"output_norm.weight", width, 0, 0});
  if (!shape.tied) result.push_back({"output.weight", width, vocabulary, normal});
  return result;
}

ggml_tensor* build_transformer(Tape& tape, const TransformerShape& shape,
                               const std::map<std::string, ggml_tensor*>& parameters,
                               const TransformerInputs& inputs, float dropout) {
  const int64_t length = inputs.positions->ne[0];
  const int64_t sequences = inputs.tokens->ne[0] / length;
  const int64_t head = shape.head_width();
  const float scale = 1 / std::sqrt(static_cast<float>(head));

  // [width, length * sequences] to [head, heads, length, sequences]
  const auto split = [&](ggml_tensor* x, int heads) {
    return tape.reshape(x, head, heads, length, sequences);
  };
  constexpr int by_head[] = {0, 2, 1, 3};       // [head, length, heads, sequences]
  constexpr int values_first[] = {1, 2, 0, 3};  // [length, head, heads, sequences]

  const auto norm = [&](ggml_tensor* of, ggml_tensor* weight) {
    return shape.is_gpt() ? tape.layer_norm(of, weight, shape.epsilon)
                          : tape.rms_norm(of, weight, shape.epsilon);
  };

  ggml_tensor* x = tape.rows(parameters.at("token_embd.weight"), inputs.tokens);
  if (shape.positions == Positions::learned) {
    ggml_tensor* places = tape.rows(parameters.at("position_embd.weight"), inputs.positions);
    x = tape.add_to_each(tape.reshape(x, shape.width, length, sequences), places);
    x = tape.reshape(x, shape.width, length * sequences);
  }
  x = tape.dropout(x, dropout);
  for (int i = 0; i < shape.layers; ++i) {
    const auto weight = [&](const char* role) { return parameters.at(in_layer(i, role)); };
    const std::string number = std::to_string(i);

    ggml_tensor* normal = norm(x, weight("attn_norm"));
    ggml_tensor *q, *k, *v;
    if (shape.is_gpt()) {
      ggml_tensor* all = tape.multiply(weight("attn_qkv"), normal);
      const int64_t keys = head * shape.key_heads;
      q = tape.columns(all, 0, shape.width);
      k = tape.columns(all, shape.width, keys);
      v = tape.columns(all, shape.width + keys, keys);
    } else {
      q = tape.multiply(weight("attn_q"), normal);
      k = tape.multiply(weight("attn_k"), normal);
      v = tape.multiply(weight("attn_v"), normal);
    }
    q = split(q, shape.heads);
    k = split(k, shape.key_heads);
    v = split(v, shape.key_heads);
    if (shape.positions == Positions::rope) {
      q = tape.rope(q, inputs.positions, shape.rope_base);
      k = tape.rope(k, inputs.positions, shape.rope_base);
    }
    ggml_tensor* kq = tape.multiply(tape.permute(k, by_head, false),
                                    tape.permute(q, by_head, false), "kq-" + number);
    ggml_tensor* attention = tape.dropout(tape.soft_max(kq, inputs.mask, scale), dropout);
    ggml_tensor* mixed =
        tape.multiply(tape.permute(v, values_first, true), attention, "kqv-" + number);
    mixed = tape.reshape(tape.permute(mixed, by_head, true), shape.width, length * sequences);
    x = tape.add(x, tape.dropout(tape.multiply(weight("attn_output"), mixed), dropout));

    normal = norm(x, weight("ffn_norm"));
    ggml_tensor* up = tape.multiply(weight("ffn_up"), normal);
    switch (shape.feed_forward) {
      case FeedForward::swiglu:
        up = tape.swiglu(tape.multiply(weight("ffn_gate"), normal), up);
        break;
      case FeedForward::squared_relu: up = tape.squared_relu(up); break;
      case FeedForward::gelu: up = tape.gelu(up); break;
    }
    x = tape.add(x, tape.dropout(tape.multiply(weight("ffn_down"), up), dropout));
  }
  x = norm(x, parameters.at("output_norm.weight"));
  return tape.multiply(parameters.at(shape.tied ? "token_embd.weight" : "output.weight"), x);
}

}  // namespace napier
