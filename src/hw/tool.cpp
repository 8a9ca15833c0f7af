#include "hw/tool.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace fs = std::filesystem;

WorkFolder::WorkFolder(std::string kept) : path_(std::move(kept)) {
  std::error_code error;
  if (path_.empty()) {
    path_ = (fs::temp_directory_path(error) / "napier-hw-XXXXXX").string();
    if (error || !mkdtemp(path_.data())) {
      throw Error("no temporary folder can be made: " + std::string(std::strerror(errno)),
                  Blame::environment);
    }
    temporary_ = true;
    return;
  }
  fs::create_directories(path_, error);
  if (error) throw Error(path_ + ": cannot be made: " + error.message());
  path_ = fs::absolute(path_).string();
}

WorkFolder::~WorkFolder() {
  std::error_code error;
  if (temporary_) fs::remove_all(path_, error);
}

bool has_tool(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

void need_tools(const std::vector<std::string>& programs) {
  std::string missing, packages;
  for (const std::string& program : programs) {
    if (has_tool(program)) continue;
    missing += (missing.empty() ? "" : ", ") + program;
    packages += " " + (program == "sta" ? "opensta" : program);
  }
  if (missing.empty()) return;
  throw Error("not installed: " + missing + " (Debian: apt-get install" + packages + ")");
}

std::string run_tool(const std::vector<std::string>& command, const std::string& folder,
                     const std::string& output_path) {
  const std::string log = folder + "/tool.log";
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw Error(command[0] + ": cannot be started", Blame::environment);
  if (child == 0) {
    const int said = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int out =
        output_path.empty() ? said : open(output_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int in = open("/dev/null", O_RDONLY);
    if (said < 0 || out < 0 || in < 0 || chdir(folder.c_str()) != 0) _exit(127);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::string text = read_input_file(log, "a tool's log");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const size_t tail = text.size() > 300 ? text.size() - 300 : 0;
    std::string end = text.substr(tail);
    for (char& c : end) {
      if (c == '\n') c = ' ';
    }
    throw Error(command[0] + " failed: " + end, Blame::environment);
  }
  return text;
}

void write_whole(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw Error(path + ": cannot be written", Blame::environment);
}

}  // namespace napier
