#include "analysis/hardware_study.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
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

// `smallest` is the unit's least area with that seed.
Synthesis synthesise_within(const HardwareUnit& unit, const Technology& technology, double target,
                            const Synthesis& smallest, uint64_t seed, const WorkFolder& folder,
                            bool& missed) {
  Synthesis best = smallest;
  missed = target > 0 && best.delay > target;
  if (!missed) return best;
  // abc misses its own targets: more is asked than is wanted, and what comes of it is measured.
  struct Try {
    Aim aim;
    double part;
  };
  std::optional<Aim> met;
  for (const auto [aim, part] : {Try{Aim::sized, 0.9}, Try{Aim::sized, 0.5}, Try{Aim::speed, 0.9},
                                 Try{Aim::speed, 0.5}, Try{Aim::speed, 0.1}}) {
    if (met == aim) continue;  // to ask for more would cost more
    Synthesis found = synthesise(unit, technology, aim, part * target, seed, folder);
    const bool meets = found.delay <= target;
    if (meets ? missed || found.area < best.area : missed && found.delay < best.delay) {
      best = std::move(found);
    }
    missed = missed && !meets;
    if (meets) met = aim;
  }
  return best;
}

// The least delay that every seed reaches.
double fastest(const HardwareUnit& unit, const Technology& technology, int repeats,
               const WorkFolder& folder) {
  double slowest = 0;
  for (int seed = 0; seed < repeats; ++seed) {
    constexpr double at_once = 0.001;  // ns
    const Synthesis found =
        synthesise(unit, technology, Aim::speed, at_once, static_cast<uint64_t>(seed), folder);
    slowest = std::max(slowest, found.delay);
  }
  return slowest;
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

// Synthesises, checks and measures as often as the row repeats. `smallest` keeps least areas, by
// seed.
void measure(const HardwareUnit& unit, const Technology& technology, const Stimulus& stimulus,
             const WorkFolder& folder, std::vector<Synthesis>& smallest, HardwareRow& row) {
  std::vector<double> area, delay, pj, glitch_free;
  for (int i = 0; i < row.repeats; ++i) {
    const auto seed = static_cast<uint64_t>(i);
    if (smallest.size() <= seed) {
      smallest.push_back(synthesise(unit, technology, Aim::area, 0, seed, folder));
    }
    bool missed = false;
    const Synthesis synthesis =
        synthesise_within(unit, technology, row.target, smallest[seed], seed, folder, missed);
    const Equivalence equal =
        check_equivalence(unit, netlist_verilog(synthesis, technology), stimulus, folder, true);
    if (equal.mismatches > 0) {
      throw Error("the netlist of " + unit.name() + " computes otherwise: " + equal.first,
                  Blame::environment);
    }
    const Energy energy = measure_energy(unit, synthesis, technology, stimulus, folder);
    row.missed += missed;
    row.cells += static_cast<double>(synthesis.netlist.cells.size()) / row.repeats;
    area.push_back(synthesis.area);
    delay.push_back(synthesis.delay);
    pj.push_back(energy.pj);
    glitch_free.push_back(energy.pj_glitch_free);
  }
  row.area = spread_of(area);
  row.delay = spread_of(delay);
  row.pj = spread_of(pj);
  row.pj_glitch_free = spread_of(glitch_free);
}

std::string technology_name(const std::string& path) {
  std::string name = std::filesystem::path(path).filename().string();
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
    std::vector<std::vector<Synthesis>> smallest(units.size());
    for (const double delay : options.delays) {
      for (size_t u = 0; delay == k_equal_delay && u < units.size(); ++u) {
        say(name + ", fastest " + made[u].name());
        double& slowest = equal[units[u].kind];
        slowest = std::max(slowest, fastest(made[u], technology, options.repeats, folder));
      }
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
                folder, smallest[u], row);
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
