#include "cost/model_cost.hpp"

#include <algorithm>
#include <cmath>
#include <span>

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

// Of the elements that one token uses, what the tokens of a batch use together: of experts each
// token's are drawn by themselves, so that of many tokens nearly all are read.
double read_together(const MatmulWork& work, double elements, double batch) {
  return elements / work.used_part * -std::expm1(batch * std::log1p(-work.used_part));
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

  // Of an f32.
  double conversion(const Cast& cast) {
    return cast.format == k_f32 ? 0 : (*this)(convert_key(cast));
  }

  // What adding a product to a sum costs: what a circuit that does both takes beyond the product
  // alone, or the addition by itself, by the first table that has one of the two.
  double accumulation(Arithmetic arithmetic) {
    if (options_->free.contains(Operation::add)) return 0;
    Accumulator& accumulator = arithmetic.accumulator;
    if (accumulator.form().kind == SumForm::Kind::chunked)
      accumulator = Accumulator{accumulator.cast};
    const PriceKey product = multiply_key(arithmetic);
    const PriceKey step = step_key(arithmetic);
    const PriceKey add = add_key(accumulator.cast);
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

// Where dyadic takes the sums into integers, they are not multiplied by their scales.
enum class Sums : uint8_t { scaled, requantised };

RoleCost cost_of_matmul(const MatmulWork& work, const Arithmetic& arithmetic, Ledger& price,
                        const CostOptions& options, Sums sums = Sums::scaled) {
  const PriceKey f32_multiply = {Operation::multiply, "exact", "f32"};
  const auto add_price = [&](const Format& format) {
    return price({Operation::add, "", format_name(format)});
  };
  RoleCost cost;
  Counts& counts = cost.counts;
  EnergySplit& energy = cost.energy;

  counts.multiplications = work.multiplications;
  energy.multiply = work.multiplications * price(multiply_key(arithmetic));
  // Products rounded into a format that is named (an unnamed one is but a range, f32's).
  if (const auto& product = arithmetic.multiplier.written_product()) {
    if (product->format != k_f32) {
      counts.conversions += work.multiplications;
      energy.convert += work.multiplications * price.conversion(*product);
    }
  }

  const Accumulator& accumulator = arithmetic.accumulator;
  counts.additions = work.multiplications;
  energy.accumulate = work.multiplications * price.accumulation(arithmetic);
  if (const SumForm form = accumulator.form(); form.kind == SumForm::Kind::chunked) {
    const double chunks = work.outputs * std::ceil(work.sum_length / form.chunk);
    counts.additions += chunks;
    energy.accumulate += chunks * price(add_key(form.outer));
  }

  const auto convert = [&](const Operand& operand, double elements) {
    if (elements == 0) return;  // of stored weights
    if (operand.cast.format != k_f32) {
      counts.conversions += elements;
      energy.convert += elements * price.conversion(operand.cast);
    }
    if (!operand.scaling.empty()) energy.convert += elements * price(f32_multiply);
  };
  convert(arithmetic.x, work.x_elements);
  convert(arithmetic.w, work.w_fresh);
  if (sums == Sums::scaled && (!arithmetic.x.scaling.empty() || !arithmetic.w.scaling.empty())) {
    const double runs = work.outputs * runs_of(arithmetic, work.sum_length);
    energy.convert += runs * price(f32_multiply);
    if (runs > work.outputs) energy.convert += (runs - work.outputs) * add_price(k_f32);
  }

  // (x - z) w = x w - z w: codes are multiplied, and z times the sum of the other operand's codes
  // is taken away from each output; that sum is known beforehand for weights, and z if it is given.
  // A product that is not exact is of x - z, taken once for each element that is read.
  const bool is_exact = arithmetic.resolved_multiplier().form().kind == ProductForm::Kind::exact;
  const auto zero_point = [&](const Operand& operand, double to_add) {
    if (!operand.has_zero_point()) return;
    if (!is_exact) {
      const double read = &operand == &arithmetic.x ? work.x_elements : work.w_elements;
      counts.additions += read;
      energy.accumulate += read * price({Operation::add, "", "int32"});
      return;
    }
    const bool is_known = operand.scaling.front().method == ScaleMethod::given && to_add == 0;
    counts.additions += work.outputs + to_add;
    energy.accumulate += (work.outputs + to_add) * add_price(accumulator.cast.format);
    if (!is_known) energy.convert += work.outputs * price(f32_multiply);
  };
  zero_point(arithmetic.x, work.is_cache ? work.w_fresh : 0);
  zero_point(arithmetic.w, work.x_elements);

  const auto length = static_cast<int64_t>(work.sum_length);
  const double x_bytes = bytes_of(arithmetic.x, length);
  const double w_bytes = bytes_of(arithmetic.w, length);
  const double sum_bytes = double(accumulator.cast.format.bits()) / 8;
  const auto batch = static_cast<double>(work.is_cache ? 1 : options.batch);
  const auto tile = static_cast<double>(options.tile);
  const double read = read_together(work, work.w_elements, batch);
  const double rows = read > 0 ? batch * (work.w_elements / read) : batch;  // of each matrix
  counts.dram_bytes = (read / batch + work.w_fresh) * w_bytes;
  counts.sram_bytes = read * w_bytes * std::ceil(rows / tile) / batch + work.w_fresh * w_bytes +
                      work.x_elements * x_bytes * std::ceil(work.columns / tile) +
                      work.outputs * sum_bytes;
  counts.register_bytes = work.multiplications * (x_bytes + w_bytes + 2 * sum_bytes);
  energy.dram = counts.dram_bytes * price({Operation::dram, "", ""});
  energy.sram = counts.sram_bytes * price({Operation::sram, "", ""});
  if (!work.is_cache) cost.stored_bytes = work.w_stored * w_bytes;
  energy.registers = counts.register_bytes * price({Operation::register_file, "", ""});
  return cost;
}

// A matrix of n rows of k beside the one of `work`, as often used and stored.
MatmulWork beside(const MatmulWork& work, double n, double k) {
  const double elements = work.columns * work.sum_length;
  const double used = work.multiplications / elements;
  MatmulWork other = work;
  other.multiplications = other.w_elements = n * k * used;
  other.w_stored = n * k * work.w_stored / elements;
  other.x_elements = k * used;
  other.outputs = n * used;
  other.columns = n;
  other.sum_length = k;
  return other;
}

// A part of a matrix's columns.
MatmulWork part_of(const MatmulWork& work, double part) {
  MatmulWork some = work;
  for (double* all : {&some.multiplications, &some.x_elements, &some.w_elements, &some.w_fresh}) {
    *all *= part;
  }
  return some;
}

// Prices a product with its treatments, the outermost first.
class TreatedCost {
 public:
  TreatedCost(const MatmulWork& work, const Rule& rule, Ledger& price, const CostOptions& options,
              const ModelCoverage* measured)
      : rule_(rule), price_(price), options_(options) {
    if (!measured) return;
    for (const RoleCoverage& role : measured->roles) {
      if (role.role != role_of(work.name) || role.arithmetic != display_name(rule)) continue;
      measured_ = &role;
    }
  }

  RoleCost of(const MatmulWork& work, std::span<const Treatment> treatments) {
    if (treatments.empty()) return cost_of_matmul(work, rule_.arithmetic, price_, options_);
    const Treatment& treatment = treatments.front();
    const std::span<const Treatment> inner = treatments.subspan(1);
    switch (treatment.kind) {
      case TreatmentKind::result: return rounded(of(work, inner), work, treatment.operand);
      case TreatmentKind::equalise: return equalised(of(work, inner), work);
      case TreatmentKind::delta: return of_differences(work, treatment, inner);
      case TreatmentKind::lowrank: return corrected(of(work, inner), work, treatment);
      case TreatmentKind::outliers: return split(work, treatment, inner);
      case TreatmentKind::dyadic: return requantised(work, treatment.operand);
    }
    return {};
  }

 private:
  double f32_multiply() { return price_({Operation::multiply, "exact", "f32"}); }
  double f32_add() { return price_({Operation::add, "", "f32"}); }

  void move(RoleCost& cost, double sram, double dram) {
    cost.counts.sram_bytes += sram;
    cost.energy.sram += sram * price_({Operation::sram, "", ""});
    if (dram == 0) return;
    cost.counts.dram_bytes += dram;
    cost.energy.dram += dram * price_({Operation::dram, "", ""});
  }

  static void add(RoleCost& cost, const RoleCost& other) {
    cost.counts.add(other.counts);
    cost.energy.add(other.energy);
    cost.stored_bytes += other.stored_bytes;
  }

  // Adds another product's outputs to this one's.
  void add_outputs(RoleCost& cost, double outputs) {
    cost.counts.additions += outputs;
    cost.energy.accumulate += outputs * f32_add();
  }

  double measured_part(const Treatment& treatment, uint64_t TreatedCounts::*count) const {
    if (measured_ && measured_->multiplications > 0) {
      return static_cast<double>(measured_->treated.*count) /
             static_cast<double>(measured_->multiplications);
    }
    throw Error("what '" + to_string(treatment) +
                "' costs depends on how a text's activations are: napier league runs one and says");
  }

  RoleCost rounded(RoleCost cost, const MatmulWork& work, const Operand& operand) {
    cost.counts.conversions += work.outputs;
    cost.energy.convert += work.outputs * price_.conversion(operand.cast);
    if (!operand.scaling.empty()) cost.energy.convert += 2 * work.outputs * f32_multiply();
    store_in(cost, work, operand);
    return cost;
  }

  // What leaves the integers is multiplied by their scale.
  RoleCost requantised(const MatmulWork& work, const Operand& operand) {
    const Arithmetic& arithmetic = rule_.arithmetic;
    RoleCost cost = cost_of_matmul(work, arithmetic, price_, options_, Sums::requantised);
    const double pj = price_(requantise_key(operand.cast, arithmetic.accumulator));
    cost.counts.conversions += work.outputs;
    cost.energy.convert += work.outputs * (pj + f32_multiply());
    store_in(cost, work, operand);
    return cost;
  }

  // Outputs are stored in the operand's format instead of the sum's.
  void store_in(RoleCost& cost, const MatmulWork& work, const Operand& operand) {
    const double sum = double(rule_.arithmetic.accumulator.cast.format.bits()) / 8;
    const double stored = bytes_of(operand, static_cast<int64_t>(work.columns));
    move(cost, work.outputs * (stored - sum), 0);
  }

  RoleCost equalised(RoleCost cost, const MatmulWork& work) {
    const auto batch = static_cast<double>(options_.batch);
    const double bytes = read_together(work, work.x_elements, batch) * sizeof(float);
    cost.energy.convert += work.x_elements * f32_multiply();
    move(cost, bytes / batch, bytes / batch);
    cost.stored_bytes += work.w_stored / work.columns * sizeof(float);
    return cost;
  }

  RoleCost of_differences(const MatmulWork& work, const Treatment& treatment,
                          std::span<const Treatment> inner) {
    const double skipped = measured_part(treatment, &TreatedCounts::skipped);
    MatmulWork left = work;
    left.multiplications *= 1 - skipped;
    RoleCost cost = of(left, inner);
    cost.energy.convert += work.x_elements * (3 * f32_add() + 2 * f32_multiply());
    add_outputs(cost, work.outputs);
    move(cost, (2 * work.x_elements + work.outputs) * sizeof(float), 0);
    return cost;
  }

  RoleCost corrected(RoleCost cost, const MatmulWork& work, const Treatment& treatment) {
    const auto rank = static_cast<double>(rank_of(treatment, static_cast<int64_t>(work.columns)));
    for (const MatmulWork& factor : {beside(work, rank, work.sum_length),  // V, then U
                                     beside(work, work.columns, rank)}) {
      add(cost, cost_of_matmul(factor, treatment.arithmetic, price_, options_));
    }
    add_outputs(cost, work.outputs);
    return cost;
  }

  RoleCost split(const MatmulWork& work, const Treatment& treatment,
                 std::span<const Treatment> inner) {
    const double apart = measured_part(treatment, &TreatedCounts::apart);
    RoleCost cost = of(part_of(work, 1 - apart), inner);
    if (apart == 0) return cost;
    RoleCost other = cost_of_matmul(part_of(work, apart), treatment.arithmetic, price_, options_);
    other.stored_bytes *= apart;  // beside the others, which are all there
    add(cost, other);
    add_outputs(cost, work.outputs);
    return cost;
  }

  const Rule& rule_;
  Ledger& price_;
  const CostOptions& options_;
  const RoleCoverage* measured_ = nullptr;
};

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

ModelCost cost_of(const ModelShape& shape, const Plan& plan, const Prices& prices,
                  const CostOptions& options, const ModelCoverage* measured) {
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
    const Rule decided = rule ? plan.rules[*rule] : Rule{};
    RoleCost part =
        TreatedCost(work, decided, ledger, options, measured).of(work, decided.treatments);
    part.role = role_of(work.name);
    part.arithmetic = display_name(decided);
    cost.stored_bytes += part.stored_bytes;
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
