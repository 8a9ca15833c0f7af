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
#include <fstream>
#include <sstream>

#include "napier/error.hpp"
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

std::string read_text(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    throw Error(path + ": is a directory; give a text file");
  }
  if (std::filesystem::is_character_file(path, error) && path != "/dev/stdin") {
    throw Error(path + ": is a device; give a text file");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path + ": the text cannot be read: " + std::strerror(errno));
  std::ostringstream content;
  content << file.rdbuf();
  std::string text = std::move(content).str();
  if (text.ends_with('\n')) text.pop_back();  // as llama.cpp reads a prompt from a file
  if (text.empty()) throw Error(path + ": the text is empty");
  return text;
}

std::vector<Subject> subjects_of(const std::string& arithmetics,
                                 const std::vector<std::string>& plans) {
  std::vector<Subject> subjects;
  if (!arithmetics.empty()) {
    for (const std::string& name : split_list(arithmetics)) {
      subjects.push_back({name, Plan{{{"*", parse_arithmetic(name)}}}});
    }
  }
  for (const std::string& text : plans) {
    const Recipe recipe = plan_argument(text);
    subjects.push_back({recipe.name, recipe.plan});
  }
  if (subjects.empty()) throw Error("nothing to evaluate: give --arith LIST or --plan PLAN");
  return subjects;
}

Output::Output(std::string path, const std::vector<std::string>& read) : path_(std::move(path)) {
  if (path_ == "/dev/stdout" || path_ == "-") path_.clear();
  if (path_.empty()) return;
  // A link stays, and what it leads to is replaced.
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path_, error);
  if (!error) path_ = target.string();
  for (const std::string& input : read) {
    if (std::filesystem::equivalent(path_, input, error) && !error) {
      throw Error(path_ + ": is read as an input, and would be lost; write to another file");
    }
  }
  char magic[4] = {};
  if (std::ifstream(path_, std::ios::binary).read(magic, 4) &&
      std::string_view(magic, 4) == "GGUF") {
    throw Error(path_ + ": is a model; write to another file");
  }
  struct stat status = {};
  const bool exists = stat(path_.c_str(), &status) == 0;
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

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0), started_(now()) {}
ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(std::string_view what, double done) {
  const double time = now();
  if (!terminal_ || time - shown_ < 0.1) return;
  shown_ = time;
  constexpr int width = 30;
  const int filled = static_cast<int>(done * width);
  const std::string bar = std::string(static_cast<size_t>(filled), '#') +
                          std::string(static_cast<size_t>(width - filled), '.');
  const double elapsed = time - started_;
  const std::string left =
      done > 0.01 ? fmt::format(", {:.0f} s left", elapsed * (1 - done) / done) : "";
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
