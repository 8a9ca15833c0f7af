// Samples of arithmetic against a reader of their text that computes anew.
#include "eval/workload.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>

#include "eval/task.hpp"
#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

std::string reversed(std::string text) {
  std::reverse(text.begin(), text.end());
  return text;
}

// Integers by +, -, *, / and brackets; modulo 11 if so asked, where / looks for the quotient.
class Calculator {
 public:
  Calculator(std::string_view text, bool modular) : text_(text), modular_(modular) {}
  long value() {
    const long result = sum();
    EXPECT_EQ(at_, text_.size()) << text_;
    return result;
  }

 private:
  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  long reduced(long x) const { return modular_ ? ((x % 11) + 11) % 11 : x; }
  long sum() {
    long result = product();
    while (next() == '+' || next() == '-') {
      const bool plus = text_[at_++] == '+';
      const long other = product();
      result = reduced(plus ? result + other : result - other);
    }
    return result;
  }
  long product() {
    long result = atom();
    while (next() == '*' || next() == '/') {
      const bool times = text_[at_++] == '*';
      const long other = atom();
      if (times) {
        result = reduced(result * other);
        continue;
      }
      long quotient = 0;
      while (quotient < 11 && reduced(quotient * other) != result) ++quotient;
      EXPECT_LT(quotient, 11) << text_;
      result = quotient;
    }
    return result;
  }
  long atom() {
    if (next() == '(') {
      ++at_;
      const long result = sum();
      EXPECT_EQ(next(), ')') << text_;
      ++at_;
      return result;
    }
    EXPECT_TRUE(std::isdigit(next())) << text_;
    long result = 0;
    while (std::isdigit(next())) result = 10 * result + (text_[at_++] - '0');
    return result;
  }

  std::string_view text_;
  bool modular_;
  size_t at_ = 0;
};

std::string question_of(const Sample& sample) {
  const size_t colon = sample.prompt.find("Input:\n");
  std::string text = colon == 0 ? sample.prompt.substr(7) : sample.prompt;
  text = text.substr(0, text.find_first_of("=\n"));
  return text.starts_with('$') ? text.substr(1) : text;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '$')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

long number(std::string text) {
  std::erase(text, ' ');
  return std::stol(text);
}

// What Calculator reads; test_workloads.py has the others.
bool is_expression(const Workload& workload) {
  for (const char* family : {"add-", "subtract-", "multiply-", "small", "dissect", "modular"}) {
    if (workload.name.starts_with(family)) return true;
  }
  return false;
}

TEST(Workloads, AnswersAreRight) {
  for (const Workload& workload : workloads()) {
    if (!is_expression(workload)) continue;
    const std::string& name = workload.name;
    const bool modular = name.starts_with("modular");
    const bool backward =
        name.find("reverse") != name.npos || name == "small" || name == "dissect-simple";
    for (const Part part : {Part::train, Part::test}) {
      const auto samples = workload.make(part, 300, test::seed());
      ASSERT_EQ(samples.size(), 300u) << name;
      for (const Sample& sample : samples) {
        std::string answer = last_line(sample.answer);
        EXPECT_LE(sample.answer.size(),
                  static_cast<size_t>(workload.max_tokens) + workload.stop.size())
            << name;
        if (modular) {
          // Every step has the value of what stands before it.
          const long expected = Calculator(question_of(sample), true).value();
          std::string rest = answer + "=";
          size_t steps = 0;
          for (size_t end = rest.find('='); end != rest.npos; end = rest.find('='), ++steps) {
            EXPECT_EQ(Calculator(rest.substr(0, end), true).value(), expected)
                << sample.prompt << answer;
            rest.erase(0, end + 1);
          }
          const auto operators = static_cast<size_t>(name[8] - '0');
          EXPECT_EQ(steps, name.ends_with("steps") ? operators : 1u) << sample.prompt << answer;
          continue;
        }
        EXPECT_EQ(number(backward ? reversed(answer) : answer),
                  Calculator(question_of(sample), false).value())
            << name << ": " << sample.prompt;
      }
    }
  }
}

TEST(Workloads, ScratchpadsAreThePaper_s) {
  // Found by their operands: any sample is one of the paper's form.
  const auto form = [](const char* name, const std::string& question) {
    for (const Sample& sample : find_workload(name).make(Part::train, 10000, 1)) {
      if (question_of(sample) == question) return sample.prompt + sample.answer;
    }
    return std::string("none");
  };
  EXPECT_EQ(form("add-simplified", "9+8"), "Input:\n9+8\nTarget:\nA->7 , C->1.\n17\n");
  EXPECT_EQ(form("add-detailed", "9+8"),
            "Input:\n9+8\nTarget:\n<scratch>\n[9] has 1 digits.\n[8] has 1 digits.\n"
            "[9] + [8] , A=[] , C=0 , 9+8+0=17 , A->7 , C->1\n[] + [] , A=[7] C=1 , END\n"
            "</scratch>\n1 7\n");
}

TEST(Workloads, FunctionsAreThePaper_s) {
  // Teaching Arithmetic, appendix D.4 and D.5.
  struct Example {
    const char* question;
    std::string steps;
  };
  const std::map<std::string, std::vector<Example>> examples = {
      {"sin-plain",
       {{"sin(1.0313)", "0.8579"}, {"sin(-0.6909)", "-0.6373"}, {"sin(-0.5719)", "-0.5413"}}},
      {"sqrt-plain",
       {{"sqrt(7.2726)", "2.6967"}, {"sqrt(3.6224)", "1.9032"}, {"sqrt(1.0895)", "1.0437"}}},
      {"sin-detailed",
       {{"sin(1.0313)",
         "<scratch>\nx_0=1.0313\nx_1: x_0 - 1/3! * (x^3) , x_1=0.8484\n"
         "x_2: x_1 + 1/5! * (x^5) , x_2=0.8581\nx_3: x_2 - 1/7! * (x^7) , x_3=0.8578\n"
         "x_4: x_3 + 1/9! * (x^9) , x_4=0.8578 , END\n</scratch>\n0.8578"},
        {"sin(-0.6909)",
         "<scratch>\nx_0=-0.6909\nx_1: x_0 - 1/3! * (x^3) , x_1=-0.636\n"
         "x_2: x_1 + 1/5! * (x^5) , x_2=-0.6374\nx_3: x_2 - 1/7! * (x^7) , x_3=-0.6374\n"
         "x_4: x_3 + 1/9! * (x^9) , x_4=-0.6375 , END\n</scratch>\n-0.6375"}}},
      {"sqrt-detailed",
       {{"sqrt(7.1042)",
         "<scratch>\nx_0=2\nx_1: 1/2*(2+7.1042/2)=2.776, x_1=2.776\n"
         "x_2: 1/2*(2.776+7.1042/2.776)=2.6675, x_2=2.6675\n"
         "x_3: 1/2*(2.6675+7.1042/2.6675)=2.6653, x_3=2.6653\n"
         "x_4: 1/2*(2.6653+7.1042/2.6653)=2.6653, x_4=2.6653 , END\n</scratch>\n2.6653"},
        {"sqrt(8.3216)",
         "<scratch>\nx_0=2\nx_1: 1/2*(2+8.3216/2)=3.0804, x_1=3.0804\n"
         "x_2: 1/2*(3.0804+8.3216/3.0804)=2.8909, x_2=2.8909\n"
         "x_3: 1/2*(2.8909+8.3216/2.8909)=2.8847, x_3=2.8847\n"
         "x_4: 1/2*(2.8847+8.3216/2.8847)=2.8847, x_4=2.8847 , END\n</scratch>\n2.8847"}}}};
  int found = 0;
  for (const auto& [name, known] : examples) {
    std::map<std::string, std::string> answers;
    const bool sine = name.starts_with("sin");
    for (const Part part : {Part::train, Part::test}) {
      const int count = (sine ? 24000 : 70000) / (part == Part::train ? 1 : 9);
      for (const Sample& sample : find_workload(name).make(part, count, 1)) {
        answers[question_of(sample)] = sample.answer;
      }
    }
    for (const auto& [question, steps] : known) {
      const auto answer = answers.find(question);
      if (answer == answers.end()) continue;  // not drawn
      EXPECT_EQ(answer->second, steps + "\n");
      ++found;
    }
  }
  EXPECT_GE(found, 6);  // of 10
}

TEST(Workloads, SamplingIsBalanced) {
  // Teaching Arithmetic, section 3: 100 pairs of one digit, 900 of two, 9000 of three with as many
  // of each number of carries.
  const auto samples = find_workload("add-plain").make(Part::train, 10000, test::seed());
  std::map<size_t, int> lengths, carries;
  std::set<std::string> different;
  for (const Sample& sample : samples) {
    const std::string question = question_of(sample);
    different.insert(question);
    const size_t plus = question.find('+');
    const long a = std::stol(question.substr(0, plus)), b = std::stol(question.substr(plus + 1));
    const size_t longest = std::max(plus, question.size() - plus - 1);
    ++lengths[longest];
    if (longest < 3) continue;
    // A carry makes the digits' sum smaller by 9.
    const auto digit_sum = [](long n) { return n % 10 + n / 10 % 10 + n / 100 % 10 + n / 1000; };
    ++carries[static_cast<size_t>((digit_sum(a) + digit_sum(b) - digit_sum(a + b)) / 9)];
  }
  EXPECT_EQ(different.size(), samples.size());
  EXPECT_EQ(lengths[1], 100);
  EXPECT_EQ(lengths[2], 900);
  EXPECT_EQ(lengths[3], 9000);
  for (size_t count = 0; count < 4; ++count) EXPECT_NEAR(carries[count], 2250, 60) << count;
}

TEST(Workloads, QuestionsAreNotTrainedOn) {
  for (const Workload& workload : workloads()) {
    if (!is_expression(workload)) continue;
    std::set<std::string> trained;
    for (const Sample& sample : workload.make(Part::train, 3000, 1))
      trained.insert(question_of(sample));
    for (const Sample& sample : workload.make(Part::test, 300, 2)) {
      const std::string question = question_of(sample);
      const bool one_digit_each = question.size() == 3;
      if (workload.name == "small" && question.find('*') != question.npos) continue;  // as it says
      EXPECT_TRUE(one_digit_each || !trained.count(question)) << workload.name << ": " << question;
    }
  }
}

TEST(Workloads, AreFunctionsOfTheirSeed) {
  for (const Workload& workload : workloads()) {
    const auto once = workload.make(Part::train, 50, 3);
    EXPECT_EQ(once, workload.make(Part::train, 50, 3)) << workload.name;
    EXPECT_NE(once, workload.make(Part::train, 50, 4)) << workload.name;
  }
}

TEST(Workloads, NoOtherQuestionIsTrainedOn) {
  for (const Workload& workload : workloads()) {
    if (is_expression(workload)) continue;
    const auto of = [&](Part part, int count, uint64_t seed) {
      std::set<std::string> questions;
      for (const Sample& sample : workload.make(part, count, seed)) {
        std::string question = sample.prompt;
        std::erase(question, ' ');
        EXPECT_TRUE(questions.insert(question).second) << workload.name << ": " << sample.prompt;
      }
      return questions;
    };
    const auto trained = of(Part::train, 1000, 1);
    for (const std::string& question : of(Part::test, 200, 2)) {
      EXPECT_FALSE(trained.count(question)) << workload.name << ": " << question;
    }
  }
}

TEST(Workloads, ThereAreAllTasksOfTheNumberCookbook) {
  // Its table: operations by notation; 41, and 12 easier or harder kinds.
  std::map<std::string, int> by_notation;
  int kinds = 0;
  for (const Workload& workload : workloads()) {
    if (!workload.name.starts_with("nupa-") || !workload.listed) continue;
    const bool kind = workload.name.find("-easy-") != workload.name.npos ||
                      workload.name.find("-hard-") != workload.name.npos;
    kinds += kind;
    if (!kind) ++by_notation[workload.name.substr(workload.name.rfind('-') + 1)];
  }
  const std::map<std::string, int> expected = {
      {"integer", 16}, {"float", 12}, {"fraction", 7}, {"scientific", 6}};
  EXPECT_EQ(by_notation, expected);
  EXPECT_EQ(kinds, 12);
}

TEST(Workloads, LengthsAreSpread) {
  std::map<int, int> trained, asked;
  const Workload& workload = find_workload("nupa-add-integer");
  for (const Sample& sample : workload.make(Part::train, 4000, 1)) ++trained[sample.length];
  for (const Sample& sample : workload.make(Part::test, 1800, 1)) ++asked[sample.length];
  // There are 100 pairs of one digit, a tenth of them kept.
  EXPECT_LE(trained[1], 100);
  for (int length = 3; length <= 8; ++length) EXPECT_NEAR(trained[length], 560, 30) << length;
  EXPECT_EQ(trained.rbegin()->first, 8);
  EXPECT_EQ(asked.begin()->first, 3);
  EXPECT_EQ(asked.rbegin()->first, 20);
  for (const auto& [length, count] : asked) EXPECT_EQ(count, 100) << length;
}

TEST(Workloads, AreTasks) {
  const Task task = read_task("arithmetic/add-reverse=5", 20);
  EXPECT_EQ(task.questions.size(), 20u);
  EXPECT_EQ(task.name, "arithmetic/add-reverse");
  EXPECT_EQ(read_task("arithmetic/add-plain", 0).questions.size(), 500u);
  EXPECT_EQ(read_task("arithmetic/nupa-mod-integer-bare", 36).questions[17].length, 20);
  EXPECT_THROW(read_task("arithmetic/add", 0), Error);
  EXPECT_THROW(read_task("arithmetic/add-plain=x", 0), Error);
}

}  // namespace
}  // namespace napier
