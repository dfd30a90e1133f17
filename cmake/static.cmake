# SPDX-License-Identifier: MIT
#
# The static library: one relocatable object in which hidden symbols are made local, so that only
# cow_* can be seen, or clash, from outside.  Visibility alone does that for shared libraries only.
# Instrumented builds, and toolchains without objcopy, get a plain archive.

if(CMAKE_OBJCOPY AND NOT COWLAB_INSTRUMENTED AND NOT multi_config)
	set(COWLAB_STATIC_LOCALIZED ON)
	set(relocatable ${PROJECT_BINARY_DIR}/cowlab.o)
	add_custom_command(OUTPUT ${relocatable}
		COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${relocatable}
			$<TARGET_OBJECTS:cowlab_objects>
		COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${relocatable}
		DEPENDS cowlab_objects $<TARGET_OBJECTS:cowlab_objects>
		COMMAND_EXPAND_LISTS VERBATIM
		COMMENT "Making the symbols of cowlab.o local")
	set_source_files_properties(${relocatable} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
	add_library(cowlab_static STATIC ${relocatable})
else()
	set(COWLAB_STATIC_LOCALIZED OFF)
	if(NOT COWLAB_INSTRUMENTED)
		message(STATUS "cowlab: the static library keeps its hidden symbols global")
	endif()
	add_library(cowlab_static STATIC $<TARGET_OBJECTS:cowlab_objects>)
endif()
set_target_properties(cowlab_static PROPERTIES OUTPUT_NAME cowlab LINKER_LANGUAGE C)
