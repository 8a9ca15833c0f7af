#include "cost/model_cost.hpp"

#include <algorithm>
#include <cmath>

#include "model/coverage.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// Bytes of a stored element with its part of the scales of a row of k; a tensor's weighs nothing.
double bytes_of(const Operand& operand, int64_t k) {
  constexpr int64_t k_many_rows = 1 << 20;
  return operand.bits_per_element(k_many_rows, k) / 8;
}

// Runs of a sum within which the scales are constant, and whether there are scales at all.
double runs_of(const Arithmetic& arithmetic, double length) {
  double block = length;
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    for (const ScaleLevel& level : operand->scaling) {
      if (level.granularity == Granularity::block) block = std::min(block, double(level.block));
      if (level.granularity == Granularity::column) block = 1;
    }
  }
  return std::ceil(length / block);
}

// Looks prices up and remembers which were used.
class Ledger {
 public:
  Ledger(const Prices& prices, const CostOptions& options, ModelCost& cost)
      : prices_(&prices), options_(&options), cost_(&cost) {}

  double operator()(const PriceKey& key) {
    if (options_->free.contains(key.operation)) return 0;
    const Price& price = (*prices_)(key);
    const bool known = std::any_of(cost_->prices.begin(), cost_->prices.end(),
                                   [&](const Price& p) { return p.key == price.key; });
    if (!known) {
      cost_->prices.push_back(price);
      for (const PriceTable& table : prices_->tables()) {
        if (table.find(key) == &price) cost_->tables.push_back(table.name);
      }
    }
    return price.pj;
  }

  // What adding a product to a sum costs: what a circuit that does both takes beyond the product
  // alone, or the addition by itself, by the first table that has one of the two.
  double accumulation(Arithmetic arithmetic) {
    if (options_->free.contains(Operation::add)) return 0;
    Accumulator& accumulator = arithmetic.accumulator;
    accumulator.chunk = 0;
    accumulator.outer.reset();
    const PriceKey product = multiply_key(arithmetic);
    const PriceKey step = step_key(arithmetic);
    const PriceKey add = {Operation::add, "", format_name(accumulator.cast.format)};
    const PriceTable* table = prices_->first_with({step, accumulator.is_plain() ? add : step});
    if (table && table->find(step) && table->find(product)) {
      return std::max(0.0, (*this)(step)-table->find(product)->pj);
    }
    if (accumulator.is_plain()) return (*this)(add);
    if (!table) return (*this)(step);  // which says that it is missing
    throw Error("the table " + table->name + " prices '" + to_string(step) + "' and not '" +
                to_string(product) + "'");
  }

 private:
  const Prices* prices_;
  const CostOptions* options_;
  ModelCost* cost_;
};

RoleCost cost_of_matmul(const MatmulWork& work, const Arithmetic& arithmetic, Ledger& price,
                        const CostOptions& options) {
  const PriceKey f32_multiply = {Operation::multiply, "exact", "f32"};
  const auto add_price = [&](const Format& format) {
    return price({Operation::add, "", format_name(format)});
  };
  const auto convert_price = [&](const Format& format) {
    return format == k_f32 ? 0 : price({Operation::convert, "", format_name(format)});
  };
  RoleCost cost;
  cost.arithmetic = display_name(arithmetic);
  Counts& counts = cost.counts;
  EnergySplit& energy = cost.energy;

  counts.multiplications = work.multiplications;
  energy.multiply = work.multiplications * price(multiply_key(arithmetic));
  // Products rounded into a format that is named (an unnamed one is but a range, f32's).
  if (const auto& product = arithmetic.multiplier.written_product()) {
    if (product->format != k_f32) {
      counts.conversions += work.multiplications;
      energy.convert += work.multiplications * convert_price(product->format);
    }
  }

  const Accumulator& accumulator = arithmetic.accumulator;
  counts.additions = work.multiplications;
  energy.accumulate = work.multiplications * price.accumulation(arithmetic);
  if (accumulator.chunk > 0) {
    const double chunks = work.outputs * std::ceil(work.sum_length / accumulator.chunk);
    counts.additions += chunks;
    energy.accumulate += chunks * add_price(accumulator.outer_cast().format);
  }

  const auto convert = [&](const Operand& operand, double elements) {
    if (operand.cast.format != k_f32) {
      counts.conversions += elements;
      energy.convert += elements * convert_price(operand.cast.format);
    }
    if (!operand.scaling.empty()) energy.convert += elements * price(f32_multiply);
  };
  convert(arithmetic.x, work.x_elements);
  convert(arithmetic.w, work.w_fresh);
  if (!arithmetic.x.scaling.empty() || !arithmetic.w.scaling.empty()) {
    const double runs = work.outputs * runs_of(arithmetic, work.sum_length);
    energy.convert += runs * price(f32_multiply);
    if (runs > work.outputs) energy.convert += (runs - work.outputs) * add_price(k_f32);
  }

  const auto length = static_cast<int64_t>(work.sum_length);
  const double x_bytes = bytes_of(arithmetic.x, length);
  const double w_bytes = bytes_of(arithmetic.w, length);
  const double sum_bytes = double(accumulator.cast.format.bits()) / 8;
  const auto batch = static_cast<double>(work.is_cache ? 1 : options.batch);
  const auto tile = static_cast<double>(options.tile);
  counts.dram_bytes = (work.w_elements / batch + work.w_fresh) * w_bytes;
  counts.sram_bytes =
      work.w_elements * w_bytes * std::ceil(batch / tile) / batch + work.w_fresh * w_bytes +
      work.x_elements * x_bytes * std::ceil(work.columns / tile) + work.outputs * sum_bytes;
  counts.register_bytes = work.multiplications * (x_bytes + w_bytes + 2 * sum_bytes);
  energy.dram = counts.dram_bytes * price({Operation::dram, "", ""});
  energy.sram = counts.sram_bytes * price({Operation::sram, "", ""});
  energy.registers = counts.register_bytes * price({Operation::register_file, "", ""});
  return cost;
}

}  // namespace

void CostOptions::check() const {
  if (batch < 1 || batch > 1 << 20) {
    throw Error("--batch: " + std::to_string(batch) + " sequences: give 1 to 1048576");
  }
  if (tile < 1 || tile > 1 << 20) {
    throw Error("--tile: " + std::to_string(tile) + " rows: give 1 to 1048576");
  }
}

void EnergySplit::add(const EnergySplit& other) {
  multiply += other.multiply;
  accumulate += other.accumulate;
  convert += other.convert;
  elementwise += other.elementwise;
  registers += other.registers;
  sram += other.sram;
  dram += other.dram;
}

void Counts::add(const Counts& other) {
  multiplications += other.multiplications;
  additions += other.additions;
  conversions += other.conversions;
  elementwise += other.elementwise;
  register_bytes += other.register_bytes;
  sram_bytes += other.sram_bytes;
  dram_bytes += other.dram_bytes;
}

double weight_bits(const ModelShape& shape, const Plan& plan) {
  double bits = 0;
  double weights = 0;
  for (const MatmulWork& work : shape.matmuls) {
    if (work.is_cache) continue;
    const auto rule = plan.match(work.name);
    if (rule && !plan.rules[*rule].treatments.empty()) return std::nan("");
    const Arithmetic arithmetic = rule ? plan.rules[*rule].arithmetic : Arithmetic{};
    bits += 8 * work.w_stored * bytes_of(arithmetic.w, static_cast<int64_t>(work.sum_length));
    weights += work.w_stored;
  }
  return bits / weights;
}

ModelCost cost_of(const ModelShape& shape, const Plan& plan, const Prices& prices,
                  const CostOptions& options) {
  options.check();
  ModelCost cost;
  cost.plan = to_string(plan);
  Ledger ledger(prices, options, cost);
  const auto add = [&](const RoleCost& part) {
    auto role = std::find_if(cost.roles.begin(), cost.roles.end(), [&](const RoleCost& r) {
      return r.role == part.role && r.arithmetic == part.arithmetic;
    });
    if (role == cost.roles.end()) {
      role = cost.roles.insert(role, {part.role, part.arithmetic, {}, {}});
    }
    role->counts.add(part.counts);
    role->energy.add(part.energy);
    cost.counts.add(part.counts);
    cost.energy.add(part.energy);
  };
  std::vector<bool> decides(plan.rules.size());
  for (const MatmulWork& work : shape.matmuls) {
    const auto rule = plan.match(work.name);
    if (rule) decides[*rule] = true;
    if (rule && !plan.rules[*rule].treatments.empty()) {
      throw Error("what a product" + to_string(plan.rules[*rule].treatments) +
                  " costs is not known; leave the treatments out, and add their own products");
    }
    const Arithmetic arithmetic = rule ? plan.rules[*rule].arithmetic : Arithmetic{};
    RoleCost part = cost_of_matmul(work, arithmetic, ledger, options);
    part.role = role_of(work.name);
    if (!work.is_cache) {
      const auto length = static_cast<int64_t>(work.sum_length);
      cost.stored_bytes += work.w_stored * bytes_of(arithmetic.w, length);
    }
    add(part);
  }
  for (size_t i = 0; i < decides.size(); ++i) {
    if (decides[i]) continue;
    throw Error("rule '" + plan.rules[i].pattern + " -> " + to_string(plan.rules[i].arithmetic) +
                "' decides no matrix multiplication of " + shape.name);
  }
  RoleCost rest{"element-wise", "f32", {}, {}};
  rest.counts.elementwise = shape.elementwise;
  rest.energy.elementwise = shape.elementwise * ledger({Operation::multiply, "exact", "f32"});
  add(rest);
  return cost;
}

}  // namespace napier
