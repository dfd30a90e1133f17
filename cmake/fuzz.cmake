# SPDX-License-Identifier: MIT
#
# libFuzzer targets: each tests/fuzz/fuzz_*.c is a program; the other files there are linked to all.

file(GLOB fuzz_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/*.c)
set(fuzz_helpers ${fuzz_sources})
list(FILTER fuzz_sources INCLUDE REGEX "/fuzz_[^/]*\\.c$")
list(FILTER fuzz_helpers EXCLUDE REGEX "/fuzz_[^/]*\\.c$")
foreach(source IN LISTS fuzz_sources)
	cmake_path(GET source STEM name)
	add_executable(${name} ${source} ${fuzz_helpers})
	cow_program_options(${name})
	target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
	target_link_options(${name} PRIVATE -fsanitize=fuzzer)
	target_link_libraries(${name} PRIVATE cowlab_objects)
endforeach()
