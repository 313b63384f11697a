# `cmake --install`: the program, the static library with its headers, and find_package(awq CONFIG).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(awq_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/awq)
install(TARGETS awq_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS awq EXPORT awq_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/awq DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT awq_targets NAMESPACE awq:: FILE awq-targets.cmake DESTINATION ${awq_config_dir})

list(JOIN awq_packages " " awq_packages)
list(JOIN awq_pkgconfig_modules " " awq_pkgconfig_modules)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/awq-config.cmake.in ${PROJECT_BINARY_DIR}/awq-config.cmake
  INSTALL_DESTINATION ${awq_config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/awq-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/awq-config.cmake ${PROJECT_BINARY_DIR}/awq-config-version.cmake
  DESTINATION ${awq_config_dir})

# The kernels alone: find_package(awq_cuda) asks for nothing else, because the library is shared and self-contained.
if(awq_with_cuda)
  set_target_properties(awq_cuda PROPERTIES EXPORT_NAME cuda)
  install(TARGETS awq_cuda EXPORT awq_cuda_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT awq_cuda_targets NAMESPACE awq:: FILE awq_cuda-config.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/awq_cuda)
endif()
