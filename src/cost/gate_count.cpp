#include "cost/gate_count.hpp"

#include <array>

namespace napier {
namespace {

constexpr std::array k_paper_gates = {
    PaperGates{"fp16 multiply", 584, 10},    PaperGates{"fp8 e4m3 multiply", 325, 3},
    PaperGates{"fp8 e5m2 multiply", 296, 2}, PaperGates{"L-Mul fp16", 256, {}},
    PaperGates{"L-Mul fp8", 157, {}},
};

}  // namespace

std::span<const PaperGates> paper_gates() { return k_paper_gates; }

}  // namespace napier
