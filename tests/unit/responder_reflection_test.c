#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "responder/reflection.h"

static struct ty_reflection *index_of_ours(void)
{
    struct ty_err err;
    struct ty_reflection *reflection = ty_reflection_new(ty_proto_descriptors, ty_proto_descriptors_len, &err);
    if (!reflection)
        fail_msg("%s", err.message);
    return reflection;
}

static void test_symbols_lead_to_their_file(void **state)
{
    static const char *const symbols[] = {
        "viam.app.mltraining.v1.MLTrainingService",
        "viam.app.mltraining.v1.MLTrainingService.GetTrainingJob",
        "viam.app.mltraining.v1.TrainingJobMetadata",
        "viam.app.mltraining.v1.TrainingJobMetadata.ArgumentsEntry",
        "viam.app.mltraining.v1.TrainingJobMetadata.ArgumentsEntry.value",
        "viam.app.mltraining.v1.GetTrainingJobRequest.id",
        "viam.app.mltraining.v1.TrainingStatus",
        "viam.app.mltraining.v1.TRAINING_STATUS_PENDING",
    };
    struct ty_reflection *reflection = index_of_ours();
    int file = ty_reflection_file(reflection, "viam/app/mltraining/v1/ml_training.proto");
    (void)state;
    assert_true(file >= 0);
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (ty_reflection_symbol(reflection, symbols[i]) != file)
            fail_msg("%s is not found", symbols[i]);
    assert_true(ty_reflection_is_message(reflection, symbols[2]));
    assert_false(ty_reflection_is_message(reflection, symbols[0]));
    assert_int_equal(ty_reflection_symbol(reflection, "viam.app.mltraining.v1"), -1);
    assert_int_equal(ty_reflection_symbol(reflection, ""), -1);
    assert_int_equal(ty_reflection_file(reflection, "ml_training.proto"), -1);
    ty_reflection_free(reflection);
}

static void test_services(void **state)
{
    static const char *const services[] = {
        "viam.app.mltraining.v1.MLTrainingService",
        "trainyard.v1.JobService",
        "trainyard.v1.LogService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "proto.rpc.v1.AuthService",
        "viam.app.v1.AppService",
    };
    struct ty_reflection *reflection = index_of_ours();
    (void)state;
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        assert_string_equal(ty_reflection_service(reflection, i), services[i]);
    assert_null(ty_reflection_service(reflection, sizeof services / sizeof *services));
    ty_reflection_free(reflection);
}

static void test_a_file_comes_with_its_imports_once(void **state)
{
    struct ty_reflection *reflection = index_of_ours();
    TY_BUF(bytes);
    (void)state;
    ty_reflection_add_file(reflection, ty_reflection_file(reflection, "trainyard/v1/command.proto"), &bytes);
    Grpc__Reflection__V1__FileDescriptorResponse *response =
        grpc__reflection__v1__file_descriptor_response__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(response);
    // command, timestamp, ml_training, status, any.
    assert_int_equal(response->n_file_descriptor_proto, 5);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(response->file_descriptor_proto[i].len != response->file_descriptor_proto[j].len);
    assert_non_null(memmem(response->file_descriptor_proto[0].data, response->file_descriptor_proto[0].len,
                           "trainyard/v1/command.proto", 26));
    grpc__reflection__v1__file_descriptor_response__free_unpacked(response, NULL);
    ty_reflection_free(reflection);
}

// Whatever the bytes are, the index says so or works: every prefix of a good set is one or the other.
static void test_broken_bytes(void **state)
{
    struct ty_err err;
    (void)state;
    size_t refused = 0;
    for (size_t len = 0; len < ty_proto_descriptors_len; len += 7) {
        uint8_t *part = malloc(len + 1); // of its own, so that reading past it is found
        memcpy(part, ty_proto_descriptors, len);
        struct ty_reflection *reflection = ty_reflection_new(part, len, &err);
        refused += !reflection;
        ty_reflection_free(reflection);
        free(part);
    }
    assert_true(refused > ty_proto_descriptors_len / 7 / 2);
    assert_null(ty_reflection_new((const uint8_t *)"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, &err));
    assert_int_equal(err.code, TY_EDATALOSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_symbols_lead_to_their_file),
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_a_file_comes_with_its_imports_once),
        cmocka_unit_test(test_broken_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
