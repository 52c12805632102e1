# libuv::uv, from libuv's own CMake package, or where pkg-config or the usual
# paths have it.
find_package(libuv ${libuv_FIND_VERSION} CONFIG QUIET)
if(TARGET libuv::uv)
  return()
endif()

find_package(PkgConfig QUIET)
pkg_check_modules(PC_libuv QUIET libuv)
find_path(libuv_INCLUDE_DIR uv.h HINTS ${PC_libuv_INCLUDE_DIRS})
find_library(libuv_LIBRARY uv HINTS ${PC_libuv_LIBRARY_DIRS})
if(libuv_INCLUDE_DIR)
  file(STRINGS "${libuv_INCLUDE_DIR}/uv/version.h" libuv_VERSION
       REGEX "^#define UV_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" libuv_VERSION "${libuv_VERSION}")
  list(JOIN libuv_VERSION "." libuv_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(libuv
  REQUIRED_VARS libuv_LIBRARY libuv_INCLUDE_DIR VERSION_VAR libuv_VERSION)
if(libuv_FOUND)
  add_library(libuv::uv UNKNOWN IMPORTED)
  set_target_properties(libuv::uv PROPERTIES
    IMPORTED_LOCATION "${libuv_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${libuv_INCLUDE_DIR}")
endif()
mark_as_advanced(libuv_INCLUDE_DIR libuv_LIBRARY)
