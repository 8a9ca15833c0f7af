// The registry of presets: arithmetics with a name.
#include <array>

#include "napier/arithmetic.hpp"

namespace napier {
namespace {

// One line each. fp8 unscaled; L-Mul's operands truncated as in its paper ("-rne" rounds them).
constexpr std::array k_presets = {
    Preset{"f32", "x=f32/w=f32", "IEEE binary32 throughout: the reference"},
    Preset{"bf16", "x=bf16/w=bf16", "bfloat16 operands, exact products"},
    Preset{"f16", "x=f16/w=f16", "IEEE binary16 operands, exact products"},
    Preset{"fp8_e4m3", "x=e4m3fn/w=e4m3fn", "OCP E4M3 operands, unscaled, exact products"},
    Preset{"fp8_e5m2", "x=e5m2/w=e5m2", "OCP E5M2 operands, unscaled, exact products"},
    Preset{"lmul-m2", "x=e8m2:rtz/w=e8m2:rtz/mul=lmul", "L-Mul, 2-bit mantissas"},
    Preset{"lmul-m3", "x=e8m3:rtz/w=e8m3:rtz/mul=lmul", "L-Mul, 3-bit mantissas"},
    Preset{"lmul-m4", "x=e8m4:rtz/w=e8m4:rtz/mul=lmul", "L-Mul, 4-bit mantissas"},
    Preset{"lmul-m5", "x=e8m5:rtz/w=e8m5:rtz/mul=lmul", "L-Mul, 5-bit mantissas"},
    Preset{"lmul-m6", "x=e8m6:rtz/w=e8m6:rtz/mul=lmul", "L-Mul, 6-bit mantissas"},
    Preset{"lmul-m7", "x=bf16:rtz/w=bf16:rtz/mul=lmul", "L-Mul, 7-bit mantissas (bfloat16)"},
    Preset{"lmul-f16", "x=f16:rtz/w=f16:rtz/mul=lmul", "L-Mul on binary16 operands"},
    Preset{"lmul-e4m3", "x=e4m3fn:rtz/w=e4m3fn:rtz/mul=lmul", "L-Mul on OCP E4M3 operands"},
    Preset{"lmul-e5m2", "x=e5m2:rtz/w=e5m2:rtz/mul=lmul", "L-Mul on OCP E5M2 operands"},
    Preset{"lmul-formula-m2", "x=e8m2:rtz/w=e8m2:rtz/mul=lmul(reading=formula)",
           "L-Mul as its Eq. 1 says, 2-bit mantissas"},
    Preset{"lmul-formula-m3", "x=e8m3:rtz/w=e8m3:rtz/mul=lmul(reading=formula)",
           "L-Mul as its Eq. 1 says, 3-bit mantissas"},
    Preset{"lmul-formula-m4", "x=e8m4:rtz/w=e8m4:rtz/mul=lmul(reading=formula)",
           "L-Mul as its Eq. 1 says, 4-bit mantissas"},
    Preset{"lmul-formula-m7", "x=bf16:rtz/w=bf16:rtz/mul=lmul(reading=formula)",
           "L-Mul as its Eq. 1 says, 7-bit mantissas"},
    Preset{"mitchell", "x=bf16:rtz/w=bf16:rtz/mul=mitchell", "Mitchell's product of bfloat16"},
};

}  // namespace

std::span<const Preset> presets() { return k_presets; }

}  // namespace napier
