#include "model/coverage.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "napier/error.hpp"

namespace napier {
namespace {

std::string rule_text(const Plan& plan, size_t rule) {
  return "rule " + std::to_string(rule + 1) + " of the plan, '" + plan.rules[rule].pattern +
         " -> " + display_name(plan.rules[rule]) + "',";
}

struct Name {
  std::string_view role;
  std::string_view layer;  // digits, or nothing
};

Name parse_name(std::string_view name) {
  Name parsed;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.starts_with("blk.")) {
    size_t end = 4;
    while (end < name.size() && is_digit(name[end])) ++end;
    if (end > 4 && end < name.size() && name[end] == '.') {
      parsed.layer = name.substr(4, end - 4);
      name.remove_prefix(end + 1);
    }
  }
  if (name.ends_with(".weight")) name.remove_suffix(7);
  const size_t dash = name.find_last_of("-_");
  if (dash != std::string_view::npos && dash > 0 && dash + 1 < name.size() &&
      (name[dash] == '-' || name.starts_with("node_")) &&
      std::all_of(name.begin() + static_cast<ptrdiff_t>(dash) + 1, name.end(), is_digit)) {
    if (name[dash] == '-') parsed.layer = name.substr(dash + 1);
    name = name.substr(0, dash);
  }
  parsed.role = name;
  return parsed;
}

// A few names and how many there are in all.
std::string list_of_names(const GraphCensus& census) {
  std::map<std::string, std::string> example;  // by role
  for (const auto& [name, count] : census.matmuls()) example.try_emplace(role_of(name), name);
  std::string text;
  size_t shown = 0;
  for (const auto& [role, name] : example) {
    if (shown++ == 12) return text + ", ...";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

}  // namespace

uint64_t ModelCoverage::elementwise_total() const {
  uint64_t total = 0;
  for (const auto& [op, count] : elementwise) total += count;
  return total;
}

double ModelCoverage::share() const {
  const double all = static_cast<double>(napier) + static_cast<double>(engine);
  return all == 0 ? 0 : static_cast<double>(napier) / all;
}

double ModelCoverage::elementwise_share() const {
  const auto native = static_cast<double>(elementwise_total());
  const double all = static_cast<double>(napier) + static_cast<double>(engine) + native;
  return all == 0 ? 0 : native / all;
}

std::string role_of(std::string_view name) { return std::string(parse_name(name).role); }

std::optional<int> layer_of(std::string_view name) {
  const std::string_view digits = parse_name(name).layer;
  int layer = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), layer);
  if (digits.empty() || error != std::errc()) return std::nullopt;
  return layer;
}

void check_every_rule_decides(const Plan& plan, const GraphCensus& census) {
  std::set<size_t> deciding;
  for (const auto& [name, count] : census.matmuls()) {
    if (const auto rule = plan.match(name)) deciding.insert(*rule);
  }
  for (size_t rule = 0; rule < plan.rules.size(); ++rule) {
    if (deciding.contains(rule)) continue;
    const bool matches = std::any_of(
        census.matmuls().begin(), census.matmuls().end(),
        [&](const auto& entry) { return glob_matches(plan.rules[rule].pattern, entry.first); });
    if (matches) {
      throw Error(rule_text(plan, rule) +
                  " is never reached: all that it matches is decided by rules before it");
    }
    throw Error(rule_text(plan, rule) +
                " matches no matrix multiplication of this model; these are named as " +
                list_of_names(census));
  }
}

ModelCoverage make_coverage(const Plan& plan, const GraphCensus& census,
                            const std::map<std::string, MatmulCount>& ran) {
  if (!plan.rules.empty() && !census.opaque().empty()) {
    throw Error("the model's graph holds " + census.opaque().begin()->first +
                ", which multiplies matrices out of every plan's sight: models of this "
                "architecture cannot be evaluated");
  }
  ModelCoverage coverage;
  coverage.elementwise = census.elementwise();
  std::map<std::pair<std::string, std::string>, MatmulCount> roles;
  for (const auto& [name, count] : census.matmuls()) {
    const auto rule = plan.match(name);
    if (rule) {
      const auto found = ran.find(name);
      const MatmulCount done = found == ran.end() ? MatmulCount{} : found->second;
      if (done.calls != count.calls || done.multiplications != count.multiplications) {
        throw Error(
            "matrix multiplication '" + name + "' bypassed Napier: " + rule_text(plan, *rule) +
                " names it, the model computed it " + std::to_string(count.calls) + " times (" +
                std::to_string(count.multiplications) + " multiplications), Napier ran " +
                std::to_string(done.calls) + " (" + std::to_string(done.multiplications) + ")",
            Blame::environment);
      }
    }
    const std::string arithmetic = rule ? display_name(plan.rules[*rule]) : "";
    MatmulCount& sum = roles[{role_of(name), arithmetic}];
    sum.calls += count.calls;
    sum.multiplications += count.multiplications;
    if (rule) sum.treated += ran.at(name).treated;
    (rule ? coverage.napier : coverage.engine) += count.multiplications;
  }
  for (const auto& [key, count] : roles) {
    coverage.treated += count.treated;
    coverage.roles.push_back(
        {key.first, key.second, count.calls, count.multiplications, count.treated});
  }
  return coverage;
}

}  // namespace napier
