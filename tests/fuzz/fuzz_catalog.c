// core/catalog: both catalogues of a file, with a line "----" between them; each alone is tried beside the built-in other.
#include "core/catalog.h"
#include "core/wire.h"
#include "schemas/schemas.h"
#include "tests/fuzz/fuzz.h"

static void parse(const char *containers, size_t containers_len, const char *trainers, size_t trainers_len)
{
    struct ty_catalog *catalog = NULL;
    struct ty_err err = {0};
    int rc = ty_catalog_parse(containers, containers_len, trainers, trainers_len, &catalog, &err);
    if (rc < 0) {
        REQUIRE(rc == -TY_EINVALID && ty_utf8_is_valid(err.message, strlen(err.message)));
        REQUIRE(strstr(err.message, ".json"));
        return;
    }
    for (size_t i = 0; i < ty_catalog_container_count(catalog); i++) {
        const struct ty_container *container = ty_catalog_container_at(catalog, i);
        REQUIRE(ty_catalog_container(catalog, container->key) == container);
    }
    REQUIRE(ty_catalog_trainers_text(catalog));
    for (int type = 0; type < 6; type++)
        for (int framework = 0; framework < 6; framework++) {
            const struct ty_trainer *trainer = ty_catalog_trainer(catalog, type, framework);
            REQUIRE(!trainer || ty_catalog_container(catalog, trainer->container));
        }
    ty_catalog_free(catalog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char between[] = "\n----\n";
    const char *text = (const char *)data, *cut = memmem(data, size, between, sizeof between - 1);
    const char *built_in_containers = (const char *)ty_schema_containers;
    const char *built_in_trainers = (const char *)ty_schema_trainers;
    if (!cut) {
        parse(text, size, built_in_trainers, ty_schema_trainers_len);
        parse(built_in_containers, ty_schema_containers_len, text, size);
        return 0;
    }
    const char *second = cut + sizeof between - 1;
    parse(text, (size_t)(cut - text), second, (size_t)(text + size - second));
    return 0;
}
