# SPDX-License-Identifier: MIT
#
# What tests/guests/run puts into a guest: the program and the guest's first process, linked
# statically, so that nothing else has to be there.  Neither belongs to a usual build:
#   cmake --build build --target cowlab_guest

if(COWLAB_HOST AND NOT COWLAB_INSTRUMENTED)
	add_executable(cowlab_guest_program EXCLUDE_FROM_ALL $<TARGET_OBJECTS:cowlab_cli_objects>)
	set_target_properties(cowlab_guest_program PROPERTIES
		OUTPUT_NAME cowlab-static LINKER_LANGUAGE C)
	target_link_libraries(cowlab_guest_program PRIVATE cowlab_static -static)

	add_executable(cowlab_guest_init EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/guests/init.c)
	set_target_properties(cowlab_guest_init PROPERTIES OUTPUT_NAME cowlab-guest-init)
	cow_program_options(cowlab_guest_init)
	target_link_libraries(cowlab_guest_init PRIVATE -static)

	add_executable(cowlab_scenarios EXCLUDE_FROM_ALL
		${PROJECT_SOURCE_DIR}/tests/guests/scenarios.c)
	set_target_properties(cowlab_scenarios PROPERTIES OUTPUT_NAME cowlab-scenarios)
	cow_program_options(cowlab_scenarios)
	target_link_libraries(cowlab_scenarios PRIVATE cowlab_static)

	add_custom_target(cowlab_guest
		DEPENDS cowlab_guest_program cowlab_guest_init cowlab_scenarios)
endif()
