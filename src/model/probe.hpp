// Trying a model in a process of its own.
#pragma once

#include <string>
#include <string_view>

#include "model/context.hpp"

namespace napier {

// llama.cpp aborts, or worse, on some broken GGUF files. This does in a child process all that will
// be done with the model: loads it, checks that its weights are finite, tokenises `text`, makes a
// context of these options and decodes two tokens. Throws Error, one sentence, if any of it fails
// or ends by a signal, takes more memory than a sound model of that size would, or does not end.
// Call it before other threads are started. Under AddressSanitizer memory is not limited.
void probe_model(const std::string& path, const ContextOptions& options, std::string_view text);

}  // namespace napier
