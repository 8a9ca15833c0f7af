// llama.cpp as a library: started once, its log kept from the terminal.
#pragma once

#include <string>

namespace napier {

// Starts llama.cpp and registers Napier's device before any model is loaded. Call it first; later
// calls do nothing. A message of llama.cpp goes to stderr only after set_engine_verbose(true).
void start_engine();
void set_engine_verbose(bool verbose);

// The first error that llama.cpp logged since clear_engine_error(): the telling one, what follows
// says only that something failed. Empty if there was none.
std::string first_engine_error();
void clear_engine_error();

}  // namespace napier
