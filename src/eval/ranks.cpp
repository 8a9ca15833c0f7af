#include "eval/ranks.hpp"

#ifdef NAPIER_WITH_MPI
#include <mpi.h>
#endif
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <exception>
#include <initializer_list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>
#include <vector>

#include "napier/error.hpp"

namespace napier {

namespace {

// The first of these variables that is set, as a number; else `otherwise`.
int number_in_environment(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return otherwise;
}

}  // namespace

// SLURM_PROCID last: the script of a batch job has it too, and starts mpirun.
int Ranks::rank_in_environment() {
  return number_in_environment({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"},
                               0);
}

#ifdef NAPIER_WITH_MPI

namespace {

enum Tag : int { k_finished = 1, k_unit = 2, k_failed = 3 };
using UnitMessage = std::array<uint64_t, 4>;  // whether there is one, and which

bool is_started_together() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name)) return true;
  }
  return false;
}

pid_t first_process = 0;   // the first rank's, where it runs on this machine
pid_t second_process = 0;  // likewise
std::array<char, 32> first_process_state = {};
volatile std::sig_atomic_t is_reason_said = 0;  // by a rank whose work failed

// Whether the first rank has ended. Its process may still be there, waiting for mpirun to take note
// of its end, and answers signals until then; /proc knows it as a zombie. Safe in a signal handler.
bool is_first_rank_lost() {
  const int file = open(first_process_state.data(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return true;
  std::array<char, 128> text;
  const ssize_t size = read(file, text.data(), text.size());
  close(file);
  // "4711 (napier) Z ...": the state follows the name (proc(5)).
  const std::string_view line(text.data(), size > 0 ? static_cast<size_t>(size) : 0);
  const size_t name_end = line.rfind(") ");
  return name_end == line.npos || line.substr(name_end + 2, 1).find_first_of("ZX") == 0;
}

// What mpirun sends to the others when one process is lost: the first rank says so, or the second,
// if it was the first; none where a rank has said why it fails.
void on_lost_rank(int) {
  constexpr std::string_view sentence =
      "napier: the sweep was ended because a rank was lost; run it again to go on with the units "
      "that are left\n";
  const bool is_first = first_process == getpid();
  if (!is_reason_said && (is_first || is_first_rank_lost())) {
    const ssize_t ignored = write(STDERR_FILENO, sentence.data(), sentence.size());
    (void)ignored;
  }
  if (is_first) {  // stays while the second one looks whether it is there
    constexpr timespec moment = {.tv_sec = 0, .tv_nsec = 300'000'000};
    nanosleep(&moment, nullptr);
  }
  _exit(1);
}

void on_reason_said(int) { is_reason_said = 1; }

// To be the one who says it, where that can be known.
void listen_for_lost_ranks(int rank, int count) {
  struct Process {
    pid_t id;
    std::array<char, MPI_MAX_PROCESSOR_NAME> machine;
  };
  Process own = {getpid(), {}};
  int length = 0;
  MPI_Get_processor_name(own.machine.data(), &length);
  std::vector<Process> all(static_cast<size_t>(count));
  MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, MPI_COMM_WORLD);
  if (rank > 1 || all[0].machine != own.machine) return;
  first_process = all[0].id;
  if (all[1].machine == own.machine) second_process = all[1].id;
  std::snprintf(first_process_state.data(), first_process_state.size(), "/proc/%ld/stat",
                static_cast<long>(first_process));
  std::signal(SIGUSR1, on_reason_said);
  std::signal(SIGTERM, on_lost_rank);
}

void send_unit(int rank, const SweepUnit* unit) {
  UnitMessage message = {};
  if (unit) message = {1, unit->model, unit->source, unit->number};
  MPI_Send(message.data(), message.size(), MPI_UINT64_T, rank, k_unit, MPI_COMM_WORLD);
}

// Asks for units until there are none. The first request brings no result.
void work_for_the_first_rank(const std::function<UnitResult(const SweepUnit& unit)>& compute) {
  std::vector<uint8_t> result;
  for (;;) {
    MPI_Send(result.data(), static_cast<int>(result.size()), MPI_BYTE, 0, k_finished,
             MPI_COMM_WORLD);
    UnitMessage message = {};
    MPI_Recv(message.data(), message.size(), MPI_UINT64_T, 0, k_unit, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    if (message[0] == 0) return;
    try {
      result = to_bytes(compute({message[1], message[2], message[3]}));
    } catch (const std::exception&) {
      // This rank will say why. The first one must know before it is ended, and answers.
      MPI_Send(nullptr, 0, MPI_BYTE, 0, k_failed, MPI_COMM_WORLD);
      MPI_Recv(nullptr, 0, MPI_BYTE, 0, k_failed, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      throw;
    }
  }
}

}  // namespace

// Only tasks that srun starts have SLURM_STEP_NUM_TASKS.
void Ranks::check_start() {
  if (is_started_together() || number_in_environment({"SLURM_STEP_NUM_TASKS"}, 1) <= 1) return;
  throw Error(
      "srun started several processes, but without an MPI plugin they cannot share the work: use "
      "srun --mpi=pmix (srun --mpi=list names what there is), or mpirun in the job's script");
}

Ranks::Ranks() {
  if (!is_started_together()) return;
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &count_);
  if (count_ > 1) listen_for_lost_ranks(rank_, count_);
}

Ranks::~Ranks() {
  int is_started = 0;
  MPI_Initialized(&is_started);
  if (is_started) MPI_Finalize();
}

void Ranks::prepare(const std::function<void()>& own) const {
  if (count_ == 1) return own();
  std::exception_ptr thrown;
  try {
    own();
  } catch (...) {
    thrown = std::current_exception();
  }
  const int failed = thrown != nullptr;
  int any = 0;
  MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  if (thrown) std::rethrow_exception(thrown);
  if (any == 0) return;
  is_reason_said = 1;  // the rank that failed says why, and ends all
  MPI_Barrier(MPI_COMM_WORLD);
}

void Ranks::check_same(const SweepSpec& spec, const std::map<std::string, std::string>& hashes,
                       const std::string& version) const {
  if (count_ == 1) return;
  const nlohmann::json here = {
      {"version", version}, {"sweep", spec.identity()}, {"hashes", hashes}};
  const std::vector<uint8_t> own = nlohmann::json::to_cbor(here);
  std::vector<uint8_t> bytes = own;
  auto size = static_cast<uint64_t>(bytes.size());
  MPI_Bcast(&size, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  bytes.resize(size);
  MPI_Bcast(bytes.data(), static_cast<int>(size), MPI_BYTE, 0, MPI_COMM_WORLD);
  prepare([&] {
    if (bytes == own) return;
    const nlohmann::json first = nlohmann::json::from_cbor(bytes);
    for (const auto& [path, hash] : hashes) {
      if (first.at("hashes").value(path, hash) == hash) continue;
      throw Error(path + ": is another file than on the first rank");
    }
    throw Error("the sweep, or this Napier, is another than on the first rank");
  });
}

void Ranks::abort(int code) const {
  is_reason_said = 1;  // mpirun may end this one too before it has left
  if (rank_ == 0 && second_process != 0) kill(second_process, SIGUSR1);
  if (count_ > 1) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

void Ranks::share_out(std::span<const SweepUnit> units,
                      const std::function<UnitResult(const SweepUnit& unit)>& compute,
                      const std::function<void(const UnitResult& result)>& store) {
  if (count_ == 1) {
    for (const SweepUnit& unit : units) store(compute(unit));
    return;
  }
  if (rank_ != 0) {
    work_for_the_first_rank(compute);
    return;
  }
  // This thread talks to the others and stores; another one computes.
  std::mutex mutex;
  size_t next = 0;
  std::deque<UnitResult> finished;
  std::exception_ptr thrown;
  bool computing = true;
  const auto take = [&]() -> const SweepUnit* {
    const std::lock_guard lock(mutex);
    return next < units.size() ? &units[next++] : nullptr;
  };
  std::thread thread([&] {
    try {
      while (const SweepUnit* unit = take()) {
        UnitResult result = compute(*unit);
        const std::lock_guard lock(mutex);
        finished.push_back(std::move(result));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      thrown = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    computing = false;
  });
  std::exception_ptr failure;
  int working = count_ - 1;  // ranks that have not been told that there is no more
  for (bool going = true; going && !failure;) {
    try {
      int waiting = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, k_failed, MPI_COMM_WORLD, &waiting, &status);
      if (waiting) {
        is_reason_said = 1;
        MPI_Recv(nullptr, 0, MPI_BYTE, status.MPI_SOURCE, k_failed, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        MPI_Send(nullptr, 0, MPI_BYTE, status.MPI_SOURCE, k_failed, MPI_COMM_WORLD);
      }
      MPI_Iprobe(MPI_ANY_SOURCE, k_finished, MPI_COMM_WORLD, &waiting, &status);
      if (waiting) {
        int size = 0;
        MPI_Get_count(&status, MPI_BYTE, &size);
        std::vector<uint8_t> bytes(static_cast<size_t>(size));
        MPI_Recv(bytes.data(), size, MPI_BYTE, status.MPI_SOURCE, k_finished, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        const SweepUnit* unit = take();
        send_unit(status.MPI_SOURCE, unit);
        working -= unit == nullptr;
        if (size > 0) store(unit_result_from(bytes));
        continue;
      }
      std::deque<UnitResult> results;
      {
        const std::lock_guard lock(mutex);
        results.swap(finished);
        failure = thrown;
        going = computing || working > 0 || !results.empty();
      }
      for (const UnitResult& result : results) store(result);
      if (results.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure) {
    {
      const std::lock_guard lock(mutex);
      next = units.size();
    }
    thread.join();
    std::rethrow_exception(failure);
  }
  thread.join();
}

#else

void Ranks::check_start() {
  if (number_in_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}, 1) <= 1) {
    return;
  }
  throw Error("this Napier was built without MPI, and several processes cannot share a sweep");
}

Ranks::Ranks() = default;
Ranks::~Ranks() = default;

void Ranks::prepare(const std::function<void()>& own) const { own(); }

void Ranks::check_same(const SweepSpec&, const std::map<std::string, std::string>&,
                       const std::string&) const {}

void Ranks::abort(int code) const { std::_Exit(code); }

void Ranks::share_out(std::span<const SweepUnit> units,
                      const std::function<UnitResult(const SweepUnit& unit)>& compute,
                      const std::function<void(const UnitResult& result)>& store) {
  for (const SweepUnit& unit : units) store(compute(unit));
}

#endif

}  // namespace napier
