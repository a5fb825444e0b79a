// What a supervisor leaves behind that was killed: its step's own process goes with it, but that one's children are nobody's then.
// Loop thread; blocks for the time of a few looks at /proc.
#pragma once

// Kills every process that was started with the home of this attempt (plan.c), dir as it stands there. Returns how many were met.
unsigned ty_strays_kill(const char *dir);
