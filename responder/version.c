#include "responder/version.h"

#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>
#include <protobuf-c/protobuf-c.h>

#include "core/redis.h"
#include "responder/grpc_server.h"
#include "responder/http_server.h"

void ty_responder_print_version(FILE *out)
{
    fprintf(out, "trainyard-responder %s\n", TY_VERSION);
    fprintf(out, "librdkafka %s\ngRPC core %s\nhiredis %d.%d.%d, %s TLS\nprotobuf-c %s\nlibmicrohttpd %s\n", rd_kafka_version_str(),
            ty_grpc_version(), HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH, ty_redis_has_tls() ? "with" : "without", protobuf_c_version(), ty_http_version());
}
