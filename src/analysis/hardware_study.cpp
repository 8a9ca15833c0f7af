#include "analysis/hardware_study.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>

#include "napier/error.hpp"

namespace napier {
namespace {

// Of integer units: scaled by the row's largest, or, unsigned, with a zero point from the row's
// least and greatest.
Operand scaled_by_row(const Format& format) {
  Operand operand;
  operand.cast = Cast{format, Rounding::nearest_even, 0, Overflow::saturate};
  operand.scaling = {ScaleLevel{.granularity = Granularity::row}};
  if (!format.is_signed) operand.scaling[0].method = ScaleMethod::minmax;
  return operand;
}

// What a circuit is given of rows of numbers.
struct Codes {
  std::vector<std::optional<uint64_t>> codes;  // none of what is no number
  std::vector<Group> groups;
};

// Of integers with a zero point codes have it added, or are a bit wider.
enum class Zero : uint8_t { added, left_out };

// Integers' two's complement; above a codebook's code the list taken.
Codes codes_of(const Operand& operand, const std::vector<float>& rows, int64_t k,
               Zero zero = Zero::added) {
  const Format& format = operand.cast.format;
  Codes found;
  found.groups = choose_groups(operand, static_cast<int64_t>(rows.size()) / k, k, rows.data());
  for (size_t i = 0; i < rows.size(); ++i) {
    const Group& group = found.groups[i];
    found.codes.emplace_back();
    if (!std::isfinite(rows[i])) continue;
    const Dyadic value = Dyadic::from_double(double{rows[i]} / double{group.scale});
    if (format.is_listed()) {
      const Codebook& book = *format.codebook;
      const auto list = static_cast<uint64_t>(group.alternative);
      const Codebook& taken = book.alternatives().empty() ? book : *book.alternatives()[list];
      found.codes.back() = list << book.bits() | taken.encode(value, operand.cast.rounding, 0);
    } else if (format.is_integer()) {
      const auto number = static_cast<int64_t>(to_double(operand.quantise(value, i, group)));
      const bool is_wider = zero == Zero::left_out && operand.has_zero_point();
      const int bits = format.bits() + (is_wider ? 1 : 0);
      found.codes.back() = static_cast<uint64_t>(number + (is_wider ? 0 : group.zero)) &
                           (~uint64_t{0} >> (64 - bits));
    } else {
      const Dyadic number = operand.quantise(value, i, group);
      found.codes.back() = format.encode(number, Rounding::nearest_even, Overflow::saturate);
    }
  }
  return found;
}

// What a unit has been synthesised for so far, by seed.
struct Synthesised {
  std::vector<Synthesis> smallest;
  std::vector<std::optional<Energy>> energy;  // of the smallest, once it was measured
  std::vector<Synthesis> fastest;             // where one delay is asked of all

  // The least delay that every seed reaches.
  double reached() const {
    double slowest = 0;
    for (const Synthesis& one : fastest) slowest = std::max(slowest, one.delay);
    return slowest;
  }
};

// For least area, and as fast as can be where `with_fastest`, with every seed.
Synthesised synthesise_extremes(const HardwareUnit& unit, const Technology& technology, int repeats,
                                bool with_fastest, const WorkFolder& folder) {
  constexpr double at_once = 0.001;  // ns
  std::vector<Goal> goals;
  for (int seed = 0; seed < repeats; ++seed) {
    goals.push_back({Aim::area, 0, static_cast<uint64_t>(seed)});
  }
  for (int seed = 0; with_fastest && seed < repeats; ++seed) {
    goals.push_back({Aim::speed, at_once, static_cast<uint64_t>(seed)});
  }
  Synthesised found;
  found.smallest = synthesise(unit, technology, goals, folder);
  const auto middle = found.smallest.begin() + repeats;
  found.fastest.assign(std::move_iterator(middle), std::move_iterator(found.smallest.end()));
  found.smallest.erase(middle, found.smallest.end());
  found.energy.resize(found.smallest.size());
  return found;
}

// Of each seed the least area that is found to meet the target, or what comes nearest to it.
std::vector<Synthesis> synthesise_within(const HardwareUnit& unit, const Technology& technology,
                                         double target, const Synthesised& extremes,
                                         const WorkFolder& folder, int& missed) {
  // abc misses its own targets: more is asked than is wanted, and what comes of it is measured.
  struct Try {
    Aim aim;
    double part;
  };
  constexpr std::array k_tries = {Try{Aim::sized, 0.9}, Try{Aim::sized, 0.5}, Try{Aim::speed, 0.9},
                                  Try{Aim::speed, 0.5}, Try{Aim::speed, 0.1}};
  std::vector<Synthesis> best = extremes.smallest;
  std::vector<Goal> goals;
  for (size_t seed = 0; target > 0 && seed < best.size(); ++seed) {
    if (best[seed].delay <= target) continue;
    for (const auto [aim, part] : k_tries) goals.push_back({aim, part * target, seed});
  }
  if (goals.empty()) return best;
  std::vector<Synthesis> tried = synthesise(unit, technology, goals, folder);
  for (size_t first = 0; first < goals.size(); first += k_tries.size()) {
    const size_t seed = goals[first].seed;
    Synthesis& chosen = best[seed];
    bool misses = true;
    std::optional<Aim> met;
    const auto consider = [&](Synthesis& found) {
      const bool meets = found.delay <= target;
      if (meets ? misses || found.area < chosen.area : misses && found.delay < chosen.delay) {
        chosen = std::move(found);
      }
      misses = misses && !meets;
      return meets;
    };
    for (size_t i = first; i < first + k_tries.size(); ++i) {
      if (met == goals[i].aim) continue;  // to ask for more costs more
      if (consider(tried[i])) met = goals[i].aim;
    }
    if (misses && seed < extremes.fastest.size()) {
      Synthesis fastest = extremes.fastest[seed];
      consider(fastest);
    }
    missed += misses;
  }
  return best;
}

MeanAndDeviation spread_of(const std::vector<double>& values) {
  MeanAndDeviation spread;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) spread.mean += value / count;
  double square = 0;
  for (const double value : values) square += (value - spread.mean) * (value - spread.mean);
  if (values.size() > 1) spread.deviation = std::sqrt(square / (count - 1));
  return spread;
}

// Synthesises, checks and measures as often as the row repeats.
void measure(const HardwareUnit& unit, const Technology& technology, const Stimulus& stimulus,
             const WorkFolder& folder, Synthesised& extremes, HardwareRow& row) {
  const auto measured = [&](const Synthesis& synthesis) {
    const Equivalence equal =
        check_equivalence(unit, netlist_verilog(synthesis, technology), stimulus, folder, true);
    if (equal.mismatches > 0) {
      throw Error("the netlist of " + unit.name() + " computes otherwise: " + equal.first,
                  Blame::environment);
    }
    return measure_energy(unit, synthesis, technology, stimulus, folder);
  };
  const std::vector<Synthesis> chosen =
      synthesise_within(unit, technology, row.target, extremes, folder, row.missed);
  std::vector<double> area, delay, pj, glitch_free;
  for (size_t seed = 0; seed < chosen.size(); ++seed) {
    const Synthesis& synthesis = chosen[seed];
    std::optional<Energy> energy;
    if (synthesis.verilog == extremes.smallest[seed].verilog) {
      if (!extremes.energy[seed]) extremes.energy[seed] = measured(synthesis);
      energy = extremes.energy[seed];
    } else {
      energy = measured(synthesis);
    }
    row.cells += static_cast<double>(synthesis.netlist.cells.size()) / row.repeats;
    area.push_back(synthesis.area);
    delay.push_back(synthesis.delay);
    pj.push_back(energy->pj);
    glitch_free.push_back(energy->pj_glitch_free);
  }
  row.area = spread_of(area);
  row.delay = spread_of(delay);
  row.pj = spread_of(pj);
  row.pj_glitch_free = spread_of(glitch_free);
}

// Of several files how all their names begin.
std::string technology_name(const std::string& path) {
  const std::vector<std::string> files = technology_files(path);
  const auto name_of = [](const std::string& file) {
    return std::filesystem::path(file).filename().string();
  };
  std::string name = name_of(files[0]);
  for (const std::string& file : files) {
    const std::string other = name_of(file);
    const auto [end, same] = std::mismatch(name.begin(), name.end(), other.begin(), other.end());
    name.erase(end, name.end());
  }
  if (files.size() > 1) name.erase(name.find_last_not_of("_-. ") + 1);
  if (name.empty()) name = name_of(files[0]);
  return name.substr(0, name.find(".lib", 1));
}

}  // namespace

void HardwareOptions::check() const {
  if (technologies.empty()) throw Error("no technology: give a liberty file with --tech");
  if (vectors < 10 || vectors > 1000000) throw Error("--vectors: give 10 to 1000000");
  if (repeats < 1 || repeats > 100) throw Error("--repeats: give 1 to 100");
  for (const double delay : delays) {
    if (delay != k_equal_delay && (!(delay >= 0) || delay > 1e6)) {
      throw Error("--delay: give nanoseconds from 0 to 1e6, or equal");
    }
  }
}

// Codes of weights with the list that their group, here a row of a block, has taken.
Stimulus listed_weights(const HardwareUnit& unit, const std::vector<OperandBlock>& blocks,
                        size_t count) {
  Operand operand = unit.arithmetic().w;
  operand.scaling = {ScaleLevel{.granularity = Granularity::row}};
  const int bits = operand.cast.format.codebook->bits();
  Stimulus stimulus;
  for (const OperandBlock& block : blocks) {
    for (const auto& code : codes_of(operand, block.w, block.k).codes) {
      if (stimulus.size() == count) return stimulus;
      if (code) stimulus.add(*code >> bits, *code & ((uint64_t{1} << bits) - 1), 0);
    }
  }
  return stimulus;
}

// Sums of whole rows, each with what takes it into integers of which the largest of its partial
// sums is the largest.
Stimulus requantised_sums(const HardwareUnit& unit, const std::vector<OperandBlock>& blocks,
                          size_t count) {
  const Operand x_operand = scaled_by_row(unit.arithmetic().x.cast.format);
  const Operand w_operand = scaled_by_row(unit.arithmetic().w.cast.format);
  const auto number = [](const Operand& operand, uint64_t code, const Group& group) {
    return static_cast<int64_t>(to_double(operand.cast.format.decode(code))) - group.zero;
  };
  Stimulus stimulus;
  for (const OperandBlock& block : blocks) {
    const Codes x = codes_of(x_operand, block.x, block.k);
    const Codes w = codes_of(w_operand, block.w, block.k);
    for (int64_t j = 0; j < block.w_rows() && stimulus.size() < count; ++j) {
      const auto x_row = static_cast<size_t>(j % block.x_rows() * block.k);
      const auto w_row = static_cast<size_t>(j * block.k);
      const Group& of_x = x.groups[x_row];
      const Group& of_w = w.groups[w_row];
      int64_t sum = 0;
      std::vector<float> results;
      for (size_t k = 0; k < static_cast<size_t>(block.k); ++k) {
        if (!x.codes[x_row + k] || !w.codes[w_row + k]) continue;
        sum += number(x_operand, *x.codes[x_row + k], of_x) *
               number(w_operand, *w.codes[w_row + k], of_w);
        results.push_back(static_cast<float>(sum) * of_x.scale * of_w.scale);
      }
      if (results.empty()) continue;
      const auto k = static_cast<int64_t>(results.size());
      const Group group = choose_groups(x_operand, 1, k, results.data()).front();
      const auto ratio = DyadicNumber::of_scales(of_x.scale, of_w.scale, group.scale);
      stimulus.add(static_cast<uint32_t>(sum),
                   requantise_code(ratio, static_cast<uint64_t>(group.zero)), 0);
    }
  }
  return stimulus;
}

Stimulus operations_of(const std::string& arith, const HardwareUnit& unit,
                       const std::vector<OperandBlock>& blocks, size_t count) {
  if (unit.kind() == UnitKind::terms) return listed_weights(unit, blocks, count);
  if (unit.kind() == UnitKind::requantise) return requantised_sums(unit, blocks, count);
  const bool is_integer = unit.is_integer();
  const Arithmetic written = is_integer ? unit.arithmetic() : parse_arithmetic(arith);
  const auto operand_of = [&](const Operand& operand) {
    return is_integer ? scaled_by_row(operand.cast.format) : operand;
  };
  const Operand x_operand = operand_of(written.x);
  const Operand w_operand = operand_of(written.w);
  const Zero zero = is_integer ? Zero::added : Zero::left_out;
  std::optional<HardwareUnit> step;
  if (unit.kind() == UnitKind::add || unit.kind() == UnitKind::round) {
    step = make_unit(arith, UnitKind::step);
  }
  Stimulus stimulus;
  stimulus.lanes = static_cast<size_t>(unit.lanes());
  std::vector<uint64_t> x_lanes, w_lanes;
  for (const OperandBlock& block : blocks) {
    const Codes x = codes_of(x_operand, block.x, block.k, zero);
    const Codes w = codes_of(w_operand, block.w, block.k, zero);
    for (int64_t j = 0; j < block.w_rows(); ++j) {
      const int64_t i = j % block.x_rows();
      uint64_t sum = 0;
      x_lanes.clear();
      w_lanes.clear();
      for (int64_t k = 0; k < block.k; ++k) {
        if (stimulus.size() == count) return stimulus;
        const auto at_x = static_cast<size_t>(i * block.k + k);
        const auto at_w = static_cast<size_t>(j * block.k + k);
        if (!x.codes[at_x] || !w.codes[at_w]) continue;
        const uint64_t x_code = *x.codes[at_x];
        const uint64_t w_code = *w.codes[at_w];
        switch (unit.kind()) {
          case UnitKind::convert: {  // what is left once the scale is divided away
            const Group& group = x.groups[at_x];
            stimulus.add(std::bit_cast<uint32_t>(block.x[at_x] / group.scale),
                         static_cast<uint64_t>(group.zero), 0);
            break;
          }
          case UnitKind::round:
            sum = step->evaluate(x_code, w_code, sum);
            stimulus.add(sum, 0, 0);
            break;
          case UnitKind::add:  // the product, rounded, and the sum so far
            stimulus.add(step->evaluate(x_code, w_code, 0), sum, 0);
            sum = step->evaluate(x_code, w_code, sum);
            break;
          case UnitKind::step:
            stimulus.add(x_code, w_code, sum);
            sum = unit.evaluate(x_code, w_code, sum);
            break;
          case UnitKind::dot:
            x_lanes.push_back(x_code);
            w_lanes.push_back(w_code);
            if (x_lanes.size() < stimulus.lanes) break;
            stimulus.add(x_lanes, w_lanes, sum);
            sum = unit.evaluate(x_lanes, w_lanes, sum);
            x_lanes.clear();
            w_lanes.clear();
            break;
          default: stimulus.add(x_code, w_code, 0);
        }
      }
    }
  }
  if (stimulus.size() < 10) throw Error("there are too few operands to measure energy on");
  return stimulus;
}

std::vector<HardwareRow> study_hardware(const std::vector<UnitRequest>& units,
                                        const std::vector<OperandBlock>& blocks,
                                        const HardwareOptions& options) {
  options.check();
  need_tools({"yosys", "sta", "iverilog"});
  std::vector<HardwareUnit> made;  // so that what is refused is said before the work
  for (const UnitRequest& request : units) {
    made.push_back(make_unit(request.arith, request.kind, request.timing));
  }
  std::vector<HardwareRow> rows;
  const double steps =
      static_cast<double>(units.size() * options.technologies.size() * options.delays.size());
  const auto say = [&](const std::string& what) {
    if (options.on_progress) options.on_progress(what, static_cast<double>(rows.size()) / steps);
  };
  for (const std::string& path : options.technologies) {
    const WorkFolder folder;
    const Technology technology = load_technology(path, folder);
    // By its path where another file is so called too.
    const bool is_shared = std::count_if(options.technologies.begin(), options.technologies.end(),
                                         [&](const std::string& other) {
                                           return technology_name(other) == technology_name(path);
                                         }) > 1;
    const std::string name = is_shared ? path : technology_name(path);
    std::map<UnitKind, double> equal;  // ns, by kind
    const bool is_equal_asked =
        std::count(options.delays.begin(), options.delays.end(), k_equal_delay) > 0;
    std::vector<Synthesised> extremes;
    for (size_t u = 0; u < units.size(); ++u) {
      say(name + ", smallest" + (is_equal_asked ? " and fastest " : " ") + made[u].name());
      extremes.push_back(
          synthesise_extremes(made[u], technology, options.repeats, is_equal_asked, folder));
      double& slowest = equal[units[u].kind];
      slowest = std::max(slowest, extremes[u].reached());
    }
    for (const double delay : options.delays) {
      for (size_t u = 0; u < units.size(); ++u) {
        const HardwareUnit& unit = made[u];
        say(name + ", " + unit.name());
        HardwareRow row;
        row.arith = units[u].arith;
        row.kind = units[u].kind;
        row.timing = units[u].timing;
        row.lanes = unit.lanes();
        row.technology = name;
        row.delay_asked = delay;
        row.target = delay == k_equal_delay ? equal[units[u].kind] : delay;
        row.repeats = options.repeats;
        measure(unit, technology,
                operations_of(units[u].arith, unit, blocks, static_cast<size_t>(options.vectors)),
                folder, extremes[u], row);
        rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

// A text of TOML, in quotes.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < ' ' || c == 0x7F ? '?' : c;
  }
  return result + '"';
}

std::string price_toml(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                       const std::string& operands) {
  const double delay = options.delays.front();
  const std::string& technology = rows.front().technology;
  std::string text = fmt::format(
      "# Written by napier hw report --prices.\nname = {}\ntitle = {}\nsource = {}\n",
      quoted(technology.substr(0, technology.find('_', 1))),
      quoted(fmt::format("{}, {}, glitch-free, no wires, clock or leakage", technology,
                         delay == 0               ? "least area"
                         : delay == k_equal_delay ? "made for the delay that the slowest of a kind "
                                                    "needs"
                                                  : fmt::format("made for {} ns", delay))),
      quoted(fmt::format("napier hw report: yosys, abc, OpenSTA and Icarus on {}; {} {} operands",
                         technology, options.vectors, operands)));
  std::vector<std::string> written;
  for (const HardwareRow& row : rows) {
    if (row.delay_asked != delay) continue;
    const bool is_integer = make_unit(row.arith, row.kind).is_integer();
    PriceKey key;
    switch (row.kind) {
      case UnitKind::wide:
        key = is_integer ? PriceKey{Operation::multiply, "exact", row.arith}
                         : multiply_key(parse_arithmetic(row.arith));
        break;
      case UnitKind::step:
      case UnitKind::dot:
        key = is_integer ? PriceKey{Operation::step, "exact", row.arith + "+int32"}
                         : step_key(parse_arithmetic(row.arith));
        break;
      case UnitKind::add:
        key = is_integer ? PriceKey{Operation::add, "", "int32"}
                         : add_key(parse_arithmetic(row.arith).accumulator.cast);
        break;
      case UnitKind::convert:
        key = is_integer ? PriceKey{Operation::convert, "", row.arith}
                         : convert_key(parse_arithmetic(row.arith).x.cast);
        break;
      case UnitKind::requantise: key = {Operation::requantise, "", row.arith + "+int32"}; break;
      default: continue;
    }
    if (std::find(written.begin(), written.end(), to_string(key)) != written.end()) continue;
    written.push_back(to_string(key));
    text += fmt::format("\n[[price]]\noperation = \"{}\"\n", operation_name(key.operation));
    if (!key.family.empty()) text += fmt::format("family = \"{}\"\n", key.family);
    text +=
        fmt::format("format = \"{}\"\npj = {:.5g}\nspread = {:.3g}\n", key.format,
                    row.pj_glitch_free.mean / row.lanes, row.pj_glitch_free.deviation / row.lanes);
    text += fmt::format("note = \"{}{:.5g} with glitches\"\n",
                        row.lanes > 1 ? fmt::format("1/{} of a dot; ", row.lanes) : "",
                        row.pj.mean / row.lanes);
  }
  return text;
}

}  // namespace napier
