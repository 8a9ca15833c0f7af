// SQLite with exceptions: every failure is an Error that names the file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace napier {

class SqliteDatabase {
 public:
  enum class Mode { read, create };
  // Throws Error (input) if it is no database, is absent and only to be read, or cannot be made.
  SqliteDatabase(std::string path, Mode mode);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  sqlite3* handle() const { return handle_; }
  const std::string& path() const { return path_; }
  // Statements without results.
  void run(const char* sql);
  // Throws Error (environment) with SQLite's reason; a lock and a full disk in our own words.
  [[noreturn]] void fail(int code) const;

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
};

// A prepared statement. bind() takes the next parameter; NaN becomes NULL.
class SqliteStatement {
 public:
  SqliteStatement(SqliteDatabase& database, const char* sql);
  ~SqliteStatement();
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  SqliteStatement& bind(int64_t value);
  SqliteStatement& bind(size_t value) { return bind(static_cast<int64_t>(value)); }
  SqliteStatement& bind(double value);
  SqliteStatement& bind(std::string_view text);
  SqliteStatement& bind_blob(std::span<const double> values);  // as they lie in memory

  // To the next row: false after the last. The parameters can then be bound anew.
  bool step();
  void run() {
    while (step()) {
    }
  }

  int64_t integer(int column) const;
  double real(int column) const;  // NaN for NULL
  std::string text(int column) const;
  std::vector<double> blob(int column) const;

 private:
  void check(int code) const;

  SqliteDatabase* database_;
  sqlite3_stmt* statement_ = nullptr;
  int next_ = 1;
};

// Everything until commit() happens, or nothing.
class SqliteTransaction {
 public:
  explicit SqliteTransaction(SqliteDatabase& database);
  ~SqliteTransaction();
  void commit();

 private:
  SqliteDatabase* database_;
  bool open_ = true;
};

}  // namespace napier
