#include "recipes/toml_section.hpp"

#include <algorithm>
#include <sstream>

#include "numerics/cursor.hpp"
#include "numerics/input_file.hpp"
#include "numerics/toml_text.hpp"

namespace napier {

toml::table read_toml(const std::string& path, const std::string& what) {
  const std::string content = read_input_file(path, what, k_settings_limit);
  refuse_beyond_ascii(content, path);
  try {
    return toml::parse(content, path);
  } catch (const toml::parse_error& problem) {
    throw Error(path + ", line " + std::to_string(problem.source().begin.line) +
                ": is no sound TOML: " + std::string(problem.description()));
  }
}

Error Section::wrong(std::string_view key, const std::string& what) const {
  return Error(where_ + ": key '" + std::string(key) + "' " + what);
}

void Section::allow(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, value] : *table_) {
    if (std::find(keys.begin(), keys.end(), key.str()) != keys.end()) continue;
    const std::vector<std::string> known(keys.begin(), keys.end());
    const std::string hint = suggestion(key.str(), known);
    throw Error(where_ + ": has the unknown key '" + std::string(key.str()) + "'" +
                (hint.empty() ? "; it has " + alternatives(known) : hint));
  }
}

std::string Section::text(std::string_view key, bool required) const {
  const toml::node* node = table_->get(key);
  if (!node && !required) return "";
  const auto value = node ? node->value_exact<std::string>() : std::nullopt;
  if (!value || value->empty()) throw wrong(key, "must be a string that is not empty");
  return *value;
}

int Section::number(std::string_view key, int otherwise) const {
  const toml::node* node = table_->get(key);
  if (!node) return otherwise;
  const auto value = node->value_exact<int64_t>();
  if (!value || *value < 0 || *value > INT32_MAX) throw wrong(key, "must be a number from 0 on");
  return static_cast<int>(*value);
}

double Section::real(std::string_view key, double otherwise, double least, double most) const {
  const toml::node* node = table_->get(key);
  if (!node) return otherwise;
  const auto value = node->value<double>();
  if (!value || !(*value >= least) || !(*value <= most)) {
    std::ostringstream range;
    range << "must be a number from " << least << " to " << most;
    throw wrong(key, range.str());
  }
  return *value;
}

bool Section::flag(std::string_view key, bool otherwise) const {
  const toml::node* node = table_->get(key);
  if (!node) return otherwise;
  const auto value = node->value_exact<bool>();
  if (!value) throw wrong(key, "must be true or false");
  return *value;
}

size_t Section::choice(std::string_view key, std::initializer_list<std::string_view> words) const {
  if (!has(key)) return 0;
  const std::string value = text(key);
  const auto found = std::find(words.begin(), words.end(), value);
  if (found != words.end()) return static_cast<size_t>(found - words.begin());
  const std::vector<std::string> known(words.begin(), words.end());
  const std::string hint = suggestion(value, known);
  throw wrong(
      key, "is '" + value + "'" + (hint.empty() ? "; it is one of " + alternatives(known) : hint));
}

std::vector<std::string> Section::texts(std::string_view key) const {
  std::vector<std::string> result;
  const toml::node* node = table_->get(key);
  if (!node) return result;
  if (!node->is_array()) throw wrong(key, "must be a list of strings");
  for (const toml::node& entry : *node->as_array()) {
    const auto value = entry.value_exact<std::string>();
    if (!value || value->empty()) throw wrong(key, "must be a list of strings");
    result.push_back(*value);
  }
  return result;
}

std::vector<Section> Section::sections(std::string_view key) const {
  std::vector<Section> result;
  const toml::node* node = table_->get(key);
  if (!node) return result;
  if (!node->is_array()) throw wrong(key, "must be written [[" + std::string(key) + "]]");
  for (const toml::node& entry : *node->as_array()) {
    if (!entry.is_table()) throw wrong(key, "must be written [[" + std::string(key) + "]]");
    result.emplace_back(*entry.as_table(), where_ + ": [[" + std::string(key) + "]] " +
                                               std::to_string(result.size() + 1));
  }
  return result;
}

Section Section::section(std::string_view key) const {
  static const toml::table empty;
  const toml::node* node = table_->get(key);
  const std::string where = where_ + ": [" + std::string(key) + "]";
  if (!node) return {empty, where};
  if (!node->is_table()) throw wrong(key, "must be written [" + std::string(key) + "]");
  return {*node->as_table(), where};
}

}  // namespace napier
