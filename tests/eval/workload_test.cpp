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

TEST(Workloads, AnswersAreRight) {
  for (const Workload& workload : workloads()) {
    const std::string name(workload.name);
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

TEST(Workloads, AreTasks) {
  const Task task = read_task("arithmetic/add-reverse=5", 20);
  EXPECT_EQ(task.questions.size(), 20u);
  EXPECT_EQ(task.name, "arithmetic/add-reverse");
  EXPECT_EQ(read_task("arithmetic/add-plain", 0).questions.size(), 500u);
  EXPECT_THROW(read_task("arithmetic/add", 0), Error);
  EXPECT_THROW(read_task("arithmetic/add-plain=x", 0), Error);
}

}  // namespace
}  // namespace napier
