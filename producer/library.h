// Between the files of libtrainyard only.
#pragma once

// Turns the log away from stderr, once a process. Thread-safe.
void ty_library_init(void);
