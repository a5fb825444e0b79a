// Every bound of trainyard-stage. Each is refused with exit code 1 and a line that names it.
#pragma once

// Files and folders of one script or one model.
#define TY_STAGE_ENTRIES 100000
// Bytes of a script when unpacked. (A model's bytes are bounded by the disk.)
#define TY_STAGE_SCRIPT_BYTES (4ull << 30)
// Folders within folders.
#define TY_STAGE_DEPTH 100
// One line of a data set.
#define TY_STAGE_LINE_BYTES (16u << 20)
