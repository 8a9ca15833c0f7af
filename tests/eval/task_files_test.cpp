#include "eval/task_files.hpp"

#include <fstream>
#include <string>
#include <vector>

#include "eval/task.hpp"
#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

constexpr InstructionForm k_form = {"Please: ", "Answer"};

std::string message_of(const std::string& text, const std::string& answer) {
  try {
    parse_instruction(text, answer, k_form);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TaskFiles, InstructionsAreTakenApart) {
  const OptionsEntry entry = parse_instruction(
      "Please: What is Answer1: about?\n\nAnswer1: a b Answer2: c.\n\nAnswer format: "
      "answer1/answer2",
      "answer2", k_form);
  EXPECT_EQ(entry.question, "What is Answer1: about?");
  EXPECT_EQ(entry.options, (std::vector<std::string>{"a b", "c."}));
  EXPECT_EQ(entry.right, 1u);
}

TEST(TaskFiles, BrokenInstructionsSayWhatIsMissing) {
  EXPECT_NE(message_of("What?", "answer1").find("does not begin with"), std::string::npos);
  EXPECT_NE(message_of("Please: What?", "answer1").find("Answer format"), std::string::npos);
  EXPECT_NE(message_of("Please: What? Answer2: a Answer format: answer1/answer2", "answer1")
                .find("'Answer1:'"),
            std::string::npos);
  EXPECT_NE(message_of("Please: W? Answer1: a Answer format: answer1", "answer2").find("'answer2'"),
            std::string::npos);
}

TEST(TaskFiles, Csv) {
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(parse_csv("a,b\r\n\"x, \"\"y\"\"\nz\",\n\n1,2", "f"),
            (Rows{{"a", "b"}, {"x, \"y\"\nz", ""}, {"1", "2"}}));
  EXPECT_EQ(parse_csv("", "f"), Rows{});
  EXPECT_EQ(parse_csv("\"\"\n", "f"), (Rows{{""}}));
  EXPECT_THROW(parse_csv("\"a\n", "f"), Error);
}

// Every file of the shared tasks is one of these: all questions are taken apart without an error.
TEST(TaskFiles, AllSharedFilesAreRead) {
  NAPIER_NEED_SHARED("data/tasks/mmlu");
  const std::string folder = test::shared_file("data/tasks");
  const std::vector<std::pair<const char*, size_t>> expected = {
      {"arc_easy=commonsense/ARC-Easy.test.json", 2376},
      {"arc_challenge=commonsense/ARC-Challenge.test.json", 1172},
      {"openbookqa=commonsense/openbookqa.test.json", 500},
      {"piqa=commonsense/piqa.test.json", 1838},
      {"social_iqa=commonsense/social_i_qa.test.json", 1954},
      {"winogrande=commonsense/winogrande.test.json", 1267},
      {"boolq=commonsense/boolq.test.json", 3270},
      {"commonsense_qa=commonsense/CommonsenseQA_dev_rand_split.jsonl", 1221},
      {"mmlu=mmlu/test/anatomy_test.csv", 135},
      {"bbh=bbh/penguins_in_a_table.json", 146},
      {"bbh_cot=bbh/word_sorting.json", 250},
      {"gsm8k_cot=gsm8k/test.jsonl", 1319},
      {"gsm8k_cot_zeroshot=gsm8k/test.jsonl", 1319},
      {"svamp=commonsense/SVAMP.test.json", 1000},
      {"multiarith=commonsense/MultiArith.test.json", 600},
      {"addsub=commonsense/AddSub.test.json", 395},
      {"singleeq=commonsense/SingleEq.test.json", 508}};
  EXPECT_EQ(expected.size(), task_kinds().size());
  for (const auto& [request, count] : expected) {
    const std::string text = request;
    const size_t equals = text.find('=') + 1;
    const Task task = read_task(text.substr(0, equals) + folder + "/" + text.substr(equals), 0);
    EXPECT_EQ(task.questions.size(), count) << request;
    for (const Question& question : task.questions) {
      if (task.is_choice()) {
        EXPECT_LT(question.right, question.choices.size());
        EXPECT_GE(question.choices.size(), 2u);
      } else {
        EXPECT_FALSE(question.prompt.empty() || question.answer.empty());
      }
    }
  }
}

}  // namespace
}  // namespace napier
