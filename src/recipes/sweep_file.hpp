// A sweep from a file.
#pragma once

#include <string>

#include "eval/sweep.hpp"

namespace napier {

// Reads a TOML file; paths in it count from its own folder. docs/sweep.md has every key:
//   models = ["a.gguf", "b.gguf"]
//   arithmetics = ["bf16", "lmul-m4"]                (and plans = [...]: texts or recipe files)
//   [[text]]
//   name = "stories"; path = "stories.txt"; context = 512; limit = 20
//   [[task]]
//   task = "piqa"; path = "piqa.test.json"; limit = 100
// Throws Error, naming the file and the key or line.
SweepSpec read_sweep_file(const std::string& path);

}  // namespace napier
