# MbedTLS::mbedtls, and what it stands on: ::mbedx509, ::mbedcrypto. 2.28 has no CMake package and no .pc file on Debian 12;
# looking for the files works everywhere.
if(TARGET MbedTLS::mbedtls)
  return()
endif()

find_package(PkgConfig QUIET)
pkg_check_modules(PC_mbedcrypto QUIET mbedcrypto)
find_path(MbedTLS_INCLUDE_DIR mbedtls/version.h
          HINTS ${PC_mbedcrypto_INCLUDE_DIRS})
foreach(library mbedtls mbedx509 mbedcrypto)
  find_library(MbedTLS_${library}_LIBRARY ${library}
               HINTS ${PC_mbedcrypto_LIBRARY_DIRS})
endforeach()
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
  REQUIRED_VARS MbedTLS_mbedtls_LIBRARY MbedTLS_mbedx509_LIBRARY
                MbedTLS_mbedcrypto_LIBRARY MbedTLS_INCLUDE_DIR
  VERSION_VAR MbedTLS_VERSION)
if(MbedTLS_FOUND)
  foreach(library mbedtls mbedx509 mbedcrypto)
    add_library(MbedTLS::${library} UNKNOWN IMPORTED)
    set_target_properties(MbedTLS::${library} PROPERTIES
      IMPORTED_LOCATION "${MbedTLS_${library}_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${MbedTLS_INCLUDE_DIR}")
  endforeach()
  target_link_libraries(MbedTLS::mbedtls INTERFACE MbedTLS::mbedx509)
  target_link_libraries(MbedTLS::mbedx509 INTERFACE MbedTLS::mbedcrypto)
endif()
mark_as_advanced(MbedTLS_INCLUDE_DIR MbedTLS_mbedtls_LIBRARY
                 MbedTLS_mbedx509_LIBRARY MbedTLS_mbedcrypto_LIBRARY)
