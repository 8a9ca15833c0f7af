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
    Preset{"mxfp8_e4m3", "x=e4m3fn@block32(e8m0)/w=e4m3fn@block32(e8m0)", "OCP MX 1.0"},
    Preset{"mxfp8_e5m2", "x=e5m2@block32(e8m0)/w=e5m2@block32(e8m0)", "OCP MX 1.0"},
    Preset{"mxfp6_e2m3", "x=e2m3fn@block32(e8m0)/w=e2m3fn@block32(e8m0)", "OCP MX 1.0"},
    Preset{"mxfp6_e3m2", "x=e3m2fn@block32(e8m0)/w=e3m2fn@block32(e8m0)", "OCP MX 1.0"},
    Preset{"mxfp4", "x=e2m1fn@block32(e8m0)/w=e2m1fn@block32(e8m0)", "OCP MX 1.0"},
    Preset{"mxint8", "x=int8@block32(e8m0)/w=int8@block32(e8m0)", "OCP MX 1.0"},
    Preset{"nvfp4", "x=e2m1fn@block16(e4m3fn)@tensor/w=e2m1fn@block16(e4m3fn)@tensor",
           "NVIDIA's FP4: blocks of 16, a scale for the tensor"},
    Preset{"int8", "x=int8@row/w=int8@row", "symmetric integers, a token and a channel a scale"},
    Preset{"int8-asym", "x=uint8@row(f32,minmax)/w=int8@row",
           "activations with a zero point, symmetric weights"},
    Preset{"w8a16", "x=bf16/w=int8@row", "8-bit weights alone, a channel a scale"},
    Preset{"w4a16", "x=bf16/w=int4@block128(f16,full)", "4-bit integer weights alone"},
    Preset{"w4a8", "x=int8@row/w=int4@block128(f16,full)", "4-bit weights, 8-bit activations"},
    Preset{"nf4", "x=bf16/w=nf4@block64", "QLoRA's weights"},
    Preset{"bnb_fp4", "x=bf16/w=bnb_fp4@block64", "bitsandbytes' fp4 weights"},
    Preset{"bitmod3", "x=bf16/w=bitmod3@block128", "BitMoD's 3-bit weights"},
    Preset{"bitmod4", "x=bf16/w=bitmod4@block128", "BitMoD's 4-bit weights"},
    Preset{"ant4", "x=bf16/w=ant4@block128", "ANT's weights: int4 or flint4"},
    Preset{"power4", "x=bf16/w=pow4a50@row", "PowerQuant's weights, a = 1/2"},
    Preset{"pot4", "x=bf16/w=e3m0none@row(f32,mse)", "weights powers of two: products by shifts"},
    Preset{"ternary", "x=bf16/w=ternary@row(f32,mean=1.3333333333333333)", "ternary weights (TBT)"},
    Preset{"binary", "x=bf16/w=binary@row(f32,mean)", "binary weights (BWN, TBT)"},
    Preset{"zeroquant-fp-m2", "x=e4m3fn@row/w=e2m1fn@block256(e8m0:rdn)@row",
           "W4A8, weights' scales powers of two below the row's (M2)"},
    Preset{"fpq4", "x=e2m1none@tensor(f32,mse)/w=e2m1none@row(f32,mse)",
           "LLM-FP4's baseline: a real-valued bias for the tensor, for each channel"},
    Preset{"e8m3-rtz", "x=e8m3:rtz/w=e8m3:rtz", "bfloat16 masked to 3 mantissa bits, truncated"},
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
