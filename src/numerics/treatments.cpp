// The registry of treatments: their names and written forms.
#include <array>
#include <atomic>

#include "cursor.hpp"
#include "napier/treatment.hpp"
#include "written.hpp"

namespace napier {
namespace {

// One line each, in the order of TreatmentKind; src/kernels/treatments.cpp has what each does.
constexpr std::array k_forms = {
    TreatmentForm{TreatmentKind::result, "result", "result(operand)",
                  "the finished result is rounded as an operand is", ""},
    TreatmentForm{TreatmentKind::equalise, "equalise", "equalise",
                  "columns of activations divided by factors, of weights multiplied", "factors"},
    TreatmentForm{TreatmentKind::delta, "delta", "delta(0.1)",
                  "differences between successive rows, in multiples of theta", ""},
    TreatmentForm{TreatmentKind::lowrank, "lowrank", "lowrank(8,f16)",
                  "plus a product of this rank that makes up for the weights' rounding",
                  "two factors"},
    TreatmentForm{TreatmentKind::outliers, "outliers", "outliers(6,f16)",
                  "columns that reach the threshold are multiplied in another arithmetic", ""},
    TreatmentForm{TreatmentKind::dyadic, "dyadic", "dyadic(operand)",
                  "sums of integers become the operand's integers by a multiplication and a shift",
                  ""},
};

constexpr double k_largest = 1e30;
constexpr uint32_t k_max_rank = 4096;

// Past the ')' that closes an open '(' before it.
size_t closing(const Cursor& cursor) {
  int depth = 1;
  const std::string_view rest = cursor.rest();
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '(') ++depth;
    if (rest[i] == ')' && --depth == 0) return cursor.offset() + i;
  }
  cursor.fail("expected ')' after a treatment's arguments, found none");
}

bool has_blocks(const Arithmetic& arithmetic) {
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    for (const ScaleLevel& level : operand->scaling) {
      if (level.granularity == Granularity::block) return true;
    }
  }
  return false;
}

// What dyadic() makes of sums. The scale may be left to a recipe to choose.
bool is_static_integer(const Operand& operand) {
  return operand.cast.format.is_integer() && operand.cast.overflow != Overflow::wrap &&
         operand.scaling.size() == 1 && operand.scaling[0].granularity == Granularity::tensor &&
         operand.scaling[0].format == k_f32 &&
         operand.scaling[0].rounding == Rounding::nearest_even;
}

Treatment take_treatment(Cursor& cursor) {
  const size_t begin = cursor.offset();
  const std::string_view name = cursor.word();
  std::vector<std::string> names;
  const TreatmentForm* form = nullptr;
  for (const TreatmentForm& candidate : k_forms) {
    names.emplace_back(candidate.name);
    if (candidate.name == name) form = &candidate;
  }
  if (!form) {
    cursor.fail_at(begin, "unknown treatment '" + std::string(name) + "': expected " +
                              alternatives(names) + suggestion(name, names));
  }
  Treatment treatment;
  treatment.kind = form->kind;
  switch (treatment.kind) {
    case TreatmentKind::result:
    case TreatmentKind::dyadic: break;
    case TreatmentKind::equalise: return treatment;
    case TreatmentKind::delta: treatment.number = 0.1; break;
    case TreatmentKind::lowrank:
      treatment.number = 8;
      treatment.arithmetic = parse_arithmetic("f16");
      break;
    case TreatmentKind::outliers:
      treatment.number = 6;
      treatment.arithmetic = parse_arithmetic("f16");
      break;
  }
  if (!cursor.take('(')) {
    if (takes_operand(treatment.kind)) {
      cursor.expect('(', "and an operand after '" + std::string(form->name) + "'");
    }
    return treatment;
  }
  const size_t end = closing(cursor);
  if (takes_operand(treatment.kind)) {
    const size_t at = cursor.offset();
    treatment.operand = parse_operand(cursor.text(), at, end);
    if (treatment.kind == TreatmentKind::dyadic && !is_static_integer(treatment.operand)) {
      cursor.fail_at(at,
                     "dyadic takes integers with one scale for the tensor, such as "
                     "int8@tensor(f32,given=0.1)");
    }
  } else {
    treatment.number = treatment.kind == TreatmentKind::lowrank
                           ? cursor.number(1, k_max_rank, "a rank")
                           : cursor.real(k_largest, std::string(name));
    if (treatment.kind != TreatmentKind::delta && cursor.take(',')) {
      const size_t at = cursor.offset();
      treatment.arithmetic = parse_arithmetic(cursor.text(), at, end);
      if (has_blocks(treatment.arithmetic)) {
        cursor.fail_at(at, "blocks cannot be had here: what is multiplied has no fixed length");
      }
    } else if (cursor.offset() != end) {
      cursor.fail("expected ')' after " + std::string(form->form) + cursor.found());
    }
  }
  cursor = Cursor(cursor.text(), end + 1, cursor.offset() + cursor.rest().size());
  return treatment;
}

}  // namespace

uint64_t MatrixNumbers::next_id() {
  static std::atomic<uint64_t> count{0};
  return ++count;
}

std::span<const TreatmentForm> treatment_forms() { return k_forms; }

const TreatmentForm& form_of(TreatmentKind kind) { return k_forms[static_cast<size_t>(kind)]; }

bool takes_operand(TreatmentKind kind) {
  return kind == TreatmentKind::result || kind == TreatmentKind::dyadic;
}

std::vector<Treatment> parse_treatments(std::string_view text, size_t begin, size_t end) {
  Cursor cursor(text, begin, end);
  std::vector<Treatment> treatments;
  cursor.skip_spaces();
  do {
    const size_t at = cursor.offset();
    Treatment treatment = take_treatment(cursor);
    if (!treatments.empty() && treatment.kind <= treatments.back().kind) {
      std::vector<std::string> names;
      for (const TreatmentForm& form : k_forms) names.emplace_back(form.name);
      std::string order = names[0];
      for (size_t i = 1; i < names.size(); ++i) order += ", " + names[i];
      cursor.fail_at(at, "treatments are written each once and the outermost first: " + order);
    }
    treatments.push_back(std::move(treatment));
    cursor.skip_spaces();
  } while (!cursor.done());
  return treatments;
}

int64_t rank_of(const Treatment& treatment, int64_t n) {
  if (!treatment.numbers || n == 0) return static_cast<int64_t>(treatment.number);
  return static_cast<int64_t>(treatment.numbers->left.size()) / n;
}

std::string to_string(const Treatment& treatment) {
  std::string text(form_of(treatment.kind).name);
  switch (treatment.kind) {
    case TreatmentKind::result:
    case TreatmentKind::dyadic: return text + "(" + to_string(treatment.operand) + ")";
    case TreatmentKind::equalise: return text;
    case TreatmentKind::delta: return text + "(" + shortest(treatment.number) + ")";
    case TreatmentKind::lowrank:
    case TreatmentKind::outliers: break;
  }
  return text + "(" + shortest(treatment.number) + "," + display_name(treatment.arithmetic) + ")";
}

std::string to_string(std::span<const Treatment> treatments) {
  std::string text;
  for (const Treatment& treatment : treatments)
    text += (text.empty() ? " with " : " ") + to_string(treatment);
  return text;
}

}  // namespace napier
