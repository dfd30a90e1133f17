/* SPDX-License-Identifier: MIT
 *
 * Planted faults: a build with -DCOWLAB_PLANT=N has the one defect `if (PLANTED(N))` and no other,
 * so that tests/fault can prove that each is found.  In every other build PLANTED(N) is the
 * constant 0, and nothing of a defect is compiled.  tests/fault/README.md lists them.
 */
#ifndef COWLAB_MACHINE_PLANT_H
#define COWLAB_MACHINE_PLANT_H

#ifdef COWLAB_PLANT
#define PLANTED(n) (COWLAB_PLANT == (n))
#else
#define PLANTED(n) 0
#endif

#endif
