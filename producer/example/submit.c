/* Submits a custom training job with libtrainyard, waits until Kafka has it, and prints the job's id.
 *
 *     submit BROKERS ORGANIZATION DATASET MODEL_NAME SCRIPT [KEY=VALUE...]
 *
 * SCRIPT is "prefix:name" of a registered training script; each KEY=VALUE becomes an argument of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <trainyard.h>

#define ARGUMENTS 16
#define TRIES 3

/* Splits KEY=VALUE texts in place. Returns how many, or -1. */
static int read_arguments(char **texts, int count, struct trainyard_pair *pairs)
{
    for (int i = 0; i < count; i++) {
        char *equals = strchr(texts[i], '=');
        if (!equals || i == ARGUMENTS) {
            fprintf(stderr, "submit: %s: %s\n", texts[i], equals ? "too many arguments" : "expected KEY=VALUE");
            return -1;
        }
        *equals = 0;
        pairs[i].key = texts[i];
        pairs[i].value = equals + 1;
    }
    return count;
}

/* Where Kafka gave no answer, the command may or may not be there: publishing it again under the same job id is safe. */
static int submit(struct trainyard_client *client, struct trainyard_custom_job *job, struct trainyard_receipt *receipt)
{
    struct trainyard_error error;
    int rc = -1;
    for (int i = 0; i < TRIES && rc != 0; i++) {
        rc = trainyard_submit_custom(client, job, TRAINYARD_WAIT, receipt, &error);
        if (rc != 0)
            fprintf(stderr, "submit: %s: %s%s\n", trainyard_code_name(error.code), error.message,
                    error.unknown ? " (it may have been published)" : "");
        if (rc != 0 && !error.retriable)
            break;
        if (*receipt->job_id)
            job->job_id = receipt->job_id;
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct trainyard_client_options options = TRAINYARD_CLIENT_OPTIONS_INIT;
    struct trainyard_job_options job_options = TRAINYARD_JOB_OPTIONS_INIT;
    struct trainyard_custom_job job = TRAINYARD_CUSTOM_JOB_INIT;
    struct trainyard_pair arguments[ARGUMENTS], label = {"submitted-by", "libtrainyard example"};
    struct trainyard_client *client;
    struct trainyard_receipt receipt;
    struct trainyard_error error;
    char version[32];
    time_t now = time(NULL);
    if (argc < 6) {
        fprintf(stderr, "usage: submit BROKERS ORGANIZATION DATASET MODEL_NAME SCRIPT [KEY=VALUE...]\n");
        return 2;
    }
    int count = read_arguments(argv + 6, argc - 6, arguments);
    if (count < 0)
        return 2;
    strftime(version, sizeof version, "%Y-%m-%dT%H-%M-%S", gmtime(&now));

    options.brokers = argv[1];
    options.issuer = "submit example";
    if (trainyard_client_new(&options, &client, &error) != 0) {
        fprintf(stderr, "submit: %s\n", error.message);
        return 1;
    }
    job_options.max_attempts = 3;
    job_options.labels = &label;
    job_options.label_count = 1;
    job.organization_id = argv[2];
    job.dataset_id = argv[3];
    job.model_name = argv[4];
    job.model_version = version;
    job.registry_item_id = argv[5];
    job.arguments = arguments;
    job.argument_count = (size_t)count;
    job.options = &job_options;
    int rc = submit(client, &job, &receipt);
    if (rc == 0)
        printf("%s\n", receipt.job_id);
    trainyard_client_free(client, 0);
    return rc == 0 ? 0 : 1;
}
