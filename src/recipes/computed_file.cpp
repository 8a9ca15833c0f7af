#include "recipes/computed_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "eval/sqlite.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

constexpr const char* k_version = "1";
// In the order of their keys, whenever they were written: the same results are the same file.
constexpr const char* k_tables =
    "CREATE TABLE about(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE statistic(matrix TEXT, what TEXT, numbers BLOB NOT NULL, PRIMARY KEY(matrix, "
    "what)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE rule(place INTEGER PRIMARY KEY, written TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE number(place INTEGER, treatment TEXT, what TEXT, numbers BLOB NOT NULL, "
    "PRIMARY KEY(place, treatment, what)) STRICT, WITHOUT ROWID;";

template <class S>
auto fields_of(S& s) {
  return std::vector<std::pair<const char*, decltype(&s.absmax)>>{
      {"absmax", &s.absmax},   {"least", &s.least},       {"greatest", &s.greatest},
      {"squares", &s.squares}, {"outliers", &s.outliers}, {"magnitudes", &s.magnitudes},
      {"samples", &s.samples}};
}

template <class N>
auto numbers_of(N& n) {
  return std::vector<std::pair<const char*, decltype(&n.factors)>>{
      {"factors", &n.factors}, {"left", &n.left}, {"right", &n.right}};
}

}  // namespace

struct ComputedFile::State {
  State(std::string partial, std::string target, SqliteDatabase::Mode mode)
      : path(std::move(partial)),
        final_path(std::move(target)),
        database(std::in_place, path, mode) {}

  std::string path;
  std::string final_path;
  std::optional<SqliteDatabase> database;

  SqliteDatabase& db() { return *database; }

  std::string about(const std::string& key) {
    SqliteStatement select(db(), "SELECT value FROM about WHERE key = ?");
    return select.bind(std::string_view(key)).step() ? select.text(0) : "";
  }
  void set_about(const std::string& key, const std::string& value) {
    SqliteStatement insert(db(), "INSERT OR REPLACE INTO about VALUES(?, ?)");
    insert.bind(std::string_view(key)).bind(std::string_view(value)).run();
  }
  int count(const std::string& key) {
    const std::string text = about(key);
    return text.empty() ? 0 : std::atoi(text.c_str());
  }
  ComputedFrom origin() { return {about("model"), about("recipe"), about("text")}; }

  void write_rule(int64_t place, const Rule& rule) {
    SqliteStatement drop(db(), "DELETE FROM number WHERE place = ?");
    drop.bind(place).run();
    SqliteStatement insert(db(), "INSERT OR REPLACE INTO rule VALUES(?, ?)");
    insert.bind(place).bind(std::string_view(to_string(Plan{{rule}}))).run();
    SqliteStatement number(db(), "INSERT INTO number VALUES(?, ?, ?, ?)");
    for (const Treatment& treatment : rule.treatments) {
      if (!treatment.numbers) continue;
      for (const auto& [what, values] : numbers_of(*treatment.numbers)) {
        if (values->empty()) continue;
        const std::vector<double> wide(values->begin(), values->end());
        number.bind(place)
            .bind(form_of(treatment.kind).name)
            .bind(std::string_view(what))
            .bind_blob(wide)
            .run();
      }
    }
  }
};

std::string computed_path(const std::string& model, const std::string& recipe) {
  return model + "." + recipe + ".napier";
}

ComputedFile::ComputedFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
ComputedFile::~ComputedFile() = default;
ComputedFile::ComputedFile(ComputedFile&&) noexcept = default;

ComputedFile ComputedFile::make(const std::string& path, const ComputedFrom& from) {
  const std::string partial = path + ".partial";
  std::error_code error;
  if (std::filesystem::exists(partial, error)) {
    try {
      auto state = std::make_unique<State>(partial, path, SqliteDatabase::Mode::create);
      if (state->about("version") == k_version && state->origin() == from) {
        return ComputedFile(std::move(state));
      }
    } catch (const Error&) {  // cut off while it was begun, or no such file: made anew
    }
    std::filesystem::remove(partial, error);
  }
  auto state = std::make_unique<State>(partial, path, SqliteDatabase::Mode::create);
  SqliteTransaction transaction(state->db());
  state->db().run(k_tables);
  state->set_about("version", k_version);
  state->set_about("model", from.model);
  state->set_about("recipe", from.recipe);
  state->set_about("text", from.text);
  transaction.commit();
  return ComputedFile(std::move(state));
}

ComputedFile ComputedFile::open(const std::string& path, const ComputedFrom& wanted) {
  std::unique_ptr<State> state;
  std::string version;
  ComputedFrom origin;
  try {
    state = std::make_unique<State>(path, path, SqliteDatabase::Mode::read);
    version = state->about("version");
    origin = state->origin();
  } catch (const Error& problem) {
    throw Error(std::string(problem.what()) + "; make it again with napier quantize");
  }
  if (version != k_version) {
    throw Error(path + ": is of version '" + version + "', and not " + k_version +
                ": make it again with napier quantize");
  }
  if (origin.model != wanted.model) {
    throw Error(path + ": was computed for another model; run napier quantize on this one");
  }
  if (origin.recipe != wanted.recipe) {
    throw Error(path +
                ": was computed by another recipe, or before it was changed; run napier "
                "quantize again");
  }
  return ComputedFile(std::move(state));
}

int ComputedFile::chunks_done() const { return state_->count("chunks"); }
int ComputedFile::steps_done() const { return state_->count("steps"); }
int ComputedFile::rules_done() const { return state_->count("rules"); }

Statistics ComputedFile::statistics() const {
  Statistics statistics;
  SqliteStatement select(state_->db(), "SELECT matrix, what, numbers FROM statistic");
  while (select.step()) {
    MatrixStatistics& s = statistics[select.text(0)];
    const std::string what = select.text(1);
    const std::vector<double> numbers = select.blob(2);
    for (const auto& [name, values] : fields_of(s)) {
      if (what == name) values->assign(numbers.begin(), numbers.end());
    }
    if (what == "totals" && numbers.size() == 3) {
      s.rows = numbers[0];
      s.result_least = numbers[1];
      s.result_greatest = numbers[2];
    }
  }
  return statistics;
}

void ComputedFile::save(const Statistics& statistics, int chunks_done) {
  SqliteTransaction transaction(state_->db());
  SqliteStatement insert(state_->db(), "INSERT OR REPLACE INTO statistic VALUES(?, ?, ?)");
  for (const auto& [name, s] : statistics) {
    const auto put = [&](const char* what, std::span<const double> numbers) {
      insert.bind(std::string_view(name)).bind(std::string_view(what)).bind_blob(numbers).run();
    };
    for (const auto& [what, values] : fields_of(s)) {
      if (!values->empty()) put(what, *values);
    }
    put("totals", std::vector<double>{s.rows, s.result_least, s.result_greatest});
  }
  state_->set_about("chunks", std::to_string(chunks_done));
  transaction.commit();
}

std::vector<Rule> ComputedFile::rules() const {
  std::vector<Rule> rules;
  try {
    SqliteStatement select(state_->db(), "SELECT written FROM rule ORDER BY place");
    while (select.step()) rules.push_back(parse_plan(select.text(0)).rules.at(0));
    SqliteStatement numbers(state_->db(), "SELECT place, treatment, what, numbers FROM number");
    std::map<std::pair<size_t, std::string>, MatrixNumbers> found;
    while (numbers.step()) {
      MatrixNumbers& one = found[{static_cast<size_t>(numbers.integer(0)), numbers.text(1)}];
      for (const auto& [what, values] : numbers_of(one)) {
        if (numbers.text(2) != what) continue;
        const std::vector<double> read = numbers.blob(3);
        values->assign(read.begin(), read.end());
      }
    }
    for (auto& [key, one] : found) {
      for (Treatment& treatment : rules.at(key.first).treatments) {
        if (form_of(treatment.kind).name != key.second) continue;
        treatment.numbers = std::make_shared<const MatrixNumbers>(std::move(one));
      }
    }
  } catch (const std::exception& problem) {
    throw Error(state_->path + ": is damaged (" + problem.what() +
                "); make it again with napier quantize");
  }
  return rules;
}

void ComputedFile::save(const std::vector<Rule>& rules, int steps_done) {
  SqliteTransaction transaction(state_->db());
  for (size_t i = 0; i < rules.size(); ++i) {
    state_->write_rule(static_cast<int64_t>(i), rules[i]);
  }
  state_->set_about("steps", std::to_string(steps_done));
  state_->set_about("rules", "0");
  transaction.commit();
}

void ComputedFile::save_rule(size_t index, const Rule& rule) {
  SqliteTransaction transaction(state_->db());
  state_->write_rule(static_cast<int64_t>(index), rule);
  state_->set_about("rules", std::to_string(index + 1));
  transaction.commit();
}

void ComputedFile::discard() {
  state_->database.reset();
  std::remove(state_->path.c_str());
}

// Into a file of its own, since SQLite counts in a file's head how often it was written. What is
// cut off here begins here again.
void ComputedFile::finish() {
  const std::string whole = state_->path + ".whole";
  const auto failed = [&] {
    const std::string reason = std::strerror(errno);
    std::remove(whole.c_str());
    throw Error(state_->final_path + ": cannot be written: " + reason, Blame::environment);
  };
  std::remove(whole.c_str());
  state_->db().run("DELETE FROM statistic WHERE what = 'samples'");
  try {
    SqliteStatement(state_->db(), "VACUUM INTO ?").bind(std::string_view(whole)).run();
  } catch (...) {
    std::remove(whole.c_str());
    throw;
  }
  const int file = ::open(whole.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) failed();
  const int synced = ::fsync(file);  // which VACUUM INTO leaves to us
  ::close(file);
  if (synced != 0 || std::rename(whole.c_str(), state_->final_path.c_str()) != 0) failed();
  discard();
  state_->path = state_->final_path;
  state_->database.emplace(state_->path, SqliteDatabase::Mode::read);
}

}  // namespace napier
