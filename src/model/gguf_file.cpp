#include "model/gguf_file.hpp"

#include <fcntl.h>
#include <ggml.h>
#include <gguf.h>
#include <llama.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "napier/error.hpp"

namespace napier {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

// A file mapped for reading.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status = {};
    if (file < 0 || fstat(file, &status) != 0) {
      throw Error(path + ": cannot be read: " + std::strerror(errno));
    }
    size_ = static_cast<size_t>(status.st_size);
    data_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (data_ == MAP_FAILED) {
      throw Error(path + ": cannot be mapped: " + std::strerror(errno), Blame::environment);
    }
  }
  ~Mapping() { munmap(data_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::byte* data() const { return static_cast<const std::byte*>(data_); }
  size_t size() const { return size_; }

  // What was read is not needed again: its pages no longer count as this process's memory, which
  // has the model itself besides.
  void forget(size_t offset, size_t length) const {
    static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t begin = (offset + page - 1) / page * page;
    const size_t end = (offset + length) / page * page;
    if (begin < end) madvise(static_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Whether any of the words has all bits of its exponent set: the infinities and the NaNs.
template <typename Word>
bool any_special(const std::byte* data, int64_t count, Word exponent) {
  Word found = 0;
  for (int64_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, data + i * sizeof(Word), sizeof(Word));
    found |= static_cast<Word>((word & exponent) == exponent);
  }
  return found != 0;
}

bool row_is_finite(ggml_type type, const std::byte* row, int64_t count,
                   std::vector<float>& values) {
  switch (type) {
    case GGML_TYPE_F32: return !any_special<uint32_t>(row, count, 0x7F800000);
    case GGML_TYPE_F16: return !any_special<uint16_t>(row, count, 0x7C00);
    case GGML_TYPE_BF16: return !any_special<uint16_t>(row, count, 0x7F80);
    default: break;
  }
  const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
  if (!to_float) return true;  // integers
  values.resize(static_cast<size_t>(count));
  to_float(row, values.data(), count);
  return !any_special<uint32_t>(reinterpret_cast<const std::byte*>(values.data()), count,
                                0x7F800000);
}

struct RowBlock {
  const ggml_tensor* tensor;
  size_t offset;  // in the file, of the first row
  int64_t rows;
};

struct GgufDeleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
struct GgmlDeleter {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

// One file's tensors; returns how many files the model has.
uint64_t check_part(const std::string& path) {
  ggml_context* tensors_raw = nullptr;
  const std::unique_ptr<gguf_context, GgufDeleter> gguf(
      gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = &tensors_raw}));
  const std::unique_ptr<ggml_context, GgmlDeleter> tensors(tensors_raw);
  if (!gguf) throw Error(path + ": is no sound GGUF file");
  const Mapping mapping(path);

  // Blocks of about a megabyte, so that one large tensor keeps every thread busy.
  std::vector<RowBlock> blocks;
  const size_t data_offset = gguf_get_data_offset(gguf.get());
  for (int64_t i = 0; i < gguf_get_n_tensors(gguf.get()); ++i) {
    const char* name = gguf_get_tensor_name(gguf.get(), i);
    const ggml_tensor* tensor = ggml_get_tensor(tensors.get(), name);
    const size_t offset = data_offset + gguf_get_tensor_offset(gguf.get(), i);
    const size_t bytes = ggml_nbytes(tensor);
    if (offset > mapping.size() || bytes > mapping.size() - offset) {
      throw Error(path + ": tensor '" + printable(name) +
                  "' reaches beyond the file's end: the file is truncated");
    }
    const int64_t rows = ggml_nrows(tensor);
    const size_t row_bytes = std::max<size_t>(1, ggml_row_size(tensor->type, tensor->ne[0]));
    const int64_t step = std::max<int64_t>(1, (1 << 20) / static_cast<int64_t>(row_bytes));
    for (int64_t row = 0; row < rows; row += step) {
      blocks.push_back(
          {tensor, offset + static_cast<size_t>(row) * row_bytes, std::min(step, rows - row)});
    }
  }

  std::atomic<size_t> next = 0;
  std::atomic<size_t> first_bad = blocks.size();
  const auto work = [&] {
    std::vector<float> values;
    for (size_t i = next++; i < blocks.size() && i < first_bad; i = next++) {
      const RowBlock& block = blocks[i];
      const size_t row_bytes = ggml_row_size(block.tensor->type, block.tensor->ne[0]);
      for (int64_t row = 0; row < block.rows; ++row) {
        const std::byte* data =
            mapping.data() + block.offset + static_cast<size_t>(row) * row_bytes;
        if (row_is_finite(block.tensor->type, data, block.tensor->ne[0], values)) continue;
        size_t bad = first_bad;
        while (i < bad && !first_bad.compare_exchange_weak(bad, i)) {
        }
        break;
      }
      mapping.forget(block.offset, row_bytes * static_cast<size_t>(block.rows));
    }
  };
  {
    std::vector<std::jthread> threads;
    const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1u, 64u);
    for (unsigned i = 1; i < count; ++i) threads.emplace_back(work);
    work();
  }
  if (first_bad < blocks.size()) {
    throw Error(
        path + ": tensor '" + printable(blocks[first_bad].tensor->name) +
        "' holds a value that is infinite or not a number; a model's weights must be finite");
  }

  const int64_t key = gguf_find_key(gguf.get(), "split.count");
  const bool split = key >= 0 && gguf_get_kv_type(gguf.get(), key) == GGUF_TYPE_UINT16;
  return split ? gguf_get_val_u16(gguf.get(), key) : 1;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string line(text);
  for (size_t i = 0; i < line.size();) {
    const auto lead = static_cast<unsigned char>(line[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    bool sound = lead >= 0x20 && lead != 0x7F && (lead < 0x80 || (lead >= 0xC2 && lead < 0xF5)) &&
                 i + length <= line.size();
    for (size_t j = 1; sound && j < length; ++j) sound = (line[i + j] & 0xC0) == 0x80;
    if (!sound) line[i] = '?';
    i += sound ? length : 1;
  }
  return line;
}

bool is_model_file(const std::string& path) {
  char magic[4] = {};
  return std::ifstream(path, std::ios::binary).read(magic, 4) && std::memcmp(magic, "GGUF", 4) == 0;
}

uint64_t check_gguf_header(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) {
    throw Error(path + ": " + (errno == ENOENT ? "there is no such file" : std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) throw Error(path + ": is a directory; give a GGUF file");
  if (!S_ISREG(status.st_mode)) throw Error(path + ": is not a regular file; give a GGUF file");

  // GGUF: magic, version (u32), number of tensors (u64), number of metadata entries (u64).
  std::array<char, 24> header = {};
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path + ": cannot be read: " + std::strerror(errno));
  file.read(header.data(), header.size());
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size >= 4 && std::memcmp(header.data(), "GGUF", 4) != 0) {
    throw Error(path + ": does not begin with 'GGUF': it is no GGUF file");
  }
  if (size < header.size()) {
    throw Error(path + ": has " + std::to_string(size) +
                " bytes: too few for a GGUF file, it is empty or truncated");
  }
  uint32_t version;
  std::memcpy(&version, header.data() + 4, sizeof version);
  if (version < 2 || version > 3) {
    throw Error(path + ": says it is GGUF version " + std::to_string(version) +
                "; versions 2 and 3 can be read");
  }
  uint64_t counts[2];
  std::memcpy(counts, header.data() + 8, sizeof counts);
  // A tensor takes at least 32 bytes of description, a metadata entry 13.
  if (counts[0] > size / 32 || counts[1] > size / 13) {
    throw Error(path + ": announces " + std::to_string(counts[0]) + " tensors and " +
                std::to_string(counts[1]) + " metadata entries, more than its " +
                std::to_string(size) + " bytes can hold: the file is broken");
  }
  return size;
}

void check_weights_are_finite(const std::string& path) {
  const uint64_t parts = check_part(path);
  if (parts <= 1) return;
  std::array<char, 4096> prefix = {};
  std::array<char, 4096> part = {};
  const int count = static_cast<int>(parts);
  if (llama_split_prefix(prefix.data(), prefix.size(), path.c_str(), 0, count) <= 0) return;
  for (int i = 1; i < count; ++i) {
    llama_split_path(part.data(), part.size(), prefix.data(), i, count);
    check_part(part.data());
  }
}

}  // namespace napier
