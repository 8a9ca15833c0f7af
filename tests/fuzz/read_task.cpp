// Any bytes are a file of any task's questions, or an Error that names a file. The first byte says
// which task.
#include <cstdlib>
#include <string>
#include <string_view>

#include "eval/task.hpp"
#include "napier/error.hpp"
#include "scratch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Scratch scratch;
  if (size == 0) return 0;
  const auto kinds = napier::task_kinds();
  const napier::TaskKind& kind = kinds[data[0] % kinds.size()];
  const bool mmlu = kind.name == "mmlu", bbh = kind.name == "bbh_cot";
  const std::string path =
      scratch.write(mmlu ? "test/x_test.csv" : "bbh/x.json", data + 1, size - 1);
  if (mmlu) scratch.write("dev/x_dev.csv", data + 1, size - 1);
  if (bbh) scratch.write("bbh_cot_prompts/x.txt", data + 1, size - 1);
  try {
    const napier::Task task = napier::read_task(std::string(kind.name) + "=" + path, 0);
    if (task.questions.empty()) std::abort();
    for (const napier::Question& question : task.questions) {
      if (task.is_choice() && question.right >= question.choices.size()) std::abort();
    }
  } catch (const napier::Error& error) {
    if (std::string_view(error.what()).find(scratch.folder()) == std::string_view::npos) {
      std::abort();
    }
  }
  return 0;
}
