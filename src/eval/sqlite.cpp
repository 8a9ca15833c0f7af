#include "eval/sqlite.hpp"

#include <sqlite3.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "napier/error.hpp"

namespace napier {

SqliteDatabase::SqliteDatabase(std::string path, Mode mode) : path_(std::move(path)) {
  const int flags =
      mode == Mode::read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int code = sqlite3_open_v2(path_.c_str(), &handle_, flags, nullptr);
  // Opening reads nothing yet.
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(handle_, 5000);
    code = sqlite3_exec(handle_, "SELECT count(*) FROM sqlite_master", nullptr, nullptr, nullptr);
  }
  if (code == SQLITE_OK) return;
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path_, ignored);
  const bool is_missing = mode == Mode::read && !std::filesystem::exists(path_, ignored);
  const std::string why = is_folder    ? "is a directory; give a database"
                          : is_missing ? "there is no such database"
                          : code == SQLITE_NOTADB
                              ? "is no SQLite database"
                              : "cannot be opened: " + std::string(sqlite3_errmsg(handle_));
  const bool locked = code == SQLITE_BUSY;
  sqlite3_close(handle_);
  if (locked) throw Error(path_ + ": is locked by another process", Blame::environment);
  throw Error(path_ + ": " + why);
}

SqliteDatabase::~SqliteDatabase() { sqlite3_close(handle_); }

void SqliteDatabase::run(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

void SqliteDatabase::fail(int code) const {
  const std::string why =
      code == SQLITE_BUSY || code == SQLITE_LOCKED ? "is locked by another process"
      : code == SQLITE_FULL                        ? "cannot be written: the disk is full"
                            : "SQLite says: " + std::string(sqlite3_errmsg(handle_));
  throw Error(path_ + ": " + why, Blame::environment);
}

SqliteStatement::SqliteStatement(SqliteDatabase& database, const char* sql) : database_(&database) {
  check(sqlite3_prepare_v2(database.handle(), sql, -1, &statement_, nullptr));
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

void SqliteStatement::check(int code) const {
  if (code != SQLITE_OK) database_->fail(code);
}

SqliteStatement& SqliteStatement::bind(int64_t value) {
  check(sqlite3_bind_int64(statement_, next_++, value));
  return *this;
}

SqliteStatement& SqliteStatement::bind(double value) {
  check(std::isnan(value) ? sqlite3_bind_null(statement_, next_++)
                          : sqlite3_bind_double(statement_, next_++, value));
  return *this;
}

SqliteStatement& SqliteStatement::bind(std::string_view text) {
  check(sqlite3_bind_text64(statement_, next_++, text.data(), text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8));
  return *this;
}

SqliteStatement& SqliteStatement::bind_blob(std::span<const double> values) {
  check(sqlite3_bind_blob64(statement_, next_++, values.data(), values.size_bytes(),
                            SQLITE_TRANSIENT));
  return *this;
}

bool SqliteStatement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  sqlite3_reset(statement_);
  next_ = 1;
  if (code != SQLITE_DONE) database_->fail(code);
  return false;
}

int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double SqliteStatement::real(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return sqlite3_column_double(statement_, column);
}

std::string SqliteStatement::text(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return data ? std::string(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column)))
              : std::string();
}

std::vector<double> SqliteStatement::blob(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const auto bytes = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  std::vector<double> values(bytes / sizeof(double));
  if (!values.empty()) std::memcpy(values.data(), data, values.size() * sizeof(double));
  return values;
}

SqliteTransaction::SqliteTransaction(SqliteDatabase& database) : database_(&database) {
  database.run("BEGIN IMMEDIATE");
}

SqliteTransaction::~SqliteTransaction() {
  if (open_) sqlite3_exec(database_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void SqliteTransaction::commit() {
  database_->run("COMMIT");
  open_ = false;
}

}  // namespace napier
