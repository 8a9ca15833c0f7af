#include "eval/sweep.hpp"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tuple>

#include "eval/documents.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

using nlohmann::json;

json figures_json(const TokenFigures& figures) {
  return {figures.nll, figures.kl, figures.top1, figures.top5};
}

TokenFigures figures_from(const json& value) {
  return {value.at(0).get<std::vector<double>>(), value.at(1).get<std::vector<double>>(),
          value.at(2).get<std::vector<double>>(), value.at(3).get<std::vector<double>>()};
}

json answer_json(const Answer& answer) {
  // A model may write what is not UTF-8: bytes, not a text of JSON.
  const auto bytes = [](const std::string& text) {
    return json::binary({text.begin(), text.end()});
  };
  return {answer.log_likelihoods, answer.chosen,          answer.right,
          bytes(answer.text),     bytes(answer.found[0]), bytes(answer.found[1])};
}

Answer answer_from(const json& value) {
  const auto text = [](const json& bytes) {
    const auto& binary = bytes.get_binary();
    return std::string(binary.begin(), binary.end());
  };
  Answer answer;
  for (const json& number : value.at(0)) {
    answer.log_likelihoods.push_back(number.is_null() ? std::nan("") : number.get<double>());
  }
  answer.chosen = value.at(1).get<std::array<size_t, 2>>();
  answer.right = value.at(2).get<std::array<bool, 2>>();
  answer.text = text(value.at(3));
  answer.found = {text(value.at(4)), text(value.at(5))};
  return answer;
}

}  // namespace

std::vector<Subject> SweepSpec::subjects_on(size_t model) const {
  std::vector<Subject> all = subjects;
  for (const auto& [subject, plans] : computed) all[subject].plan = plans.at(model);
  return all;
}

std::string SweepSpec::identity() const {
  json document = {{"models", models}, {"subjects", json::array()}, {"sources", json::array()}};
  for (const Subject& subject : subjects) {
    document["subjects"].push_back({subject.name, to_string(subject.plan)});
  }
  for (const SweepSource& source : sources) {
    document["sources"].push_back({source.name, source.path, source.task, source.context,
                                   source.limit, source.jsonl, source.separator,
                                   source.max_tokens});
  }
  // What a table of products holds decides, not where it lies.
  json tables = json::array();
  for (const Subject& subject : subjects) {
    for (const std::string& file : files_of(subject.plan)) tables.push_back(file_hash(file));
  }
  if (!tables.empty()) document["tables"] = tables;
  json computed_hashes = json::array();
  for (const std::string& file : computed_files) computed_hashes.push_back(file_hash(file));
  if (!computed_hashes.empty()) document["computed"] = computed_hashes;
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Task task_of(const SweepSource& source) {
  return read_task(source.task + "=" + source.path, static_cast<size_t>(source.limit));
}

// Another version may draw others.
static std::string hash_of_questions(const SweepSource& source) {
  std::string text;
  for (const Question& question : task_of(source).questions) {
    text += question.prompt + '\0' + question.answer + '\0';
  }
  return text_hash(text);
}

std::map<std::string, std::string> SweepSpec::hashes() const {
  std::map<std::string, std::string> hashes;
  const auto add = [&](const std::string& path) {
    if (!hashes.contains(path)) hashes.emplace(path, file_hash(path));
  };
  for (const std::string& model : models) add(model);
  for (const SweepSource& source : sources) {
    if (source.is_made()) {
      hashes.try_emplace(source.place(), hash_of_questions(source));
      continue;
    }
    for (const std::string& file : files_of_task(source.task, source.path)) add(file);
  }
  return hashes;
}

std::vector<uint8_t> to_bytes(const UnitResult& result) {
  json document = {{"unit", {result.unit.model, result.unit.source, result.unit.number}},
                   {"statistics_unit", result.statistics_unit},
                   {"tokens", result.tokens},
                   {"bytes", result.bytes},
                   {"seconds", result.seconds},
                   {"figures", json::array()},
                   {"answers", json::array()}};
  for (const TokenFigures& figures : result.figures) {
    document["figures"].push_back(figures_json(figures));
  }
  for (const auto& answers : result.answers) {
    json list = json::array();
    for (const Answer& answer : answers) list.push_back(answer_json(answer));
    document["answers"].push_back(std::move(list));
  }
  return json::to_cbor(document);
}

UnitResult unit_result_from(const std::vector<uint8_t>& bytes) {
  try {
    const json document = json::from_cbor(bytes);
    UnitResult result;
    const json& unit = document.at("unit");
    result.unit = {unit.at(0), unit.at(1), unit.at(2)};
    result.statistics_unit = document.at("statistics_unit");
    result.tokens = document.at("tokens");
    result.bytes = document.at("bytes");
    result.seconds = document.at("seconds").get<std::vector<double>>();
    for (const json& figures : document.at("figures")) {
      result.figures.push_back(figures_from(figures));
    }
    for (const json& list : document.at("answers")) {
      std::vector<Answer>& answers = result.answers.emplace_back();
      for (const json& answer : list) answers.push_back(answer_from(answer));
    }
    return result;
  } catch (const json::exception& error) {
    throw Error(std::string("a unit's result cannot be read: ") + error.what(), Blame::environment);
  }
}

struct SweepWorker::State {
  const SweepSpec* spec;
  std::optional<size_t> model_number;
  std::unique_ptr<Model> model;
  std::vector<Subject> subjects;
  std::optional<size_t> source_number;
  std::vector<Passage> passages;
  std::unique_ptr<PassageEvaluator> evaluator;
  Reference reference;
  std::map<size_t, Task> tasks;  // by source

  void use_model(size_t number) {
    if (model_number == number) return;
    evaluator.reset();  // before the model that it points to
    source_number.reset();
    model_number.reset();
    model = std::make_unique<Model>(spec->models[number]);
    subjects = spec->subjects_on(number);
    model_number = number;
  }

  std::vector<Passage> cut(const SweepSource& source) const {
    const std::string text = read_text(source.path);
    std::vector<std::string> documents;
    if (!source.jsonl.empty()) {
      documents = read_jsonl_documents(text, source.jsonl, source.path);
    } else if (!source.separator.empty()) {
      documents = split_documents(text, source.separator);
    }
    try {
      return source.documents() ? document_passages(*model, documents, source.context, source.limit)
                                : chunk_passages(*model, text, source.context, source.limit);
    } catch (const Error& error) {  // there may be many texts
      throw Error(source.path + ": " + error.what(), error.blame());
    }
  }

  const Task& task(size_t number) {
    const SweepSource& source = spec->sources[number];
    const auto [found, is_new] = tasks.try_emplace(number);
    if (is_new) {
      found->second = read_task(source.task + "=" + source.path, static_cast<size_t>(source.limit));
    }
    return found->second;
  }

  void use_text(size_t number) {
    if (source_number == number) return;
    evaluator.reset();
    source_number.reset();
    const SweepSource& source = spec->sources[number];
    passages = cut(source);
    EvaluationOptions options;
    options.context = source.context;
    options.max_outputs = source.documents() ? source.context : source.context - source.context / 2;
    options.threads = spec->threads;
    evaluator = std::make_unique<PassageEvaluator>(*model, subjects, reference, options);
    source_number = number;
  }
};

SweepWorker::SweepWorker(const SweepSpec& spec) : state_(new State) { state_->spec = &spec; }
SweepWorker::~SweepWorker() = default;

std::vector<SweepUnit> SweepWorker::units() {
  const SweepSpec& spec = *state_->spec;
  std::vector<SweepUnit> units;
  for (size_t m = 0; m < spec.models.size(); ++m) {
    state_->use_model(m);
    for (size_t s = 0; s < spec.sources.size(); ++s) {
      const SweepSource& source = spec.sources[s];
      const size_t questions = source.task.empty() ? 0 : state_->task(s).questions.size();
      const size_t count = source.task.empty()
                               ? state_->cut(source).size()
                               : (questions + k_questions_a_unit - 1) / k_questions_a_unit;
      for (size_t number = 0; number < count; ++number) units.push_back({m, s, number});
    }
  }
  return units;
}

UnitResult SweepWorker::run(const SweepUnit& unit) {
  const SweepSpec& spec = *state_->spec;
  const SweepSource& source = spec.sources[unit.source];
  state_->use_model(unit.model);
  UnitResult result;
  result.unit = unit;
  if (source.task.empty()) {
    state_->use_text(unit.source);
    const Passage& passage = state_->passages[unit.number];
    result.statistics_unit = passage.unit;
    result.tokens = static_cast<int64_t>(passage.tokens.size());
    result.bytes = static_cast<int64_t>(passage.bytes);
    result.figures = state_->evaluator->evaluate(passage, 0, 1);
    for (size_t i = 0; i < result.figures.size(); ++i) {
      result.seconds.push_back(state_->evaluator->last_seconds(i));
    }
    return result;
  }
  const Task& whole = state_->task(unit.source);
  Task part = whole;
  const size_t begin = unit.number * k_questions_a_unit;
  const size_t end = std::min(begin + k_questions_a_unit, whole.questions.size());
  part.questions.assign(whole.questions.begin() + static_cast<ptrdiff_t>(begin),
                        whole.questions.begin() + static_cast<ptrdiff_t>(end));
  TaskOptions options;
  options.context = source.context;
  options.max_tokens = source.max_tokens;
  options.threads = spec.threads;
  TaskEvaluation evaluation = evaluate_task(*state_->model, part, state_->subjects, options);
  result.answers.push_back(std::move(evaluation.reference.answers));
  for (TaskResult& one : evaluation.results) result.answers.push_back(std::move(one.answers));
  return result;
}

namespace {

std::string hash_of(std::istream& input) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(),
                                                                     EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  std::vector<char> block(1 << 20);
  while (input.read(block.data(), static_cast<std::streamsize>(block.size())) ||
         input.gcount() > 0) {
    EVP_DigestUpdate(hash.get(), block.data(), static_cast<size_t>(input.gcount()));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned size = 0;
  EVP_DigestFinal_ex(hash.get(), digest.data(), &size);
  std::string text = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    constexpr std::string_view hex = "0123456789abcdef";
    text += {hex[digest[i] >> 4], hex[digest[i] & 15]};
  }
  return text;
}

}  // namespace

std::string file_hash(const std::string& path) {
  const auto hash = [&] {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Error(path + ": cannot be read: " + std::strerror(errno));
    return hash_of(file);
  };
  struct stat file = {};
  // Only of a regular file does the time of change tell whether it is the same still.
  if (stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) return hash();
  using Key = std::tuple<dev_t, ino_t, off_t, time_t, long>;
  static std::mutex mutex;
  static std::map<Key, std::string> known;
  const std::lock_guard lock(mutex);
  const Key key{file.st_dev, file.st_ino, file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec};
  const auto found = known.find(key);
  return found != known.end() ? found->second : known.emplace(key, hash()).first->second;
}

std::string text_hash(const std::string& text) {
  std::istringstream input(text);
  return hash_of(input);
}

}  // namespace napier
