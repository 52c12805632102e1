# Finds what uvws stands on, and names everything that is missing at once.
list(APPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/cmake")

find_package(libuv 1.44 QUIET)
find_package(llhttp 8.1 QUIET)
find_package(MbedTLS 2.28 QUIET)
if(BUILD_TESTING)
  find_package(cmocka QUIET)
endif()

set(missing "")
if(NOT libuv_FOUND)
  list(APPEND missing "libuv >= 1.44 (Debian: libuv1-dev)")
endif()
if(NOT llhttp_FOUND)
  list(APPEND missing
       "llhttp >= 8.1 (Debian 13: libllhttp-dev, Debian 12: node-llhttp)")
endif()
if(NOT MbedTLS_FOUND)
  list(APPEND missing "mbedTLS >= 2.28 (Debian: libmbedtls-dev)")
endif()
if(BUILD_TESTING AND NOT cmocka_FOUND)
  list(APPEND missing
       "cmocka (Debian: libcmocka-dev), or -DBUILD_TESTING=OFF")
endif()
if(missing)
  list(JOIN missing "\n  " missing)
  message(FATAL_ERROR "uvws needs, and did not find:\n  ${missing}\n")
endif()
