#include "cli/command.hpp"
namespace napier::cli {
void add_explain(CLI::App&) {}
}  // namespace napier::cli
