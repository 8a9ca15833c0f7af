# napier_layer(NAME [FOLDERS folder...] [DEPENDS target...] [PRIVATE_DEPENDS target...])
# Makes the static, position-independent library napier_NAME (alias napier::NAME) of a folder
# below src/. It takes every .cpp of the folder, and of the folders in it that are named, so
# adding a file is all there is to adding a file. Headers are included as "NAME/file.hpp", public
# ones as "napier/file.hpp".
function(napier_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "FOLDERS;DEPENDS;PRIVATE_DEPENDS")
  napier_sources(sources ${name} "${arg_FOLDERS}" "${arg_DEPENDS};${arg_PRIVATE_DEPENDS}")
  if(NOT sources)
    return()
  endif()
  add_library(napier_${name} STATIC ${sources})
  add_library(napier::${name} ALIAS napier_${name})
  set_target_properties(napier_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON EXPORT_NAME ${name})
  target_include_directories(napier_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(napier_${name} PUBLIC cxx_std_20)
  target_link_libraries(napier_${name} PUBLIC ${arg_DEPENDS} PRIVATE ${arg_PRIVATE_DEPENDS}
    $<BUILD_INTERFACE:napier_flags> $<BUILD_INTERFACE:napier_warnings>)
endfunction()

# napier_program(NAME [FOLDERS folder...] [DEPENDS target...])
# An executable of a folder below src/, at the top of the build folder.
function(napier_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "FOLDERS;DEPENDS")
  napier_sources(sources ${name} "${arg_FOLDERS}" "${arg_DEPENDS}")
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} napier_flags napier_warnings)
endfunction()

# The sources of a layer. Empty, with a line that says why, while the folder has none yet or a layer
# below has none.
function(napier_sources result name folders dependencies)
  list(TRANSFORM folders REPLACE "(.+)" "${CMAKE_CURRENT_SOURCE_DIR}/\\1/*.cpp")
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp" ${folders})
  if(NOT sources)
    message(STATUS "napier: ${name} has no sources yet, left out")
  endif()
  foreach(dependency IN LISTS dependencies)
    if(sources AND dependency MATCHES "^napier::" AND NOT TARGET ${dependency})
      message(STATUS "napier: ${name} left out, ${dependency} is not there yet")
      set(sources "")
    endif()
  endforeach()
  set(${result} "${sources}" PARENT_SCOPE)
endfunction()
