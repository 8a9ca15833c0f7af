// The devices of ggml that Napier adds: matrix multiplications named by the active plan run here,
// all else in the program's other backends. See session.hpp for what a program sets and asks.
#pragma once

#include <ggml-backend.h>

#include <cstddef>

namespace napier {

// The registration of the devices; the same at every call. For hosts that load plugins themselves.
ggml_backend_reg_t ggml_backend_registration();

// One more device from now on, which computes whole graphs: for llama.cpp's RPC server, which hands
// them to one device alone. Before the registration is given to ggml.
void offer_server_device();

// Makes them known to ggml. Once, before a model is loaded; more often does no harm.
void register_ggml_backend();

// The buffer type that models are loaded into: host memory that the CPU backend can use too, but of
// its own type, so that the CPU backend cannot take weights away to repack them in its layout.
ggml_backend_buffer_type_t backend_buffer_type();

// The packed weights held now.
struct CacheUse {
  size_t entries = 0;
  size_t bytes = 0;
};
CacheUse packed_weights_in_use();

}  // namespace napier
