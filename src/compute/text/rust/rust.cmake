# Imported target `text_rust`: the crate in this folder as a static library.
find_program(CARGO cargo HINTS $ENV{CARGO_HOME}/bin $ENV{HOME}/.cargo/bin)
if(NOT CARGO)
  message(FATAL_ERROR "cargo (the Rust toolchain) not found: run './run "
          "setup', or name it with -DCARGO=/path/to/cargo")
endif()

set(_crate ${CMAKE_CURRENT_LIST_DIR})
set(_archive ${CMAKE_CURRENT_BINARY_DIR}/libdissonance_text.a)
file(GLOB _crate_sources CONFIGURE_DEPENDS ${_crate}/src/*.rs)

add_custom_command(
  OUTPUT ${_archive}
  COMMAND ${CMAKE_COMMAND} -D CARGO=${CARGO} -D CRATE=${_crate}
          -D ARCHIVE=${_archive} -P ${_crate}/build.cmake
  DEPENDS ${_crate_sources} ${_crate}/Cargo.toml ${_crate}/Cargo.lock
          ${_crate}/build.cmake
  COMMENT "Building the Rust text library (its first build takes minutes)"
  VERBATIM)
add_custom_target(text_rust_archive DEPENDS ${_archive})

add_library(text_rust STATIC IMPORTED GLOBAL)
set_target_properties(text_rust PROPERTIES IMPORTED_LOCATION ${_archive})
target_link_libraries(text_rust INTERFACE Threads::Threads m
                      ${CMAKE_DL_LIBS})
add_dependencies(text_rust text_rust_archive)
