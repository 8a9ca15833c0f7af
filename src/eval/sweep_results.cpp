#include "eval/sweep_results.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "eval/sqlite.hpp"
#include "napier/error.hpp"

namespace napier {

double SweepResults::value(size_t model, size_t source, size_t subject,
                           std::string_view metric) const {
  const std::tuple wanted(model, source, subject, metric);
  const auto found =
      std::lower_bound(values.begin(), values.end(), wanted,
                       [](const Value& value, const auto& place) { return value.place() < place; });
  const bool is_there = found != values.end() && found->place() == wanted;
  return is_there ? found->value : std::numeric_limits<double>::quiet_NaN();
}

std::array<std::string, 2> SweepResults::measures(size_t model, size_t source) const {
  const auto has = [&](std::string_view metric) {
    return !std::isnan(value(model, source, 0, metric));
  };
  if (has("acc")) return {"acc", "acc_norm"};
  if (has("exact")) return {"exact", "result"};
  return {"strict", "flexible"};
}

SweepResults read_sweep_results(const std::string& path) {
  SqliteDatabase database(path, SqliteDatabase::Mode::read);
  const auto place = [](const SqliteStatement& row) {
    return std::array{static_cast<size_t>(row.integer(0)), static_cast<size_t>(row.integer(1)),
                      static_cast<size_t>(row.integer(2))};
  };
  SweepResults results;
  try {
    SqliteStatement version(database, "SELECT value FROM meta WHERE key = 'version'");
    if (version.step()) results.version = version.text(0);
    SqliteStatement identity(database, "SELECT value FROM meta WHERE key = 'identity'");
    if (identity.step()) {
      const auto document = nlohmann::json::parse(identity.text(0), nullptr, false);
      if (!document.is_object() || !document.contains("spec") || !document["spec"].is_string()) {
        throw Error(path + ": is damaged: its identity is not a sweep's");
      }
      try {
        results.source_settings = sources_of_identity(document.value("spec", ""));
      } catch (const Error& error) {
        throw Error(path + ": is damaged: " + error.what());
      }
      if (const auto hashes = document.find("hashes");
          hashes != document.end() && hashes->is_object()) {
        for (const auto& [file, hash] : hashes->items()) {
          if (hash.is_string())
            results.more_files.push_back({file, file, "", hash.get<std::string>()});
        }
      }
    }
    SqliteStatement units(database, "SELECT count(*) FROM unit");
    if (units.step()) results.units_done = static_cast<size_t>(units.integer(0));
    SqliteStatement models(database, "SELECT path, hash FROM model ORDER BY id");
    while (models.step())
      results.models.push_back({models.text(0), models.text(0), "", models.text(1)});
    SqliteStatement sources(database, "SELECT name, path, task, hash FROM source ORDER BY id");
    while (sources.step()) {
      results.sources.push_back(
          {sources.text(0), sources.text(1), sources.text(2), sources.text(3)});
    }
    SqliteStatement subjects(database, "SELECT name, plan FROM subject ORDER BY id");
    while (subjects.step())
      results.subjects.push_back({subjects.text(0), "", subjects.text(1), ""});
    std::erase_if(results.more_files, [&](const SweepResults::Named& file) {
      const auto is_it = [&](const SweepResults::Named& other) { return other.path == file.path; };
      return std::any_of(results.models.begin(), results.models.end(), is_it) ||
             std::any_of(results.sources.begin(), results.sources.end(), is_it);
    });
    SqliteStatement values(database, "SELECT model, source, subject, metric, value FROM result");
    while (values.step()) {
      const auto at = place(values);
      results.values.push_back({at[0], at[1], at[2], values.text(3), values.real(4)});
    }
    SqliteStatement speeds(
        database,
        "SELECT t.model, t.source, t.subject, sum(u.tokens) / sum(t.seconds) FROM timing t "
        "JOIN unit u USING (model, source, number) GROUP BY 1, 2, 3");
    while (speeds.step()) {
      const auto at = place(speeds);
      results.values.push_back({at[0], at[1], at[2], "tokens_per_second", speeds.real(3)});
    }
    SqliteStatement flips(
        database,
        "SELECT a.model, a.source, a.subject, a.question, r.is_right, "
        "CASE WHEN r.chosen < 0 THEN 'no number' WHEN r.log_likelihoods <> '[]' "
        "THEN 'choice ' || (r.chosen + 1) ELSE r.text END, "
        "CASE WHEN a.chosen < 0 THEN 'no number' WHEN a.log_likelihoods <> '[]' "
        "THEN 'choice ' || (a.chosen + 1) ELSE a.text END "
        "FROM answer a JOIN answer r ON r.model = a.model AND r.source = a.source "
        "AND r.question = a.question AND r.subject = 0 WHERE a.is_right <> r.is_right");
    while (flips.step()) {
      const auto at = place(flips);
      results.flips.push_back({at[0], at[1], at[2], flips.integer(3), flips.integer(4) != 0,
                               flips.text(5), flips.text(6)});
    }
  } catch (const Error& error) {
    if (std::string_view(error.what()).find("no such table") == std::string_view::npos) throw;
    throw Error(path + ": is a database, but not of a sweep");
  }
  std::sort(results.values.begin(), results.values.end(),
            [](const auto& a, const auto& b) { return a.place() < b.place(); });
  const auto require = [&](const auto& entry) {
    if (entry.model < results.models.size() && entry.source < results.sources.size() &&
        entry.subject < results.subjects.size()) {
      return;
    }
    throw Error(path + ": is damaged: it has results of what it does not list");
  };
  for (const SweepResults::Value& value : results.values) require(value);
  for (const SweepResults::Flip& flip : results.flips) require(flip);
  if (results.source_settings.size() != results.sources.size()) {
    throw Error(path + ": is damaged: its identity is not of the sources that it lists");
  }
  return results;
}

void require_finite(const SweepResults& results) {
  for (const SweepResults::Value& v : results.values) {
    const bool fails = (v.metric == "perplexity" && !std::isfinite(v.value)) ||
                       (v.metric == "unanswered" && v.value > 0);
    if (!fails) continue;
    throw Error(results.models.at(v.model).path + ", " + results.sources.at(v.source).name +
                    ", under " + results.subjects.at(v.subject).name +
                    ": the model's logits overflow or are not numbers",
                Blame::environment);
  }
}

}  // namespace napier
