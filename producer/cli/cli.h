// The program trainyard: finds the verb, loads its settings, runs it, prints what went wrong.
#pragma once

// Returns the process's exit code.
int ty_cli_main(int argc, char **argv);
