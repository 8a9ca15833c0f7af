# napier_layer(NAME [SOURCES file...] [DEPENDS target...] [PRIVATE_DEPENDS target...])
# Makes the static, position-independent library napier_NAME (alias napier::NAME) of a folder
# below src/. Without SOURCES it takes every .cpp of the folder, so that adding a file is all
# there is to adding a file. Headers are included as "NAME/file.h", public ones as
# "napier/file.h". A folder without sources yet gives no target, and neither do those above it.
function(napier_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "napier_layer(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  endif()
  if(NOT arg_SOURCES)
    message(STATUS "napier: layer ${name} has no sources yet, left out")
    return()
  endif()
  foreach(dep IN LISTS arg_DEPENDS arg_PRIVATE_DEPENDS)
    if(dep MATCHES "^napier::" AND NOT TARGET ${dep})
      message(STATUS "napier: layer ${name} left out, ${dep} is not there yet")
      return()
    endif()
  endforeach()

  add_library(napier_${name} STATIC ${arg_SOURCES})
  add_library(napier::${name} ALIAS napier_${name})
  set_target_properties(napier_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON EXPORT_NAME ${name})
  target_include_directories(napier_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(napier_${name} PUBLIC cxx_std_20)
  target_link_libraries(napier_${name} PUBLIC ${arg_DEPENDS} PRIVATE ${arg_PRIVATE_DEPENDS}
    $<BUILD_INTERFACE:napier_flags> $<BUILD_INTERFACE:napier_warnings>)
endfunction()
