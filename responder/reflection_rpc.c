// ServerReflectionInfo, versions v1 and v1alpha: one answer for each request of the stream.
#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "responder/service_internal.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;

enum { VALID_HOST = 1, ORIGINAL_REQUEST = 2, FILE_RESPONSE = 4, NUMBERS_RESPONSE = 5, SERVICES_RESPONSE = 6, ERROR_RESPONSE = 7 };
enum { NUMBERS_BASE_TYPE = 1, SERVICES_SERVICE = 1, SERVICE_NAME = 1, ERROR_CODE = 1, ERROR_MESSAGE = 2 };

static void add_error(struct ty_buf *out, enum ty_code code, const char *message)
{
    TY_BUF(error);
    ty_buf_add_tag_varint(&error, ERROR_CODE, (uint64_t)ty_code_grpc(code));
    ty_buf_add_tag_bytes(&error, ERROR_MESSAGE, message, strlen(message));
    ty_buf_add_tag_bytes(out, ERROR_RESPONSE, error.data, error.len);
}

static void add_file(const struct ty_reflection *reflection, int file, struct ty_buf *out)
{
    TY_BUF(files);
    if (file < 0) {
        add_error(out, TY_ENOTFOUND, "there is no such file or symbol");
        return;
    }
    ty_reflection_add_file(reflection, file, &files);
    ty_buf_add_tag_bytes(out, FILE_RESPONSE, files.data, files.len);
}

static void add_services(const struct ty_reflection *reflection, struct ty_buf *out)
{
    TY_BUF(services);
    const char *name;
    for (size_t i = 0; (name = ty_reflection_service(reflection, i)); i++) {
        TY_BUF(service);
        ty_buf_add_tag_bytes(&service, SERVICE_NAME, name, strlen(name));
        ty_buf_add_tag_bytes(&services, SERVICES_SERVICE, service.data, service.len);
    }
    ty_buf_add_tag_bytes(out, SERVICES_RESPONSE, services.data, services.len);
}

// None of our messages has extensions.
static void add_extension_numbers(const struct ty_reflection *reflection, const char *type, struct ty_buf *out)
{
    TY_BUF(numbers);
    if (!ty_reflection_is_message(reflection, type)) {
        add_error(out, TY_ENOTFOUND, "there is no such message type");
        return;
    }
    ty_buf_add_tag_bytes(&numbers, NUMBERS_BASE_TYPE, type, strlen(type));
    ty_buf_add_tag_bytes(out, NUMBERS_RESPONSE, numbers.data, numbers.len);
}

static void add_original(const ProtobufCMessage *message, struct ty_buf *out)
{
    TY_BUF(original);
    size_t len = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, ty_buf_reserve(&original, len));
    ty_buf_add_tag_bytes(out, ORIGINAL_REQUEST, original.data, len);
}

void ty_reflection_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const struct ty_service *service = ty_rpc_context(rpc);
    const struct ty_reflection *reflection = service->reflection;
    const Request *request = (const Request *)message;
    TY_BUF(answer);
    if (*request->host)
        ty_buf_add_tag_bytes(&answer, VALID_HOST, request->host, strlen(request->host));
    add_original(message, &answer);
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        add_file(reflection, ty_reflection_file(reflection, request->file_by_filename), &answer);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        add_file(reflection, ty_reflection_symbol(reflection, request->file_containing_symbol), &answer);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        add_file(reflection, -1, &answer);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        add_extension_numbers(reflection, request->all_extension_numbers_of_type, &answer);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        add_services(reflection, &answer);
        break;
    default: add_error(&answer, TY_EINVALID, "the request asks for nothing"); break;
    }
    ty_rpc_send(rpc, answer.data, answer.len);
}
