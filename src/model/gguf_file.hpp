// What can be said of a GGUF file before llama.cpp sees it, and of the numbers in it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace napier {

// Whether `path` is a file that begins as GGUF files do.
bool is_model_file(const std::string& path);

// Throws Error unless `path` is a file that can be read and begins as a GGUF file of a version and
// with counts that llama.cpp can read. Returns its size in bytes.
uint64_t check_gguf_header(const std::string& path);

// Throws Error, naming the tensor, if a weight is infinite or not a number. Flips of bits that
// leave a weight finite cannot be seen: GGUF has no checksum. Reads all of the file (and of its
// further parts, if it is split), with as many threads as there are processors. GGUF's own
// structure must be sound: see probe_model().
void check_weights_are_finite(const std::string& path);

// Text from a file, made fit for one line of a message: control characters and what is no UTF-8
// become '?'.
std::string printable(std::string_view text);

}  // namespace napier
