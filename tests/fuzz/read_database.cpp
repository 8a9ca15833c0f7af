// A sweep's database in which anything was overwritten is read, or refused with an Error. An input
// is where and what: two bytes of a place and one of what is written there, again and again; or, if
// its first byte is even, what the table `meta` holds as the sweep's identity.
#include <sqlite3.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "eval/sqlite.hpp"
#include "eval/sweep_results.hpp"
#include "napier/error.hpp"
#include "scratch.hpp"

namespace {

constexpr const char* k_sound = R"sql(
PRAGMA page_size = 512;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model (id INTEGER PRIMARY KEY, path TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL,
  task TEXT NOT NULL, context INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TABLE subject (id INTEGER PRIMARY KEY, name TEXT NOT NULL, plan TEXT NOT NULL);
CREATE TABLE unit (model INTEGER, source INTEGER, number INTEGER, statistics_unit INTEGER,
  tokens INTEGER, bytes INTEGER, PRIMARY KEY (model, source, number)) WITHOUT ROWID;
CREATE TABLE answer (model INTEGER, source INTEGER, question INTEGER, subject INTEGER,
  log_likelihoods TEXT, chosen INTEGER, chosen_norm INTEGER, text TEXT, strict TEXT, flexible TEXT,
  is_right INTEGER, is_right_second INTEGER,
  PRIMARY KEY (model, source, question, subject)) WITHOUT ROWID;
CREATE TABLE result (model INTEGER, source INTEGER, subject INTEGER, metric TEXT, value REAL,
  PRIMARY KEY (model, source, subject, metric)) WITHOUT ROWID;
CREATE TABLE timing (model INTEGER, source INTEGER, number INTEGER, subject INTEGER, seconds REAL,
  PRIMARY KEY (model, source, number, subject)) WITHOUT ROWID;
INSERT INTO meta VALUES ('version', '1'), ('identity',
  '{"spec":"{\"sources\":[[\"a\",\"a.txt\",\"\",64,1,\"\",\"\",0],' ||
  '[\"b\",\"b\",\"piqa\",0,1,\"\",\"\",0]]}"}');
INSERT INTO model VALUES (0, 'a.gguf', 'sha256:0');
INSERT INTO source VALUES (0, 'a', 'a.txt', '', 64, ''), (1, 'b', 'b', 'piqa', 0, '');
INSERT INTO subject VALUES (0, 'f32', '* -> f32'), (1, 'bf16', '* -> bf16');
INSERT INTO unit VALUES (0, 0, 0, 0, 64, 100), (0, 1, 0, 0, 0, 0);
INSERT INTO answer VALUES (0, 1, 0, 0, '[1,2]', 1, 1, '', '', '', 1, 1),
  (0, 1, 0, 1, '[1,2]', 0, 0, '', '', '', 0, 0);
INSERT INTO result VALUES (0, 0, 0, 'perplexity', 5), (0, 0, 1, 'kl_mean', 0.1);
INSERT INTO timing VALUES (0, 0, 0, 0, 0.5);
)sql";

std::vector<uint8_t> sound_database(Scratch& scratch) {
  const std::string path = scratch.folder() + "/sound.db";
  napier::SqliteDatabase(path, napier::SqliteDatabase::Mode::create).run(k_sound);
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void read(const std::string& path) {
  try {
    const napier::SweepResults results = napier::read_sweep_results(path);
    results.value(0, 0, 0, "perplexity");
    napier::require_finite(results);
  } catch (const napier::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Scratch scratch;
  static const std::vector<uint8_t> sound = sound_database(scratch);
  if (size == 0) return 0;
  std::vector<uint8_t> bytes = sound;
  if (data[0] % 2 == 1) {
    for (size_t i = 1; i + 2 < size; i += 3) {
      bytes[(data[i] * 256U + data[i + 1]) % bytes.size()] = data[i + 2];
    }
  }
  const std::string path = scratch.write("a.db", bytes.data(), bytes.size());
  if (data[0] % 2 == 0) {
    napier::SqliteDatabase database(path, napier::SqliteDatabase::Mode::create);
    database.run("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF");
    napier::SqliteStatement(database, "UPDATE meta SET value = ? WHERE key = 'identity'")
        .bind(std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1))
        .run();
  }
  read(path);
  return 0;
}
