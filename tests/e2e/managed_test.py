"""SubmitTrainingJob: the same road as a custom job, with the trainer that the catalogue names, real Python and real pip."""
import subprocess
import unittest

import grpc
import stack

KINDS = stack.broker_kinds()


class Managed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.held_out = cls.yard.dir / "held-out"
        deploy = stack.SOURCE / "deploy"
        for command in ([deploy / "demo/make_dataset", "--store", cls.yard.store, "--held-out", cls.held_out],
                        [deploy / "trainers/install", "--store", cls.yard.store]):
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        cls.yard.start_responder()
        cls.yard.start_worker("worker-1", "--slots", "1")

    def request(self, name, **parts):
        ml = self.yard.messages.ml
        return ml.SubmitTrainingJobRequest(
            organization_id=stack.ORGANIZATION, dataset_id="digits", model_name=name, model_version="1",
            **{"model_type": ml.MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION, "tags": [str(digit) for digit in range(10)], **parts})

    def test_digits_become_an_onnx_model(self):
        ml = self.yard.messages.ml
        job_id = self.yard.api.SubmitTrainingJob(self.request("managed"), timeout=10).id
        job = self.yard.wait_end(job_id)
        self.assertEqual(job.status, stack.COMPLETED, job)
        self.assertFalse(job.is_custom_job)
        self.assertEqual(job.model_framework, ml.MODEL_FRAMEWORK_ONNX)  # the type's default trainer
        self.assertEqual(sorted(job.tags), [str(digit) for digit in range(10)])
        model = self.yard.store / "models" / stack.ORGANIZATION / "managed" / "1"
        stack.wait_until((model / "model.onnx").exists, "the model has its public name")
        subprocess.run([stack.SOURCE / "deploy/demo/evaluate", "--store", self.yard.store, "--model",
                        f"{stack.ORGANIZATION}/managed/1", "--held-out", self.held_out, "--min-accuracy", "0.95"],
                       check=True, stdin=subprocess.DEVNULL)

    def test_over_kafka(self):
        import uuid
        job_id = str(uuid.uuid4())
        self.yard.publish("submit", job_id, self.yard.command(job_id, submit=self.request("over-kafka", tags=["3", "8"]))).get(30)
        job = self.yard.wait_end(job_id)
        self.assertEqual(job.status, stack.COMPLETED, job)
        labels = self.yard.store / "models" / stack.ORGANIZATION / "over-kafka" / "1" / "labels.txt"
        stack.wait_until(labels.exists, "the model has its public name")
        self.assertLessEqual({"3", "8"}, set(labels.read_text().split()))

    def test_no_trainer_names_what_is_installed(self):
        ml = self.yard.messages.ml
        for parts in ({"model_framework": ml.MODEL_FRAMEWORK_TFLITE}, {"model_type": ml.MODEL_TYPE_OBJECT_DETECTION},
                      {"model_type": 0}):
            with self.subTest(parts), self.assertRaises(grpc.RpcError) as refused:
                self.yard.api.SubmitTrainingJob(self.request("none", **parts), timeout=10)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            if parts.get("model_type") != 0:
                self.assertIn("trainyard:image-classification-onnx", refused.exception.details())


if __name__ == "__main__":
    unittest.main(verbosity=2)
