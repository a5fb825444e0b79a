#include "responder/reflection.h"

#include <stdlib.h>
#include <string.h>


// protobuf-c has no descriptor.proto, and of it only names and nesting are needed here: these are its field numbers.
enum { SET_FILE = 1 };
enum { FILE_NAME = 1, FILE_PACKAGE = 2, FILE_DEPENDENCY = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { MESSAGE_NAME = 1, MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, MESSAGE_ONEOF = 8 };
enum { ENUM_NAME = 1, ENUM_VALUE = 2 };
enum { SERVICE_NAME = 1, SERVICE_METHOD = 2 };
enum { MEMBER_NAME = 1 };
enum { RESPONSE_FILE = 1 };

struct bytes {
    const uint8_t *data;
    size_t len;
};

struct file {
    char *name;
    char *package;
    struct bytes bytes;
    int *imports;
    size_t import_count;
};

struct symbol {
    char *name;
    int file;
    bool is_message;
};

struct ty_reflection {
    struct file *files;
    size_t file_count;
    struct symbol *symbols; // sorted by name
    size_t symbol_count;
    char **services;
    size_t service_count;
};

// ---- reading descriptors ----

static bool read_varint(struct bytes *left, uint64_t *ret_value)
{
    *ret_value = 0;
    for (unsigned shift = 0; left->len && shift < 64; shift += 7) {
        uint8_t byte = *left->data++;
        left->len--;
        *ret_value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return true;
    }
    return false;
}

// The next length-delimited field; others are passed over. False at the end; *ok false when the bytes are broken.
static bool next_field(struct bytes *left, uint32_t *ret_number, struct bytes *ret_value, bool *ok)
{
    static const size_t fixed[] = {[1] = 8, [5] = 4};
    uint64_t tag, number;
    while (left->len) {
        *ok = false;
        if (!read_varint(left, &tag))
            return false;
        unsigned type = (unsigned)(tag & 7);
        size_t skip = type == 1 || type == 5 ? fixed[type] : 0;
        if ((type == 0 || type == 2) && !read_varint(left, &number))
            return false;
        if (type == 2)
            skip = number > SIZE_MAX / 2 ? SIZE_MAX : (size_t)number;
        if (type == 3 || type == 4 || type > 5 || skip > left->len)
            return false;
        *ret_value = (struct bytes){left->data, skip};
        left->data += skip;
        left->len -= skip;
        *ok = true;
        *ret_number = (uint32_t)(tag >> 3);
        if (type == 2)
            return true;
    }
    return false;
}

static char *copy_text(struct bytes text)
{
    return ty_xasprintf("%.*s", (int)text.len, (const char *)text.data);
}

static struct bytes find_field(struct bytes message, uint32_t wanted)
{
    struct bytes value, found = {(const uint8_t *)"", 0};
    uint32_t number;
    bool ok = true;
    while (next_field(&message, &number, &value, &ok))
        if (number == wanted)
            found = value;
    return found;
}

// ---- building the index ----

static char *add_symbol(struct ty_reflection *reflection, const char *scope, struct bytes name, bool is_message)
{
    size_t count = reflection->symbol_count++;
    reflection->symbols = ty_xrealloc(reflection->symbols, (count + 1) * sizeof *reflection->symbols);
    reflection->symbols[count] = (struct symbol){
        .name = ty_xasprintf("%s%s%.*s", scope, *scope ? "." : "", (int)name.len, (const char *)name.data),
        .file = (int)reflection->file_count - 1,
        .is_message = is_message,
    };
    return reflection->symbols[count].name;
}

// Adds the thing itself and its named members: fields, enum values, methods.
static bool add_members(struct ty_reflection *reflection, const char *scope, struct bytes thing, uint32_t name_field,
                        uint32_t member_field, const char *member_scope)
{
    struct bytes value;
    uint32_t number;
    bool ok = true;
    const char *name = add_symbol(reflection, scope, find_field(thing, name_field), false);
    while (next_field(&thing, &number, &value, &ok))
        if (number == member_field)
            add_symbol(reflection, member_scope ? member_scope : name, find_field(value, MEMBER_NAME), false);
    return ok;
}

static bool add_enum(struct ty_reflection *reflection, const char *scope, struct bytes thing)
{
    return add_members(reflection, scope, thing, ENUM_NAME, ENUM_VALUE, scope); // values are siblings of their enum
}

static bool add_message(struct ty_reflection *reflection, const char *scope, struct bytes message)
{
    struct bytes value;
    uint32_t number;
    bool ok = true, inner = true;
    const char *name = add_symbol(reflection, scope, find_field(message, MESSAGE_NAME), true);
    while (inner && next_field(&message, &number, &value, &ok)) {
        if (number == MESSAGE_NESTED)
            inner = add_message(reflection, name, value);
        else if (number == MESSAGE_ENUM)
            inner = add_enum(reflection, name, value);
        else if (number == MESSAGE_FIELD || number == MESSAGE_ONEOF)
            add_symbol(reflection, name, find_field(value, MEMBER_NAME), false);
    }
    return ok && inner;
}

static bool add_service(struct ty_reflection *reflection, const char *scope, struct bytes service)
{
    size_t at = reflection->symbol_count;
    bool ok = add_members(reflection, scope, service, SERVICE_NAME, SERVICE_METHOD, NULL);
    size_t count = reflection->service_count++;
    reflection->services = ty_xrealloc(reflection->services, (count + 1) * sizeof *reflection->services);
    reflection->services[count] = reflection->symbols[at].name;
    return ok;
}

static bool add_file(struct ty_reflection *reflection, struct bytes bytes)
{
    struct bytes value;
    uint32_t number;
    bool ok = true, inner = true;
    size_t count = reflection->file_count++;
    reflection->files = ty_xrealloc(reflection->files, (count + 1) * sizeof *reflection->files);
    struct file *file = &reflection->files[count];
    *file = (struct file){.bytes = bytes,
                          .name = copy_text(find_field(bytes, FILE_NAME)),
                          .package = copy_text(find_field(bytes, FILE_PACKAGE))};
    while (inner && next_field(&bytes, &number, &value, &ok)) {
        if (number == FILE_MESSAGE) {
            inner = add_message(reflection, file->package, value);
        } else if (number == FILE_ENUM) {
            inner = add_enum(reflection, file->package, value);
        } else if (number == FILE_SERVICE) {
            inner = add_service(reflection, file->package, value);
        } else if (number == FILE_DEPENDENCY) {
            char *name TY_FREE = copy_text(value);
            file->imports = ty_xrealloc(file->imports, (file->import_count + 1) * sizeof *file->imports);
            // Imports stand before the files that import them.
            file->imports[file->import_count] = ty_reflection_file(reflection, name);
            inner = file->imports[file->import_count++] >= 0;
        }
    }
    return ok && inner;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

struct ty_reflection *ty_reflection_new(const uint8_t *bytes, size_t len, struct ty_err *err)
{
    struct ty_reflection *reflection = ty_xcalloc(1, sizeof *reflection);
    struct bytes left = {bytes, len}, value;
    uint32_t number;
    bool ok = true, inner = true;
    while (inner && next_field(&left, &number, &value, &ok))
        inner = number != SET_FILE || add_file(reflection, value);
    if (!ok || !inner) {
        ty_err_set(err, TY_EDATALOSS, "not a set of protobuf file descriptors with their imports");
        ty_reflection_free(reflection);
        return NULL;
    }
    if (reflection->symbol_count)
        qsort(reflection->symbols, reflection->symbol_count, sizeof *reflection->symbols, by_name);
    return reflection;
}

void ty_reflection_free(struct ty_reflection *reflection)
{
    if (!reflection)
        return;
    for (size_t i = 0; i < reflection->file_count; i++) {
        free(reflection->files[i].name);
        free(reflection->files[i].package);
        free(reflection->files[i].imports);
    }
    for (size_t i = 0; i < reflection->symbol_count; i++)
        free(reflection->symbols[i].name);
    free(reflection->files);
    free(reflection->symbols);
    free(reflection->services);
    free(reflection);
}

// ---- asking it ----

int ty_reflection_file(const struct ty_reflection *reflection, const char *name)
{
    for (size_t i = 0; i < reflection->file_count; i++)
        if (!strcmp(reflection->files[i].name, name))
            return (int)i;
    return -1;
}

static const struct symbol *find_symbol(const struct ty_reflection *reflection, const char *name)
{
    struct symbol key = {.name = (char *)name};
    if (!reflection->symbol_count)
        return NULL;
    return bsearch(&key, reflection->symbols, reflection->symbol_count, sizeof key, by_name);
}

int ty_reflection_symbol(const struct ty_reflection *reflection, const char *symbol)
{
    const struct symbol *found = find_symbol(reflection, symbol);
    return found ? found->file : -1;
}

bool ty_reflection_is_message(const struct ty_reflection *reflection, const char *symbol)
{
    const struct symbol *found = find_symbol(reflection, symbol);
    return found && found->is_message;
}

const char *ty_reflection_service(const struct ty_reflection *reflection, size_t index)
{
    return index < reflection->service_count ? reflection->services[index] : NULL;
}

static void add_with_imports(const struct ty_reflection *reflection, int at, bool *done, struct ty_buf *out)
{
    const struct file *file = &reflection->files[at];
    if (done[at])
        return;
    done[at] = true;
    ty_buf_add_tag_bytes(out, RESPONSE_FILE, file->bytes.data, file->bytes.len);
    for (size_t i = 0; i < file->import_count; i++)
        add_with_imports(reflection, file->imports[i], done, out);
}

void ty_reflection_add_file(const struct ty_reflection *reflection, int file, struct ty_buf *out)
{
    bool *done = ty_xcalloc(reflection->file_count, sizeof *done);
    add_with_imports(reflection, file, done, out);
    free(done);
}
