// Files for what reads files: in memory where the machine allows, gone when the program ends.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

class Scratch {
 public:
  Scratch() {
    const bool memory = std::filesystem::is_directory("/dev/shm");
    folder_ = (memory ? "/dev/shm" : std::filesystem::temp_directory_path().string()) +
              "/napier-fuzz-XXXXXX";
    if (!mkdtemp(folder_.data())) std::abort();
  }
  ~Scratch() { std::filesystem::remove_all(folder_); }

  // The path of a file of this name with these bytes.
  std::string write(const std::string& name, const uint8_t* data, size_t size) {
    const std::string path = folder_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    if (!file.flush()) std::abort();
    return path;
  }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};
