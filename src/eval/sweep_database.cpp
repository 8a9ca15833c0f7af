#include "eval/sweep_database.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cost/model_cost.hpp"
#include "eval/length_groups.hpp"
#include "eval/stored_bits.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

constexpr const char* k_schema = R"sql(
DROP TABLE IF EXISTS meta; DROP TABLE IF EXISTS model; DROP TABLE IF EXISTS source;
DROP TABLE IF EXISTS subject; DROP TABLE IF EXISTS unit; DROP TABLE IF EXISTS figures;
DROP TABLE IF EXISTS answer; DROP TABLE IF EXISTS result; DROP TABLE IF EXISTS timing;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model (id INTEGER PRIMARY KEY, path TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL,
  task TEXT NOT NULL, context INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TABLE subject (id INTEGER PRIMARY KEY, name TEXT NOT NULL, plan TEXT NOT NULL);
CREATE TABLE unit (model INTEGER, source INTEGER, number INTEGER, statistics_unit INTEGER,
  tokens INTEGER, bytes INTEGER, PRIMARY KEY (model, source, number)) WITHOUT ROWID;
CREATE TABLE figures (model INTEGER, source INTEGER, number INTEGER, subject INTEGER, nll BLOB,
  kl BLOB, top1 BLOB, top5 BLOB, PRIMARY KEY (model, source, number, subject)) WITHOUT ROWID;
CREATE TABLE answer (model INTEGER, source INTEGER, question INTEGER, subject INTEGER,
  log_likelihoods TEXT, chosen INTEGER, chosen_norm INTEGER, text TEXT, strict TEXT, flexible TEXT,
  is_right INTEGER, is_right_second INTEGER,
  PRIMARY KEY (model, source, question, subject)) WITHOUT ROWID;
CREATE TABLE result (model INTEGER, source INTEGER, subject INTEGER, metric TEXT, value REAL,
  PRIMARY KEY (model, source, subject, metric)) WITHOUT ROWID;
CREATE TABLE timing (model INTEGER, source INTEGER, number INTEGER, subject INTEGER, seconds REAL,
  PRIMARY KEY (model, source, number, subject)) WITHOUT ROWID;
)sql";

// Metrics of speed and coverage are not made of tokens' figures.
bool is_of_tokens(const Metric& metric) {
  const std::string_view name = metric.name;
  return name != "tokens_per_second" && name != "coverage";
}

// An exclusive lock on the file, of a kind that SQLite's own do not see; held while it is open.
int lock_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) throw Error(path + ": cannot be written: " + std::strerror(errno));
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  close(file);
  throw Error(path + ": another process is sweeping into it", Blame::environment);
}

TokenFigures read_figures(const SqliteStatement& row, int first_column) {
  const auto values = [&](int column) { return row.blob(first_column + column); };
  TokenFigures figures{values(0), values(1), values(2), values(3)};
  const size_t tokens = figures.nll.size();
  if (figures.kl.size() != tokens || figures.top1.size() != tokens ||
      figures.top5.size() != tokens) {
    throw Error("the database is damaged: figures of one passage are of different lengths");
  }
  return figures;
}

// The subject that a row speaks of.
size_t subject_of(const SqliteStatement& row, int column, size_t subjects) {
  const auto subject = static_cast<size_t>(row.integer(column));
  if (subject < subjects) return subject;
  throw Error("the database is damaged: it has figures of what it does not list");
}

// Every figure of one model, source and subject.
using Figures = std::vector<std::pair<std::string, double>>;

std::vector<Figures> text_results(SqliteDatabase& database, size_t model, size_t source,
                                  size_t subjects) {
  std::vector<TokenFigures> figures(subjects);
  std::vector<size_t> unit_of;
  int64_t bytes = 0;
  SqliteStatement rows(database,
                       "SELECT f.subject, f.nll, f.kl, f.top1, f.top5, u.statistics_unit, u.bytes "
                       "FROM figures f JOIN unit u USING (model, source, number) "
                       "WHERE f.model = ? AND f.source = ? ORDER BY f.number, f.subject");
  rows.bind(model).bind(source);
  while (rows.step()) {
    const TokenFigures more = read_figures(rows, 1);
    figures[subject_of(rows, 0, subjects)].append(more);
    if (rows.integer(0) != 0) continue;
    unit_of.insert(unit_of.end(), more.nll.size(), static_cast<size_t>(rows.integer(5)));
    bytes += rows.integer(6);
  }
  std::vector<Figures> results;
  for (const TokenFigures& one : figures) {
    if (one.nll.size() != unit_of.size()) {
      throw Error("the database is damaged: it lacks figures of some passage");
    }
    const Result result = summarise(one, figures[0], unit_of, bytes);
    Figures& values = results.emplace_back();
    for (const Metric& metric : metrics()) {
      if (is_of_tokens(metric)) values.emplace_back(metric.name, metric.value(result));
    }
    values.emplace_back("scored", static_cast<double>(unit_of.size()));
  }
  return results;
}

// What `napier cost` and the league say under each subject, the reference first: bits stored, NaN
// where a text decides them, and of texts a token's energy by the default prices, NaN where there
// is no price, or no such model is counted.
void add_costs(const SweepSpec& spec, size_t model, const SweepSource& source,
               std::vector<Figures>& results) {
  std::vector<Subject> subjects = spec.subjects_on(model);
  subjects.insert(subjects.begin(), Reference{}.subject);
  const int context = std::max(1, source.context);
  const std::vector<WeightMatrix> matrices = weight_matrices(spec.models[model]);
  const Prices prices(k_default_prices);
  std::optional<ModelShape> shape;
  try {
    if (source.task.empty()) shape = shape_of_file(spec.models[model], context);
  } catch (const Error&) {
  }
  for (size_t i = 0; i < subjects.size(); ++i) {
    const Plan& plan = subjects[i].plan;
    const StoredBits bits = i == 0 ? StoredBits{} : stored_bits(matrices, plan, context);
    results[i].emplace_back("weight_bits", bits.weight);
    results[i].emplace_back("activation_bits", bits.activation);
    if (!source.task.empty()) continue;
    double energy = std::numeric_limits<double>::quiet_NaN();
    try {
      if (shape) energy = cost_of(*shape, plan, prices, {}).energy.total();
    } catch (const Error&) {
    }
    results[i].emplace_back("energy_pj", energy);
  }
}

std::vector<Figures> task_results(SqliteDatabase& database, size_t model, size_t source,
                                  size_t subjects, const Task& task) {
  std::vector<TaskResult> answers(subjects);
  SqliteStatement rows(database,
                       "SELECT subject, chosen, chosen_norm, strict, flexible, is_right, "
                       "is_right_second FROM answer WHERE model = ? AND source = ? "
                       "ORDER BY question, subject");
  rows.bind(model).bind(source);
  while (rows.step()) {
    Answer answer;
    answer.chosen = {static_cast<size_t>(rows.integer(1)), static_cast<size_t>(rows.integer(2))};
    answer.found = {rows.text(3), rows.text(4)};
    answer.right = {rows.integer(5) != 0, rows.integer(6) != 0};
    answers[subject_of(rows, 0, subjects)].answers.push_back(std::move(answer));
  }
  TaskEvaluation evaluation;
  evaluation.grading = task.grading;
  for (const Question& question : task.questions) {
    evaluation.answers.push_back(question.answer);
    evaluation.lengths.push_back(question.length);
  }
  std::vector<Figures> results;
  for (const TaskResult& one : answers) {
    Figures& values = results.emplace_back();
    for (size_t m = 0; m < 2; ++m) {
      std::vector<Unit> units;
      for (const Answer& answer : one.answers) units.push_back({answer.right[m] ? 1.0 : 0.0, 1});
      const Estimate estimated = estimate(units);
      const Flips flips = flips_between(answers[0], one, m);
      const std::string name = task.measures()[m];
      values.insert(values.end(), {{name, estimated.mean},
                                   {name + "_error", estimated.error},
                                   {name + "_low", estimated.low},
                                   {name + "_high", estimated.high},
                                   {name + "_changed", static_cast<double>(flips.changed)},
                                   {name + "_lost", static_cast<double>(flips.lost.size())},
                                   {name + "_gained", static_cast<double>(flips.gained.size())},
                                   {name + "_mcnemar_p", flips.p}});
    }
    values.emplace_back("questions", static_cast<double>(one.answers.size()));
    values.emplace_back("unanswered", static_cast<double>(one.unanswered()));
    const std::vector<LengthGroup> groups = by_length(evaluation, one);
    for (size_t g = 0; g < groups.size(); ++g) {
      const LengthGroup& group = groups[g];  // the first is of all lengths
      const std::string part =
          g == 0 ? "" : "_" + std::to_string(group.shortest) + "_" + std::to_string(group.longest);
      if (g > 0) values.emplace_back("exact" + part, group.exact.mean);
      if (g > 0) values.emplace_back("result" + part, group.result.mean);
      if (task.grading->notation == Notation::none) continue;
      values.emplace_back("digit_match" + part, group.digit_match.mean);
      values.emplace_back("dlength" + part, group.dlength.mean);
    }
  }
  return results;
}

}  // namespace

SweepDatabase::SweepDatabase(const std::string& path, const SweepSpec& spec,
                             const std::map<std::string, std::string>& hashes,
                             const std::string& version)
    : lock_(lock_file(path)), database_(path, SqliteDatabase::Mode::create), spec_(&spec) {
  nlohmann::json identity = {{"spec", spec.identity()}, {"hashes", hashes}};
  const std::string text = identity.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  SqliteStatement tables(database_, "SELECT count(*) FROM sqlite_master");
  tables.step();
  if (tables.integer(0) == 0) {
    tables.run();
    create(spec, text, version);
    return;
  }
  tables.run();
  std::string held;
  try {
    SqliteStatement row(database_, "SELECT value FROM meta WHERE key = 'identity'");
    if (row.step()) held = row.text(0);
  } catch (const Error&) {
    throw Error(path + ": is a database, but not of a sweep");
  }
  if (held == text) return;
  // Nothing is lost with a sweep that never began: its file was wrong, and has been mended.
  SqliteStatement units(database_, "SELECT count(*) FROM unit");
  units.step();
  const bool is_empty = units.integer(0) == 0;
  units.run();
  if (is_empty) {
    create(spec, text, version);
    return;
  }
  const auto before = nlohmann::json::parse(held, nullptr, false);
  if (before.is_object() && before.value("spec", "") == identity["spec"]) {
    throw Error(path + ": holds this sweep of files that have changed since; give another --db");
  }
  throw Error(path + ": holds another sweep; give another --db");
}

SweepDatabase::~SweepDatabase() { close(lock_); }

void SweepDatabase::create(const SweepSpec& spec, const std::string& identity,
                           const std::string& version) {
  const auto hashes = nlohmann::json::parse(identity).at("hashes");
  SqliteTransaction transaction(database_);
  database_.run(k_schema);
  SqliteStatement meta(database_, "INSERT INTO meta VALUES (?, ?)");
  meta.bind(std::string_view("identity")).bind(std::string_view(identity)).run();
  meta.bind(std::string_view("version")).bind(std::string_view(version)).run();
  SqliteStatement model(database_, "INSERT INTO model VALUES (?, ?, ?)");
  for (size_t i = 0; i < spec.models.size(); ++i) {
    const std::string hash = hashes.at(spec.models[i]);
    model.bind(i).bind(std::string_view(spec.models[i])).bind(std::string_view(hash)).run();
  }
  SqliteStatement source(database_, "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?)");
  for (size_t i = 0; i < spec.sources.size(); ++i) {
    const SweepSource& s = spec.sources[i];
    const std::string place = s.place(), hash = hashes.at(place);
    source.bind(i).bind(std::string_view(s.name)).bind(std::string_view(place));
    source.bind(std::string_view(s.task)).bind(int64_t{s.context}).bind(std::string_view(hash));
    source.run();
  }
  SqliteStatement subject(database_, "INSERT INTO subject VALUES (?, ?, ?)");
  std::vector<Subject> subjects = spec.subjects;
  subjects.insert(subjects.begin(), Reference{}.subject);
  for (size_t i = 0; i < subjects.size(); ++i) {
    const std::string plan = to_string(subjects[i].plan);
    subject.bind(i).bind(std::string_view(subjects[i].name)).bind(std::string_view(plan)).run();
  }
  transaction.commit();
}

std::set<SweepUnit> SweepDatabase::done() {
  std::set<SweepUnit> units;
  SqliteStatement rows(database_, "SELECT model, source, number FROM unit");
  while (rows.step()) {
    units.insert({static_cast<size_t>(rows.integer(0)), static_cast<size_t>(rows.integer(1)),
                  static_cast<size_t>(rows.integer(2))});
  }
  return units;
}

void SweepDatabase::store(const UnitResult& result) {
  const auto [model, source, number] = result.unit;
  SqliteTransaction transaction(database_);
  SqliteStatement(database_, "INSERT INTO unit VALUES (?, ?, ?, ?, ?, ?)")
      .bind(model)
      .bind(source)
      .bind(number)
      .bind(result.statistics_unit)
      .bind(result.tokens)
      .bind(result.bytes)
      .run();
  SqliteStatement figures(database_, "INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  for (size_t subject = 0; subject < result.figures.size(); ++subject) {
    const TokenFigures& one = result.figures[subject];
    figures.bind(model).bind(source).bind(number).bind(subject);
    for (const auto* values : {&one.nll, &one.kl, &one.top1, &one.top5}) figures.bind_blob(*values);
    figures.run();
  }
  SqliteStatement timing(database_, "INSERT INTO timing VALUES (?, ?, ?, ?, ?)");
  for (size_t subject = 0; subject < result.seconds.size(); ++subject) {
    timing.bind(model).bind(source).bind(number).bind(subject).bind(result.seconds[subject]).run();
  }
  SqliteStatement row(database_, "INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (size_t subject = 0; subject < result.answers.size(); ++subject) {
    for (size_t i = 0; i < result.answers[subject].size(); ++i) {
      const Answer& answer = result.answers[subject][i];
      const std::string likelihoods = nlohmann::json(answer.log_likelihoods).dump();
      row.bind(model).bind(source).bind(number * k_questions_a_unit + i).bind(subject);
      row.bind(std::string_view(likelihoods)).bind(answer.chosen[0]).bind(answer.chosen[1]);
      row.bind(std::string_view(answer.text)).bind(std::string_view(answer.found[0]));
      row.bind(std::string_view(answer.found[1])).bind(int64_t{answer.right[0]});
      row.bind(int64_t{answer.right[1]}).run();
    }
  }
  transaction.commit();
}

void SweepDatabase::finish(std::span<const SweepUnit> all) {
  const std::set<SweepUnit> there = done();
  std::map<std::pair<size_t, size_t>, bool> complete;
  for (const SweepUnit& unit : all) {
    bool& so_far = complete.try_emplace({unit.model, unit.source}, true).first->second;
    so_far = so_far && there.contains(unit);
  }
  SqliteStatement old(database_, "SELECT DISTINCT model, source FROM result");
  while (old.step()) {
    complete[{static_cast<size_t>(old.integer(0)), static_cast<size_t>(old.integer(1))}] = false;
  }
  SqliteTransaction transaction(database_);
  SqliteStatement insert(database_, "INSERT INTO result VALUES (?, ?, ?, ?, ?)");
  const size_t subjects = 1 + spec_->subjects.size();
  for (const auto& [place, is_complete] : complete) {
    if (!is_complete) continue;  // or its results are there already
    const auto [model, source] = place;
    const SweepSource& s = spec_->sources[source];
    std::vector<Figures> results =
        s.task.empty() ? text_results(database_, model, source, subjects)
                       : task_results(database_, model, source, subjects, task_of(s));
    add_costs(*spec_, model, s, results);
    for (size_t subject = 0; subject < results.size(); ++subject) {
      for (const auto& [metric, value] : results[subject]) {
        insert.bind(model).bind(source).bind(subject).bind(std::string_view(metric));
        insert.bind(value).run();
      }
    }
  }
  transaction.commit();
}

}  // namespace napier
