#include "producer/cli/names.h"

#include <ctype.h>
#include <string.h>

#define UNSPECIFIED "UNSPECIFIED"

// "MODEL_TYPE_" of MODEL_TYPE_UNSPECIFIED, which is the value 0 of every enum of the API.
static size_t prefix_len(const ProtobufCEnumDescriptor *descriptor)
{
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(descriptor, 0);
    return strlen(zero->name) - strlen(UNSPECIFIED);
}

const char *ty_names_of(const ProtobufCEnumDescriptor *descriptor, int value)
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(descriptor, value);
    return found && value ? found->name + prefix_len(descriptor) : NULL;
}

static void add_words(struct ty_buf *out, const char *name)
{
    for (; *name; name++)
        ty_buf_add_byte(out, *name == '_' ? '-' : (uint8_t)tolower((unsigned char)*name));
}

void ty_names_add_words(struct ty_buf *out, const ProtobufCEnumDescriptor *descriptor, int value)
{
    const char *name = ty_names_of(descriptor, value);
    if (name)
        add_words(out, name);
    else if (value)
        ty_buf_add_format(out, "%d", value);
    else
        ty_buf_add_text(out, "-");
}

static int folded(char c)
{
    return c == '-' || c == ' ' ? '_' : toupper((unsigned char)c);
}

static bool is_same(const char *text, const char *name)
{
    while (*text && folded(*text) == *name)
        text++, name++;
    return !*text && !*name;
}

int ty_names_parse(const ProtobufCEnumDescriptor *descriptor, const char *flag, const char *text, int *ret_value,
                   struct ty_err *err)
{
    size_t prefix = prefix_len(descriptor);
    TY_BUF(allowed);
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        const ProtobufCEnumValue *value = &descriptor->values[i];
        if (!value->value)
            continue;
        if (is_same(text, value->name) || is_same(text, value->name + prefix)) {
            *ret_value = value->value;
            return 0;
        }
        ty_buf_add_text(&allowed, allowed.len ? ", " : "");
        add_words(&allowed, value->name + prefix);
    }
    return ty_err_set(err, TY_EINVALID, "--%s: \"%.64s\" is none of %s", flag, text, ty_buf_text(&allowed));
}
