// Other people's programs, run in a folder of their own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace napier {

// A folder that goes when this does, unless it was named.
class WorkFolder {
 public:
  explicit WorkFolder(std::string kept = "");  // throws Error if it cannot be made
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool temporary_ = false;
};

bool has_tool(const std::string& program);
// Throws Error naming every one of the programs that is not installed, with the Debian packages.
void need_tools(const std::vector<std::string>& programs);

// Runs a program in `folder` and returns what it wrote (stdout and stderr together, or to
// `output_path` alone). Throws Error (environment) with the end of that if it fails.
std::string run_tool(const std::vector<std::string>& command, const std::string& folder,
                     const std::string& output_path = "");

void write_whole(const std::string& path, std::string_view text);

}  // namespace napier
