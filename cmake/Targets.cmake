# dissonance_library(NAME SOURCES a.cc b.cc DEPS x y [PRIVATE_DEPS z])
# One folder, one library; DEPS is what its headers need.
function(dissonance_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS}
                        PRIVATE ${ARG_PRIVATE_DEPS} dissonance_warnings)
endfunction()

# dissonance_binary(NAME SOURCES main.cc DEPS x y): into build/PRESET/bin. Its run
# path has to serve the libraries of its libraries too when it is installed; with
# the newer tag it would not.
function(dissonance_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} dissonance_warnings)
  target_link_options(${name} PRIVATE -Wl,--disable-new-dtags)
endfunction()

# ctest runs several tests at once: threads that wait give the processor to
# those of other tests.
set(DISSONANCE_TEST_ENVIRONMENT OMP_WAIT_POLICY=passive)

# dissonance_test(NAME SOURCES a_test.cc DEPS x [LABELS l] [TIMEOUT seconds])
# One GoogleTest binary; each TEST is a ctest entry.
function(dissonance_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} test_paths GTest::gmock
                        GTest::gtest_main dissonance_warnings)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  # An empty LABELS would be dropped on the way and take ENVIRONMENT for one.
  set(labels "")
  if(ARG_LABELS)
    set(labels LABELS "${ARG_LABELS}")
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} ${labels}
    ENVIRONMENT "${DISSONANCE_TEST_ENVIRONMENT}")
endfunction()
