"""A client that knows only the protos does the whole round trip: publishes to Kafka, reads by gRPC; and one that knows
not even those finds the service by reflection."""
import sys
import unittest
import uuid

import grpc
import stack

KINDS = stack.broker_kinds()

TRAIN = """
echo "training with epochs=$ARG_epochs on $DATASET"
echo "WARNING: a warning" >&2
i=0; while [ $i -lt 5 ]; do echo "epoch $i"; i=$((i + 1)); done
echo "the model of $TRAINYARD_JOB_ID" > "$OUTPUT/model.txt"
"""


class RoundTrip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.script("epochs", TRAIN)
        cls.yard.script("sleeper", "echo started; exec sleep 600")
        cls.yard.start_responder()
        cls.yard.start_worker("worker-1", "--slots", "2", "--grace-ms", "2000")

    def test_kafka_in_grpc_out(self):
        yard = self.yard
        job_id = yard.publish_custom(yard.custom_request("epochs", "round", {"epochs": "5"}))
        job = yard.wait_end(job_id)
        self.assertEqual(job.status, stack.COMPLETED, job)
        self.assertEqual((job.model_name, job.registry_item_id, job.registry_item_version, job.is_custom_job),
                         ("round", "test:epochs", "1", True))
        self.assertEqual(dict(job.arguments), {"epochs": "5"})
        self.assertEqual(job.synced_model_id, f"{stack.ORGANIZATION}/round")
        for moment in ("created_on", "last_modified", "training_started", "training_ended"):
            self.assertTrue(job.HasField(moment), moment)
        self.assertFalse(job.HasField("error_status"))
        self.assertLessEqual(job.created_on.ToNanoseconds(), job.training_started.ToNanoseconds())
        self.assertLessEqual(job.training_started.ToNanoseconds(), job.training_ended.ToNanoseconds())
        lines = [entry.message for entry in yard.logs(job_id)]
        # All of a finished job's log is there when its status says so.
        self.assertEqual([line for line in lines if line.startswith("epoch ")], [f"epoch {i}" for i in range(5)])
        levels = {entry.message: entry.level for entry in yard.logs(job_id)}
        self.assertEqual(levels["WARNING: a warning"], "warn")
        model = yard.store / "models" / stack.ORGANIZATION / "round" / "1" / "model.txt"
        stack.wait_until(model.exists, "the model has its public name")
        self.assertEqual(model.read_text(), f"the model of {job_id}\n")

    def test_grpc_in_and_the_eight_calls(self):
        yard, ml = self.yard, self.yard.messages.ml
        job_id = yard.api.SubmitCustomTrainingJob(yard.custom_request("sleeper", "eight"), timeout=10).id
        self.assertEqual(yard.get(job_id).id, job_id)  # read-your-write
        yard.wait_status(job_id, stack.IN_PROGRESS)
        with self.assertRaises(grpc.RpcError) as refused:
            yard.api.DeleteCompletedTrainingJob(ml.DeleteCompletedTrainingJobRequest(id=job_id), timeout=10)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        stack.wait_until(lambda: any(entry.message == "started" for entry in yard.logs(job_id)), "the log of a running job")
        yard.api.CancelTrainingJob(ml.CancelTrainingJobRequest(id=job_id), timeout=10)
        self.assertIn(yard.get(job_id).status, (stack.CANCELING, stack.CANCELED))
        self.assertEqual(yard.wait_end(job_id).status, stack.CANCELED)
        self.assertIn(job_id, [job.id for job in yard.jobs(stack.CANCELED)])
        self.assertNotIn(job_id, [job.id for job in yard.jobs(stack.COMPLETED)])
        yard.api.DeleteCompletedTrainingJob(ml.DeleteCompletedTrainingJobRequest(id=job_id), timeout=10)
        self.assertIsNone(yard.get(job_id))
        containers = yard.api.ListSupportedContainers(ml.ListSupportedContainersRequest(), timeout=10).container_map
        self.assertIn("python:3.11-sklearn", containers)
        self.assertNotIn("null:1", containers)
        with self.assertRaises(grpc.RpcError) as refused:
            yard.api.SubmitTrainingJob(ml.SubmitTrainingJobRequest(
                organization_id=stack.ORGANIZATION, model_name="m", model_version="1", dataset_id="empty-set",
                model_type=ml.MODEL_TYPE_OBJECT_DETECTION, tags=["a"]), timeout=10)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("ONNX", refused.exception.details())

    def test_cancel_and_delete_over_kafka(self):
        yard, ml = self.yard, self.yard.messages.ml
        job_id = yard.publish_custom(yard.custom_request("sleeper", "kafka-cancel"))
        yard.wait_status(job_id, stack.IN_PROGRESS)
        yard.publish("cancel", job_id, yard.command(job_id, cancel=ml.CancelTrainingJobRequest(id=job_id))).get(30)
        self.assertEqual(yard.wait_end(job_id).status, stack.CANCELED)
        delete = yard.command(job_id, **{"delete": ml.DeleteCompletedTrainingJobRequest(id=job_id)})
        yard.publish("delete", job_id, delete).get(30)
        stack.wait_until(lambda: yard.get(job_id) is None, "the job is gone")

    def test_cancel_before_submit(self):
        yard, ml = self.yard, self.yard.messages.ml
        job_id = str(uuid.uuid4())
        yard.publish("cancel", job_id, yard.command(job_id, cancel=ml.CancelTrainingJobRequest(id=job_id))).get(30)
        stack.wait_until(lambda: yard.redis.ask("EXISTS", b"{ty:0}:j:" + uuid.UUID(job_id).bytes) == ":1", "it is remembered")
        yard.publish_custom(yard.custom_request("epochs", "before"), job_id=job_id)
        self.assertEqual(yard.wait_end(job_id).status, stack.CANCELED)

    def test_the_example_of_the_documentation(self):
        import subprocess
        yard = self.yard
        protos = stack.SOURCE / "schemas" / "examples"
        done = subprocess.run(
            [sys.executable, protos / "submit.py", "--brokers", yard.broker.address, "submit-custom", "--organization",
             stack.ORGANIZATION, "--dataset", "empty-set", "--script", "test:epochs", "--model", "documented",
             "--container", "shell:1", "--argument", "epochs=3"],
            stdout=subprocess.PIPE, text=True, timeout=120, check=True)
        self.assertEqual(yard.wait_end(done.stdout.strip()).status, stack.COMPLETED)

    def test_reflection_lists_and_calls(self):
        """A client without any proto: what it knows it has from the server."""
        from google.protobuf import json_format
        from google.protobuf.descriptor_pool import DescriptorPool
        from google.protobuf.message_factory import GetMessageClass
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
        database = ProtoReflectionDescriptorDatabase(self.yard.channel)
        self.assertIn("viam.app.mltraining.v1.MLTrainingService", database.get_services())
        self.assertIn("grpc.health.v1.Health", database.get_services())
        service = DescriptorPool(database).FindServiceByName("viam.app.mltraining.v1.MLTrainingService")
        self.assertEqual(len(service.methods), 8)

        def call(name, body):
            method = service.FindMethodByName(name)
            request = json_format.ParseDict(body, GetMessageClass(method.input_type)())
            invoke = self.yard.channel.unary_unary(
                f"/{service.full_name}/{name}", request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=GetMessageClass(method.output_type).FromString)
            return json_format.MessageToDict(invoke(request, timeout=10))
        answer = call("SubmitCustomTrainingJob", {
            "datasetId": "empty-set", "registryItemId": "test:epochs", "organizationId": stack.ORGANIZATION,
            "modelName": "reflected", "modelVersion": "1", "containerVersion": "shell:1", "arguments": {"epochs": "1"}})
        self.yard.wait_end(answer["id"])
        job = call("GetTrainingJob", {"id": answer["id"]})["metadata"]
        self.assertEqual((job["status"], job["modelName"]), ("TRAINING_STATUS_COMPLETED", "reflected"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
