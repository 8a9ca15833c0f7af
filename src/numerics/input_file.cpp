#include "numerics/input_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "napier/error.hpp"

namespace napier {

std::string read_input_file(const std::string& path, const std::string& what, size_t limit) {
  const auto refuse = [&](const std::string& reason) -> Error {
    return Error(path + ": " + what + " cannot be read: " + reason);
  };
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (std::filesystem::is_directory(status)) throw refuse("it is a directory, not a file");
  const bool is_device =
      std::filesystem::is_character_file(status) || std::filesystem::is_block_file(status);
  if (is_device && path != "/dev/stdin") throw refuse("it is a device, not a file");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw refuse(errno ? std::strerror(errno) : "it does not open");
  std::string content;
  std::vector<char> block(size_t{1} << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    content.append(block.data(), static_cast<size_t>(file.gcount()));
    if (content.size() > limit) {
      throw refuse("it has more than " + std::to_string(limit) + " bytes");
    }
  }
  if (file.bad()) throw refuse(errno ? std::strerror(errno) : "reading it fails");
  return content;
}

std::vector<std::string> files_of(const Plan& plan) {
  std::vector<std::string> files;
  const auto add = [&](const Multiplier& multiplier) {
    const auto parameters = multiplier.family().parameters;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const int value = multiplier.settings()[i];
      if (parameters[i].intern && value != parameters[i].fallback) {
        files.push_back(parameters[i].text(value));
      }
    }
  };
  for (const Rule& rule : plan.rules) {
    add(rule.arithmetic.multiplier);
    for (const Treatment& treatment : rule.treatments) add(treatment.arithmetic.multiplier);
  }
  return files;
}

}  // namespace napier
