# Builds this folder with clang++ where it has libFuzzer, beside the main build, and adds a test
# a program. Where it has not, or NAPIER_FUZZ is OFF, the tests skip and say so.
option(NAPIER_FUZZ "build the fuzzers with clang++ where it has libFuzzer" ON)
find_program(NAPIER_CLANGXX NAMES clang++ clang++-14 clang++-15 clang++-16 clang++-17 clang++-18)
set(fuzz_dir "${PROJECT_BINARY_DIR}/tests/fuzzers")

if(NAPIER_FUZZ AND NAPIER_CLANGXX AND NOT DEFINED NAPIER_HAS_LIBFUZZER)
  set(probe "${PROJECT_BINARY_DIR}/CMakeFiles/has_libfuzzer")
  file(WRITE "${probe}.cpp" "extern \"C\" int LLVMFuzzerTestOneInput(const unsigned char*, "
                            "unsigned "
       "long) { return 0; }\n")
  execute_process(COMMAND "${NAPIER_CLANGXX}" -fsanitize=fuzzer,address,undefined "${probe}.cpp"
                  -o "${probe}" RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
  if(result EQUAL 0)
    set(NAPIER_HAS_LIBFUZZER ON CACHE INTERNAL "")
  endif()
endif()
if(NAPIER_FUZZ AND NAPIER_HAS_LIBFUZZER)
  include(ExternalProject)
  set(fuzz_ggml "")
  if(TARGET napier_eval)
    set(fuzz_ggml "${napier_llama_source}/ggml/include")
  endif()
  ExternalProject_Add(napier_fuzzers
    SOURCE_DIR "${CMAKE_CURRENT_LIST_DIR}" BINARY_DIR "${fuzz_dir}"
    CMAKE_ARGS -DCMAKE_CXX_COMPILER=${NAPIER_CLANGXX} -DCMAKE_BUILD_TYPE=None
               "-DNAPIER_GGML_HEADERS=${fuzz_ggml}"
    BUILD_ALWAYS ON INSTALL_COMMAND "" USES_TERMINAL_BUILD OFF)
else()
  message(STATUS "napier: no fuzzers, they need clang++ with libFuzzer")
endif()

foreach(target parse_format parse_arithmetic parse_plan split_list read_documents read_task
        read_sweep read_database read_vocabulary)
  napier_add_test(fuzz.${target} "fuzz" "" TRUE
    COMMAND sh "${CMAKE_CURRENT_LIST_DIR}/fuzz.sh" "${fuzz_dir}" ${target})
endforeach()
