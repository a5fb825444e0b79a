// Cases that mostly wait, side by side: each in a process of its own, between a set-up and a tear-down of its own. Include
// cmocka.h first. For programs whose cases need nothing of each other, with a set-up that costs little.
#pragma once

#include <stddef.h>

// The cases' output comes whole, case by case, as they end. Returns how many failed.
int apart_run_group(const char *name, const struct CMUnitTest *tests, size_t count, CMFixtureFunction set_up, CMFixtureFunction tear_down);
#define apart_run(name, tests, set_up, tear_down)                                                                              \
    apart_run_group((name), (tests), sizeof(tests) / sizeof *(tests), (set_up), (tear_down))
