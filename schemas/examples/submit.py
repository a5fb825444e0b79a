#!/usr/bin/env python3
"""Submits, cancels and deletes training jobs with nothing of ours but the .proto files: kafka-python and protobuf.

    pip install kafka-python==2.0.2 grpcio-tools
    submit.py --brokers HOST:PORT submit --organization ORG --dataset DATASET --model NAME --label zero --label one
    submit.py --brokers HOST:PORT submit-custom --organization ORG --dataset DATASET --model NAME --script PREFIX:NAME \\
              --argument epochs=3
    submit.py --brokers HOST:PORT cancel JOB_ID
    submit.py --brokers HOST:PORT delete JOB_ID

Where signatures are required: --signing-key FILE, as `trainyard keys create --signing --out FILE` makes it (needs the package
cryptography).

Prints the job's id once Kafka has acknowledged the command. Exit status: 0 acknowledged, 1 not, 2 wrong usage.
schemas/README.md says what each part of the record means.
"""
import argparse
import datetime
import importlib
import os
import pathlib
import struct
import sys
import tempfile
import uuid

from kafka import KafkaProducer
from kafka.errors import KafkaError

PROTO_DIR = pathlib.Path(__file__).resolve().parents[2] / "proto"
KEY_NAMESPACE = uuid.UUID("5f3c1e0a-7d44-4b52-9a6e-21c80f95d3b7")
TOPICS = {"submit": "submit", "submit_custom": "submit", "cancel": "cancel", "delete": "delete"}
FORMAT_VERSION = 1
ANSWER_SECONDS = 10


def load_protos(proto_dir):
    """Compiles the protos for this run. A program of your own would do that once, when it is built."""
    from grpc_tools import protoc
    with tempfile.TemporaryDirectory() as out:
        names = ["trainyard/v1/command.proto", "viam/app/mltraining/v1/ml_training.proto", "google/rpc/status.proto"]
        if protoc.main(["protoc", f"-I{proto_dir}", f"--python_out={out}", *names]) != 0:
            raise SystemExit(f"submit.py: the protos in {proto_dir} do not compile")
        sys.path.insert(0, out)
        return (importlib.import_module("trainyard.v1.command_pb2"),
                importlib.import_module("viam.app.mltraining.v1.ml_training_pb2"))


def choose_job_id(organization, idempotency_key):
    if idempotency_key:
        return str(uuid.uuid5(KEY_NAMESPACE, organization + "\0" + idempotency_key))
    return str(uuid.uuid4())


def make_command(command_pb2, kind, job_id, request, issuer):
    """The envelope around one of the API's request messages."""
    command = command_pb2.JobCommand(
        format_version=FORMAT_VERSION,
        command_id=uuid.uuid4().bytes,
        job_id=job_id,
        issuer=issuer,
    )
    command.issued_at.GetCurrentTime()
    getattr(command, kind).CopyFrom(request)
    return command


def set_options(command, args):
    options = command.options
    options.priority = args.priority
    options.max_runtime_s = args.max_runtime
    options.max_attempts = args.max_attempts
    options.idempotency_key = args.idempotency_key
    for key, value in args.tag:
        options.labels[key] = value


def sign(file, key, value):
    """The header trainyard-signature: the key's id, and its Ed25519 signature of the record's key and value."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    text = file.read_text()
    key_id = next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("key-id:"))
    private_key = load_pem_private_key(text[text.index("-----BEGIN"):].encode(), None)
    signed = b"trainyard command v1\0" + struct.pack(">I", len(key)) + key + value
    return uuid.UUID(key_id).bytes + private_key.sign(signed)


def publish(brokers, topic, job_id, value, traceparent, signing_key=None):
    """Returns where the record stands, only after Kafka has acknowledged it. Sending it again is always safe."""
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all", retries=5, max_block_ms=ANSWER_SECONDS * 1000)
    try:
        headers = [("traceparent", traceparent.encode())] if traceparent else []
        if signing_key:
            headers.append(("trainyard-signature", sign(signing_key, job_id.encode(), value)))
        return producer.send(topic, key=job_id.encode(), value=value, headers=headers).get(timeout=ANSWER_SECONDS)
    finally:
        producer.close(timeout=ANSWER_SECONDS)


def key_value(text):
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def job_id(text):
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a job id")


def add_job_arguments(parser):
    parser.add_argument("--organization", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--version", help="the model's version; default: the time")
    parser.add_argument("--priority", type=int, default=0, help="0 (normal) to 7 (first)")
    parser.add_argument("--max-runtime", type=int, default=0, metavar="SECONDS")
    parser.add_argument("--max-attempts", type=int, default=0)
    parser.add_argument("--idempotency-key", default="", help="the same key is the same job")
    parser.add_argument("--tag", type=key_value, action="append", default=[], metavar="KEY=VALUE", help="a free label of the job")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True, metavar="HOST:PORT")
    parser.add_argument("--topic-prefix", default="mltraining.")
    parser.add_argument("--issuer", default=os.environ.get("USER", "submit.py"))
    parser.add_argument("--traceparent", default="")
    parser.add_argument("--signing-key", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--protos", type=pathlib.Path, default=PROTO_DIR, help="the folder with the .proto files")
    verbs = parser.add_subparsers(dest="verb", required=True)
    managed = verbs.add_parser("submit", help="a managed job: a trainer of the service learns from the data set")
    add_job_arguments(managed)
    managed.add_argument("--type", default="SINGLE_LABEL_CLASSIFICATION",
                         choices=["SINGLE_LABEL_CLASSIFICATION", "MULTI_LABEL_CLASSIFICATION", "OBJECT_DETECTION"])
    managed.add_argument("--framework", default="UNSPECIFIED", choices=["UNSPECIFIED", "TFLITE", "TENSORFLOW", "PYTORCH", "ONNX"])
    managed.add_argument("--label", action="append", required=True, help="a label to learn")
    custom = verbs.add_parser("submit-custom", help="a custom job: a training script of your own")
    add_job_arguments(custom)
    custom.add_argument("--script", required=True, metavar="PREFIX:NAME")
    custom.add_argument("--script-version", default="", help="default: the newest")
    custom.add_argument("--container", default="", help="a key of ListSupportedContainers; default: the service's")
    custom.add_argument("--argument", type=key_value, action="append", default=[], metavar="KEY=VALUE")
    for verb in ("cancel", "delete"):
        verbs.add_parser(verb).add_argument("job_id", type=job_id)
    return parser.parse_args()


def make_request(ml_training_pb2, args, kind, identifier):
    if kind == "cancel":
        return ml_training_pb2.CancelTrainingJobRequest(id=identifier)
    if kind == "delete":
        return ml_training_pb2.DeleteCompletedTrainingJobRequest(id=identifier)
    version = args.version or datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H-%M-%S")
    common = dict(organization_id=args.organization, dataset_id=args.dataset, model_name=args.model, model_version=version)
    if kind == "submit":
        return ml_training_pb2.SubmitTrainingJobRequest(
            **common, tags=args.label, model_type="MODEL_TYPE_" + args.type,
            model_framework="MODEL_FRAMEWORK_" + args.framework)
    return ml_training_pb2.SubmitCustomTrainingJobRequest(
        **common, registry_item_id=args.script, registry_item_version=args.script_version, container_version=args.container,
        arguments=dict(args.argument))


def main():
    args = parse_arguments()
    command_pb2, ml_training_pb2 = load_protos(args.protos)
    kind = args.verb.replace("-", "_")
    is_submit = kind.startswith("submit")
    identifier = choose_job_id(args.organization, args.idempotency_key) if is_submit else args.job_id
    command = make_command(command_pb2, kind, identifier, make_request(ml_training_pb2, args, kind, identifier), args.issuer)
    if is_submit:
        set_options(command, args)
    try:
        publish(args.brokers, args.topic_prefix + TOPICS[kind], identifier, command.SerializeToString(), args.traceparent,
                args.signing_key)
    except KafkaError as error:
        # The record may have arrived all the same: under this id it can be sent again without harm.
        print(f"submit.py: Kafka has not acknowledged {identifier}: {error!r}", file=sys.stderr)
        return 1
    print(identifier)
    return 0


if __name__ == "__main__":
    sys.exit(main())
