# MbedTLS::mbedcrypto. 2.28 has no CMake package and no .pc file on Debian 12;
# looking for the files works everywhere.
if(TARGET MbedTLS::mbedcrypto)
  return()
endif()

find_package(PkgConfig QUIET)
pkg_check_modules(PC_mbedcrypto QUIET mbedcrypto)
find_path(MbedTLS_INCLUDE_DIR mbedtls/version.h
          HINTS ${PC_mbedcrypto_INCLUDE_DIRS})
find_library(MbedTLS_mbedcrypto_LIBRARY mbedcrypto
             HINTS ${PC_mbedcrypto_LIBRARY_DIRS})
if(MbedTLS_INCLUDE_DIR)
  # 3.x has moved the macro.
  foreach(header version.h build_info.h)
    if(EXISTS "${MbedTLS_INCLUDE_DIR}/mbedtls/${header}")
      file(STRINGS "${MbedTLS_INCLUDE_DIR}/mbedtls/${header}" line
           REGEX "^#define MBEDTLS_VERSION_STRING ")
      if(line MATCHES "\"([0-9.]+)\"")
        set(MbedTLS_VERSION "${CMAKE_MATCH_1}")
      endif()
    endif()
  endforeach()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MbedTLS
  REQUIRED_VARS MbedTLS_mbedcrypto_LIBRARY MbedTLS_INCLUDE_DIR
  VERSION_VAR MbedTLS_VERSION)
if(MbedTLS_FOUND)
  add_library(MbedTLS::mbedcrypto UNKNOWN IMPORTED)
  set_target_properties(MbedTLS::mbedcrypto PROPERTIES
    IMPORTED_LOCATION "${MbedTLS_mbedcrypto_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MbedTLS_INCLUDE_DIR}")
endif()
mark_as_advanced(MbedTLS_INCLUDE_DIR MbedTLS_mbedcrypto_LIBRARY)
