# cmake --install: component `core` is numerics and kernels with their headers and the package that
# find_package(napier) finds; component `runtime` the command, the plugin, and the libraries of
# llama.cpp that the command uses, in a folder of their own where they meet no others.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/napier")
set(private_dir "${CMAKE_INSTALL_LIBDIR}/napier")

foreach(layer numerics kernels)
  if(TARGET napier_${layer})
    install(TARGETS napier_${layer} EXPORT napierTargets COMPONENT core
            ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    set(install_package ON)
  endif()
endforeach()
if(install_package)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/napier"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT core)
  install(EXPORT napierTargets NAMESPACE napier:: DESTINATION "${package_dir}" COMPONENT core)
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/napierConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/napierConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/napierConfigVersion.cmake"
                                   COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/napierConfig.cmake"
                "${PROJECT_BINARY_DIR}/napierConfigVersion.cmake"
          DESTINATION "${package_dir}" COMPONENT core)
  install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}"
          COMPONENT core)
endif()

if(TARGET ggml-napier)
  install(TARGETS ggml-napier LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime)
endif()
if(TARGET napier)
  file(RELATIVE_PATH private_from_bin "/${CMAKE_INSTALL_BINDIR}" "/${private_dir}")
  set_target_properties(napier PROPERTIES INSTALL_RPATH "$ORIGIN/${private_from_bin}")
  install(TARGETS napier RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
  set_target_properties(${napier_llama_libraries} PROPERTIES
                        INSTALL_RPATH "$ORIGIN" PUBLIC_HEADER "")
  install(TARGETS ${napier_llama_libraries}
          LIBRARY DESTINATION "${private_dir}" COMPONENT runtime NAMELINK_SKIP)
  install(FILES "${napier_llama_source}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}"
          RENAME LICENSE.llama.cpp COMPONENT runtime)
endif()
