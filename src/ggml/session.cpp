#include "ggml/session.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

namespace napier {
namespace {

uint32_t intern(const Rule& rule) {
  static std::mutex mutex;
  static std::map<std::string, uint32_t> ids;
  std::string key = to_string(rule.arithmetic) + to_string(rule.treatments);
  for (const Treatment& treatment : rule.treatments) {
    key += " " + std::to_string(treatment.numbers ? treatment.numbers->id : 0);
  }
  std::lock_guard lock(mutex);
  return ids.emplace(key, static_cast<uint32_t>(ids.size())).first->second;
}

struct Globals {
  std::mutex mutex;
  std::shared_ptr<PlanRun> plan;
  BackendSettings settings;
  std::string error;
};

// Never destroyed: a plugin is asked for its report while the process ends.
Globals& globals() {
  static Globals* instance = new Globals;
  return *instance;
}

template <typename Entries>
uint64_t total(const Entries& entries) {
  uint64_t sum = 0;
  for (const auto& entry : entries) sum += entry.multiplications;
  return sum;
}

// Layers of one kind share a line: "blk.3.attn_q.weight" and "kq-3" lose their number.
std::string without_layer(const std::string& name) {
  std::string result;
  for (size_t i = 0; i < name.size(); i++) {
    const bool layer =
        name[i] >= '0' && name[i] <= '9' && i > 0 &&
        ((name[i - 1] == '.' && name.find('.', i) != std::string::npos) || (name[i - 1] == '-'));
    if (!layer) {
      result += name[i];
      continue;
    }
    result += '*';
    while (i + 1 < name.size() && name[i + 1] >= '0' && name[i + 1] <= '9') i++;
  }
  return result;
}

std::string percent(uint64_t part, uint64_t whole) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%", whole ? 100.0 * part / whole : 0.0);
  return text;
}

// The same with other random bits in every stochastic rounding, as its seed and `draw` decide; 0:
// as its seed alone does.
Arithmetic drawn_anew(Arithmetic arithmetic, uint64_t draw) {
  const auto reseed = [&](Cast& cast) {
    if (draw == 0 || cast.rounding != Rounding::stochastic) return;
    cast.seed = static_cast<uint32_t>(splitmix64(splitmix64(draw) + cast.seed));
  };
  reseed(arithmetic.x.cast);
  reseed(arithmetic.w.cast);
  reseed(arithmetic.accumulator.cast);
  if (std::optional<Cast> product = arithmetic.multiplier.written_product()) {
    reseed(*product);
    const auto settings = arithmetic.multiplier.settings();
    arithmetic.multiplier =
        Multiplier(arithmetic.multiplier.family(), {settings.begin(), settings.end()}, product);
  }
  return arithmetic;
}

}  // namespace

uint64_t Coverage::multiplications() const { return total(entries); }
uint64_t Coverage::engine_multiplications() const { return total(engine); }

PlanRun::PlanRun(Plan plan) : plan_(std::move(plan)), used_(plan_.rules.size()) {
  for (const Rule& rule : plan_.rules) arithmetic_ids_.push_back(intern(rule));
  draw_anew(0);
}

void PlanRun::draw_anew(uint64_t draw) {
  drawn_.clear();
  for (const Rule& rule : plan_.rules) drawn_.push_back(drawn_anew(rule.arithmetic, draw));
}

Coverage PlanRun::coverage() const {
  std::lock_guard lock(mutex_);
  Coverage result;
  for (const auto& [key, entry] : entries_) result.entries.push_back(entry);
  for (const auto& [key, entry] : engine_) result.engine.push_back(entry);
  result.cache_types.assign(cache_types_.begin(), cache_types_.end());
  result.fused.assign(fused_.begin(), fused_.end());
  return result;
}

void PlanRun::reset_coverage() {
  std::lock_guard lock(mutex_);
  entries_.clear();
  engine_.clear();
  cache_types_.clear();
  fused_.clear();
}

std::vector<size_t> PlanRun::unused_rules() const {
  std::lock_guard lock(mutex_);
  std::vector<size_t> result;
  for (size_t rule = 0; rule < used_.size(); rule++) {
    if (!used_[rule]) result.push_back(rule);
  }
  return result;
}

bool PlanRun::met_matmuls() const {
  std::lock_guard lock(mutex_);
  return met_;
}

void PlanRun::forget_sequence() {
  for (auto& [name, history] : histories_) history.forget();
}

MatmulHistory* PlanRun::history(std::string_view name) {
  return follows_ ? &histories_[std::string(name)] : nullptr;
}

void PlanRun::record_met(std::optional<size_t> rule) {
  std::lock_guard lock(mutex_);
  met_ = true;
  if (rule) used_[*rule] = true;
}

void PlanRun::record(std::string_view name, size_t rule, KernelKind kernel,
                     uint64_t multiplications, const TreatedCounts& treated) {
  std::string key(name);
  key += static_cast<char>('\1' + static_cast<char>(kernel));  // below every character of a name
  std::lock_guard lock(mutex_);
  met_ = used_[rule] = true;
  CoverageEntry& entry = entries_[key];
  if (entry.calls == 0) entry = CoverageEntry{std::string(name), rule, kernel, 0, 0, {}};
  entry.calls++;
  entry.multiplications += multiplications;
  entry.treated += treated;
}

void PlanRun::record_engine(std::string_view name, uint64_t multiplications) {
  std::lock_guard lock(mutex_);
  EngineEntry& entry = engine_[std::string(name)];
  entry.name = name;
  entry.calls++;
  entry.multiplications += multiplications;
}

void PlanRun::record_cache_type(std::string_view type) {
  std::lock_guard lock(mutex_);
  if (cache_types_.find(type) == cache_types_.end()) cache_types_.emplace(type);
}

void PlanRun::record_fused(std::string_view operation) {
  std::lock_guard lock(mutex_);
  if (fused_.find(operation) == fused_.end()) fused_.emplace(operation);
}

void set_active_plan(std::shared_ptr<PlanRun> run) {
  std::lock_guard lock(globals().mutex);
  globals().plan = std::move(run);
}

std::shared_ptr<PlanRun> active_plan() {
  std::lock_guard lock(globals().mutex);
  return globals().plan;
}

void configure_backend(BackendSettings settings) {
  std::lock_guard lock(globals().mutex);
  globals().settings = std::move(settings);
}

BackendSettings backend_settings() {
  std::lock_guard lock(globals().mutex);
  return globals().settings;
}

std::string last_backend_error() {
  std::lock_guard lock(globals().mutex);
  return globals().error;
}

void clear_backend_error() {
  std::lock_guard lock(globals().mutex);
  globals().error.clear();
}

void set_backend_error(const std::string& sentence) {
  std::function<void(const std::string&)> on_error;
  {
    std::lock_guard lock(globals().mutex);
    globals().error = sentence;
    on_error = globals().settings.on_error;
  }
  if (on_error) on_error(sentence);
}

std::string coverage_text(const PlanRun& run, bool each_matrix) {
  const Coverage coverage = run.coverage();
  const uint64_t ours = coverage.multiplications();
  const uint64_t all = ours + coverage.engine_multiplications();

  struct Line {
    std::string arithmetic, kernel;
    uint64_t calls = 0, multiplications = 0;
  };
  std::map<std::string, Line> lines;
  const auto add = [&](const std::string& name, const std::string& arithmetic,
                       const std::string& kernel, uint64_t calls, uint64_t multiplications) {
    const std::string shown = each_matrix ? name : without_layer(name);
    Line& line = lines[shown + '\1' + arithmetic + '\1' + kernel];
    line.arithmetic = arithmetic;
    line.kernel = kernel;
    line.calls += calls;
    line.multiplications += multiplications;
  };
  for (const CoverageEntry& entry : coverage.entries) {
    add(entry.name, display_name(run.plan().rules[entry.rule]),
        std::string(kernel_name(entry.kernel)), entry.calls, entry.multiplications);
  }
  for (const EngineEntry& entry : coverage.engine) {
    add(entry.name, "(engine)", "-", entry.calls, entry.multiplications);
  }

  std::string text = "plan: " + to_string(run.plan()) + "\n";
  text += "coverage: " + percent(ours, all) + " of " + std::to_string(all) +
          " multiplications in matrix products ran in the plan's arithmetics\n";
  if (!coverage.cache_types.empty()) {
    text += "K and V cache:";
    for (const std::string& type : coverage.cache_types) text += " " + type;
    const bool rounds = std::any_of(coverage.cache_types.begin(), coverage.cache_types.end(),
                                    [](const std::string& type) { return type != "f32"; });
    if (rounds) text += " (rounds what is cached; -ctk f32 -ctv f32 keeps it whole)";
    text += "\n";
  }
  for (const std::string& operation : coverage.fused) {
    text += "not counted, as it multiplies within a larger operation of the engine: " + operation +
            "\n";
  }
  for (const auto& [key, line] : lines) {
    char row[256];
    std::snprintf(row, sizeof row, "  %-28s %-16s %-10s %9llu calls %16llu multiplications %9s\n",
                  key.substr(0, key.find('\1')).c_str(), line.arithmetic.c_str(),
                  line.kernel.c_str(), static_cast<unsigned long long>(line.calls),
                  static_cast<unsigned long long>(line.multiplications),
                  percent(line.multiplications, all).c_str());
    text += row;
  }
  for (const size_t rule : run.unused_rules()) {
    text += "rule " + std::to_string(rule + 1) + ", '" + run.plan().rules[rule].pattern +
            "', matched no matrix multiplication\n";
  }
  return text;
}

}  // namespace napier
