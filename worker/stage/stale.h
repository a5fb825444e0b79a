// Inside trainyard-stage, and of whoever reads what `stale` prints.
#pragma once

#define TY_STALE_MAX 1024 // lines of one listing; more: --after the last one
