// Matrices in NumPy's format, row by row.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

namespace napier {

// A file in NumPy's .npy format, version 1.0: `columns` numbers a row, one axis if that is 0. It is
// written beside its place and takes it by finish(); without that nothing is left. Throws Error
// (environment) where writing fails.
class NpyFile {
 public:
  NpyFile(std::string path, size_t columns);
  ~NpyFile();
  NpyFile(NpyFile&& other) noexcept = default;

  // All of one type, float or int32_t.
  void append(std::span<const float> values);
  void append(std::span<const int32_t> values);
  void finish();

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void write(const void* data, size_t bytes);
  void write_header();

  std::string path_;
  std::string temporary_;
  const char* type_ = "<f4";
  size_t columns_;
  size_t values_ = 0;
  std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace napier
