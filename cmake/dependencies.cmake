# Everything comes from Debian bookworm packages; docs/building.md lists them. The installed awq-config.cmake finds the same
# lists again, because a static library passes its needs on to whoever links it.
set(awq_packages Threads fmt simdjson nlohmann_json dnnl ZLIB PkgConfig)
set(awq_pkgconfig_modules PCRE2=libpcre2-8 UTF8PROC=libutf8proc ZSTD=libzstd)  # become PkgConfig::PCRE2 ...

foreach(package ${awq_packages} CLI11)
  find_package(${package} REQUIRED)
endforeach()
foreach(module ${awq_pkgconfig_modules})
  string(REGEX MATCH "^([^=]+)=(.+)$" _ ${module})
  pkg_check_modules(${CMAKE_MATCH_1} REQUIRED IMPORTED_TARGET ${CMAKE_MATCH_2})
endforeach()
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
