# The library, its headers, and the two ways to find them: a CMake package and
# a pkg-config file. The package brings our find modules along, because whoever
# links the static library needs what it stands on.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/uvws")

set(UVWS_DEPENDENCIES libuv MbedTLS ZLIB)
set(UVWS_STATIC_LIBS -lmbedtls -lmbedx509 -lmbedcrypto -lz)
if(NOT llhttp_SOURCES)
  list(APPEND UVWS_DEPENDENCIES llhttp)
  list(PREPEND UVWS_STATIC_LIBS -lllhttp)
endif()
list(JOIN UVWS_STATIC_LIBS " " UVWS_STATIC_LIBS)

configure_package_config_file(cmake/uvws-config.cmake.in uvws-config.cmake
                              INSTALL_DESTINATION "${package_dir}"
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(uvws-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
string(REGEX REPLACE "[^/]+" ".." PC_TO_PREFIX
       "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
configure_file(cmake/uvws.pc.in uvws.pc @ONLY)

install(TARGETS uvws uvws-static EXPORT uvws)
install(EXPORT uvws NAMESPACE uvws:: DESTINATION "${package_dir}"
        FILE uvws-targets.cmake)
install(FILES "${PROJECT_BINARY_DIR}/uvws-config.cmake"
              "${PROJECT_BINARY_DIR}/uvws-config-version.cmake"
              cmake/Findlibuv.cmake cmake/Findllhttp.cmake
              cmake/FindMbedTLS.cmake
        DESTINATION "${package_dir}")
install(FILES "${PROJECT_BINARY_DIR}/uvws.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES include/uvws.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES include/uvws/adopt.h include/uvws/deflate.h
              include/uvws/reconnect.h include/uvws/tls.h include/uvws/version.h
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/uvws")
