# Run by `cmake --install` with PROGRAMS, SOURCE, CARGO and TORCH set: copies the
# shared libraries that the programs need into lib/, and the licences of whatever
# is part of them into share/dissonance/licenses.
set(_root $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX})
# glibc's own libraries, the loader and the kernel's: they are the machine's.
set(_glibc "^(ld-linux.*|lib(c|m|mvec|dl|rt|util|pthread|resolv))\\.so")
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${PROGRAMS}
  RESOLVED_DEPENDENCIES_VAR _libraries
  PRE_EXCLUDE_REGEXES ${_glibc}
  POST_EXCLUDE_REGEXES "/(ld-linux[^/]*)$")
file(REMOVE_RECURSE ${_root}/lib)
file(MAKE_DIRECTORY ${_root}/lib)
foreach(_library ${_libraries})
  get_filename_component(_name ${_library} NAME)
  # Follows links: one file for each name that programs ask for.
  file(COPY_FILE ${_library} ${_root}/lib/${_name})
endforeach()
list(LENGTH _libraries _count)
message(STATUS "Installed ${_count} libraries")

execute_process(
  COMMAND python3 ${SOURCE}/tools/package/licenses.py
          --crate ${SOURCE}/src/compute/text/rust --cargo ${CARGO}
          --site-packages ${TORCH}/..
          --out ${_root}/share/dissonance/licenses ${_libraries}
  COMMAND_ERROR_IS_FATAL ANY)
