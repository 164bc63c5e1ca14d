# cmake -D CARGO=.. -D CRATE=.. -D ARCHIVE=.. -P build.cmake
# Builds CRATE and puts its static library at ARCHIVE. Cargo's files are kept
# in the user's cache folder, so that another checkout of the same dependencies
# compiles only the crate itself, or beside ARCHIVE where that can't be written.
cmake_minimum_required(VERSION 3.25)

file(SHA256 ${CRATE}/Cargo.lock _digest)
string(SUBSTRING ${_digest} 0 16 _key)
cmake_path(GET ARCHIVE PARENT_PATH _beside)
set(_folders ${_beside}/cargo)
if(DEFINED ENV{XDG_CACHE_HOME})
  list(PREPEND _folders $ENV{XDG_CACHE_HOME}/dissonance/cargo-${_key}-release)
elseif(DEFINED ENV{HOME})
  list(PREPEND _folders $ENV{HOME}/.cache/dissonance/cargo-${_key}-release)
endif()

foreach(_folder ${_folders})
  set(_target ${_folder})
  execute_process(COMMAND ${CMAKE_COMMAND} -E make_directory ${_target}
                  RESULT_VARIABLE _failed OUTPUT_QUIET ERROR_QUIET)
  if(NOT _failed)
    execute_process(COMMAND ${CMAKE_COMMAND} -E touch ${_target}/used
                    RESULT_VARIABLE _failed OUTPUT_QUIET ERROR_QUIET)
  endif()
  if(NOT _failed)
    break()
  endif()
endforeach()
if(_failed)
  message(FATAL_ERROR "can write to none of: ${_folders}")
endif()

# Another checkout may build in the same folder: hold it until the copy is made.
file(LOCK ${_target}/used GUARD PROCESS)
# Cargo goes by the files' times and would take the crate of that checkout for
# this one's.
file(GLOB _sources ${CRATE}/src/*.rs ${CRATE}/Cargo.toml)
set(_sources_digest "")
foreach(_source ${_sources})
  file(SHA256 ${_source} _digest)
  string(APPEND _sources_digest ${_digest} "\n")
endforeach()
set(_built_digest "")
if(EXISTS ${_target}/sources)
  file(READ ${_target}/sources _built_digest)
endif()
if(NOT _built_digest STREQUAL _sources_digest)
  file(REMOVE ${_target}/sources)
  execute_process(
    COMMAND ${CARGO} clean --release --quiet --package dissonance_text
            --target-dir ${_target}
    WORKING_DIRECTORY ${CRATE})
endif()
execute_process(
  COMMAND ${CARGO} build --release --locked --quiet --target-dir ${_target}
  WORKING_DIRECTORY ${CRATE}
  RESULT_VARIABLE _failed)
if(_failed)
  message(FATAL_ERROR "cargo could not build ${CRATE} (see above; the first "
          "build needs the network or a filled cargo cache, which './run "
          "setup' provides)")
endif()
file(WRITE ${_target}/sources ${_sources_digest})
file(COPY_FILE ${_target}/release/libdissonance_text.a ${ARCHIVE})
