// The Number Cookbook's metrics, on examples computed by hand from their definition.
#include "eval/number_match.hpp"

#include <gtest/gtest.h>

#include "eval/answers.hpp"
#include "eval/length_groups.hpp"

namespace napier {
namespace {

using enum Notation;

TEST(NumberMatch, FindsTheNumberAtTheBeginning) {
  EXPECT_EQ(leading_number(" 579 .", integer), "579");
  EXPECT_EQ(leading_number("-579", integer), "");
  EXPECT_EQ(leading_number("The answer", integer), "");
  EXPECT_EQ(leading_number("12.50.1", decimal), "12.50");
  EXPECT_EQ(leading_number("12", decimal), "");
  EXPECT_EQ(leading_number("7/13 or so", fraction), "7/13");
  EXPECT_EQ(leading_number("7/", fraction), "");
  EXPECT_EQ(leading_number("1.25E+10", scientific), "1.25e10");
  EXPECT_EQ(leading_number("1.25e-3", scientific), "1.25e3");
  EXPECT_EQ(leading_number("1.25", scientific), "");
}

void expect_match(const char* found, const char* expected, Notation notation, double match,
                  int dlength) {
  const NumberMatch result = match_numbers(found, expected, notation);
  EXPECT_DOUBLE_EQ(result.digit_match, match) << found << " for " << expected;
  EXPECT_EQ(result.dlength, dlength) << found << " for " << expected;
}

TEST(NumberMatch, DigitsStandAtTheirPlaces) {
  expect_match("123", "123", integer, 1, 0);
  expect_match("23", "123", integer, 2.0 / 3, 1);
  expect_match("12", "123", integer, 0, 1);
  expect_match("1123", "123", integer, 1, 1);
  expect_match("321", "3210", reversed, 3.0 / 4, 1);
  expect_match("210", "3210", reversed, 0, 1);
  expect_match("2.5", "12.50", decimal, 2.0 / 4, 2);
  expect_match("112.5", "12.5", decimal, 1, 1);
  expect_match("1/13", "7/13", fraction, 2.0 / 3, 0);
  expect_match("7/113", "7/13", fraction, 1, 1);
  expect_match("1.5e10", "1.25e0", scientific, 2.0 / 4, 0);
  expect_match("", "1.25e0", scientific, 0, 4);
}

TEST(NumberMatch, PlacesAreCountedFromTheOnes) {
  EXPECT_EQ(match_numbers("193", "123", integer).places, (std::vector{true, false, true}));
  EXPECT_EQ(match_numbers("391", "321", reversed).places, (std::vector{true, false, true}));
  EXPECT_TRUE(match_numbers("1.5", "1.5", decimal).places.empty());
}

TEST(NumberMatch, ResultsAreFoundInAnswers) {
  const NumberGrading equations = {none, ";"}, cookbook = {integer, ""}, sums = {integer, "\n"};
  EXPECT_TRUE(extract_result(equations, "x;a=1,b=2", "y;a=1,b=2").flexible_right);
  EXPECT_FALSE(extract_result(equations, "x;a=1,b=2", "y;a=1,b=2").strict_right);
  EXPECT_TRUE(extract_result(cookbook, " 12 . Or", "12").flexible_right);
  EXPECT_TRUE(extract_result(sums, "A->2\n12", "A->1\n12").flexible_right);
  EXPECT_FALSE(extract_result(sums, "A->2\n13", "A->2\n12").flexible_right);
}

TEST(LengthGroups, AnswersAreToldApart) {
  TaskEvaluation evaluation;
  evaluation.grading = NumberGrading{decimal, "\n", {4, 8}, {0.05}};
  evaluation.answers = {"1.5", "2.5", "3.25", "4.5"};
  evaluation.lengths = {1, 4, 5, 9};
  TaskResult result;
  for (const char* text : {"1.5", "2.6", "3.21", "x"}) {
    Answer answer;
    const Extracted found =
        extract_result(*evaluation.grading, text, evaluation.answers[result.answers.size()]);
    answer.found = {found.strict, found.flexible};
    answer.right = {found.strict_right, found.flexible_right};
    result.answers.push_back(answer);
  }
  const auto groups = by_length(evaluation, result);
  ASSERT_EQ(groups.size(), 3u);  // all, up to 4, above
  EXPECT_EQ(groups[0].questions, 4u);
  EXPECT_EQ(groups[1].shortest, 1);
  EXPECT_EQ(groups[1].longest, 4);
  EXPECT_EQ(groups[2].longest, 9);
  EXPECT_DOUBLE_EQ(groups[0].exact.mean, 0.25);
  EXPECT_DOUBLE_EQ(groups[1].digit_match.mean, 0.75);
  EXPECT_DOUBLE_EQ(groups[2].digit_match.mean, (2.0 / 3 + 0) / 2);
  EXPECT_DOUBLE_EQ(groups[2].dlength.mean, 1);
  EXPECT_DOUBLE_EQ(groups[0].within[0].mean, 0.5);  // 1.5 and 3.21
}

}  // namespace
}  // namespace napier
