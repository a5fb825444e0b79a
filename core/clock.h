// Clocks. wall: microseconds since 1970, for stamps only. mono: milliseconds of CLOCK_MONOTONIC, for timers. boot:
// nanoseconds of CLOCK_BOOTTIME, for lease deadlines (it goes on while the machine sleeps). Thread-safe.
#pragma once

#include <stdint.h>

uint64_t ty_clock_wall_us(void);
uint64_t ty_clock_mono_ms(void);
uint64_t ty_clock_mono_us(void);
uint64_t ty_clock_boot_ns(void);
