// The instruction sets that kernels are compiled for; include it before Highway. Vectors of
// unknown length (SVE, RVV) cannot stand in the arrays of a register tile: such machines run NEON
// or the emulation. Nothing is won by SSSE3 beside SSE4.
#pragma once
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
