// What programs tell the ggml backend and ask of it: the plan in force, what ran under it,
// settings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ggml/observation.hpp"
#include "napier/gemm.hpp"
#include "napier/plan.hpp"

namespace napier {

// How often one matrix multiplication ran in one kernel, and its scalar multiplications.
struct CoverageEntry {
  std::string name;  // as plans match it
  size_t rule = 0;   // index into the plan's rules
  KernelKind kernel = KernelKind::reference;
  uint64_t calls = 0;
  uint64_t multiplications = 0;
  TreatedCounts treated;  // of these
};

// A matrix multiplication that the plan does not name.
struct EngineEntry {
  std::string name;
  uint64_t calls = 0;
  uint64_t multiplications = 0;
};

struct Coverage {
  std::vector<CoverageEntry> entries;  // by name
  // Left to the engine, as far as the backend can see: exact with one llama_context at a time.
  std::vector<EngineEntry> engine;
  std::vector<std::string> cache_types;  // ggml's types of the K and V caches seen
  // ggml's operations that multiply matrices within, left to the engine and not counted above.
  std::vector<std::string> fused;

  uint64_t multiplications() const;         // in the plan's arithmetics
  uint64_t engine_multiplications() const;  // left to the engine
};

// A plan and what ran under it. Thread safe.
class PlanRun {
 public:
  explicit PlanRun(Plan plan);

  const Plan& plan() const { return plan_; }
  std::optional<size_t> match(std::string_view name) const { return plan_.match(name); }

  // That of a rule, with its stochastic roundings as last drawn.
  const Arithmetic& arithmetic(size_t rule) const { return drawn_[rule]; }
  // Stochastic roundings fall otherwise from now on, as their seeds and this number decide; 0: as
  // their seeds alone do. Weights that are packed and kept stay as they are. Set while nothing is
  // computed.
  void draw_anew(uint64_t draw);

  // Equal for equal arithmetics and treatments in all runs of the process: the key of packed
  // weights.
  uint32_t arithmetic_id(size_t rule) const { return arithmetic_ids_[rule]; }

  Coverage coverage() const;
  void reset_coverage();
  // Rules that decided no matrix multiplication of any graph laid out or run under this plan.
  std::vector<size_t> unused_rules() const;
  // Whether there was any such graph.
  bool met_matmuls() const;

  // Shows every matrix multiplication that the plan names, once it is computed; what the observer
  // throws fails the computation. Set while nothing is computed.
  void observe(MatmulObserver observer) { observer_ = std::move(observer); }
  const MatmulObserver& observer() const { return observer_; }

  // Tokens follow each other from decode to decode, in one sequence, until it is forgotten:
  // treatments may look back. Without, each decode begins anew, as a plugin cannot know better.
  // Set while nothing is computed.
  void follow_sequence() { follows_ = true; }
  void forget_sequence();

  // For the backend.
  MatmulHistory* history(std::string_view name);
  void record_met(std::optional<size_t> rule);
  void record(std::string_view name, size_t rule, KernelKind kernel, uint64_t multiplications,
              const TreatedCounts& treated = {});
  void record_engine(std::string_view name, uint64_t multiplications);
  void record_cache_type(std::string_view type);
  void record_fused(std::string_view operation);

 private:
  const Plan plan_;
  std::vector<uint32_t> arithmetic_ids_;
  std::vector<Arithmetic> drawn_;  // by rule
  MatmulObserver observer_;
  bool follows_ = false;
  std::map<std::string, MatmulHistory, std::less<>>
      histories_;  // of the multiplications by weights
  mutable std::mutex mutex_;
  std::map<std::string, CoverageEntry, std::less<>> entries_;  // by name and kernel
  std::map<std::string, EngineEntry, std::less<>> engine_;
  std::set<std::string, std::less<>> cache_types_, fused_;
  std::vector<bool> used_;  // by rule
  bool met_ = false;
};

// The plan of all computation from now on, in every llama_context; nullptr leaves all to the
// engine. A llama_context lays out its graphs for the plan in force when it first meets them, so a
// program with several plans makes a context for each, with its plan in force, and puts it in force
// again before each of its decodes. A decode under a plan of other names fails and says so.
void set_active_plan(std::shared_ptr<PlanRun> run);
std::shared_ptr<PlanRun> active_plan();

struct BackendSettings {
  int threads = 0;         // 0: as many as the program asks ggml for (-t)
  size_t cache_bytes = 0;  // of packed weights; 0: half of the machine's memory
  // Told of every failed computation, besides last_backend_error().
  std::function<void(const std::string& sentence)> on_error;
};

void configure_backend(BackendSettings settings);
BackendSettings backend_settings();

// Why the last computation failed: one sentence; empty if none has since it was last cleared.
std::string last_backend_error();
void clear_backend_error();
void set_backend_error(const std::string& sentence);

// For people: the plan, one line a matrix and kernel or, in short, one line a rule and kernel.
std::string coverage_text(const PlanRun& run, bool each_matrix);

}  // namespace napier
