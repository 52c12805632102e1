# llhttp::llhttp: a library where there is one (Debian 13: libllhttp-dev). Where
# there are only sources (Debian 12: node-llhttp) the target has the header
# alone, and llhttp_SOURCES is what its user compiles. 8.x is lenient unless
# told otherwise, and its header must be told the same.
if(TARGET llhttp::llhttp)
  return()
endif()

find_package(PkgConfig QUIET)
pkg_check_modules(PC_llhttp QUIET libllhttp)
find_library(llhttp_LIBRARY llhttp HINTS ${PC_llhttp_LIBRARY_DIRS})
find_path(llhttp_INCLUDE_DIR llhttp.h
          HINTS ${PC_llhttp_INCLUDE_DIRS} PATHS /usr/share/include
          PATH_SUFFIXES llhttp)
if(llhttp_LIBRARY)
  set(llhttp_CODE "${llhttp_LIBRARY}")
else()
  find_path(llhttp_SOURCE_DIR llhttp.c PATHS /usr/share PATH_SUFFIXES llhttp)
  set(llhttp_CODE "${llhttp_SOURCE_DIR}")
  set(llhttp_SOURCES api.c http.c llhttp.c)
  list(TRANSFORM llhttp_SOURCES PREPEND "${llhttp_SOURCE_DIR}/")
endif()
if(llhttp_INCLUDE_DIR)
  file(STRINGS "${llhttp_INCLUDE_DIR}/llhttp.h" llhttp_VERSION
       REGEX "^#define LLHTTP_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" llhttp_VERSION "${llhttp_VERSION}")
  list(JOIN llhttp_VERSION "." llhttp_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(llhttp
  REQUIRED_VARS llhttp_CODE llhttp_INCLUDE_DIR VERSION_VAR llhttp_VERSION)
if(llhttp_FOUND)
  if(llhttp_LIBRARY)
    add_library(llhttp::llhttp UNKNOWN IMPORTED)
    set_target_properties(llhttp::llhttp PROPERTIES
      IMPORTED_LOCATION "${llhttp_LIBRARY}")
  else()
    add_library(llhttp::llhttp INTERFACE IMPORTED)
  endif()
  set_target_properties(llhttp::llhttp PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${llhttp_INCLUDE_DIR}"
    INTERFACE_COMPILE_DEFINITIONS LLHTTP_STRICT_MODE=1)
endif()
mark_as_advanced(llhttp_INCLUDE_DIR llhttp_LIBRARY llhttp_SOURCE_DIR)
