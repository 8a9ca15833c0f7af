#include "eval/task_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "eval/trimmed.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

using nlohmann::json;

std::string read_file(const std::string& path) { return read_input_file(path, "the task's file"); }

std::string text_member(const json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (found == object.end()) throw Error("has no member '" + std::string(name) + "'");
  if (!found->is_string()) throw Error("the member '" + std::string(name) + "' is no text");
  return found->get<std::string>();
}

// Calls read(entry) for each; what that throws gets its place.
void each_entry(const json& list, const std::string& path,
                const std::function<void(const json& entry)>& read) {
  size_t number = 0;
  for (const json& entry : list) {
    ++number;
    try {
      read(entry);
    } catch (const Error& error) {
      throw Error(path + ": entry " + std::to_string(number) + ": " + error.what());
    }
  }
}

void each_line(const std::string& path, const std::function<void(const json& line)>& read) {
  std::istringstream lines(read_file(path));
  size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (trimmed(line).empty()) continue;
    try {
      const json object = json::parse(line, nullptr, false);
      if (object.is_discarded()) throw Error("is not JSON; each line must be one whole object");
      read(object);
    } catch (const Error& error) {
      throw Error(path + ": line " + std::to_string(number) + ": " + error.what());
    }
  }
}

json parse_whole(const std::string& path) {
  json document = json::parse(read_file(path), nullptr, false);
  if (document.is_discarded()) throw Error(path + ": is not JSON");
  return document;
}

json parse_list(const std::string& path) {
  json document = parse_whole(path);
  if (!document.is_array()) throw Error(path + ": is not a JSON list of questions");
  return document;
}

}  // namespace

std::string between(std::string_view text, std::string_view lead, std::string_view end,
                    const std::string& path) {
  const size_t stop = text.rfind(end);
  if (!text.starts_with(lead) || stop == text.npos || stop < lead.size()) {
    throw Error(path + ": an instruction is not of the form '" + std::string(lead) + "...'");
  }
  return std::string(trimmed(text.substr(lead.size(), stop - lead.size())));
}

OptionsEntry parse_instruction(std::string_view text, std::string_view answer,
                               const InstructionForm& form) {
  if (!text.starts_with(form.lead)) {
    throw Error("the instruction does not begin with '" + std::string(form.lead) + "'");
  }
  text.remove_prefix(form.lead.size());
  const size_t format = text.rfind("Answer format:");
  if (format == text.npos) throw Error("the instruction has no 'Answer format:'");
  const std::string_view names = text.substr(format);
  const auto count = static_cast<size_t>(std::count(names.begin(), names.end(), '/')) + 1;
  text = text.substr(0, format);

  // From the back: the options' texts are the last that such labels stand before.
  OptionsEntry entry;
  entry.options.resize(count);
  for (size_t i = count; i-- > 0;) {
    const std::string label = std::string(form.label) + std::to_string(i + 1) + ":";
    const size_t at = text.rfind(label);
    if (at == text.npos) throw Error("the instruction has no '" + label + "'");
    entry.options[i] = trimmed(text.substr(at + label.size()));
    text = text.substr(0, at);
  }
  entry.question = trimmed(text);

  std::string expected(form.label);
  expected[0] = static_cast<char>(expected[0] | 0x20);  // "Answer" names "answer1"
  for (entry.right = 0; entry.right < count; ++entry.right) {
    if (answer == expected + std::to_string(entry.right + 1)) return entry;
  }
  throw Error("the answer '" + std::string(answer) + "' names none of the " +
              std::to_string(count) + " options");
}

std::vector<OptionsEntry> read_instructions(const std::string& path, const InstructionForm& form) {
  std::vector<OptionsEntry> entries;
  each_entry(parse_list(path), path, [&](const json& entry) {
    entries.push_back(
        parse_instruction(text_member(entry, "instruction"), text_member(entry, "answer"), form));
  });
  return entries;
}

std::vector<TextEntry> read_json_entries(const std::string& path, const char* question,
                                         const char* answer) {
  std::vector<TextEntry> entries;
  each_entry(parse_list(path), path, [&](const json& entry) {
    entries.push_back({text_member(entry, question), text_member(entry, answer)});
  });
  return entries;
}

std::vector<TextEntry> read_json_lines(const std::string& path, const char* question,
                                       const char* answer) {
  std::vector<TextEntry> entries;
  each_line(path, [&](const json& line) {
    entries.push_back({text_member(line, question), text_member(line, answer)});
  });
  return entries;
}

std::vector<OptionsEntry> read_commonsense_qa_lines(const std::string& path) {
  std::vector<OptionsEntry> entries;
  each_line(path, [&](const json& line) {
    const auto question = line.is_object() ? line.find("question") : line.end();
    if (question == line.end()) throw Error("has no member 'question'");
    OptionsEntry entry;
    entry.question = text_member(*question, "stem");
    const std::string key = text_member(line, "answerKey");
    const auto choices = question->find("choices");
    if (choices == question->end() || !choices->is_array()) throw Error("has no 'choices'");
    entry.right = choices->size();
    for (const json& choice : *choices) {
      if (text_member(choice, "label") == key) entry.right = entry.options.size();
      entry.options.push_back(text_member(choice, "text"));
    }
    if (entry.right == entry.options.size()) {
      throw Error("the answerKey '" + key + "' is no choice's label");
    }
    entries.push_back(std::move(entry));
  });
  return entries;
}

std::vector<TextEntry> read_bbh_examples(const std::string& path) {
  const json document = parse_whole(path);
  const auto examples = document.is_object() ? document.find("examples") : document.end();
  if (examples == document.end() || !examples->is_array()) {
    throw Error(path + ": has no list 'examples'");
  }
  std::vector<TextEntry> entries;
  each_entry(*examples, path, [&](const json& entry) {
    entries.push_back({text_member(entry, "input"), text_member(entry, "target")});
  });
  return entries;
}

std::string bbh_prompt_file(const std::string& path) {
  const std::filesystem::path file(path);
  const auto prompts = file.parent_path().parent_path() / "bbh_cot_prompts";
  return (prompts / (file.stem().string() + ".txt")).string();
}

std::string read_bbh_prompt(const std::string& path) {
  std::string text = read_file(bbh_prompt_file(path));
  constexpr std::string_view rule = "-----\n";
  const size_t canary_end = text.find(rule);
  if (canary_end != std::string::npos) text.erase(0, canary_end + rule.size());
  return std::string(trimmed(text));
}

MmluFiles mmlu_files(const std::string& test_path) {
  const std::filesystem::path file(test_path);
  std::string subject = file.stem().string();
  constexpr std::string_view suffix = "_test";
  if (!std::string_view(subject).ends_with(suffix)) {
    throw Error(test_path + ": is not called SUBJECT_test.csv");
  }
  subject.resize(subject.size() - suffix.size());
  const auto dev = file.parent_path().parent_path() / "dev" / (subject + "_dev.csv");
  return {subject, dev.string()};
}

std::vector<OptionsEntry> read_mmlu_table(const std::string& path) {
  const auto rows = parse_csv(read_file(path), path);
  const std::vector<std::string> header = {"question", "choice0", "choice1",
                                           "choice2",  "choice3", "answer"};
  if (rows.empty() || rows[0] != header) {
    throw Error(path + ": the first row is not question,choice0,choice1,choice2,choice3,answer");
  }
  std::vector<OptionsEntry> entries;
  for (size_t i = 1; i < rows.size(); ++i) {
    const std::vector<std::string>& row = rows[i];
    const auto wrong = [&](const std::string& what) {
      return Error(path + ": entry " + std::to_string(i) + ": " + what);
    };
    if (row.size() != header.size()) {
      throw wrong("has " + std::to_string(row.size()) + " fields, not 6");
    }
    if (row[5].size() != 1 || row[5][0] < '0' || row[5][0] > '3') {
      throw wrong("the answer '" + row[5] + "' is not 0 to 3");
    }
    entries.push_back(
        {row[0], {row[1], row[2], row[3], row[4]}, static_cast<size_t>(row[5][0] - '0')});
  }
  return entries;
}

std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false, any = false;
  const auto end_field = [&] {
    row.push_back(std::move(field));
    field.clear();
  };
  const auto end_row = [&] {
    end_field();
    rows.push_back(std::move(row));
    row.clear();
    any = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
      }
      continue;
    }
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (c == '\n') {
      if (any || !row.empty()) end_row();
      continue;
    }
    any = true;
    if (c == '"' && field.empty()) {
      quoted = true;
    } else if (c == ',') {
      end_field();
    } else {
      field += c;
    }
  }
  if (quoted) throw Error(path + ": a quote is not closed");
  if (any || !row.empty()) end_row();
  return rows;
}

}  // namespace napier
