// Pages of other origins: which may call, what they may send, what they may read.
#include <string.h>
#include <strings.h>

#include "responder/http_internal.h"

// How long a browser keeps the answer to a preflight.
#define MAX_AGE_S "600"

static bool is_allowed(const struct ty_http_request *request, const char *origin)
{
    for (char *const *allowed = request->http->options.origins; allowed && *allowed; allowed++)
        if (!strcmp(*allowed, "*") || !strcasecmp(*allowed, origin))
            return true;
    return false;
}

bool ty_http_is_preflight(const struct ty_http_request *request, const char *verb)
{
    return !strcmp(verb, "OPTIONS") && ty_http_fields_get(&request->metadata, "origin") &&
           ty_http_fields_get(&request->metadata, "access-control-request-method");
}

// The names that the page asks for, each as it came: "*" would not cover authorization.
static void allow_headers(struct ty_http_request *request)
{
    const char *asked = ty_http_fields_get(&request->metadata, "access-control-request-headers");
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_., ";
    if (asked && strspn(asked, allowed) == strlen(asked))
        ty_http_fields_add_text(&request->headers, "access-control-allow-headers", asked);
}

void ty_http_answer_preflight(struct ty_http_request *request)
{
    if (!is_allowed(request, ty_http_fields_get(&request->metadata, "origin"))) {
        ty_http_refuse(request, MHD_HTTP_FORBIDDEN, TY_EPERMISSION, "pages of this origin may not call: see --http-origin");
        return;
    }
    request->status = MHD_HTTP_NO_CONTENT;
    request->answered = true;
    ty_http_fields_add_text(&request->headers, "access-control-allow-methods", "POST, GET, OPTIONS");
    allow_headers(request);
    ty_http_fields_add_text(&request->headers, "access-control-max-age", MAX_AGE_S);
    // A page from the internet asks so for leave to call an address like 127.0.0.1.
    if (ty_http_fields_get(&request->metadata, "access-control-request-private-network"))
        ty_http_fields_add_text(&request->headers, "access-control-allow-private-network", "true");
}

static void expose_headers(struct ty_http_request *request)
{
    TY_BUF(names);
    ty_buf_add_text(&names, "grpc-status, grpc-message, grpc-status-details-bin");
    for (size_t i = 0; i < request->headers.count; i++)
        if (!strncmp(request->headers.items[i].name, "trainyard-", 10) || !strncmp(request->headers.items[i].name, "trailer-", 8))
            ty_buf_add_format(&names, ", %s", request->headers.items[i].name);
    ty_http_fields_add_text(&request->headers, "access-control-expose-headers", ty_buf_text(&names));
}

void ty_http_add_cors(struct ty_http_request *request)
{
    const char *origin = ty_http_fields_get(&request->metadata, "origin");
    if (!request->http->options.origins)
        return;
    ty_http_fields_add_text(&request->headers, "vary", "origin");
    if (!origin || !is_allowed(request, origin))
        return;
    ty_http_fields_add_text(&request->headers, "access-control-allow-origin", origin);
    expose_headers(request);
}
