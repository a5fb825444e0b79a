// Defects that a build with TRAINYARD_SEED_DEFECTS can be told to have, by TRAINYARD_SEED_DEFECT=NAME in its environment, so that
// tests/chaos/defects can see whether chaos finds them. Any other build has none of this: ty_defect is the constant false.
// Those of the Redis scripts stand in tests/chaos/defects.json. Any thread.
#pragma once

#include <stdbool.h>

#ifdef TY_SEED_DEFECTS
#include <stdlib.h>
#include <string.h>

static inline bool ty_defect(const char *name)
{
    const char *seeded = getenv("TRAINYARD_SEED_DEFECT");
    return seeded && !strcmp(seeded, name);
}
#else
#define ty_defect(name) false
#endif
