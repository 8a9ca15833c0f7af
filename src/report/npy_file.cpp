#include "report/npy_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr size_t k_header = 128;  // NumPy wants a multiple of 64

}  // namespace

NpyFile::NpyFile(std::string path, size_t columns)
    : path_(std::move(path)),
      temporary_(path_ + ".part"),
      columns_(columns),
      file_(std::fopen(temporary_.c_str(), "wb")) {
  if (!file_) throw Error(path_ + ": cannot be written: " + std::strerror(errno));
  write_header();  // room for the true one, which comes last
}

NpyFile::~NpyFile() {
  if (!file_) return;
  file_.reset();
  unlink(temporary_.c_str());
}

void NpyFile::append(std::span<const float> values) {
  type_ = "<f4";
  values_ += values.size();
  write(values.data(), values.size_bytes());
}

void NpyFile::append(std::span<const int32_t> values) {
  type_ = "<i4";
  values_ += values.size();
  write(values.data(), values.size_bytes());
}

void NpyFile::finish() {
  if (std::fseek(file_.get(), 0, SEEK_SET) != 0) write(nullptr, 1);
  write_header();
  const bool flushed = std::fflush(file_.get()) == 0;
  if (!flushed || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw Error(path_ + ": cannot be written: " + std::strerror(errno), Blame::environment);
  }
  file_.reset();
}

void NpyFile::write(const void* data, size_t bytes) {
  if (data && std::fwrite(data, 1, bytes, file_.get()) == bytes) return;
  if (bytes == 0) return;
  throw Error(path_ + ": cannot be written: " + std::strerror(errno), Blame::environment);
}

void NpyFile::write_header() {
  const std::string shape = columns_ == 0 ? fmt::format("({},)", values_)
                                          : fmt::format("({}, {})", values_ / columns_, columns_);
  std::string header(k_header, ' ');
  header.replace(0, 10, std::string("\x93NUMPY\x01\x00", 8) + char(k_header - 10) + '\0');
  const std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", type_, shape);
  header.replace(10, text.size(), text);
  header.back() = '\n';
  write(header.data(), header.size());
}

}  // namespace napier
