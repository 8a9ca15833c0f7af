#include "ggml/backend.hpp"

#include <ggml-backend-impl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ggml/engine_nodes.hpp"
#include "ggml/matmul.hpp"
#include "ggml/session.hpp"
#include "ggml/tensors.hpp"
#include "napier/error.hpp"

// Structs of function pointers are filled by member name: members have been inserted in the middle
// of them without a new GGML_BACKEND_API_VERSION. Nothing may be thrown into ggml, which is C.

namespace napier {
namespace {

constexpr const char* k_name = "NAPIER";
constexpr const char* k_weights_name = "NAPIER_WEIGHTS";
constexpr const char* k_server_name = "NAPIER_SERVER";
constexpr size_t k_alignment = 64;

// ---- state shared by all llama_contexts ----

// One computation runs at a time: the pool's threads are all of those the program allows.
struct Shared {
  std::mutex computing;
  std::map<int, std::unique_ptr<ThreadPool>> pools;  // llama asks for two sizes in turn
  WeightCache cache;
  std::atomic<uint64_t> buffers_made{0};

  // What the scheduler was told this device leaves to others, by name, since the last computation:
  // the multiplications that the engine runs in each decode of that graph.
  std::mutex declining;
  std::map<std::string, uint64_t, std::less<>> declined;
  std::set<std::string, std::less<>> declined_fused;
  std::atomic<uint64_t> layouts{1};  // counts rounds of scheduling
  std::atomic<bool> computed{false};

  std::atomic<bool> serves{false};  // whether NAPIER_SERVER is there
};

// Never destroyed: buffers of static storage duration in the host may outlive us.
Shared& shared() {
  static Shared* instance = new Shared;
  return *instance;
}

ThreadPool& pool_of(int threads) {
  std::unique_ptr<ThreadPool>& pool = shared().pools[threads];
  if (!pool) pool = std::make_unique<ThreadPool>(threads);
  return *pool;
}

size_t cache_budget(const BackendSettings& settings) {
  if (settings.cache_bytes != 0) return settings.cache_bytes;
  static const size_t half_of_memory = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) *
                                       static_cast<size_t>(sysconf(_SC_PAGE_SIZE)) / 2;
  return half_of_memory;
}

// ---- buffers: host memory that knows when it is written ----

struct HostMemory {
  uint64_t number;  // never given twice in a process
  char* base;
  bool owned;
};

HostMemory& memory_of(ggml_backend_buffer_t buffer) {
  return *static_cast<HostMemory*>(buffer->context);
}

void written(ggml_backend_buffer_t buffer, const void* begin, size_t size) {
  shared().cache.invalidate(memory_of(buffer).number, begin,
                            static_cast<const char*>(begin) + size);
}

void buffer_free(ggml_backend_buffer_t buffer) {
  HostMemory& memory = memory_of(buffer);
  shared().cache.invalidate(memory.number);
  if (memory.owned) ::operator delete (memory.base, std::align_val_t{k_alignment});
  delete &memory;
}

void* buffer_base(ggml_backend_buffer_t buffer) { return memory_of(buffer).base; }

void buffer_memset(ggml_backend_buffer_t buffer, ggml_tensor* tensor, uint8_t value, size_t offset,
                   size_t size) {
  char* to = static_cast<char*>(tensor->data) + offset;
  std::memset(to, value, size);
  written(buffer, to, size);
}

void buffer_set(ggml_backend_buffer_t buffer, ggml_tensor* tensor, const void* data, size_t offset,
                size_t size) {
  char* to = static_cast<char*>(tensor->data) + offset;
  std::memcpy(to, data, size);
  written(buffer, to, size);
}

void buffer_get(ggml_backend_buffer_t, const ggml_tensor* tensor, void* data, size_t offset,
                size_t size) {
  std::memcpy(data, static_cast<const char*>(tensor->data) + offset, size);
}

bool buffer_copy(ggml_backend_buffer_t buffer, const ggml_tensor* from, ggml_tensor* to) {
  if (!ggml_backend_buffer_is_host(data_owner(from)->buffer)) return false;
  std::memcpy(to->data, from->data, ggml_nbytes(from));
  written(buffer, to->data, ggml_nbytes(to));
  return true;
}

void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
  std::memset(memory_of(buffer).base, value, buffer->size);
  shared().cache.invalidate(memory_of(buffer).number);
}

ggml_backend_buffer_t make_buffer(char* base, size_t size, bool owned) {
  ggml_backend_buffer_i iface{};
  iface.free_buffer = buffer_free;
  iface.get_base = buffer_base;
  iface.memset_tensor = buffer_memset;
  iface.set_tensor = buffer_set;
  iface.get_tensor = buffer_get;
  iface.cpy_tensor = buffer_copy;
  iface.clear = buffer_clear;
  auto* memory = new (std::nothrow) HostMemory{++shared().buffers_made, base, owned};
  if (!memory) return nullptr;
  return ggml_backend_buffer_init(backend_buffer_type(), iface, memory, size);
}

ggml_backend_buffer_t buffer_allocate(ggml_backend_buffer_type_t, size_t size) {
  void* base = ::operator new (size, std::align_val_t{k_alignment}, std::nothrow);
  if (!base) return nullptr;  // ggml says so
  return make_buffer(static_cast<char*>(base), size, true);
}

ggml_backend_dev_t server_device();

// The number of our buffer that holds a tensor, or 0. Trained tensors are written in place while
// their buffer is not told.
uint64_t keepable_in(const ggml_tensor* tensor) {
  const ggml_tensor* owner = data_owner(tensor);
  const ggml_backend_buffer_t buffer = owner->buffer;
  if (!buffer || buffer->buft != backend_buffer_type() || buffer->size == 0) return 0;
  if (buffer->usage != GGML_BACKEND_BUFFER_USAGE_WEIGHTS && !is_served_weight(owner)) return 0;
  if ((owner->flags | tensor->flags) & GGML_TENSOR_FLAG_PARAM) return 0;
  return memory_of(buffer).number;
}

// ---- backend: one for each llama_context ----

struct Backend {
  int threads = 0;
  uint64_t layout = 0;                          // of which `seen` are nodes
  std::unordered_set<const ggml_tensor*> run;   // nodes ever run here
  std::unordered_set<const ggml_tensor*> seen;  // looked at in this decode
  std::unique_ptr<EngineNodes> engine;          // of NAPIER_SERVER
};

void begin_decode(Backend& backend, PlanRun& plan) {
  backend.layout = shared().layouts;
  backend.seen.clear();
  std::lock_guard lock(shared().declining);
  for (const auto& [name, multiplications] : shared().declined) {
    plan.record_engine(name, multiplications);
  }
  // Flash attention was asked about and then given up if its products are there one by one.
  const auto kq = shared().declined.lower_bound("kq-");
  const bool separate = kq != shared().declined.end() && kq->first.starts_with("kq-");
  for (const std::string& operation : shared().declined_fused) {
    if (operation != "FLASH_ATTN_EXT" || !separate) plan.record_fused(operation);
  }
}

// Looks upstream of a node for matrix multiplications that the plan names and another backend ran
// (each node once a decode): only a repacked weight or a graph laid out for another plan does that.
void check_upstream(Backend& backend, const ggml_tensor* node, const PlanRun& plan) {
  std::vector<const ggml_tensor*> stack{node};
  while (!stack.empty()) {
    const ggml_tensor* next = stack.back();
    stack.pop_back();
    if (!backend.seen.insert(next).second) continue;
    for (const ggml_tensor* source : next->src) {
      if (source) stack.push_back(source);
    }
    if (next == node || !(next->flags & GGML_TENSOR_FLAG_COMPUTE) || backend.run.count(next)) {
      continue;
    }
    const auto matmul = identify_matmul(next, plan.plan());
    if (!matmul || !matmul->rule) continue;
    const ggml_backend_buffer_t buffer = data_owner(next->src[0])->buffer;
    throw Error(std::string(matmul->name) +
                ": the plan names it, but another backend ran it (its first operand lies in a " +
                (buffer ? ggml_backend_buffer_name(buffer) : "?") +
                " buffer); load the model with the plan in force, and make a new llama_context "
                "for every plan");
  }
}

std::string hidden_sentence(const ggml_tensor* node) {
  return std::string(ggml_op_name(node->op)) +
         ": flash attention hides matrix multiplications that the plan names; turn it off "
         "(-fa off)";
}

// A multiplication that the plan names.
void compute_matmul_of_plan(const ggml_tensor* node, const MatmulIdentity& matmul, PlanRun& plan,
                            const BackendSettings& settings, ThreadPool& pool) {
  const Rule& rule = plan.plan().rules[*matmul.rule];
  const bool looks_back = matmul.is_weight && !rule.treatments.empty();
  const MatmulContext context{
      .arithmetic = plan.arithmetic(*matmul.rule),
      .treatments = rule.treatments,
      .pool = pool,
      .buffer = keepable_in(node->src[0]),
      .arithmetic_id = plan.arithmetic_id(*matmul.rule),
      .cache = shared().cache,
      .cache_bytes = cache_budget(settings),
      .history = looks_back ? plan.history(matmul.name) : nullptr,
  };
  MatmulDone done;
  try {
    done = compute_matmul(node, context);
    if (plan.observer()) plan.observer()(MatmulObservation(matmul.name, node, pool));
  } catch (const Error& error) {
    throw Error(std::string(matmul.name) + ": " + error.what(), error.blame());
  }
  plan.record(matmul.name, *matmul.rule, done.kernel, matmul.multiplications, done.treated);
  if (!matmul.is_weight) {
    if (const char* type = cache_type(node)) plan.record_cache_type(type);
  }
}

void compute_node(Backend& backend, const ggml_tensor* node, PlanRun& plan,
                  const BackendSettings& settings, ThreadPool& pool) {
  const auto matmul = identify_matmul(node, plan.plan());
  if (!matmul) throw Error(hidden_sentence(node));
  if (!matmul->rule) {
    throw Error(std::string(matmul->name) +
                ": the active plan does not name it, but the graph was laid out for one that did; "
                "make a new llama_context for every plan");
  }
  if (!backend.run.insert(node).second && backend.seen.count(node)) begin_decode(backend, plan);
  compute_matmul_of_plan(node, *matmul, plan, settings, pool);
  check_upstream(backend, node, plan);
}

bool is_view(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_RESHAPE:
    case GGML_OP_VIEW:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE: return true;
    default: return false;
  }
}

void compute_graph(Backend& backend, ggml_cgraph* graph) {
  const std::shared_ptr<PlanRun> plan = active_plan();
  if (!plan) throw Error("no plan is in force, but a graph was laid out for one");
  const BackendSettings settings = backend_settings();
  Shared& state = shared();
  std::lock_guard lock(state.computing);
  ThreadPool& pool = pool_of(settings.threads ? settings.threads : backend.threads);
  state.computed = true;
  if (backend.layout != state.layouts) begin_decode(backend, *plan);
  for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
    const ggml_tensor* node = ggml_graph_node(graph, i);
    if (!(node->flags & GGML_TENSOR_FLAG_COMPUTE) || ggml_is_empty(node) || is_view(node)) continue;
    compute_node(backend, node, *plan, settings, pool);
  }
}

// All of a graph, as llama.cpp's RPC server hands it over: what the plan names here, the rest on
// the program's own CPU backend.
void serve_graph(Backend& backend, ggml_cgraph* graph) {
  const std::shared_ptr<PlanRun> plan = active_plan();
  if (!plan) throw Error("no plan is in force");
  const BackendSettings settings = backend_settings();
  std::lock_guard lock(shared().computing);
  const int threads = std::max(1, settings.threads ? settings.threads : backend.threads);
  ThreadPool& pool = pool_of(threads);
  if (!backend.engine) backend.engine = std::make_unique<EngineNodes>(threads);
  for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
    ggml_tensor* node = ggml_graph_node(graph, i);
    if (!(node->flags & GGML_TENSOR_FLAG_COMPUTE) || ggml_is_empty(node) || is_view(node)) continue;
    if (hides_named_matmuls(node, plan->plan())) throw Error(hidden_sentence(node));
    const auto matmul = identify_matmul(node, plan->plan());
    if (matmul && matmul->rule) {
      backend.engine->run();
      compute_matmul_of_plan(node, *matmul, *plan, settings, pool);
      continue;
    }
    if (matmul) {
      plan->record_met(std::nullopt);
      plan->record_engine(matmul->name, matmul->multiplications);
    } else if (is_fused_product(node)) {
      plan->record_fused(ggml_op_name(node->op));
    }
    backend.engine->add(node);
  }
  backend.engine->run();
}

ggml_status backend_compute(ggml_backend_t backend, ggml_cgraph* graph) {
  try {
    Backend& ours = *static_cast<Backend*>(backend->context);
    backend->device == server_device() ? serve_graph(ours, graph) : compute_graph(ours, graph);
    return GGML_STATUS_SUCCESS;
  } catch (const std::bad_alloc&) {
    set_backend_error("out of memory in a matrix multiplication");
    return GGML_STATUS_ALLOC_FAILED;
  } catch (const std::exception& error) {
    set_backend_error(error.what());
    return GGML_STATUS_FAILED;
  }
}

const char* backend_name(ggml_backend_t) { return k_name; }

void backend_free(ggml_backend_t backend) {
  delete static_cast<Backend*>(backend->context);
  delete backend;
}

void backend_set_n_threads(ggml_backend_t backend, int threads) {
  static_cast<Backend*>(backend->context)->threads = threads;
}

// ---- devices ----

// Two, because ggml's scheduler and llama.cpp's loader ask for opposite things, and a third one for
// servers:
//   NAPIER          computes, in the CPU backend's buffer type: the scheduler hands a
//   multiplication
//                   of activations to us only from a backend of the same buffer type as ours;
//   NAPIER_WEIGHTS  computes nothing and has the buffer type that weights are loaded into: one not
//                   the CPU's, else the CPU backend would repack them where we cannot read them;
//   NAPIER_SERVER   computes whole graphs, in a program that has no scheduler: llama.cpp's RPC
//                   server. No scheduler gives it anything.

bool supports_matmul(const ggml_tensor* node) {
  const std::shared_ptr<PlanRun> plan = active_plan();
  if (!plan) return false;
  const auto matmul = identify_matmul(node, plan->plan());
  plan->record_met(matmul->rule);
  // What the plan names is taken even if it then fails with a sentence: the CPU would run it
  // natively, and nobody would know.
  if (matmul->rule) return true;
  std::lock_guard lock(shared().declining);
  shared().declined[std::string(matmul->name)] = matmul->multiplications;
  return false;
}

bool supports_op(const ggml_tensor* node) {
  if (is_view(node)) return true;
  switch (node->op) {
    case GGML_OP_MUL_MAT:
    case GGML_OP_MUL_MAT_ID:
    case GGML_OP_OUT_PROD: return supports_matmul(node);
    default: {
      // Flash attention is claimed so that llama.cpp sees it on an unexpected device and takes the
      // separate multiplications instead, which come here. If it comes all the same, it fails.
      const std::shared_ptr<PlanRun> plan = active_plan();
      if (!plan) return false;
      if (hides_named_matmuls(node, plan->plan())) return true;
      if (is_fused_product(node)) {
        std::lock_guard lock(shared().declining);
        shared().declined_fused.emplace(ggml_op_name(node->op));
      }
      return false;
    }
  }
}

bool device_supports_op(ggml_backend_dev_t, const ggml_tensor* node) {
  Shared& state = shared();
  if (state.computed.exchange(false)) {
    state.layouts++;
    std::lock_guard lock(state.declining);
    state.declined.clear();
    state.declined_fused.clear();
  }
  try {
    return supports_op(node);
  } catch (const std::exception& error) {
    set_backend_error(error.what());
    return false;
  }
}

// llama.cpp asks for every weight, in a buffer of no size, whether it could be multiplied from
// there. All are taken, as any later plan may name them. What the scheduler asks is declined.
bool weights_device_supports_op(ggml_backend_dev_t, const ggml_tensor* node) {
  if (node->op != GGML_OP_MUL_MAT && node->op != GGML_OP_MUL_MAT_ID) return false;
  const ggml_backend_buffer_t buffer = node->src[0]->buffer;
  return buffer && buffer->buft == backend_buffer_type() && buffer->size == 0 &&
         buffer->usage != GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
}

const char* device_name(ggml_backend_dev_t device) {
  return static_cast<const char*>(device->context);
}
const char* device_description(ggml_backend_dev_t) {
  return "Napier: matrix multiplications in other arithmetics";
}
void device_memory(ggml_backend_dev_t device, size_t* free, size_t* total) {
  *free = *total = 0;
  if (device != server_device()) return;
  // Clients share layers out by it.
  const auto page = static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
  *free = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * page;
  *total = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * page;
}
// The server takes what is neither CPU nor ACCEL before anything else.
enum ggml_backend_dev_type device_type(ggml_backend_dev_t device) {
  return device == server_device() ? GGML_BACKEND_DEVICE_TYPE_GPU : GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_props(ggml_backend_dev_t device, ggml_backend_dev_props* props) {
  *props = {};
  props->name = device_name(device);
  props->description = device_description(device);
  props->type = device_type(device);
  props->caps.buffer_from_host_ptr = true;
  props->caps.mmap_support = true;
}

ggml_backend_t device_init(ggml_backend_dev_t device, const char*) {
  static ggml_guid guid = {0x4e, 0x61, 0x70, 0x69, 0x65, 0x72, 0x20, 0x31,   // "Napier 1"
                           0x36, 0x31, 0x34, 0x20, 0x6c, 0x6f, 0x67, 0x73};  // "614 logs"
  ggml_backend_i iface{};
  iface.get_name = backend_name;
  iface.free = backend_free;
  iface.graph_compute = backend_compute;
  auto* context = new (std::nothrow) Backend;
  auto* backend = new (std::nothrow) ggml_backend;
  if (!context || !backend) {
    delete context;
    delete backend;
    return nullptr;
  }
  *backend = {};
  backend->guid = &guid;
  backend->iface = iface;
  backend->device = device;
  backend->context = context;
  return backend;
}

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) {
  return ggml_backend_cpu_buffer_type();
}
ggml_backend_buffer_type_t weights_device_buffer_type(ggml_backend_dev_t) {
  return backend_buffer_type();
}

ggml_backend_buffer_t device_buffer_from_pointer(ggml_backend_dev_t, void* pointer, size_t size,
                                                 size_t) {
  return ggml_backend_cpu_buffer_from_ptr(pointer, size);
}
ggml_backend_buffer_t weights_device_buffer_from_pointer(ggml_backend_dev_t, void* pointer,
                                                         size_t size, size_t) {
  return make_buffer(static_cast<char*>(pointer), size, false);
}

// Any host memory can be read: weights in our own, KV caches and activations in the CPU backend's.
bool device_supports_buffer_type(ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
  return ggml_backend_buft_is_host(type);
}

ggml_backend_device* make_device(const char* name) {
  auto* device = new ggml_backend_device{};
  device->iface.get_name = device_name;
  device->iface.get_description = device_description;
  device->iface.get_memory = device_memory;
  device->iface.get_type = device_type;
  device->iface.get_props = device_props;
  device->iface.init_backend = device_init;
  device->iface.get_buffer_type = device_buffer_type;
  device->iface.buffer_from_host_ptr = device_buffer_from_pointer;
  device->iface.supports_op = device_supports_op;
  device->iface.supports_buft = device_supports_buffer_type;
  device->reg = ggml_backend_registration();
  device->context = const_cast<char*>(name);
  return device;
}

ggml_backend_dev_t computing_device() {
  static ggml_backend_device* instance = make_device(k_name);
  return instance;
}

ggml_backend_dev_t weights_device() {
  static ggml_backend_device* instance = [] {
    ggml_backend_device* device = make_device(k_weights_name);
    device->iface.get_buffer_type = weights_device_buffer_type;
    device->iface.buffer_from_host_ptr = weights_device_buffer_from_pointer;
    device->iface.supports_op = weights_device_supports_op;
    return device;
  }();
  return instance;
}

bool server_device_supports_op(ggml_backend_dev_t, const ggml_tensor*) { return false; }

ggml_backend_dev_t server_device() {
  static ggml_backend_device* instance = [] {
    ggml_backend_device* device = make_device(k_server_name);
    device->iface.get_buffer_type = weights_device_buffer_type;
    device->iface.supports_op = server_device_supports_op;
    return device;
  }();
  return instance;
}

const char* buffer_type_name(ggml_backend_buffer_type_t) { return k_name; }
size_t buffer_type_alignment(ggml_backend_buffer_type_t) { return k_alignment; }
bool buffer_type_is_host(ggml_backend_buffer_type_t) { return true; }

const char* registration_name(ggml_backend_reg_t) { return k_name; }
size_t registration_device_count(ggml_backend_reg_t) { return shared().serves ? 3 : 2; }
ggml_backend_dev_t registration_device(ggml_backend_reg_t, size_t index) {
  return index == 0 ? computing_device() : index == 1 ? weights_device() : server_device();
}

void* registration_function(ggml_backend_reg_t, const char* name) {
  if (std::strcmp(name, "ggml_backend_set_n_threads") == 0) {
    return reinterpret_cast<void*>(backend_set_n_threads);
  }
  return nullptr;
}

}  // namespace

ggml_backend_buffer_type_t backend_buffer_type() {
  static ggml_backend_buffer_type* instance = [] {
    auto* made = new ggml_backend_buffer_type{};
    made->iface.get_name = buffer_type_name;
    made->iface.alloc_buffer = buffer_allocate;
    made->iface.get_alignment = buffer_type_alignment;
    made->iface.is_host = buffer_type_is_host;
    made->device = weights_device();
    return made;
  }();
  return instance;
}

ggml_backend_reg_t ggml_backend_registration() {
  static ggml_backend_reg* instance = [] {
    auto* made = new ggml_backend_reg{};
    made->api_version = GGML_BACKEND_API_VERSION;
    made->iface.get_name = registration_name;
    made->iface.get_device_count = registration_device_count;
    made->iface.get_device = registration_device;
    made->iface.get_proc_address = registration_function;
    return made;
  }();
  return instance;
}

void offer_server_device() { shared().serves = true; }

void register_ggml_backend() { ggml_backend_register(ggml_backend_registration()); }

CacheUse packed_weights_in_use() { return {shared().cache.entries(), shared().cache.bytes()}; }

}  // namespace napier
