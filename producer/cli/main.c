// trainyard: see --help.
#include "producer/cli/cli.h"

int main(int argc, char **argv)
{
    return ty_cli_main(argc, argv);
}
