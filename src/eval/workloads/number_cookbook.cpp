// Number Cookbook (arXiv 2411.03766): its 41 tasks, and the easier and harder kinds of some that
// its benchmark has. A task is an operation on numbers of one notation. Lengths, operands and
// wording are those of its benchmark, but that significant figures are rounded by all that is cut.
#include <algorithm>
#include <array>
#include <utility>

#include "eval/workloads/number.hpp"

namespace napier {
namespace {

struct Operands {
  Number a, b;
  int argument = 0;  // a place, a digit, a count of figures
};

enum class Second : uint8_t { none, number, argument };

struct Operation {
  const char* word;
  const char* instruction;
  const char* infix;
  Second second;
  Notation result;  // none: that of the operands
  void (*prepare)(Operands& operands, Random& random);
  std::string (*answer)(const Operands& operands);
};

// ---- operands ----

constexpr int k_easy_digits = 3;
constexpr int k_greatest_exponent = 99;
constexpr int k_exponents_apart = 5;

void keep(Operands&, Random&) {}

void longer_first(Operands& o, Random&) {
  if (o.a.length() < o.b.length()) std::swap(o.a, o.b);
}

void larger_first(Operands& o, Random&) {
  if (compare(o.a, o.b) < 0) std::swap(o.a, o.b);
}

Natural last_digits(const Natural& value, int count) { return value % power(10, count); }

// The last digits of each whole part, the first of the decimals.
Number shortened(const Number& number, int digits) {
  switch (number.notation) {
    case Notation::fraction: {
      const Natural denominator = last_digits(number.denominator, digits);
      return fraction(last_digits(number.value, digits), denominator.is_zero() ? 1 : denominator);
    }
    case Notation::decimal:
    case Notation::scientific: {
      const std::vector<std::string> parts = number.parts();
      const auto count = static_cast<size_t>(digits);
      const std::string whole = parts[0].substr(parts[0].size() - std::min(count, parts[0].size()));
      Number result = from_parts(number.notation, {whole, parts[1].substr(0, count)});
      if (number.notation == Notation::scientific) result.scale += number.exponent();
      return result;
    }
    default: return integer(last_digits(number.value, digits));
  }
}

void limit_length(Number& number, int digits) {
  if (number.length() > digits) number = shortened(number, digits);
}

void set_exponent(Number& number, int exponent) { number.scale += exponent - number.exponent(); }

// The sum's exponent stays below 100.
void prepare_sum(Operands& o, Random& random) {
  if (o.a.notation != Notation::scientific) return;
  set_exponent(o.a, std::min(o.a.exponent(), k_greatest_exponent - 1));
  const int near = o.a.exponent() + random.between(-k_exponents_apart, k_exponents_apart);
  set_exponent(o.b, std::clamp(near, 0, k_greatest_exponent - 1));
}

void prepare_easy_sum(Operands& o, Random&) {
  Number& shorter = o.a.length() > o.b.length() ? o.b : o.a;
  shorter = shortened(shorter, std::min(shorter.length(), k_easy_digits));
}

// No exponent of the difference is negative.
void prepare_difference(Operands& o, Random& random) {
  larger_first(o, random);
  if (o.a.notation != Notation::scientific) return;
  set_exponent(o.a, std::max(o.a.exponent(), 1));
  set_exponent(o.b, std::max(0, o.a.exponent() - random.between(1, k_exponents_apart)));
  larger_first(o, random);
  const Number one = scientific(1, 0);
  if (compare(o.a, o.b + one) <= 0) o.a = o.a + one;
}

void prepare_comparison(Operands& o, Random&) {
  for (Number* number : {&o.a, &o.b}) {
    if (number->notation != Notation::fraction || number->value <= number->denominator) continue;
    std::swap(number->value, number->denominator);
  }
}

void prepare_easy_product(Operands& o, Random& random) {
  longer_first(o, random);
  limit_length(o.b, k_easy_digits);
}

void avoid_zero(Number& number) {
  if (number.value.is_zero())
    number = number.notation == Notation::fraction ? fraction(1, 1) : integer(1);
}

void prepare_quotient(Operands& o, Random&) { avoid_zero(o.b); }

void prepare_whole_quotient(Operands& o, Random& random) {
  larger_first(o, random);
  avoid_zero(o.b);
}

// The divisor is so much shorter that subtracting it is not enough.
void prepare_remainder(Operands& o, Random& random) {
  larger_first(o, random);
  limit_length(o.b, o.a.length() * 7 / 10 + 1);
  avoid_zero(o.b);
}

void prepare_easy_remainder(Operands& o, Random& random) {
  larger_first(o, random);
  limit_length(o.b, k_easy_digits);
  avoid_zero(o.b);
}

void prepare_place(Operands& o, Random& random) {
  longer_first(o, random);
  o.argument = random.below(static_cast<int>(o.a.all_digits().size()));
}

void prepare_count(Operands& o, Random& random) {
  longer_first(o, random);
  o.argument = random.below(10);
}

// Denominators of twos and fives; exponents that leave no more zeros than digits.
void prepare_decimal(Operands& o, Random& random) {
  longer_first(o, random);
  if (o.a.notation == Notation::fraction) {
    const int longest = o.a.length();
    const Natural denominator =
        power(2, random.between(0, longest)) * power(5, random.between(0, longest));
    o.a = fraction(std::max(o.a.value, o.a.denominator), denominator);
  } else {
    set_exponent(o.a, random.between(0, std::min(o.a.exponent(), o.a.length())));
  }
}

// Integers get zeros at their end.
void prepare_scientific(Operands& o, Random& random) {
  longer_first(o, random);
  if (o.a.notation != Notation::integer) return;
  o.a = integer(o.a.value - last_digits(o.a.value, random.between(0, o.a.length() / 2)));
}

void prepare_figures(Operands& o, Random& random) {
  longer_first(o, random);
  const int most =
      static_cast<int>(o.a.notation == Notation::integer ? o.a.length() : o.a.all_digits().size());
  o.argument = random.between(2, std::max(2, most));
}

// ---- answers ----

template <int (*Join)(int, int)>
std::string digit_by_digit(const Operands& o) {
  std::vector<std::string> a = o.a.parts(), b = o.b.parts();
  for (size_t part = 0; part < a.size(); ++part) {
    const bool from_right = part == 0;  // decimals are aligned at the point
    const size_t longest = std::max(a[part].size(), b[part].size());
    for (std::string* digits : {&a[part], &b[part]}) {
      digits->insert(from_right ? 0 : digits->size(), longest - digits->size(), '0');
    }
    for (size_t i = 0; i < longest; ++i) {
      a[part][i] = static_cast<char>('0' + Join(a[part][i] - '0', b[part][i] - '0'));
    }
  }
  return from_parts(o.a.notation, a).text();
}

int greater_digit(int a, int b) { return std::max(a, b); }
int lesser_digit(int a, int b) { return std::min(a, b); }
int digit_sum(int a, int b) { return (a + b) % 10; }

std::string sum(const Operands& o) { return (o.a + o.b).text(); }
std::string difference(const Operands& o) { return (o.a - o.b).text(); }
std::string product(const Operands& o) { return (o.a * o.b).text(); }
std::string greater(const Operands& o) { return (compare(o.a, o.b) > 0 ? o.a : o.b).text(); }
std::string lesser(const Operands& o) { return (compare(o.a, o.b) < 0 ? o.a : o.b).text(); }

std::string quotient(const Operands& o) {
  if (o.a.notation == Notation::integer) return fraction(o.a.value, o.b.value).text();
  return fraction(o.a.value * o.b.denominator, o.a.denominator * o.b.value).text();
}
std::string whole_quotient(const Operands& o) { return (o.a.value / o.b.value).digits(); }
std::string remainder(const Operands& o) { return (o.a.value % o.b.value).digits(); }

std::string digit_at(const Operands& o) {
  return o.a.all_digits().substr(static_cast<size_t>(o.argument), 1);
}
std::string digit_count(const Operands& o) { return std::to_string(o.a.all_digits().size()); }
std::string occurrences(const Operands& o) {
  const std::string digits = o.a.all_digits();
  return std::to_string(std::count(digits.begin(), digits.end(), '0' + o.argument));
}

std::string as_decimal(const Operands& o) {
  if (o.a.notation == Notation::scientific) return decimal(o.a.value, o.a.scale).text();
  // Denominators of twos and fives divide a power of ten.
  int digits = 0;
  while (!(power(10, digits) % o.a.denominator).is_zero()) ++digits;
  return decimal(o.a.value * (power(10, digits) / o.a.denominator), -digits).text();
}
std::string as_scientific(const Operands& o) { return scientific(o.a.value, o.a.scale).text(); }
std::string figures(const Operands& o) { return significant(o.a, o.argument); }

// ---- the tables ----

constexpr const char* k_mod = "Divide two numbers and return the remainder. ";
constexpr const char* k_max = "Get the maximal number: ";
constexpr const char* k_min = "Get the mininal number: ";  // as the benchmark spells it
constexpr const char* k_times = "Multiply two numbers: ";
constexpr const char* k_to_scientific = "Convert the number to scientific notation: ";

constexpr auto k_same = Notation::none;
constexpr auto k_int = Notation::integer;
constexpr auto k_float = Notation::decimal;
constexpr auto k_frac = Notation::fraction;
constexpr auto k_sci = Notation::scientific;

constexpr Operation k_add = {"add",  "Add two numbers: ", " + ", Second::number,
                             k_same, prepare_sum,         sum};
constexpr Operation k_add_easy = {"add-easy", "Add two numbers: ", " + ", Second::number,
                                  k_same,     prepare_easy_sum,    sum};
constexpr Operation k_sub = {"sub",  "Subtract two numbers: ", " - ",     Second::number,
                             k_same, prepare_difference,       difference};
constexpr Operation k_multiply = {"multiply", k_times, " * ",  Second::number,
                                  k_same,     keep,    product};
constexpr Operation k_multiply_easy = {"multiply-easy",      k_times, " * ", Second::number, k_same,
                                       prepare_easy_product, product};
constexpr Operation k_truediv = {
    "truediv", "Divide two numbers and return the result as a fraction. ",
    " / ",     Second::number,
    k_frac,    prepare_quotient,
    quotient};
constexpr Operation k_floordiv = {
    "floordiv",    "Divide two numbers and return the result as an integer. ",
    " // ",        Second::number,
    k_int,         prepare_whole_quotient,
    whole_quotient};
constexpr Operation k_remainder = {"mod",    k_mod, " % ", Second::number, k_int, prepare_remainder,
                                   remainder};
constexpr Operation k_remainder_easy = {
    "mod-easy", k_mod, " % ", Second::number, k_int, prepare_easy_remainder, remainder};
constexpr Operation k_maximum = {"max",  k_max, " and ", Second::number, k_same, prepare_comparison,
                                 greater};
constexpr Operation k_maximum_hard = {"max-hard",         k_max,  " and ", Second::number, k_same,
                                      prepare_comparison, greater};
constexpr Operation k_minimum = {"min", k_min, " and ", Second::number, k_same, prepare_comparison,
                                 lesser};
constexpr Operation k_minimum_hard = {"min-hard",         k_min, " and ", Second::number, k_same,
                                      prepare_comparison, lesser};
constexpr Operation k_digit_max = {
    "digit-max",
    "Compare two numbers digit by digit and return the larger digit at each position, treating any "
    "missing digits as 0. ",
    " and ",
    Second::number,
    k_same,
    keep,
    digit_by_digit<greater_digit>};
constexpr Operation k_digit_min = {"digit-min",
                                   "Compare two numbers digit by digit and return the smaller "
                                   "digit at each position, treating any "
                                   "missing digits as 0. ",
                                   " and ",
                                   Second::number,
                                   k_same,
                                   keep,
                                   digit_by_digit<lesser_digit>};
constexpr Operation k_digit_add = {
    "digit-add",
    "The task is to add two given numbers digit by digit and return the result modulo 10 (ignoring "
    "carry), treating any missing digits as 0. ",
    " digit add ",
    Second::number,
    k_same,
    keep,
    digit_by_digit<digit_sum>};
constexpr Operation k_get_digit = {
    "get-digit",     "Get the digit at the given position (from left to right, starting from 0). ",
    " at position ", Second::argument,
    k_int,           prepare_place,
    digit_at};
constexpr Operation k_length = {
    "length", "The total number of digits of ", "", Second::none, k_int, longer_first, digit_count};
constexpr Operation k_count = {"count",
                               "Count the number of the given digit in the given number: ",
                               " count the occurrence time of digit ",
                               Second::argument,
                               k_int,
                               prepare_count,
                               occurrences};
constexpr Operation k_to_float = {
    "to-float", "Convert the number to float: ", "", Second::none, k_float, prepare_decimal,
    as_decimal};
constexpr Operation k_to_scient = {"to-scient", k_to_scientific,    "",           Second::none,
                                   k_sci,       prepare_scientific, as_scientific};
constexpr Operation k_sig = {
    "sig",           k_to_scientific, " and keep significant figures as ", Second::argument, k_sci,
    prepare_figures, figures};

// Which numbers a task draws: of up to 8 digits to train on and 20 to ask for, or of up to 20 and
// 100. `alike`: the second shares its first digits with the first.
struct Numbers {
  int trained, shortest_asked, longest_asked;
  bool alike;
};
constexpr Numbers k_short = {8, 3, 20, false};
constexpr Numbers k_short_fractions = {8, 1, 20, false};
constexpr Numbers k_long = {20, 3, 100, false};
constexpr Numbers k_long_integers = {20, 5, 100, false};
constexpr Numbers k_long_alike = {20, 3, 100, true};
constexpr Numbers k_long_integers_alike = {20, 5, 100, true};

struct CookbookTask {
  Operation operation;
  Notation notation;
  Numbers numbers;
};

constexpr std::array k_tasks = {
    CookbookTask{k_add, k_int, k_short},
    CookbookTask{k_add, k_float, k_short},
    CookbookTask{k_add, k_frac, k_short_fractions},
    CookbookTask{k_add_easy, k_frac, k_short_fractions},
    CookbookTask{k_add, k_sci, k_short},
    CookbookTask{k_sub, k_int, k_short},
    CookbookTask{k_sub, k_float, k_short},
    CookbookTask{k_sub, k_frac, k_short_fractions},
    CookbookTask{k_sub, k_sci, k_short},
    CookbookTask{k_multiply, k_int, k_short},
    CookbookTask{k_multiply, k_float, k_short},
    CookbookTask{k_multiply, k_frac, k_short_fractions},
    CookbookTask{k_multiply, k_sci, k_short},
    CookbookTask{k_multiply_easy, k_int, k_short},
    CookbookTask{k_multiply_easy, k_float, k_short},
    CookbookTask{k_multiply_easy, k_frac, k_short_fractions},
    CookbookTask{k_multiply_easy, k_sci, k_short},
    CookbookTask{k_truediv, k_int, k_short},
    CookbookTask{k_truediv, k_frac, k_short_fractions},
    CookbookTask{k_floordiv, k_int, k_short},
    CookbookTask{k_remainder, k_int, k_short},
    CookbookTask{k_remainder_easy, k_int, k_short},
    CookbookTask{k_maximum, k_int, k_long_integers},
    CookbookTask{k_maximum, k_float, k_long},
    CookbookTask{k_maximum, k_frac, k_short_fractions},
    CookbookTask{k_maximum, k_sci, k_long},
    CookbookTask{k_maximum_hard, k_int, k_long_integers_alike},
    CookbookTask{k_maximum_hard, k_float, k_long_alike},
    CookbookTask{k_maximum_hard, k_sci, k_long_alike},
    CookbookTask{k_minimum, k_int, k_long_integers},
    CookbookTask{k_minimum, k_float, k_long},
    CookbookTask{k_minimum, k_frac, k_short_fractions},
    CookbookTask{k_minimum, k_sci, k_long},
    CookbookTask{k_minimum_hard, k_int, k_long_integers_alike},
    CookbookTask{k_minimum_hard, k_float, k_long_alike},
    CookbookTask{k_minimum_hard, k_sci, k_long_alike},
    CookbookTask{k_digit_max, k_int, k_long_integers},
    CookbookTask{k_digit_max, k_float, k_long},
    CookbookTask{k_digit_min, k_int, k_long_integers},
    CookbookTask{k_digit_min, k_float, k_long},
    CookbookTask{k_digit_add, k_int, k_long_integers},
    CookbookTask{k_digit_add, k_float, k_long},
    CookbookTask{k_get_digit, k_int, k_long_integers},
    CookbookTask{k_get_digit, k_float, k_long},
    CookbookTask{k_length, k_int, k_long_integers},
    CookbookTask{k_length, k_float, k_long},
    CookbookTask{k_count, k_int, k_long_integers},
    CookbookTask{k_to_float, k_frac, k_short_fractions},
    CookbookTask{k_to_float, k_sci, k_long},
    CookbookTask{k_to_scient, k_int, k_long_integers},
    CookbookTask{k_to_scient, k_float, k_long},
    CookbookTask{k_sig, k_int, k_long_integers},
    CookbookTask{k_sig, k_float, k_long},
};

const char* word_of(Notation notation) {
  switch (notation) {
    case Notation::decimal: return "float";
    case Notation::fraction: return "fraction";
    case Notation::scientific: return "scientific";
    default: return "integer";
  }
}

const char* hint_of(Notation notation) {
  switch (notation) {
    case Notation::decimal:
      return "Directly return the answer as a float without any comma separator, like 10.4 . ";
    case Notation::fraction:
      return "Directly return the answer as an **irreducible** fraction without any comma "
             "separator, like 7/13 . ";
    case Notation::scientific:
      return "Directly return the answer as a scientific notation without any comma separator, "
             "like 1.23e4 . The float part should be in the range [1, 10). ";
    default:
      return "Directly return the answer as an integer without any comma separator, like 123 . ";
  }
}

// ---- drawing ----

// Makes b begin as a does: integers of one length, whole parts in 7 of 10, exponents in 8 of 10.
void make_alike(Operands& o, Random& random) {
  const std::vector<std::string> a = o.a.parts(), b = o.b.parts();
  if (o.a.notation == Notation::integer) {
    const auto same = static_cast<size_t>(random.below(o.a.length()));
    o.b = integer(Natural(a[0].substr(0, same) + b[0].substr(same)));
    return;
  }
  const int shorter = std::min(o.a.length(), o.b.length());
  if (o.a.notation == Notation::decimal) {
    if (random.chance(30)) return;
    const auto same = static_cast<size_t>(random.below(shorter));
    o.b = from_parts(o.b.notation, {a[0], a[1].substr(0, same) + b[1].substr(same)});
    return;
  }
  const int exponent = random.chance(80) ? o.a.exponent() : o.b.exponent();
  const int same = random.between(-1, shorter - 1);
  if (same >= 0) {
    const auto count = static_cast<size_t>(same);
    o.b = from_parts(o.b.notation, {a[0], a[1].substr(0, count) + b[1].substr(count)});
  }
  set_exponent(o.b, exponent);
}

Operands random_operands(const CookbookTask& task, Part part, int length, Random& random) {
  // Pairs that are asked for are no shorter than half as long in either place.
  const int least = part == Part::train ? 1 : std::max(1, length / 2);
  const bool same_length = task.numbers.alike && task.notation == Notation::integer;
  const int other = same_length ? length : random.between(least, length);
  Operands operands = {random_number(random, task.notation, length),
                       random_number(random, task.notation, other)};
  if (task.numbers.alike) make_alike(operands, random);
  if (other != length && random.chance(50)) std::swap(operands.a, operands.b);
  task.operation.prepare(operands, random);
  return operands;
}

Sample sample_of(const CookbookTask& task, const Operands& o, Notation result, bool instructed) {
  const Operation& operation = task.operation;
  std::string question = o.a.text(), second;
  if (operation.second == Second::number) second = o.b.text();
  if (operation.second == Second::argument) second = std::to_string(o.argument);
  if (operation.second == Second::number && operation.result == k_frac && task.notation == k_frac) {
    question = "(" + question + ")";  // a quotient of quotients
    second = "(" + second + ")";
  }
  question += operation.infix + second + " =";
  if (instructed) question = std::string(hint_of(result)) + operation.instruction + question;
  const bool two = operation.second == Second::number;
  return {std::move(question), " " + operation.answer(o) + "\n",
          two ? std::max(o.a.length(), o.b.length()) : o.a.length()};
}

Workload workload_of(const CookbookTask& task, bool instructed) {
  const Notation result = task.operation.result == k_same ? task.notation : task.operation.result;
  const bool is_long = task.numbers.longest_asked > 20;
  Workload workload;
  workload.name = "nupa-" + std::string(task.operation.word) + "-" + word_of(task.notation) +
                  (instructed ? "" : "-bare");
  workload.summary = std::string("Number Cookbook (arXiv 2411.03766), up to ") +
                     (is_long ? "20 digits, questions up to 100" : "8 digits, questions up to 20") +
                     "; ...-bare: without the instruction";
  workload.stop = "\n";
  workload.max_tokens = result == k_int && !is_long ? 42 : is_long ? 210 : 90;
  workload.make = [task, result, instructed](Part part, int count, uint64_t seed) {
    const bool train = part == Part::train;
    return different_samples(
        part, count, seed, train ? 1 : task.numbers.shortest_asked,
        train ? task.numbers.trained : task.numbers.longest_asked, [&](Random& random, int length) {
          return sample_of(task, random_operands(task, part, length, random), result, instructed);
        });
  };
  workload.notation = result;
  workload.result_after = "";
  workload.groups = is_long ? std::vector{10, 20, 60, 100} : std::vector{4, 8, 14, 20};
  workload.listed = instructed;
  return workload;
}

}  // namespace

std::vector<Workload> number_cookbook() {
  std::vector<Workload> workloads;
  for (const CookbookTask& task : k_tasks) {
    for (const bool instructed : {true, false}) workloads.push_back(workload_of(task, instructed));
  }
  return workloads;
}

}  // namespace napier
