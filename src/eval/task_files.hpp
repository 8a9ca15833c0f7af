// The files that benchmark tasks come in. All throw Error that names the file, and the line or the
// number of the entry (from 1) that is wrong.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace napier {

struct OptionsEntry {
  std::string question;
  std::vector<std::string> options;
  size_t right = 0;
};

struct TextEntry {
  std::string question;
  std::string answer;
};

// "<lead>QUESTION\n\nAnswer1: ... Answer2: ...\n\nAnswer format: answer1/answer2", with the answer
// "answer2"; the label is "Answer" here.
struct InstructionForm {
  std::string_view lead;
  std::string_view label;
};
std::vector<OptionsEntry> read_instructions(const std::string& path, const InstructionForm& form);
// One instruction alone. Throws Error that says what is missing.
OptionsEntry parse_instruction(std::string_view text, std::string_view answer,
                               const InstructionForm& form);

// A JSON list of objects, two members of each.
std::vector<TextEntry> read_json_entries(const std::string& path, const char* question,
                                         const char* answer);
// A JSON object a line, two members of each.
std::vector<TextEntry> read_json_lines(const std::string& path, const char* question,
                                       const char* answer);
// {"question": {"stem": ..., "choices": [{"label": "A", "text": ...}]}, "answerKey": "A"} a line.
std::vector<OptionsEntry> read_commonsense_qa_lines(const std::string& path);
// {"examples": [{"input": ..., "target": ...}]}
std::vector<TextEntry> read_bbh_examples(const std::string& path);
// ../bbh_cot_prompts/NAME.txt beside .../NAME.json.
std::string bbh_prompt_file(const std::string& path);
// Its text without its canary lines.
std::string read_bbh_prompt(const std::string& path);

// Columns question, choice0 to choice3, answer (0 to 3), with a header row.
std::vector<OptionsEntry> read_mmlu_table(const std::string& path);
struct MmluFiles {
  std::string subject, dev;
};
MmluFiles mmlu_files(const std::string& test_path);

// The rows of CSV (RFC 4180). Throws Error for a quote that is not closed.
std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& path);

// What stands between `lead`, which begins the text, and `end`. Throws Error.
std::string between(std::string_view text, std::string_view lead, std::string_view end,
                    const std::string& path);

}  // namespace napier
