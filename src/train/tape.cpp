#include "train/tape.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ggml/matmul.hpp"
#include "train/random.hpp"

namespace napier {
namespace {

// The share of thread `ith` of `nth`.
std::pair<int64_t, int64_t> share(int64_t count, int ith, int nth) {
  const int64_t each = (count + nth - 1) / nth;
  return {std::min(count, ith * each), std::min(count, (ith + 1) * each)};
}

// One hash serves two elements: 32 bits of it each.
void compute_dropout(ggml_tensor* out, const ggml_tensor* x, uint64_t seed, float probability,
                     int ith, int nth) {
  const auto* from = static_cast<const float*>(x->data);
  auto* to = static_cast<float*>(out->data);
  const auto limit = static_cast<uint32_t>(static_cast<double>(probability) * 0x1p32);
  const float kept = 1 / (1 - probability);
  const int64_t count = ggml_nelements(x);
  const auto [begin, end] = share((count + 1) / 2, ith, nth);
  for (int64_t pair = begin; pair < end; ++pair) {
    const uint64_t bits = random_bits(seed, static_cast<uint64_t>(pair));
    const int64_t i = 2 * pair;
    to[i] = static_cast<uint32_t>(bits) < limit ? 0 : from[i] * kept;
    if (i + 1 < count)
      to[i + 1] = static_cast<uint32_t>(bits >> 32) < limit ? 0 : from[i + 1] * kept;
  }
}

// Of one position: writes the gradient and returns the loss. Exponentials and their sum in f64
// would cost more than the logits' own rounding is worth; the sum alone is.
float cross_entropy(const float* logits, int64_t count, int32_t target, float scale,
                    float* gradient) {
  if (target < 0) {
    std::fill_n(gradient, count, 0.0f);
    return 0;
  }
  const float largest = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    gradient[i] = std::exp(logits[i] - largest);
    sum += gradient[i];
  }
  const auto factor = static_cast<float>(scale / sum);
  for (int64_t i = 0; i < count; ++i) gradient[i] *= factor;
  gradient[target] -= scale;
  return static_cast<float>(std::log(sum) - (double{logits[target]} - largest));
}

// The gradient with respect to x of (x - mean) / deviation, of one row.
void layer_norm_back(const float* x, const float* gradient, int64_t count, float epsilon,
                     float* to) {
  double sum = 0, square_sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) square_sum += (x[i] - mean) * (x[i] - mean);
  const double scale = 1 / std::sqrt(square_sum / static_cast<double>(count) + epsilon);
  double gradient_sum = 0, product_sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    gradient_sum += gradient[i];
    product_sum += gradient[i] * (x[i] - mean) * scale;
  }
  gradient_sum /= static_cast<double>(count);
  product_sum /= static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) {
    const double normal = (x[i] - mean) * scale;
    to[i] = static_cast<float>(scale * (gradient[i] - gradient_sum - normal * product_sum));
  }
}

constexpr float k_gelu_scale = 0.79788456080286535588f;  // sqrt(2 / pi)
constexpr float k_gelu_cube = 0.044715f;

float gelu_of(float x) {
  return 0.5f * x * (1 + std::tanh(k_gelu_scale * x * (1 + k_gelu_cube * x * x)));
}

float gelu_slope(float x) {
  const float square = k_gelu_cube * x * x;
  const float tangent = std::tanh(k_gelu_scale * x * (1 + square));
  return 0.5f * (1 + tangent) +
         0.5f * x * (1 - tangent * tangent) * k_gelu_scale * (1 + 3 * square);
}

// Each element of the result from those of the arguments at its place.
template <class Function>
ggml_tensor* elementwise(ggml_context* context, std::initializer_list<ggml_tensor*> of, Function) {
  std::vector<ggml_tensor*> arguments(of);
  const ggml_tensor* x = arguments[0];
  return ggml_custom_4d(
      context, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], arguments.data(),
      static_cast<int>(arguments.size()),
      [](ggml_tensor* out, int ith, int nth, void*) {
        const auto [begin, end] = share(ggml_nelements(out), ith, nth);
        for (int64_t i = begin; i < end; ++i) Function()(out, i);
      },
      GGML_N_TASKS_MAX, nullptr);
}

float* elements(const ggml_tensor* tensor) { return static_cast<float*>(tensor->data); }

}  // namespace

ggml_tensor* Tape::record(ggml_tensor* result, std::initializer_list<ggml_tensor*> sources,
                          std::function<void(ggml_tensor*)> backward) {
  if (std::any_of(sources.begin(), sources.end(), [&](auto* s) { return wants(s); })) {
    wanted_.insert(result);
    steps_.emplace_back(result, std::move(backward));
  }
  return result;
}

void Tape::flow(ggml_tensor* to, ggml_tensor* gradient) {
  if (!wants(to)) return;
  ggml_tensor*& sum = gradients_[to];
  sum = sum ? ggml_add(context_, sum, gradient) : gradient;
}

ggml_tensor* Tape::gradient(const ggml_tensor* tensor) const {
  const auto found = gradients_.find(tensor);
  return found == gradients_.end() ? nullptr : found->second;
}

ggml_tensor* Tape::dense(ggml_tensor* tensor) {
  return ggml_is_contiguous(tensor) ? tensor : ggml_cont(context_, tensor);
}

ggml_tensor* Tape::multiply(ggml_tensor* w, ggml_tensor* x, const std::string& name) {
  ggml_tensor* out = ggml_mul_mat(context_, w, x);
  const std::string known = (w->flags & GGML_TENSOR_FLAG_PARAM) ? w->name : name;
  ggml_set_name(out, name.empty() ? (known + " product").c_str() : name.c_str());
  return record(out, {w, x}, [=, this](ggml_tensor* gradient) {
    if (wants(x)) {
      ggml_tensor* dx = ggml_out_prod(context_, w, ggml_transpose(context_, gradient));
      ggml_set_name(dx, ("dx-" + known).c_str());
      if (rule_ == GradientRule::own) take_own_derivative(dx, x, Side::x);
      flow(x, dx);
    }
    if (wants(w)) {
      ggml_tensor* dw = ggml_out_prod(context_, x, gradient);
      ggml_set_name(dw, ("dw-" + known).c_str());
      if (rule_ == GradientRule::own) take_own_derivative(dw, w, Side::w);
      if (const int64_t together = x->ne[2] / w->ne[2]; together > 1) {  // grouped queries
        const int64_t groups = w->ne[2] * w->ne[3], matrix = w->ne[0] * w->ne[1];
        ggml_tensor* shape = ggml_new_tensor_3d(context_, GGML_TYPE_F32, matrix, 1, groups);
        dw = ggml_repeat_back(context_, ggml_reshape_3d(context_, dw, matrix, together, groups),
                              shape);
        dw = ggml_reshape_4d(context_, dw, w->ne[0], w->ne[1], w->ne[2], w->ne[3]);
      }
      flow(w, dw);
    }
  });
}

ggml_tensor* Tape::add(ggml_tensor* a, ggml_tensor* b) {
  return record(ggml_add(context_, a, b), {a, b}, [=, this](ggml_tensor* gradient) {
    flow(a, gradient);
    flow(b, gradient);
  });
}

ggml_tensor* Tape::rows(ggml_tensor* table, ggml_tensor* ids) {
  return record(ggml_get_rows(context_, table, ids), {table}, [=, this](ggml_tensor* gradient) {
    flow(table, ggml_get_rows_back(context_, gradient, ids, table));
  });
}

ggml_tensor* Tape::rms_norm(ggml_tensor* x, ggml_tensor* weight, float epsilon) {
  ggml_tensor* normal = ggml_rms_norm(context_, x, epsilon);
  return record(ggml_mul(context_, normal, weight), {x, weight}, [=, this](ggml_tensor* gradient) {
    if (wants(weight)) {
      flow(weight, ggml_repeat_back(context_, ggml_mul(context_, normal, gradient), weight));
    }
    flow(x, ggml_rms_norm_back(context_, ggml_mul(context_, gradient, weight), x, epsilon));
  });
}

ggml_tensor* Tape::add_to_each(ggml_tensor* a, ggml_tensor* b) {
  return record(ggml_add(context_, a, b), {a, b}, [=, this](ggml_tensor* gradient) {
    flow(a, gradient);
    if (wants(b)) flow(b, ggml_repeat_back(context_, gradient, b));
  });
}

ggml_tensor* Tape::layer_norm(ggml_tensor* x, ggml_tensor* weight, float epsilon) {
  ggml_tensor* normal = ggml_norm(context_, x, epsilon);
  NormSite& site = norms_.emplace_back(epsilon);
  return record(
      ggml_mul(context_, normal, weight), {x, weight}, [=, this, &site](ggml_tensor* gradient) {
        if (wants(weight)) {
          flow(weight, ggml_repeat_back(context_, ggml_mul(context_, normal, gradient), weight));
        }
        ggml_tensor* arguments[] = {x, ggml_mul(context_, gradient, weight)};
        flow(x, ggml_custom_4d(
                    context_, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], arguments, 2,
                    [](ggml_tensor* out, int ith, int nth, void* data) {
                      const int64_t count = out->ne[0];
                      const auto [begin, end] = share(ggml_nrows(out), ith, nth);
                      for (int64_t row = begin; row < end; ++row) {
                        layer_norm_back(elements(out->src[0]) + row * count,
                                        elements(out->src[1]) + row * count, count,
                                        static_cast<const NormSite*>(data)->epsilon,
                                        elements(out) + row * count);
                      }
                    },
                    GGML_N_TASKS_MAX, &site));
      });
}

ggml_tensor* Tape::rope(ggml_tensor* x, ggml_tensor* positions, float base) {
  const int width = static_cast<int>(x->ne[0]);
  ggml_tensor* out = ggml_rope_ext(context_, x, positions, nullptr, width, GGML_ROPE_TYPE_NORMAL, 0,
                                   base, 1, 0, 1, 0, 0);
  return record(out, {x}, [=, this](ggml_tensor* gradient) {
    flow(x, ggml_rope_ext_back(context_, dense(gradient), positions, nullptr, width,
                               GGML_ROPE_TYPE_NORMAL, 0, base, 1, 0, 1, 0, 0));
  });
}

ggml_tensor* Tape::soft_max(ggml_tensor* x, ggml_tensor* mask, float scale) {
  ggml_tensor* out = ggml_soft_max_ext(context_, x, mask, scale, 0);
  return record(out, {x}, [=, this](ggml_tensor* gradient) {
    flow(x, ggml_soft_max_ext_back(context_, gradient, out, scale, 0));
  });
}

ggml_tensor* Tape::swiglu(ggml_tensor* gate, ggml_tensor* up) {
  return record(ggml_swiglu_split(context_, gate, up), {gate, up},
                [=, this](ggml_tensor* gradient) {
                  flow(gate, ggml_silu_back(context_, ggml_mul(context_, gradient, up), gate));
                  flow(up, ggml_mul(context_, ggml_silu(context_, gate), gradient));
                });
}

ggml_tensor* Tape::squared_relu(ggml_tensor* x) {
  ggml_tensor* positive = ggml_relu(context_, x);
  return record(ggml_sqr(context_, positive), {x}, [=, this](ggml_tensor* gradient) {
    flow(x, ggml_scale(context_, ggml_mul(context_, positive, gradient), 2));
  });
}

ggml_tensor* Tape::gelu(ggml_tensor* x) {
  ggml_tensor* out = elementwise(context_, {x}, [](ggml_tensor* to, int64_t i) {
    elements(to)[i] = gelu_of(elements(to->src[0])[i]);
  });
  return record(out, {x}, [=, this](ggml_tensor* gradient) {
    flow(x, elementwise(context_, {x, dense(gradient)}, [](ggml_tensor* to, int64_t i) {
           elements(to)[i] = gelu_slope(elements(to->src[0])[i]) * elements(to->src[1])[i];
         }));
  });
}

ggml_tensor* Tape::columns(ggml_tensor* x, int64_t first, int64_t count) {
  ggml_tensor* out = ggml_cont(context_, ggml_view_2d(context_, x, count, x->ne[1], x->nb[1],
                                                      static_cast<size_t>(first) * sizeof(float)));
  const auto before = static_cast<int>(first);
  const auto after = static_cast<int>(x->ne[0] - first - count);
  return record(out, {x}, [=, this](ggml_tensor* gradient) {
    flow(x, ggml_pad_ext(context_, dense(gradient), before, after, 0, 0, 0, 0, 0, 0));
  });
}

ggml_tensor* Tape::reshape(ggml_tensor* x, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3) {
  return record(
      ggml_reshape_4d(context_, x, ne0, ne1, ne2, ne3), {x}, [=, this](ggml_tensor* gradient) {
        flow(x, ggml_reshape_4d(context_, dense(gradient), x->ne[0], x->ne[1], x->ne[2], x->ne[3]));
      });
}

ggml_tensor* Tape::permute(ggml_tensor* x, const int (&axes)[4], bool to_dense) {
  ggml_tensor* out = ggml_permute(context_, x, axes[0], axes[1], axes[2], axes[3]);
  if (to_dense) out = ggml_cont(context_, out);
  int back[4];
  for (int i = 0; i < 4; ++i) back[axes[i]] = i;
  const int a = back[0], b = back[1], c = back[2], d = back[3];
  return record(out, {x}, [=, this](ggml_tensor* gradient) {
    flow(x, ggml_permute(context_, gradient, a, b, c, d));
  });
}

ggml_tensor* Tape::drop(ggml_tensor* x, DropoutSite& site) {
  ggml_tensor* arguments[] = {x};
  return ggml_custom_4d(
      context_, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], arguments, 1,
      [](ggml_tensor* out, int ith, int nth, void* data) {
        const auto& where = *static_cast<const DropoutSite*>(data);
        const bool drops = where.state->training;
        compute_dropout(out, out->src[0], mix(where.state->seed) + where.number,
                        drops ? where.probability : 0, ith, nth);
      },
      GGML_N_TASKS_MAX, &site);
}

ggml_tensor* Tape::dropout(ggml_tensor* x, float probability) {
  if (probability == 0) return x;
  x = dense(x);
  DropoutSite& site = dropouts_.emplace_back(state_, dropouts_.size(), probability);
  return record(drop(x, site), {x},
                [=, this, &site](ggml_tensor* gradient) { flow(x, drop(dense(gradient), site)); });
}

void Tape::differentiate_cross_entropy(ggml_tensor* logits, ggml_tensor* targets) {
  loss_.state = state_;
  state_->losses.resize(static_cast<size_t>(logits->ne[1]));
  ggml_tensor* arguments[] = {logits, targets};
  gradients_[logits] = ggml_custom_4d(
      context_, GGML_TYPE_F32, logits->ne[0], logits->ne[1], 1, 1, arguments, 2,
      [](ggml_tensor* out, int ith, int nth, void* data) {
        StepState& state = *static_cast<LossSite*>(data)->state;
        const int64_t count = out->ne[0];
        const auto* from = static_cast<const float*>(out->src[0]->data);
        const auto* wanted = static_cast<const int32_t*>(out->src[1]->data);
        auto* to = static_cast<float*>(out->data);
        const auto [begin, end] = share(out->ne[1], ith, nth);
        for (int64_t i = begin; i < end; ++i) {
          state.losses[static_cast<size_t>(i)] = cross_entropy(
              from + i * count, count, wanted[i], state.gradient_scale, to + i * count);
        }
      },
      GGML_N_TASKS_MAX, &loss_);
  ggml_set_name(gradients_[logits], "cross-entropy");
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    if (ggml_tensor* known = gradient(step->first)) step->second(known);
  }
}

}  // namespace napier
