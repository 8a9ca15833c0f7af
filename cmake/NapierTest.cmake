# Tests run by ctest. Labels: fast (every change), model (needs a model file), slow (the long tier,
# `make test-full`), and the layer's name. Exit code 77 is a skip, and the output says of what.

set(NAPIER_SHARED_DIR "" CACHE PATH "models and texts of the tests; empty: ../shared beside us")
set(NAPIER_PYTHON "${PROJECT_SOURCE_DIR}/build/venv/bin/python" CACHE FILEPATH
    "the Python with tests/requirements.txt installed (make setup makes it)")

# napier_layer_tests(LAYER [DEPENDS target...] [LABELS label...])
# Every *_test.cpp and test_*.py of this folder, but for those already registered one by one.
# Adding a test is adding a file. DEPENDS: further libraries; the layer itself is linked anyhow.
function(napier_layer_tests layer)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPENDS;LABELS")
  file(GLOB files CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" "*_test.cpp" "test_*.py")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME_WE)
    # What asks for the long tier gets one.
    file(STRINGS "${file}" asks REGEX "full_tier|NAPIER_TEST_FULL" LIMIT_COUNT 1)
    set(full "")
    if(asks)
      set(full FULL)
    endif()
    if(file MATCHES "\\.py$")
      string(REGEX REPLACE "^test_" "" name "${name}")
      if(NOT TEST ${layer}.${name}.py)
        napier_python_test(${layer}.${name}.py ${file} LABELS ${layer} ${arg_LABELS} ${full})
      endif()
    else()
      string(REGEX REPLACE "_test$" "" name "${name}")
      if(NOT TEST ${layer}.${name})
        napier_test(${layer}.${name} SOURCES ${file} DEPENDS napier::${layer} ${arg_DEPENDS}
                    LABELS ${layer} ${arg_LABELS} ${full})
      endif()
    endif()
  endforeach()
endfunction()

# napier_test(NAME SOURCES file... [DEPENDS target...] [LABELS label...] [FULL] [TIMEOUT seconds])
# A GoogleTest program (its main is ours). Labels default to fast. FULL registers it once more as
# NAME.full, label slow, where napier::test::full_tier() is true.
function(napier_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "FULL" "TIMEOUT" "SOURCES;DEPENDS;LABELS")
  foreach(dependency IN LISTS arg_DEPENDS)
    if(dependency MATCHES "^napier::" AND NOT TARGET ${dependency})
      message(STATUS "napier: test ${name} left out, ${dependency} is not there yet")
      return()
    endif()
  endforeach()
  string(REPLACE "." "_" target "test_${name}")
  add_executable(${target} ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES
                        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  target_link_libraries(${target} PRIVATE ${arg_DEPENDS} napier_test_support napier_flags
                        napier_warnings)
  napier_add_test(${name} "${arg_LABELS}" "${arg_TIMEOUT}" ${arg_FULL} COMMAND ${target})
endfunction()

# napier_python_test(NAME FILE [LABELS label...] [FULL] [TIMEOUT seconds])
# A file of pytest functions, run by the Python of `make setup`. Fixtures: tests/conftest.py.
function(napier_python_test name file)
  if(CMAKE_CROSSCOMPILING)
    return() # this machine's Python loads no library of another's
  endif()
  cmake_parse_arguments(PARSE_ARGV 2 arg "FULL" "TIMEOUT" "LABELS")
  cmake_path(ABSOLUTE_PATH file)
  napier_add_test(${name} "${arg_LABELS}" "${arg_TIMEOUT}" ${arg_FULL}
    COMMAND sh "${PROJECT_SOURCE_DIR}/tests/support/python_test.sh" "${NAPIER_PYTHON}" "${file}")
endfunction()

# What both kinds share: napier_add_test(NAME LABELS TIMEOUT FULL COMMAND ...)
function(napier_add_test name labels timeout full)
  cmake_parse_arguments(PARSE_ARGV 4 arg "" "" "COMMAND")
  set(environment "NAPIER_BUILD_DIR=${PROJECT_BINARY_DIR}")
  if(NAPIER_SHARED_DIR)
    list(APPEND environment "NAPIER_SHARED_DIR=${NAPIER_SHARED_DIR}")
  endif()
  set(tiers "${name}")
  if(full)
    list(APPEND tiers "${name}.full")
  endif()
  if(NOT labels MATCHES "(^|;)(slow|structure|install)(;|$)")
    list(APPEND labels fast)
  endif()
  foreach(tier IN LISTS tiers)
    if(tier MATCHES "\\.full$")
      list(TRANSFORM labels REPLACE "^fast$" "slow")
      list(APPEND environment "NAPIER_TEST_FULL=1")
      set(default_timeout 14400)
    else()
      set(default_timeout 900)
    endif()
    if(CMAKE_CROSSCOMPILING)
      set(default_timeout 7200)  # emulated
    endif()
    if(NOT timeout)
      set(timeout ${default_timeout})
    endif()
    add_test(NAME ${tier} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${PROJECT_BINARY_DIR}")
    set_tests_properties(${tier} PROPERTIES LABELS "${labels}" ENVIRONMENT "${environment}"
                         SKIP_RETURN_CODE 77 TIMEOUT ${timeout})
    unset(timeout)
  endforeach()
endfunction()

add_library(napier_test_support STATIC "${PROJECT_SOURCE_DIR}/tests/support/test_support.cpp")
target_include_directories(napier_test_support PUBLIC "${PROJECT_SOURCE_DIR}/tests"
                           "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
target_compile_features(napier_test_support PUBLIC cxx_std_20)
target_compile_definitions(napier_test_support PRIVATE NAPIER_ROOT="${PROJECT_SOURCE_DIR}")
target_link_libraries(napier_test_support PUBLIC GTest::gtest PRIVATE napier_flags napier_warnings)
