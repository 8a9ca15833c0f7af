#include "hw/liberty.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <set>
#include <string_view>

#include "napier/error.hpp"

namespace napier {
namespace {

// group (arguments) { attribute : value; attribute (values); group ... }
struct Group {
  std::string type;
  std::string arguments;
  std::vector<std::pair<std::string, std::string>> attributes;  // both kinds
  std::vector<Group> groups;
  size_t begin = 0, end = 0;  // where it stands in the text

  const std::string* find(std::string_view name) const {
    for (const auto& [key, value] : attributes) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

class Parser {
 public:
  Parser(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  Group parse() {
    Group file;
    statements(file, 0);
    skip();
    if (at_ != text_.size() || file.groups.size() != 1 || file.groups[0].type != "library") {
      fail("a file is one library (...) { ... }");
    }
    return std::move(file.groups[0]);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const auto line = std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n');
    throw Error(path_ + ": line " + std::to_string(line + 1) + ": no liberty file: " + what);
  }

  void skip() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\\' || c == ';') {
        ++at_;
      } else if (text_.substr(at_, 2) == "/*") {
        const size_t end = text_.find("*/", at_ + 2);
        at_ = end == text_.npos ? text_.size() : end + 2;
      } else {
        return;
      }
    }
  }

  // Up to one of the stops, quotes taken away.
  std::string value(std::string_view stops) {
    std::string result;
    bool quoted = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        quoted = !quoted;
      } else if (!quoted && stops.find(c) != stops.npos) {
        break;
      } else if (c != '\\') {
        result += c == '\n' ? ' ' : c;
      }
      ++at_;
    }
    while (!result.empty() && (result.back() == ' ' || result.back() == '\r')) result.pop_back();
    const size_t begin = result.find_first_not_of(' ');
    return begin == result.npos ? "" : result.substr(begin);
  }

  void statements(Group& parent, int depth) {
    if (depth > 32) fail("groups stand too deep in each other");
    for (;;) {
      skip();
      if (at_ == text_.size() || text_[at_] == '}') return;
      const size_t begin = at_;
      const std::string name = value(":({};\n");
      if (name.empty() || at_ == text_.size()) fail("a name is expected");
      if (text_[at_] == ':') {
        ++at_;
        parent.attributes.emplace_back(name, value(";\n}"));
        continue;
      }
      if (text_[at_] != '(') fail("after '" + name.substr(0, 40) + "' comes ':' or '('");
      ++at_;
      const std::string arguments = value(")");
      if (at_ == text_.size()) fail("a ')' is missing");
      ++at_;
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
      if (at_ == text_.size() || text_[at_] != '{') {
        parent.attributes.emplace_back(name, arguments);
        continue;
      }
      ++at_;
      Group group{name, arguments, {}, {}, begin, 0};
      statements(group, depth + 1);
      if (at_ == text_.size()) fail("a '}' is missing");
      ++at_;
      group.end = at_;
      parent.groups.push_back(std::move(group));
    }
  }

  std::string_view text_;
  const std::string& path_;
  size_t at_ = 0;
};

std::vector<double> numbers(const std::string& text) {
  std::vector<double> result;
  const char* at = text.c_str();
  for (;;) {
    while (*at == ',' || *at == ' ' || *at == '\t') ++at;
    char* end = nullptr;
    const double number = std::strtod(at, &end);
    if (end == at) return result;
    result.push_back(number);
    at = end;
  }
}

double number_of(const Group& group, std::string_view name, double fallback) {
  const std::string* text = group.find(name);
  return text ? std::strtod(text->c_str(), nullptr) : fallback;
}

// The first template variable of a table; the other axis is the other quantity.
using Templates = std::map<std::string, const Group*>;

LibertyTable table_of(const Group& group, const Templates& templates, double time_unit,
                      double load_unit, double value_unit) {
  LibertyTable table;
  const auto shape = templates.find(group.arguments);
  const Group* fallback = shape == templates.end() ? nullptr : shape->second;
  const auto axis = [&](std::string_view name) {
    const std::string* own = group.find(name);
    if (!own && fallback) own = fallback->find(name);
    return own ? numbers(*own) : std::vector<double>();
  };
  std::vector<double> first = axis("index_1");
  std::vector<double> second = axis("index_2");
  const std::string* values = group.find("values");
  if (!values) return table;
  std::vector<double> entries = numbers(*values);
  const std::string* variable = fallback ? fallback->find("variable_1") : nullptr;
  const bool loads_first = variable && variable->find("capacitance") != std::string::npos;
  if (first.empty()) first = {0};
  if (second.empty()) second = {0};
  if (entries.size() != first.size() * second.size()) return table;
  if (loads_first) {  // turned, so that transitions come first
    std::vector<double> turned(entries.size());
    for (size_t i = 0; i < first.size(); ++i) {
      for (size_t j = 0; j < second.size(); ++j) {
        turned[j * first.size() + i] = entries[i * second.size() + j];
      }
    }
    std::swap(first, second);
    entries = std::move(turned);
  }
  for (double& value : first) value *= time_unit;
  for (double& value : second) value *= load_unit;
  for (double& value : entries) value *= value_unit;
  table.transitions = std::move(first);
  table.loads = std::move(second);
  table.values = std::move(entries);
  return table;
}

// "1ns", "1ps", "1V", "1,pf" in ns, V, pF.
double scale_of(const std::string& text) {
  const double number = std::max(std::strtod(text.c_str(), nullptr), 1e-12);
  if (text.find("ps") != text.npos || text.find("ff") != text.npos ||
      text.find("fF") != text.npos || text.find("mV") != text.npos) {
    return number * 1e-3;
  }
  return number;
}

}  // namespace

double LibertyTable::at(double transition, double load) const {
  if (values.empty()) return 0;
  const auto place = [](const std::vector<double>& axis, double at, size_t& index) {
    index = 0;
    if (axis.size() < 2 || at <= axis.front()) return 0.0;
    while (index + 2 < axis.size() && axis[index + 1] < at) ++index;
    return std::min(1.0, (at - axis[index]) / (axis[index + 1] - axis[index]));
  };
  size_t i = 0;
  size_t j = 0;
  const double u = place(transitions, transition, i);
  const double v = place(loads, load, j);
  const auto value = [&](size_t a, size_t b) {
    a = std::min(a, transitions.size() - 1);
    b = std::min(b, loads.size() - 1);
    return values[a * loads.size() + b];
  };
  return (1 - u) * ((1 - v) * value(i, j) + v * value(i, j + 1)) +
         u * ((1 - v) * value(i + 1, j) + v * value(i + 1, j + 1));
}

Liberty parse_liberty(const std::string& text, const std::string& path) {
  const Group file = Parser(text, path).parse();
  Liberty library;
  library.name = file.arguments;
  library.voltage = number_of(file, "nom_voltage", 0);
  const auto unit = [&](std::string_view name) {
    const std::string* found = file.find(name);
    return found ? scale_of(*found) : 1.0;
  };
  const double time = unit("time_unit");
  const double load = unit("capacitive_load_unit");
  const double volts = unit("voltage_unit");
  Templates templates;
  for (const Group& group : file.groups) {
    if (group.type.ends_with("_template")) templates[group.arguments] = &group;
  }
  for (const Group& group : file.groups) {
    if (group.type != "cell") continue;
    LibertyCell& cell = library.cells[group.arguments];
    cell.area = number_of(group, "area", 0);
    for (const Group& pin_group : group.groups) {
      cell.is_register = cell.is_register || pin_group.type == "ff";
      if (pin_group.type != "pin") continue;
      LibertyPin& pin = cell.pins[pin_group.arguments];
      const std::string* direction = pin_group.find("direction");
      pin.is_output = direction && *direction == "output";
      if (const std::string* function = pin_group.find("function"); pin.is_output && function) {
        cell.has_function = true;
        cell.is_inverter = function->find_first_of("!'") != function->npos;
      }
      pin.capacitance = number_of(pin_group, "capacitance", 0) * load;
      for (const Group& inner : pin_group.groups) {
        const bool power = inner.type == "internal_power";
        if (!power && inner.type != "timing") continue;
        for (const Group& table : inner.groups) {
          if (power && (table.type == "rise_power" || table.type == "fall_power")) {
            // Energy's unit is the load's times the voltage's squared.
            pin.energy.push_back(table_of(table, templates, time, load, load * volts * volts));
          }
          if (!power && (table.type == "cell_rise" || table.type == "cell_fall")) {
            pin.delay.push_back(table_of(table, templates, time, load, time));
          }
        }
      }
    }
  }
  for (auto& [name, cell] : library.cells)
    cell.is_inverter = cell.is_inverter && cell.inputs() == 1;
  if (library.voltage <= 0) throw Error(path + ": no liberty file: it has no nom_voltage");
  if (library.cells.empty()) throw Error(path + ": no liberty file: it has no cells");
  return library;
}

std::string merge_liberties(std::span<const std::string> texts,
                            std::span<const std::string> paths) {
  const Group first = Parser(texts[0], paths[0]).parse();
  std::set<std::pair<std::string, std::string>> known;
  for (const Group& group : first.groups) known.emplace(group.type, group.arguments);
  std::string merged = texts[0].substr(0, first.end - 1);
  for (size_t i = 1; i < texts.size(); ++i) {
    const Group other = Parser(texts[i], paths[i]).parse();
    for (const char* name : {"time_unit", "capacitive_load_unit", "voltage_unit", "nom_voltage"}) {
      const std::string* here = first.find(name);
      const std::string* there = other.find(name);
      if (!here == !there && (!here || *here == *there)) continue;
      throw Error(paths[i] + ": is of another technology than " + paths[0] + ": its " + name +
                  " is not the same");
    }
    for (const Group& group : other.groups) {
      if (group.type != "cell" && !group.type.ends_with("_template")) continue;
      if (!known.emplace(group.type, group.arguments).second) {
        if (group.type != "cell") continue;
        throw Error(paths[i] + ": has a cell '" + group.arguments.substr(0, 40) +
                    "', as another file of the technology");
      }
      merged += texts[i].substr(group.begin, group.end - group.begin) + "\n";
    }
  }
  return merged + "}\n";
}

}  // namespace napier
