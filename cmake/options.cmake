# SPDX-License-Identifier: MIT
#
# Compiler options by kind of target: the library, programs (which may use what GNU offers), and
# the instrumentation that both share.

set(COWLAB_INSTRUMENTED OFF)
if(COWLAB_SANITIZE OR COWLAB_COVERAGE OR COWLAB_FUZZ)
	set(COWLAB_INSTRUMENTED ON)
endif()

function(cow_warnings target)
	target_compile_options(${target} PRIVATE
		-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
		$<$<BOOL:${COWLAB_WERROR}>:-Werror>)
	set_target_properties(${target} PROPERTIES
		C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
endfunction()

# Compile and link options of sanitizers, coverage and fuzzing.
function(cow_instrument target)
	set(flags)
	if(COWLAB_SANITIZE)
		list(APPEND flags -fsanitize=${COWLAB_SANITIZE} -fno-sanitize-recover=all
			-fno-omit-frame-pointer)
	endif()
	if(COWLAB_COVERAGE)
		# counters of threads that explore at once add up
		list(APPEND flags --coverage -fprofile-update=atomic -DCOWLAB_COVERAGE)
	endif()
	if(COWLAB_FUZZ)
		list(APPEND flags -fsanitize=fuzzer-no-link)
	endif()
	target_compile_options(${target} PRIVATE ${flags})
	target_link_options(${target} PRIVATE ${flags})
endfunction()

function(cow_library_options target)
	cow_warnings(${target})
	cow_instrument(${target})
	# No one may replace a cow_ function from outside, so the compiler may look through calls.
	target_compile_options(${target} PRIVATE -fno-semantic-interposition)
	target_include_directories(${target} PRIVATE
		${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
	set_target_properties(${target} PROPERTIES
		C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
endfunction()

# Empty, so that a source may still say `#define _GNU_SOURCE` itself.
function(cow_program_options target)
	cow_warnings(${target})
	cow_instrument(${target})
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE=)
	target_include_directories(${target} PRIVATE
		${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
endfunction()
