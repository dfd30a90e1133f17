/* SPDX-License-Identifier: MIT
 *
 * The same allocator for the programs of Check.
 */
#include "../unit/failing.c"
