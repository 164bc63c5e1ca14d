# Language level, warnings, linker and sanitizers for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  # Segments begin at pages of their own: otherwise mold 1.10 lets the one that
  # becomes read-only begin in a page that is not there, if the code before it
  # ends unluckily, and the loader refuses the program.
  add_link_options(-fuse-ld=mold -Wl,-z,separate-loadable-segments)
endif()

if(DISSONANCE_SANITIZE)
  add_compile_options(-fsanitize=${DISSONANCE_SANITIZE}
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DISSONANCE_SANITIZE})
endif()

# Our own code only: generated sources and other people's headers are exempt.
add_library(dissonance_warnings INTERFACE)
target_compile_options(dissonance_warnings INTERFACE -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(dissonance_warnings INTERFACE
    -Wthread-safety -Wno-ignored-attributes -Wno-unknown-attributes)
endif()
# With sanitizers GCC takes values for uninitialized that are not, as its manual
# says.
if(DISSONANCE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(dissonance_warnings INTERFACE -Wno-maybe-uninitialized)
endif()
