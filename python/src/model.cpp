// A GGUF model at work under a plan.
#include "model/model.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "eval/divergence.hpp"
#include "model/context.hpp"
#include "model/coverage.hpp"
#include "model/generate.hpp"
#include "model/prefix_decoder.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"

namespace napier::python {
namespace {

// The plan of the backend is the whole process's: one session computes at a time. A turn is waited
// for without the interpreter's lock, which a callback of the session at work may want.
std::recursive_mutex& turns() {
  static std::recursive_mutex* mutex = new std::recursive_mutex;  // outlives all sessions
  return *mutex;
}
thread_local bool t_computes = false;

class Turn {
 public:
  // Throws Error within a callback of a session: that one is in the middle of its sequence.
  Turn() : lock_(turns()) {
    if (t_computes) throw Error("a model was asked within a callback of one: ask after its call");
    t_computes = true;
  }
  ~Turn() { t_computes = false; }

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

ContextOptions options_of(int context, int threads, const std::string& cache) {
  if (cache != "f32" && cache != "f16") {
    throw Error("cache: '" + cache + "' is none: give f32 or f16");
  }
  ContextOptions options;
  options.context = context;
  options.threads = threads;
  options.cache = cache == "f16" ? CacheType::f16 : CacheType::f32;
  options.check();
  return options;
}

class Session {
 public:
  Session(const std::string& path, const Plan& plan, int context, int threads,
          const std::string& cache)
      : model_(path) {
    ContextOptions options =
        options_of(context == 0 ? std::max(2, model_.training_context()) : context, threads, cache);
    const Turn turn;
    context_ = std::make_unique<Context>(model_, plan, options);
    context_->warm_up();
    decoder_ = std::make_unique<PrefixDecoder>(*context_);
    room_ = options.context;
  }

  ~Session() {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(turns());
    decoder_.reset();
    context_.reset();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Model& model() const { return model_; }
  int room() const { return room_; }

  std::vector<Token> checked(std::vector<Token> tokens, size_t outputs) const {
    if (tokens.empty()) throw Error("there are no tokens; give at least one");
    if (tokens.size() > static_cast<size_t>(room_)) {
      throw Error(std::to_string(tokens.size()) + " tokens do not fit a context of " +
                  std::to_string(room_) + ": give a longer context= or fewer tokens");
    }
    if (outputs < 1 || outputs > tokens.size()) {
      throw Error("logits of the last " + std::to_string(outputs) + " of " +
                  std::to_string(tokens.size()) + " tokens are no request");
    }
    for (const Token token : tokens) {
      if (token < 0 || token >= model_.vocabulary_size()) {
        throw Error("token " + std::to_string(token) + " is not of the vocabulary, which has " +
                    std::to_string(model_.vocabulary_size()));
      }
    }
    return tokens;
  }

  // Of the last tokens, a row each.
  void logits(const std::vector<Token>& tokens,
              nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu> out) {
    checked(tokens, out.shape(0));
    const nb::gil_scoped_release release;
    const Turn turn;
    decoder_->decode(tokens, out.shape(0));
    for (size_t i = 0; i < out.shape(0); ++i) {
      const auto row = context_->logits(static_cast<int>(i));
      std::copy(row.begin(), row.end(), out.data() + i * row.size());
    }
  }

  // Of each of the last `count` tokens given all before it, nats; and whether it is the likeliest.
  void log_likelihoods(const std::vector<Token>& tokens,
                       nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu> out,
                       nb::ndarray<bool, nb::ndim<1>, nb::c_contig, nb::device::cpu> likeliest) {
    const size_t count = out.shape(0);
    if (tokens.size() <= count) throw Error("no token stands before the first one to score");
    const std::vector<Token> given(tokens.begin(), tokens.end() - 1);
    checked(given, count);
    checked({tokens.back()}, 1);
    const nb::gil_scoped_release release;
    const Turn turn;
    decoder_->decode(given, count);
    for (size_t i = 0; i < count; ++i) {
      const auto row = context_->logits(static_cast<int>(i));
      const auto token = static_cast<size_t>(tokens[tokens.size() - count + i]);
      out.data()[i] = row[token] - log_sum_exp(row);
      likeliest.data()[i] =
          static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin()) == token;
    }
  }

  int generate(const std::vector<Token>& prompt, int count, const SamplingOptions& sampling,
               const std::function<bool(nb::bytes)>& sink) {
    checked(prompt, 1);
    const nb::gil_scoped_release release;
    const Turn turn;
    decoder_->clear();
    const Generation generation = napier::generate(
        model_, *context_, prompt, count, room_, sampling, [&](std::string_view text) {
          const nb::gil_scoped_acquire acquire;
          if (PyErr_CheckSignals() != 0) throw nb::python_error();
          return sink(nb::bytes(text.data(), text.size()));
        });
    decoder_->clear();
    return static_cast<int>(generation.ids.size());
  }

  nb::list coverage() const {
    ModelCoverage coverage;
    {
      const nb::gil_scoped_release release;
      const Turn turn;
      coverage = context_->coverage();
    }
    nb::list rows;
    for (const RoleCoverage& role : coverage.roles) {
      nb::dict row;
      row["role"] = role.role;
      row["arith"] = role.arithmetic;
      row["matmuls"] = role.matmuls;
      row["multiplications"] = role.multiplications;
      rows.append(row);
    }
    return rows;
  }

  std::vector<std::string> matmul_names() const { return context_->matmul_names(); }

 private:
  Model model_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<PrefixDecoder> decoder_;
  int room_ = 0;
};

}  // namespace

void bind_model(nb::module_& module) {
  module.def(
      "probe_model",
      [](const std::string& path, int context, const std::string& cache) {
        probe_model(path, options_of(context == 0 ? 2 : context, 1, cache), "");
      },
      nb::arg("path"), nb::arg("context"), nb::arg("cache"),
      "Tries a file in a child process; raises Error if it is broken. Call it before there are "
      "other threads.");
  nb::class_<Session>(module, "Session")
      .def(nb::init<const std::string&, const Plan&, int, int, const std::string&>(),
           nb::arg("path"), nb::arg("plan"), nb::arg("context"), nb::arg("threads"),
           nb::arg("cache"), nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("description", [](const Session& s) { return s.model().description(); })
      .def_prop_ro("vocabulary_size", [](const Session& s) { return s.model().vocabulary_size(); })
      .def_prop_ro("context", &Session::room)
      .def_prop_ro("adds_bos", [](const Session& s) { return s.model().adds_bos(); })
      .def_prop_ro("bos", [](const Session& s) { return s.model().bos(); })
      .def_prop_ro("eos", [](const Session& s) { return s.model().eos(); })
      .def(
          "tokenise",
          [](const Session& s, const std::string& text, bool add_special, bool parse_special) {
            return s.model().tokenise(text, add_special, parse_special);
          },
          nb::arg("text"), nb::arg("add_special"), nb::arg("parse_special"))
      .def(
          "piece",
          [](const Session& s, Token token) {
            s.checked({token}, 1);
            const std::string piece = s.model().piece(token);
            return nb::bytes(piece.data(), piece.size());
          },
          nb::arg("token"))
      .def("logits", &Session::logits, nb::arg("tokens"), nb::arg("out").noconvert())
      .def("log_likelihoods", &Session::log_likelihoods, nb::arg("tokens"),
           nb::arg("out").noconvert(), nb::arg("likeliest").noconvert())
      .def(
          "generate",
          [](Session& s, const std::vector<Token>& prompt, int count, float temperature, int top_k,
             float top_p, float min_p, float repeat_penalty, int64_t seed,
             const std::function<bool(nb::bytes)>& sink) {
            return s.generate(prompt, count,
                              {temperature, top_k, top_p, min_p, repeat_penalty, seed}, sink);
          },
          nb::arg("prompt"), nb::arg("count"), nb::arg("temperature"), nb::arg("top_k"),
          nb::arg("top_p"), nb::arg("min_p"), nb::arg("repeat_penalty"), nb::arg("seed"),
          nb::arg("sink"))
      .def("coverage", &Session::coverage,
           nb::sig("def coverage(self) -> list[dict[str, str | int]]"))
      .def_prop_ro("matmul_names", &Session::matmul_names);
}

}  // namespace napier::python
