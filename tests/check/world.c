/* SPDX-License-Identifier: MIT
 *
 * The same small world for the programs of Check.
 */
#include "../unit/world.c"
