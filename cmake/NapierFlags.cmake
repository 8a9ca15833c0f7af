# Compiler settings of Napier's own code. They are attached to our targets one by one, through
# the two interface targets below, so that nothing of it reaches llama.cpp.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

set(CMAKE_CXX_SCAN_FOR_MODULES OFF)  # no C++20 modules here; scanning costs time with new CMakes
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)  # a build folder can be moved

find_program(NAPIER_CCACHE ccache)
if(NAPIER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${NAPIER_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${NAPIER_CCACHE}")
endif()

# napier_flags: what decides the bits. No contraction: a*b + c stays two roundings on every target
# unless the code asks for a fused one, else AVX2 and SSE4 would give different sums.
add_library(napier_flags INTERFACE)
target_compile_features(napier_flags INTERFACE cxx_std_20)
target_compile_options(napier_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-ffp-contract=off -fvisibility=hidden
  -fvisibility-inlines-hidden>)

if(NAPIER_SANITIZE)
  target_compile_options(napier_flags INTERFACE
    -fsanitize=${NAPIER_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(napier_flags INTERFACE -fsanitize=${NAPIER_SANITIZE})
endif()

# napier_warnings: for us only, never for those who use the library.
add_library(napier_warnings INTERFACE)
target_compile_options(napier_warnings INTERFACE
  $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall -Wextra -Wpedantic>
  # GCC 12 sees overlapping copies in its own std::string (gcc.gnu.org/PR105651).
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
  $<$<AND:$<BOOL:${NAPIER_WERROR}>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Werror>)
