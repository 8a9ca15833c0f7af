// napier eval: perplexity and divergence of a model under several arithmetics.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "eval/documents.hpp"
#include "eval/evaluation.hpp"
#include "model/engine.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "recipes/recipe.hpp"
#include "report/evaluation_report.hpp"
#include "report/npy_file.hpp"

namespace napier::cli {
namespace {

struct EvalArguments {
  std::string model;
  std::string text;
  std::string arithmetics;
  std::vector<std::string> plans;
  std::string reference = "f32";
  std::string jsonl_field;
  std::string separator;
  std::string logits;
  std::string calibrate;
  int chunks = 0;
  EvaluationOptions options;
  std::string cache = "f32";
  ResultArguments result;
  bool verbose = false;

  bool documents() const { return !jsonl_field.empty() || !separator.empty(); }
};

// "\\n" as a shell passes it on is a newline, "\\t" a tab, "\\\\" a backslash.
std::string unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    const char meant = next == 'n' ? '\n' : next == 't' ? '\t' : next == '\\' ? '\\' : '\0';
    result += meant ? meant : text[i];
    i += meant != '\0';
  }
  return result;
}

std::vector<Passage> passages_of(const EvalArguments& arguments, const Model& model,
                                 const std::string& text) {
  const int context = arguments.options.context;
  if (!arguments.documents()) return chunk_passages(model, text, context, arguments.chunks);
  const std::vector<std::string> documents =
      arguments.separator.empty()
          ? read_jsonl_documents(text, arguments.jsonl_field, arguments.text)
          : split_documents(text, unescaped(arguments.separator));
  return document_passages(model, documents, context, arguments.chunks);
}

// Files of logits: the reference's is 0.npy, the subjects' follow in order.
class LogitsFolder {
 public:
  LogitsFolder(const std::string& path, Files& others, const std::vector<Subject>& subjects,
               const Reference& reference, size_t width)
      : targets_(file_in(path, "targets", others), 0) {
    files_.emplace_back(std::in_place, file_in(path, "0", others), width);
    for (size_t i = 0; i < subjects.size(); ++i) {
      files_.emplace_back();
      if (!reference.model && subjects[i].plan == reference.subject.plan) continue;
      files_.back().emplace(file_in(path, std::to_string(i + 1), others), width);
    }
  }

  void append(size_t number, std::span<const Token> scored, std::span<const float> rows) {
    files_[number]->append(rows);
    if (number == 0) targets_.append(scored);
  }

  void finish() {
    targets_.finish();
    for (auto& file : files_) {
      if (file) file->finish();
    }
  }

 private:
  static std::string file_in(const std::string& folder, const std::string& name, Files& others) {
    std::string path = folder + "/" + name + ".npy";
    others.write(path);
    return path;
  }

  NpyFile targets_;
  std::vector<std::optional<NpyFile>> files_;
};

void run_eval(EvalArguments& arguments) {
  const std::vector<Recipe> recipes = recipes_of(arguments.arithmetics, arguments.plans);
  EvaluationOptions& options = arguments.options;
  options.cache = arguments.cache == "f16" ? CacheType::f16 : CacheType::f32;
  // A chunk's second half is scored, a document as a whole.
  options.max_outputs =
      arguments.documents() ? options.context : options.context - options.context / 2;
  options.check();
  set_engine_verbose(arguments.verbose);
  Reference reference;
  const bool other_model =
      arguments.reference.ends_with(".gguf") || is_model_file(arguments.reference);
  if (other_model) check_gguf_header(arguments.reference);
  if (!other_model) {
    const Recipe recipe = plan_argument(arguments.reference);
    reference.subject = {recipe.name, plan_for(recipe, arguments.model)};
  }

  Files files;
  files.read(arguments.plans);
  files.read({arguments.model, arguments.text, arguments.reference});
  files.read(recipes);
  files.read(arguments.calibrate);
  files.read(reference.subject.plan);
  Output output(arguments.result.output, files);
  check_gguf_header(arguments.model);
  const std::string text = read_text(arguments.text);
  // A token is no less than a byte, but for one at each end that the model may add.
  if (!arguments.documents() && text.size() + 2 < static_cast<size_t>(options.context)) {
    throw Error(
        fmt::format("{}: the text has {} bytes, too few for one chunk of {} tokens; give a "
                    "longer text or a smaller --ctx",
                    arguments.text, text.size(), options.context));
  }
  QuantizeOptions calibration;
  calibration.text = arguments.calibrate;
  calibration.threads = options.threads;
  const std::vector<const Recipe*> to_compute =
      recipes_to_compute(recipes, arguments.model, calibration, files);
  probe_model(arguments.model, options.context_options(), text);
  if (other_model) probe_model(arguments.reference, options.context_options(), text);

  ProgressLine progress;
  calibration.on_progress = [&](std::string_view what, double done) { progress.show(what, done); };
  for (const Recipe* recipe : to_compute) quantize(arguments.model, *recipe, calibration);
  const std::vector<Subject> subjects = subjects_of(recipes, arguments.model);

  const Model model(arguments.model);
  std::optional<Model> reference_model;
  if (other_model) {
    reference.model = &reference_model.emplace(arguments.reference);
    check_same_vocabulary(model, *reference_model);
  }
  const std::vector<Passage> passages = passages_of(arguments, model, text);
  if (options.context > model.training_context()) {
    warn(fmt::format("--ctx {} is longer than the {} tokens that the model was trained on",
                     options.context, model.training_context()));
  }

  std::optional<LogitsFolder> logits;
  if (!arguments.logits.empty()) {
    std::error_code ignored;  // opening the files says what is wrong
    std::filesystem::create_directories(arguments.logits, ignored);
    logits.emplace(arguments.logits, files, subjects, reference,
                   static_cast<size_t>(model.vocabulary_size()));
    options.on_logits = [&](size_t number, auto scored, auto rows) {
      logits->append(number, scored, rows);
    };
  }
  options.on_progress = [&](std::string_view subject, double done) {
    progress.show(subject, done);
  };
  Evaluation evaluation = evaluate(model, passages, subjects, reference, options);
  progress.clear();
  if (logits) logits->finish();
  evaluation.text = arguments.text;
  evaluation.documents = arguments.documents();
  output.write(arguments.result.json  ? evaluation_json(evaluation)
               : arguments.result.csv ? evaluation_csv(evaluation)
                                      : evaluation_table(evaluation));
  require_finite(evaluation);
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "eval", "Perplexity of a model under arithmetics, and its divergence from f32");
  auto arguments = std::make_shared<EvalArguments>();
  add_model(*command, arguments->model);
  command->add_option("--text", arguments->text, "what is evaluated on")
      ->required()
      ->type_name("FILE");
  add_arithmetics(*command, arguments->arithmetics);
  add_plans(*command, arguments->plans);
  command
      ->add_option("--calibrate", arguments->calibrate,
                   "for recipes that napier quantize has not run for: the text that it reads")
      ->type_name("FILE");
  add_context(*command, arguments->options.context);
  add_chunks(*command, arguments->chunks, "chunks or documents; 0: all of the text");
  CLI::Option* jsonl =
      command
          ->add_option("--jsonl", arguments->jsonl_field,
                       "documents in place of chunks: one JSON object a line, the text in FIELD")
          ->type_name("FIELD");
  command
      ->add_option("--separator", arguments->separator,
                   "documents in place of chunks: what stands between them, with \\n and \\t")
      ->type_name("TEXT")
      ->excludes(jsonl);
  command
      ->add_option("--reference", arguments->reference,
                   "what is compared with: a plan, or another model of the same vocabulary in f32")
      ->type_name("PLAN|FILE")
      ->capture_default_str();
  command
      ->add_option("--logits", arguments->logits,
                   "write the logits of every scored token there, as NumPy files")
      ->type_name("FOLDER");
  command
      ->add_option("--sharpness", arguments->options.sharpness,
                   "also how sharp the loss is about the logits, moved by up to this much of "
                   "themselves; 0: not")
      ->type_name("EPSILON")
      ->capture_default_str();
  add_threads(*command, arguments->options.threads);
  add_cache(*command, arguments->cache);
  add_result(*command, arguments->result);
  command->add_flag("--verbose", arguments->verbose, "llama.cpp's own messages on stderr");
  command->footer(
      "Examples:\n"
      "  napier eval MODEL.gguf --text FILE --arith bf16,fp8_e4m3,fp8_e5m2,lmul-m4,lmul-m3\n"
      "  napier eval MODEL.gguf --text FILE --plan recipes/lmul-attention.toml --plan 'kq-* -> "
      "bf16'\n"
      "  napier eval Q4.gguf --text FILE --separator '\\n\\n\\n' --reference MODEL.gguf --arith "
      "f32");
  command->callback([arguments] { run_eval(*arguments); });
}

}  // namespace napier::cli
