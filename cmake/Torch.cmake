# Imported target `torch`: libtorch_cpu and libc10 of the torch package. The
# CUDA libraries are opened at run time, so nothing here asks for CUDA.
if(NOT DISSONANCE_TORCH_DIR)
  file(GLOB _torch_dirs
       ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  list(LENGTH _torch_dirs _torch_count)
  if(_torch_count EQUAL 0)
    message(FATAL_ERROR "libtorch not found: run './run setup', or name "
            "the torch package's folder with -DDISSONANCE_TORCH_DIR=DIR")
  endif()
  list(GET _torch_dirs 0 DISSONANCE_TORCH_DIR)
endif()
set(_torch_lib ${DISSONANCE_TORCH_DIR}/lib)
if(NOT EXISTS ${_torch_lib}/libtorch_cpu.so)
  message(FATAL_ERROR "no lib/libtorch_cpu.so in ${DISSONANCE_TORCH_DIR}")
endif()

add_library(torch INTERFACE)
# Some torch headers take in every operator unless told not to.
target_compile_definitions(torch INTERFACE AT_PER_OPERATOR_HEADERS)
# Only torch's own headers: its include folder also holds an old protobuf and
# fmt, which would come before the distribution's.
set(_torch_include ${CMAKE_BINARY_DIR}/torch-include)
file(MAKE_DIRECTORY ${_torch_include})
foreach(_part ATen c10 torch caffe2)
  if(EXISTS ${DISSONANCE_TORCH_DIR}/include/${_part})
    file(CREATE_LINK ${DISSONANCE_TORCH_DIR}/include/${_part}
         ${_torch_include}/${_part} SYMBOLIC)
  endif()
endforeach()
target_include_directories(torch SYSTEM INTERFACE ${_torch_include})
# The wheel's own CUDA runtime is a dependency of its CPU library; the linker
# need not see it.
target_link_options(torch INTERFACE -Wl,--allow-shlib-undefined)
# The OpenMP library that libtorch itself runs on, or the system's.
file(GLOB _torch_gomp ${_torch_lib}/libgomp*.so*)
if(NOT _torch_gomp)
  find_package(OpenMP REQUIRED)
  set(_torch_gomp ${OpenMP_gomp_LIBRARY})
endif()
target_link_libraries(torch INTERFACE
  ${_torch_lib}/libtorch_cpu.so ${_torch_lib}/libc10.so ${_torch_gomp})

file(READ ${DISSONANCE_TORCH_DIR}/include/torch/headeronly/version.h
     _torch_version_header)
string(REGEX MATCH "define TORCH_VERSION [^\"]*\"([^\"]*)\"" _
       "${_torch_version_header}")
set(DISSONANCE_TORCH_VERSION ${CMAKE_MATCH_1})
message(STATUS "libtorch ${DISSONANCE_TORCH_VERSION} in ${DISSONANCE_TORCH_DIR}")
