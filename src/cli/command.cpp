#include "cli/command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "model/gguf_file.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"
#include "recipes/recipe.hpp"

namespace napier::cli {
namespace {

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

void write_all(int file, std::string_view text, const std::string& name) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw Error(name + ": cannot be written: " + std::strerror(errno), Blame::environment);
    }
    text.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace

std::vector<Recipe> recipes_of(const std::string& arithmetics,
                               const std::vector<std::string>& plans) {
  std::vector<Recipe> recipes;
  if (!arithmetics.empty()) {
    for (const std::string& name : split_list(arithmetics)) {
      Recipe& recipe = recipes.emplace_back();
      recipe.name = name;
      recipe.plan = Plan{{{"*", parse_arithmetic(name)}}};
    }
  }
  for (const std::string& text : plans) recipes.push_back(plan_argument(text));
  if (recipes.empty()) throw Error("nothing to evaluate: give --arith LIST or --plan PLAN");
  return recipes;
}

std::vector<Subject> subjects_of(const std::vector<Recipe>& recipes, const std::string& model) {
  std::vector<Subject> subjects;
  for (const Recipe& recipe : recipes)
    subjects.push_back({recipe.display_name(), plan_for(recipe, model)});
  return subjects;
}

void Files::read(const std::string& path) {
  if (!path.empty()) read_.push_back(path);
}

void Files::read(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) read(path);
}

void Files::read(const Plan& plan) { read(files_of(plan)); }

void Files::read(const std::vector<Subject>& subjects) {
  for (const Subject& subject : subjects) read(subject.plan);
}

void Files::read(const std::vector<Recipe>& recipes) {
  for (const Recipe& recipe : recipes) read(recipe.plan);
}

void Files::write(const std::string& path) {
  std::error_code error;
  for (const std::string& input : read_) {
    if (std::filesystem::equivalent(path, input, error) && !error) {
      throw Error(path + ": is read as an input, and would be lost; write to another file");
    }
  }
  const std::string place = std::filesystem::weakly_canonical(path, error).string();
  for (const std::string& other : written_) {
    if (other == place) throw Error(path + ": is written twice; write to two files");
  }
  written_.push_back(place);
  if (is_model_file(path)) throw Error(path + ": is a model; write to another file");
}

Output::Output(std::string path, Files& files) : path_(std::move(path)) {
  if (path_ == "/dev/stdout" || path_ == "-") path_.clear();
  if (path_.empty()) return;
  // A link stays, and what it leads to is replaced.
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path_, error);
  if (!error) path_ = target.string();
  struct stat status = {};
  const bool exists = stat(path_.c_str(), &status) == 0;
  if (!exists || S_ISREG(status.st_mode)) files.write(path_);
  if (exists && S_ISDIR(status.st_mode)) {
    throw Error(path_ + ": is a directory; give a file to write to");
  }
  if (exists && !S_ISREG(status.st_mode)) {  // /dev/stdout, a pipe: written in place
    file_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else if (exists && access(path_.c_str(), W_OK) != 0) {
    file_ = -1;
  } else if (exists && (status.st_mode & 0222) == 0) {  // which does not stop root
    errno = EACCES;
  } else {
    const mode_t mask = umask(0);
    umask(mask);
    mode_ = exists ? status.st_mode & 07777 : 0666 & ~mask;
    // Tried now and taken away: the work may be long, and may be interrupted.
    make_temporary();
    drop_temporary();
    return;
  }
  if (file_ < 0) throw Error(path_ + ": cannot be written: " + std::strerror(errno));
}

Output::~Output() { drop_temporary(); }

void Output::make_temporary() {
  temporary_ = path_ + ".XXXXXX";
  file_ = mkostemp(temporary_.data(), O_CLOEXEC);
  if (file_ >= 0) return;
  temporary_.clear();
  throw Error(path_ + ": cannot be written: " + std::strerror(errno));
}

void Output::drop_temporary() {
  if (file_ >= 0) close(file_);
  file_ = -1;
  if (!temporary_.empty()) unlink(temporary_.c_str());
  temporary_.clear();
}

void Output::write(std::string_view text) {
  if (path_.empty()) {
    write_all(STDOUT_FILENO, text, "stdout");
    return;
  }
  if (file_ < 0) make_temporary();
  write_all(file_, text, path_);
  if (temporary_.empty()) return;
  if (fchmod(file_, mode_) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw Error(path_ + ": cannot be written: " + std::strerror(errno), Blame::environment);
  }
  temporary_.clear();
}

void add_model(CLI::App& command, std::string& model) {
  command.add_option("model", model, "a GGUF file")->required()->type_name("MODEL.gguf");
}

void add_arithmetics(CLI::App& command, std::string& arithmetics, const std::string& summary) {
  CLI::Option* option = command.add_option("--arith", arithmetics, summary)->type_name("LIST");
  if (!arithmetics.empty()) option->capture_default_str();
}

void add_plans(CLI::App& command, std::vector<std::string>& plans) {
  command.add_option("--plan", plans, "a plan or a recipe file; may be given more than once")
      ->type_name("PLAN|FILE")
      ->take_all()
      ->allow_extra_args(false);
}

void add_context(CLI::App& command, int& context) {
  command.add_option("-c,--ctx", context, "tokens a chunk")->capture_default_str();
}

void add_chunks(CLI::App& command, int& chunks, const std::string& summary) {
  command.add_option("--chunks", chunks, summary)
      ->check([](const std::string& text) {
        return text.starts_with('-') ? text + " chunks cannot be evaluated: 0 means all" : "";
      })
      ->capture_default_str();
}

// More threads than the machine has cores wait for one another, and give the same figures.
void add_threads(CLI::App& command, int& threads, std::optional<int> unless_given) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  threads = unless_given.value_or(cores);
  command.add_option("-t,--threads", threads, "threads to compute with")
      ->check([cores](const std::string& text) {
        const long value = std::strtol(text.c_str(), nullptr, 10);
        if (value >= 1 && value <= 4 * cores) return std::string();
        return fmt::format("{} threads: this machine has {} cores; give 1 to {}", text, cores,
                           4 * cores);
      })
      ->capture_default_str();
}

void add_cache(CLI::App& command, std::string& cache) {
  command.add_option("--kv", cache, "what keys and values are cached in: f32 or f16")
      ->check(CLI::IsMember({"f32", "f16"}))
      ->capture_default_str();
}

void add_result(CLI::App& command, ResultArguments& result, const std::string& json_summary,
                const std::string& csv_summary) {
  CLI::Option* json = command.add_flag("--json", result.json, json_summary);
  command.add_flag("--csv", result.csv, csv_summary)->excludes(json);
  command.add_option("--output", result.output, "write there, as a whole, instead of stdout")
      ->type_name("FILE");
}

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0), started_(now()) {}
ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(std::string_view what, double done, bool estimates) {
  const double time = now();
  if (!terminal_ || time - shown_ < 0.1) return;
  shown_ = time;
  constexpr int width = 30;
  const int filled = static_cast<int>(done * width);
  const std::string bar = std::string(static_cast<size_t>(filled), '#') +
                          std::string(static_cast<size_t>(width - filled), '.');
  const double elapsed = time - started_;
  const std::string left =
      estimates && done > 0.01 ? fmt::format(", {:.0f} s left", elapsed * (1 - done) / done) : "";
  fmt::print(stderr, "\r\033[K[{}] {:3.0f} % {}{}", bar, 100 * done, what, left);
  std::fflush(stderr);
}

void ProgressLine::clear() {
  if (!terminal_ || shown_ < 0) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = -1;
}

void warn(const std::string& sentence) {
  std::fprintf(stderr, "napier: warning: %s\n", sentence.c_str());
}

}  // namespace napier::cli
