// core/settings: which source wins, what errors say, and the help.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/settings.h"

struct sample {
    char *name;
    char *note;
    int64_t lease_ms;
    bool color;
    int level;
    char **brokers;
};

#define AT(member) offsetof(struct sample, member)
static const struct ty_setting rows[] = {
    {"name", "SAMPLE_NAME", TY_SETTING_TEXT, AT(name), 0, 0, NULL, "worker", "", "Its name."},
    {"note", NULL, TY_SETTING_TEXT, AT(note), 0, 0, NULL, NULL, NULL, "A note | remark."},
    {"lease-ms", "SAMPLE_LEASE_MS", TY_SETTING_INT, AT(lease_ms), 1000, 60000, NULL, "10000", "ms", "How long a lease runs."},
    {"color", "SAMPLE_COLOR", TY_SETTING_BOOL, AT(color), 0, 0, NULL, "true", "", "Colours."},
    {"level", "SAMPLE_LEVEL", TY_SETTING_CHOICE, AT(level), 0, 0, "debug|info|warn", "info", "", "What is logged."},
    {"brokers", "SAMPLE_BROKERS", TY_SETTING_LIST, AT(brokers), 0, 0, NULL, "a:1,b:2", "", "Where Kafka is."},
};
static const struct ty_settings_table table = {"sample", "Samples things.", rows, sizeof rows / sizeof *rows};

static char file_path[64];

static int clean_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < table.count; i++)
        if (rows[i].environment)
            unsetenv(rows[i].environment);
    return 0;
}

static int make_file(void **state)
{
    (void)state;
    strcpy(file_path, "/tmp/ty-settings-XXXXXX");
    int fd = mkstemp(file_path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    unlink(file_path);
    return 0;
}

static void write_file(const char *text)
{
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int load_words(struct sample *sample, struct ty_err *err, const char *const *words)
{
    char *argv[16] = {"sample"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    *sample = (struct sample){0};
    return ty_settings_load(&table, sample, argc, argv, NULL, NULL, err);
}

#define LOAD(sample, err, ...) load_words((sample), (err), (const char *const[]){__VA_ARGS__, NULL})
#define LOAD_NOTHING(sample, err) load_words((sample), (err), (const char *const[]){NULL})

static void list_is(char **list, size_t count, const char *first, const char *last)
{
    assert_non_null(list);
    assert_string_equal(list[0], first);
    assert_string_equal(list[count - 1], last);
    assert_null(list[count]);
}

static void defaults(void **state)
{
    (void)state;
    struct sample sample;
    struct ty_err err;
    assert_int_equal(LOAD_NOTHING(&sample, &err), 0);
    assert_string_equal(sample.name, "worker");
    assert_null(sample.note);
    assert_int_equal(sample.lease_ms, 10000);
    assert_true(sample.color);
    assert_int_equal(sample.level, 1);
    list_is(sample.brokers, 2, "a:1", "b:2");
    ty_settings_done(&table, &sample);
    ty_settings_done(&table, &sample); // twice is harmless
}

static void higher_sources_win(void **state)
{
    (void)state;
    struct sample sample;
    struct ty_err err;
    write_file("# a comment\n\n  name = from file # not a comment  \r\nlease-ms=2000\nlevel =warn\nbrokers = c:3 , d:4,\nnote==x\n");
    assert_int_equal(LOAD(&sample, &err, "--config", file_path), 0);
    assert_string_equal(sample.name, "from file # not a comment");
    assert_string_equal(sample.note, "=x");
    assert_int_equal(sample.lease_ms, 2000);
    assert_int_equal(sample.level, 2);
    list_is(sample.brokers, 2, "c:3", "d:4");
    ty_settings_done(&table, &sample);

    setenv("SAMPLE_NAME", "from environment", 1);
    setenv("SAMPLE_COLOR", "off", 1);
    setenv("SAMPLE_BROKERS", "e:5", 1);
    char *config TY_FREE = ty_xasprintf("--config=%s", file_path);
    assert_int_equal(LOAD(&sample, &err, config), 0);
    assert_string_equal(sample.name, "from environment");
    assert_false(sample.color);
    assert_int_equal(sample.lease_ms, 2000);
    list_is(sample.brokers, 1, "e:5", "e:5");
    ty_settings_done(&table, &sample);

    assert_int_equal(LOAD(&sample, &err, "--name", "from flag", "--lease-ms=3000", "--color", "--brokers", "f:6",
                          "--brokers=g,7", "--config", file_path, "--name", "--odd"), 0);
    assert_string_equal(sample.name, "--odd");
    assert_int_equal(sample.lease_ms, 3000);
    assert_true(sample.color);
    list_is(sample.brokers, 2, "f:6", "g,7"); // a flag's value is not split
    ty_settings_done(&table, &sample);

    assert_int_equal(LOAD(&sample, &err, "--no-color", "--level", "debug"), 0);
    assert_false(sample.color);
    assert_int_equal(sample.level, 0);
    ty_settings_done(&table, &sample);
}

static void expect_error(const char *message, const char *const *words)
{
    struct sample sample;
    struct ty_err err;
    assert_int_equal(load_words(&sample, &err, words), -TY_EINVALID);
    assert_string_equal(err.message, message);
    ty_settings_done(&table, &sample);
}

#define EXPECT(message, ...) expect_error((message), (const char *const[]){__VA_ARGS__, NULL})

static void errors_name_the_flag(void **state)
{
    (void)state;
    EXPECT("--lease-ms: \"999\" is not a whole number of ms from 1000 to 60000", "--lease-ms", "999");
    EXPECT("--lease-ms: \"60001\" is not a whole number of ms from 1000 to 60000", "--lease-ms=60001");
    EXPECT("--lease-ms: \"\" is not a whole number of ms from 1000 to 60000", "--lease-ms=");
    EXPECT("--lease-ms: \"5s\" is not a whole number of ms from 1000 to 60000", "--lease-ms", "5s");
    EXPECT("--lease-ms: \"99999999999999999999\" is not a whole number of ms from 1000 to 60000", "--lease-ms",
           "99999999999999999999");
    EXPECT("--lease-ms: a value is missing", "--lease-ms");
    EXPECT("--color: \"maybe\" is neither true nor false", "--color=maybe");
    EXPECT("--level: \"inf\" is none of debug|info|warn", "--level", "inf");
    EXPECT("--level: \"info|warn\" is none of debug|info|warn", "--level", "info|warn");
    EXPECT("--nam: there is no such flag; did you mean --name?", "--nam", "x");
    EXPECT("--frobnicate: there is no such flag; see --help", "--frobnicate", "x");
    EXPECT("--no-name: there is no such flag; see --help", "--no-name");
    EXPECT("--no-color: there is no such flag; see --help", "--no-color=true");
    EXPECT("--config: a value is missing", "--config");
    EXPECT("\"stray\": unexpected argument; see --help", "--name", "x", "stray");
    EXPECT("\"--name\": unexpected argument; see --help", "--", "--name");
}

static void errors_name_variable_and_line(void **state)
{
    (void)state;
    setenv("SAMPLE_LEASE_MS", "soon", 1);
    EXPECT("SAMPLE_LEASE_MS: \"soon\" is not a whole number of ms from 1000 to 60000", "--name", "x");
    unsetenv("SAMPLE_LEASE_MS");

    static const struct {
        const char *text, *error; // behind the path
    } cases[] = {
        {"\n\nlease-ms = 0\n", ":3: lease-ms: \"0\" is not a whole number of ms from 1000 to 60000"},
        {"name = a\ncolour = no\n", ":2: there is no setting \"colour\""},
        {"name\n", ":1: expected \"key = value\""},
        {"level = loud", ":1: level: \"loud\" is none of debug|info|warn"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *message TY_FREE = ty_xasprintf("%s%s", file_path, cases[i].error);
        write_file(cases[i].text);
        EXPECT(message, "--config", file_path);
    }
    EXPECT("--config: /nowhere/x.conf: No such file or directory", "--config", "/nowhere/x.conf");
    EXPECT("--config: /tmp: Is a directory", "--config", "/tmp");
}

static void positional_arguments(void **state)
{
    (void)state;
    struct sample sample = {0};
    struct ty_err err;
    char *argv[] = {"sample", "get", "--name", "x", "-", "--", "--name"}, **positional;
    int count;
    assert_int_equal(ty_settings_load(&table, &sample, 7, argv, &positional, &count, &err), 0);
    assert_int_equal(count, 3);
    assert_ptr_equal(positional[0], argv[1]);
    assert_ptr_equal(positional[1], argv[4]);
    assert_ptr_equal(positional[2], argv[6]);
    assert_string_equal(sample.name, "x");
    free(positional);
    ty_settings_done(&table, &sample);
    assert_true(ty_settings_has_flag(7, argv, "--name"));
    assert_false(ty_settings_has_flag(7, argv, "--help"));
    assert_false(ty_settings_has_flag(2, (char *[]){"--help", "--"}, "--help"));
}

static char *printed(void (*print)(const struct ty_settings_table *, FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    print(&table, out);
    fclose(out);
    return text;
}

static void help_and_markdown(void **state)
{
    (void)state;
    char *help TY_FREE = printed(ty_settings_help), *markdown TY_FREE = printed(ty_settings_markdown);
    assert_int_equal(strncmp(help, "sample: Samples things.\n", 24), 0);
    assert_non_null(strstr(help, "\n  --lease-ms ms                   How long a lease runs.\n"
                                 "                                  SAMPLE_LEASE_MS; default: 10000 (1000 to 60000)\n"));
    assert_non_null(strstr(help, "\n  --[no-]color                    Colours.\n"));
    assert_non_null(strstr(help, "\n                                  default: none\n"));
    assert_non_null(strstr(markdown, "\n| `--lease-ms` | `SAMPLE_LEASE_MS` | ms (1000 to 60000) | `10000` | How long a lease runs. |\n"));
    assert_non_null(strstr(markdown, "\n| `--note` |  | TEXT |  | A note \\| remark. |\n"));
    assert_non_null(strstr(markdown, "| debug\\|info\\|warn |"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults, clean_environment),
        cmocka_unit_test_setup_teardown(higher_sources_win, clean_environment, clean_environment),
        cmocka_unit_test_setup(errors_name_the_flag, clean_environment),
        cmocka_unit_test_setup(errors_name_variable_and_line, clean_environment),
        cmocka_unit_test_setup(positional_arguments, clean_environment),
        cmocka_unit_test(help_and_markdown),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
