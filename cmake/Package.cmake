# `cmake --install` and cpack: a folder that runs wherever it is unpacked, on
# machines with this glibc or a newer one and nothing else of ours.
#
#   bin/                programs; their run path is relative
#   lib/                every shared library that is not glibc's
#   share/dissonance/   data, documentation, deployment, API, licences
#
# CUDA's libraries are not part. The programs look into torch/lib first, so a link
# `torch` to a whole torch package of this version brings them.
set(_share share/dissonance)
set_target_properties(dissonance dissonanced dissonance-worker PROPERTIES
  INSTALL_RPATH "$ORIGIN/../torch/lib;$ORIGIN/../lib"
  # Else CMake keeps room in what is built with an empty entry, which means the
  # folder that a program is started in.
  BUILD_WITH_INSTALL_RPATH ON)
file(CREATE_LINK ${DISSONANCE_TORCH_DIR} ${CMAKE_BINARY_DIR}/torch SYMBOLIC)
install(TARGETS dissonance dissonanced dissonance-worker RUNTIME)
install(PROGRAMS deploy/dissonance-demo TYPE BIN)
foreach(_program dissonance dissonanced dissonance-worker)
  list(APPEND _programs $<TARGET_FILE:${_program}>)
endforeach()
install(CODE "set(PROGRAMS ${_programs})
set(SOURCE ${PROJECT_SOURCE_DIR})
set(CARGO ${CARGO})
set(TORCH ${DISSONANCE_TORCH_DIR})")
install(SCRIPT cmake/InstallLibraries.cmake)

install(FILES README.md LICENSE DESTINATION ${_share})
install(DIRECTORY data docs deploy DESTINATION ${_share}
        PATTERN dissonance-demo EXCLUDE)
install(DIRECTORY proto/dissonance/v1 DESTINATION ${_share}/proto/dissonance)
install(FILES client/go/README.md client/go/generate.sh client/go/go.mod
              client/go/go.sum DESTINATION ${_share}/client/go)
install(DIRECTORY client/go/example DESTINATION ${_share}/client/go)
install(DIRECTORY client/node DESTINATION ${_share}/client
        PATTERN node_modules EXCLUDE)

# Only what is built already is installed: packing compiles no tests.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(CPACK_GENERATOR TGZ)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_FILE_NAME
    dissonance-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY
    "Experiment server for beliefs of language models")
include(CPack)
