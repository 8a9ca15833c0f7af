// Reading TOML files whose every key is checked.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "napier/error.hpp"

namespace napier {

// The file as a table. Throws Error that names the file and line; `what` names it, as "the recipe".
toml::table read_toml(const std::string& path, const std::string& what);

// A table of a file with its place in messages. It must outlive this. All functions throw Error
// that names the place, the key and what is right there.
class Section {
 public:
  Section(const toml::table& table, std::string where) : table_(&table), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  Error wrong(std::string_view key, const std::string& what) const;

  // Throws for a key that is not one of these.
  void allow(std::initializer_list<std::string_view> keys) const;
  bool has(std::string_view key) const { return table_->contains(key); }

  // "" where there is none, unless it is required.
  std::string text(std::string_view key, bool required = false) const;
  int number(std::string_view key, int otherwise) const;  // from 0 on
  double real(std::string_view key, double otherwise, double least, double most) const;
  bool flag(std::string_view key, bool otherwise) const;
  // The index of a text in `words`.
  size_t choice(std::string_view key, std::initializer_list<std::string_view> words) const;
  std::vector<std::string> texts(std::string_view key) const;
  // Tables written [[key]].
  std::vector<Section> sections(std::string_view key) const;
  // The table written [key]; an empty one where there is none.
  Section section(std::string_view key) const;

 private:
  const toml::table* table_;
  std::string where_;
};

}  // namespace napier
