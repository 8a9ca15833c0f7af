#include "eval/task.hpp"

#include <algorithm>
#include <array>

#include "eval/answers.hpp"
#include "eval/task_files.hpp"
#include "eval/trimmed.hpp"
#include "eval/workload.hpp"
#include "napier/error.hpp"
#include "numerics/cursor.hpp"

namespace napier {
namespace {

constexpr std::array<const char*, 2> k_choice_measures = {"acc", "acc_norm"};
constexpr std::array<const char*, 2> k_generated_measures = {"strict", "flexible"};
constexpr std::array<const char*, 2> k_whole_measures = {"exact", "result"};

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Every option after the same context, as " option".
Question choice_question(const std::string& context, const std::vector<std::string>& options,
                         size_t right) {
  Question question;
  question.right = right;
  for (const std::string& option : options) {
    question.choices.push_back({context, " " + option, characters(option)});
  }
  return question;
}

std::vector<std::string> letters(size_t count) {
  std::vector<std::string> result;
  for (size_t i = 0; i < count; ++i) result.emplace_back(1, static_cast<char>('A' + i));
  return result;
}

// "Question\nA. ...\nB. ...\nAnswer:"
std::string lettered(const std::string& question, const std::vector<std::string>& options) {
  std::string text(trimmed(question));
  for (size_t i = 0; i < options.size(); ++i) {
    text += "\n" + std::string(1, static_cast<char>('A' + i)) + ". " + options[i];
  }
  return text + "\nAnswer:";
}

Task of_instructions(const std::string& path, const InstructionForm& form,
                     Question (*question)(const OptionsEntry& entry)) {
  Task task;
  for (const OptionsEntry& entry : read_instructions(path, form)) {
    task.questions.push_back(question(entry));
  }
  return task;
}

constexpr InstructionForm k_answers = {"Please choose the correct answer to the question: ",
                                       "Answer"};

Task read_arc(const std::string& path) {
  return of_instructions(path, k_answers, [](const OptionsEntry& entry) {
    return choice_question("Question: " + entry.question + "\nAnswer:", entry.options, entry.right);
  });
}

Task read_openbookqa(const std::string& path) {
  return of_instructions(path, k_answers, [](const OptionsEntry& entry) {
    return choice_question(entry.question, entry.options, entry.right);
  });
}

Task read_social_iqa(const std::string& path) {
  return of_instructions(path, k_answers, [](const OptionsEntry& entry) {
    return choice_question("Q: " + entry.question + "\nA:", entry.options, entry.right);
  });
}

Task read_piqa(const std::string& path) {
  const InstructionForm form = {"Please choose the correct solution to the question: ", "Solution"};
  return of_instructions(path, form, [](const OptionsEntry& entry) {
    return choice_question("Question: " + entry.question + "\nAnswer:", entry.options, entry.right);
  });
}

// The options go where the blank is, and what follows it is scored after each of them.
Task read_winogrande(const std::string& path) {
  const InstructionForm form = {
      "Please choose the correct answer to fill in the blank to complete the given sentence: ",
      "Option"};
  Task task;
  for (const OptionsEntry& entry : read_instructions(path, form)) {
    const size_t blank = entry.question.find('_');
    if (blank == std::string::npos) {
      throw Error(path + ": '" + entry.question + "' has no blank _");
    }
    const std::string rest(trimmed(std::string_view(entry.question).substr(blank + 1)));
    Question question;
    question.right = entry.right;
    for (const std::string& option : entry.options) {
      question.choices.push_back(
          {entry.question.substr(0, blank) + option, " " + rest, characters(option)});
    }
    task.questions.push_back(std::move(question));
  }
  return task;
}

Task read_boolq(const std::string& path) {
  Task task;
  for (const TextEntry& entry : read_json_entries(path, "instruction", "answer")) {
    constexpr std::string_view lead =
        "Please answer the following question with true or false, question: ";
    const std::string question = between(entry.question, lead, "\n\nAnswer format:", path);
    const bool is_true = entry.answer == "true";
    if (!is_true && entry.answer != "false") {
      throw Error(path + ": the answer '" + entry.answer + "' is neither true nor false");
    }
    task.questions.push_back(
        choice_question("Question: " + question + "\nAnswer:", {"no", "yes"}, is_true));
  }
  return task;
}

Task read_commonsense_qa(const std::string& path) {
  Task task;
  for (const OptionsEntry& entry : read_commonsense_qa_lines(path)) {
    task.questions.push_back(choice_question("Question: " + lettered(entry.question, entry.options),
                                             letters(entry.options.size()), entry.right));
  }
  return task;
}

Task read_mmlu(const std::string& path) {
  const MmluFiles files = mmlu_files(path);
  std::string subject = files.subject;
  std::replace(subject.begin(), subject.end(), '_', ' ');
  std::string lead =
      "The following are multiple choice questions (with answers) about " + subject + ".\n\n";
  const std::vector<OptionsEntry> shots = read_mmlu_table(files.dev);
  for (size_t i = 0; i < std::min<size_t>(5, shots.size()); ++i) {
    lead +=
        lettered(shots[i].question, shots[i].options) + " " + letters(4)[shots[i].right] + "\n\n";
  }
  Task task;
  for (const OptionsEntry& entry : read_mmlu_table(path)) {
    task.questions.push_back(choice_question(lead + lettered(entry.question, entry.options),
                                             letters(entry.options.size()), entry.right));
  }
  return task;
}

// Multiple choice among all answers that the file has: BBH's own options are letters or few words.
Task read_bbh(const std::string& path) {
  const std::vector<TextEntry> entries = read_bbh_examples(path);
  std::vector<std::string> answers;
  for (const TextEntry& entry : entries) {
    if (std::find(answers.begin(), answers.end(), entry.answer) == answers.end()) {
      answers.push_back(entry.answer);
    }
  }
  std::sort(answers.begin(), answers.end());
  constexpr size_t k_most = 30;
  if (answers.size() > k_most) {
    throw Error(path + ": has " + std::to_string(answers.size()) +
                " different answers, too many to choose among; use bbh_cot");
  }
  Task task;
  for (const TextEntry& entry : entries) {
    const auto right = std::find(answers.begin(), answers.end(), entry.answer);
    task.questions.push_back(choice_question("Q: " + entry.question + "\nA:", answers,
                                             static_cast<size_t>(right - answers.begin())));
  }
  return task;
}

Task generative(Extraction extraction, std::vector<std::string> stops, int max_tokens) {
  Task task;
  task.extraction = extraction;
  task.stops = std::move(stops);
  task.max_tokens = max_tokens;
  return task;
}

constexpr int k_harness_tokens = 256;

Task read_bbh_cot(const std::string& path) {
  Task task = generative(Extraction::sentence, {"</s>", "Q", "\n\n"}, 1024);
  const std::string lead = read_bbh_prompt(path);
  for (TextEntry& entry : read_bbh_examples(path)) {
    task.questions.push_back(
        {{},
         0,
         lead + "\n\nQ: " + entry.question + "\nA: Let's think step by step.\n",
         std::move(entry.answer)});
  }
  return task;
}

// "Q: ...\nA: ..." eight times, then the question.
std::string with_examples(const std::string& question) {
  std::string prompt;
  for (const WorkedExample& example : arithmetic_examples()) {
    prompt +=
        "Q: " + std::string(example.question) + "\nA: " + std::string(example.answer) + "\n\n";
  }
  return prompt + "Q: " + question + "\nA:";
}

Task read_gsm8k_cot(const std::string& path) {
  Task task = generative(Extraction::number, {"Q:", "</s>", "<|im_end|>"}, k_harness_tokens);
  for (TextEntry& entry : read_json_lines(path, "question", "answer")) {
    task.questions.push_back({{}, 0, with_examples(entry.question), std::move(entry.answer)});
  }
  return task;
}

Task read_gsm8k_zeroshot(const std::string& path) {
  Task task = generative(Extraction::number, {"Q:", "</s>", "<|im_end|>"}, k_harness_tokens);
  for (TextEntry& entry : read_json_lines(path, "question", "answer")) {
    task.questions.push_back({{},
                              0,
                              "Q: " + entry.question + "\nA: Let's think step by step.",
                              std::move(entry.answer)});
  }
  return task;
}

Task read_word_problems(const std::string& path) {
  Task task = generative(Extraction::value, {"Q:", "</s>", "<|im_end|>"}, k_harness_tokens);
  for (TextEntry& entry : read_json_entries(path, "instruction", "answer")) {
    task.questions.push_back(
        {{}, 0, with_examples(std::string(trimmed(entry.question))), std::move(entry.answer)});
  }
  return task;
}

constexpr const char* k_instructions = "JSON list of instruction, answer";

constexpr std::array k_kinds = {
    TaskKind{"arc_easy", k_instructions, "the harness's arc_easy, 0-shot", read_arc},
    TaskKind{"arc_challenge", k_instructions, "the harness's arc_challenge, 0-shot", read_arc},
    TaskKind{"openbookqa", k_instructions, "the harness's openbookqa, 0-shot", read_openbookqa},
    TaskKind{"piqa", k_instructions, "the harness's piqa, 0-shot", read_piqa},
    TaskKind{"social_iqa", k_instructions, "the harness's social_iqa, 0-shot", read_social_iqa},
    TaskKind{"winogrande", k_instructions, "the harness's winogrande, 0-shot", read_winogrande},
    TaskKind{"boolq", k_instructions,
             "the harness's boolq without the passage, which the file lacks: not comparable",
             read_boolq},
    TaskKind{"commonsense_qa", "JSONL of question.stem, question.choices, answerKey",
             "the harness's commonsense_qa, 0-shot", read_commonsense_qa},
    TaskKind{"mmlu", "CSV test/SUBJECT_test.csv beside dev/SUBJECT_dev.csv",
             "the harness's mmlu, 5-shot", read_mmlu,
             [](const std::string& path) { return mmlu_files(path).dev; }},
    TaskKind{"bbh", "JSON with examples of input, target",
             "multiple choice among the file's answers: not the harness's", read_bbh},
    TaskKind{"bbh_cot", "the same, with ../bbh_cot_prompts/NAME.txt",
             "the harness's bbh_cot_fewshot, generated", read_bbh_cot, bbh_prompt_file},
    TaskKind{"gsm8k_cot", "JSONL of question, answer", "the harness's gsm8k_cot, 8-shot, generated",
             read_gsm8k_cot},
    TaskKind{"gsm8k_cot_zeroshot", "JSONL of question, answer",
             "the harness's gsm8k_cot_zeroshot, generated", read_gsm8k_zeroshot},
    TaskKind{"svamp", k_instructions, "gsm8k_cot's prompt, compared as numbers",
             read_word_problems},
    TaskKind{"multiarith", k_instructions, "gsm8k_cot's prompt, compared as numbers",
             read_word_problems},
    TaskKind{"addsub", k_instructions, "gsm8k_cot's prompt, compared as numbers",
             read_word_problems},
    TaskKind{"singleeq", k_instructions, "gsm8k_cot's prompt, compared as numbers",
             read_word_problems},
};

constexpr std::array k_examples = {
    WorkedExample{
        "There are 15 trees in the grove. Grove workers will plant trees in the grove today. After "
        "they are done, there will be 21 trees. How many trees did the grove workers plant today?",
        "There are 15 trees originally. Then there were 21 trees after some more were planted. So "
        "there must have been 21 - 15 = 6. The answer is 6."},
    WorkedExample{
        "If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are "
        "in the parking lot?",
        "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5."},
    WorkedExample{
        "Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they "
        "have "
        "left in total?",
        "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. "
        "After eating 35, they had 74 - 35 = 39. The answer is 39."},
    WorkedExample{
        "Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How "
        "many "
        "lollipops did Jason give to Denny?",
        "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave "
        "Denny 20 - 12 = 8. The answer is 8."},
    WorkedExample{
        "Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many "
        "toys does he have now?",
        "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 "
        "more "
        "toys. 5 + 4 = 9. The answer is 9."},
    WorkedExample{"There were nine computers in the server room. Five more computers were "
                  "installed each day, "
                  "from monday to thursday. How many computers are now in the server room?",
                  "There were originally 9 computers. For each of 4 days, 5 more computers were "
                  "added. So 5 * "
                  "4 = 20 computers were added. 9 + 20 is 29. The answer is 29."},
    WorkedExample{
        "Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 "
        "more. How many golf balls did he have at the end of wednesday?",
        "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. "
        "After "
        "losing 2 more, he had 35 - 2 = 33 golf balls. The answer is 33."},
    WorkedExample{
        "Olivia has $23. She bought five bagels for $3 each. How much money does she have "
        "left?",
        "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So "
        "she has 23 - 15 dollars left. 23 - 15 is 8. The answer is 8."},
};

}  // namespace

std::string NumberGrading::result_of(std::string_view answer) const {
  if (result_after.empty()) return leading_number(answer, notation);
  const size_t last = answer.rfind(result_after);
  return std::string(last == answer.npos ? answer : answer.substr(last + result_after.size()));
}

std::span<const char* const> Task::measures() const {
  if (extraction == Extraction::whole) return k_whole_measures;
  return is_choice() ? k_choice_measures : k_generated_measures;
}

std::span<const TaskKind> task_kinds() { return k_kinds; }

std::vector<std::string> files_of_task(std::string_view name, const std::string& file) {
  std::vector<std::string> files = {file};
  for (const TaskKind& kind : k_kinds) {
    if (kind.name == name && kind.second_file) files.push_back(kind.second_file(file));
  }
  return files;
}

std::span<const WorkedExample> arithmetic_examples() { return k_examples; }

static Task make_workload_task(const std::string& request, size_t limit) {
  const auto [found, seed] = read_workload_request(request);
  const Workload& workload = *found;
  Task task = generative(Extraction::whole, {workload.stop}, workload.max_tokens);
  task.grading = {workload.notation, workload.result_after, workload.groups, workload.tolerances};
  task.name = std::string(k_workload_prefix) + workload.name;
  task.path = "seed " + std::to_string(seed);
  const int count = limit == 0 ? k_workload_questions : static_cast<int>(limit);
  for (Sample& sample : workload.make(Part::test, count, seed)) {
    const std::string answer(until_stop(sample.answer, task.stops));
    // A line's beginning, as samples have it but for the first.
    task.questions.push_back(
        {{}, 0, "\n" + sample.prompt, std::string(trimmed(answer)), sample.length});
  }
  return task;
}

Task read_task(const std::string& request, size_t limit) {
  if (request.starts_with(k_workload_prefix)) return make_workload_task(request, limit);
  const size_t equals = request.find('=');
  if (equals == std::string::npos) {
    throw Error("'" + request + "' is no task: write NAME=FILE, such as piqa=piqa.test.json");
  }
  const std::string name = request.substr(0, equals);
  const std::string path = request.substr(equals + 1);
  const auto kind = std::find_if(k_kinds.begin(), k_kinds.end(),
                                 [&](const TaskKind& k) { return k.name == name; });
  if (kind == k_kinds.end()) {
    std::vector<std::string> known;
    for (const TaskKind& k : k_kinds) known.emplace_back(k.name);
    const std::string hint = suggestion(name, known);
    throw Error("there is no task '" + name + "'" +
                (hint.empty() ? "; there are " + alternatives(known) : hint));
  }
  Task task = kind->read(path);
  task.name = name;
  task.path = path;
  if (task.questions.empty()) throw Error(path + ": has no questions");
  if (limit > 0 && limit < task.questions.size()) task.questions.resize(limit);
  return task;
}

}  // namespace napier
