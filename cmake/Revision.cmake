# Writes ${OUTPUT}, which says what revision ${SOURCE} is at. Run by the build each
# time; the file changes only when the revision does.
execute_process(
  COMMAND git -C ${SOURCE} rev-parse --short=8 HEAD
  OUTPUT_VARIABLE _revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(_revision)
  set(_revision "+${_revision}")
  execute_process(
    COMMAND git -C ${SOURCE} diff --quiet HEAD
    RESULT_VARIABLE _changed ERROR_QUIET)
  if(_changed)
    string(APPEND _revision ".changed")
  endif()
endif()
set(_text "#define DISSONANCE_REVISION \"${_revision}\"\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} _before)
endif()
if(NOT "${_before}" STREQUAL "${_text}")
  file(WRITE ${OUTPUT} "${_text}")
endif()
