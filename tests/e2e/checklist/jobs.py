"""Lines 16 to 27, 29 to 32: jobs from their submit to their end."""
from google.protobuf import timestamp_pb2

import stack
from checklist.lines import shows
from foreign import driver


def timestamp(text):
    """A moment of the JSON mapping, to be compared."""
    moment = timestamp_pb2.Timestamp()
    moment.FromJsonString(text)
    return moment.ToNanoseconds()


RESERVED = ("dataset_file", "model_output_directory", "binary_data_file", "tabular_data_file", "sequences_file")
VALUES = {"empty": "", "spaces": "a b  c", "quotes": "'\"`$(touch /tmp/x);\\", "equals": "k=v==", "signs": "schön ☃", "dashes": "--x", "A-b_9": "1"}
# Goes on although it is told to stop, for as long as it is wanted.
STAYS = 'trap "" TERM; echo started; while [ ! -e {gate} ]; do sleep 0.05; done'
# Ends well although it is told to stop.
STUBBORN = 'trap "echo model > $OUTPUT/m; exit 0" TERM; echo started; while :; do sleep 0.05; done'
ARGUMENTS = 'echo model > "$OUTPUT/m"; for word in "$@"; do printf "[%s]\\n" "$word"; done'


class Jobs:
    # ---- submit

    @shows(16)
    def test_managed_without_a_framework(self):
        id = self.api.submit_managed(**self.managed_job())
        job = self.ends(id, "COMPLETED")
        self.assertEqual(job["modelFramework"], "MODEL_FRAMEWORK_TFLITE")

    @shows(17)
    def test_managed_without_a_type(self):
        for body in ({"modelType": 0}, {"modelFramework": "MODEL_FRAMEWORK_PYTORCH"}, {"modelFramework": "MODEL_FRAMEWORK_ONNX"}):
            request = {**driver.submit_body(self.managed_job()), **body}
            self.refused("INVALID_ARGUMENT", self.api.training, "SubmitTrainingJob", request)

    @shows(18)
    def test_the_least_that_a_client_sends(self):
        self.yard.script("train", "exit 9", version="0")  # an older one, so that there is a choice
        request = self.job("train", "least")
        for word in ("container", "script_version"):
            request.pop(word, None)
        job = self.ends(self.api.submit(**request), "COMPLETED")
        self.assertEqual((job["registryItemVersion"], job["containerVersion"]), ("1", "shell:1"))
        self.assertNotIn("arguments", job)

    @shows(19)
    def test_what_must_be_there(self):
        for word in ("organization", "dataset", "model", "model_version", "script"):
            self.refused("INVALID_ARGUMENT", self.open.submit, **{**self.job("train", "empty"), word: ""})
            if word != "script":
                self.refused("INVALID_ARGUMENT", self.open.submit_managed, **{**self.managed_job(), word: ""})
        self.refused("INVALID_ARGUMENT", self.api.submit, **self.job("train", "container", container="no-such:1"))

    @shows(20)
    def test_names_of_scripts(self):
        for script in ("noprefix", ":x", "x:", "a:b:c", "a/b:c", "a:../c"):
            self.refused("INVALID_ARGUMENT", self.api.submit, **{**self.job("train", "name"), "script": script})

    @shows(21)
    def test_arguments(self):
        for name in ("", "a b", "a=b", "ü", "a.b", "a\n", *RESERVED):
            self.refused("INVALID_ARGUMENT", self.api.submit, **self.job("arguments", "argument", arguments={name: "1"}))
        id = self.api.submit(**self.job("arguments", "arguments", arguments=VALUES))
        self.assertEqual(self.ends(id, "COMPLETED")["arguments"], VALUES)
        lines = [entry["message"] for entry in self.api.logs(id)]
        for name, value in VALUES.items():
            self.assertIn(f"[--{name}={value}]", lines)

    @shows(22)
    def test_get_at_once(self):
        for number in range(20):
            id = self.open.submit(**{**self.job("train", f"at-once-{number}"), "organization": self.QUIET})
            self.assertTrue(id)
            self.assertEqual(self.open.get(id)["id"], id)

    @shows(23)
    def test_two_equal_submits(self):
        request = {**self.job("train", "twice"), "organization": self.QUIET}
        first, second = self.open.submit(**request), self.open.submit(**request)
        self.assertNotEqual(first, second)
        self.assertLessEqual({first, second}, {job["id"] for job in self.open.list(self.QUIET, 0)})

    # ---- get and list

    @shows(24)
    def test_get(self):
        self.assertEqual(self.api.get(self.finished)["id"], self.finished)
        for id in self.UNKNOWN:
            self.refused("NOT_FOUND", self.api.get, id=id)

    @shows(25)
    def test_what_was_asked_for(self):
        request = self.job("train", "echo", arguments={"num_epochs": "5"}, container="shell:1")
        job = self.api.get(self.api.submit(**request))
        self.assertEqual({name: job[name] for name in driver.submit_body(request)}, driver.submit_body(request))
        self.assertTrue(job["isCustomJob"])
        request = self.managed_job()
        job = self.api.get(self.api.submit_managed(**request))
        self.assertEqual({name: job[name] for name in driver.submit_body(request)}, driver.submit_body(request))
        self.assertFalse(job.get("isCustomJob", False))

    @shows(26)
    def test_moments(self):
        def there(id, *names):
            job = self.open.get(id)
            self.assertEqual({name for name in ("createdOn", "lastModified", "trainingStarted", "trainingEnded", "errorStatus")
                              if name in job}, set(names), job)
        stack.wait_until(lambda: "trainingStarted" in self.open.get(self.sleeping), "it trains")
        there(self.waiting, "createdOn", "lastModified")
        there(self.sleeping, "createdOn", "lastModified", "trainingStarted")
        there(self.finished, "createdOn", "lastModified", "trainingStarted", "trainingEnded")
        there(self.failed, "createdOn", "lastModified", "trainingStarted", "trainingEnded", "errorStatus")

    @shows(27)
    def test_list(self):
        jobs = self.api.list(stack.ORGANIZATION, 0)
        self.assertEqual({job["organizationId"] for job in jobs}, {stack.ORGANIZATION})
        moments = [timestamp(job["createdOn"]) for job in jobs]
        self.assertEqual(moments, sorted(moments, reverse=True))
        for number, name in enumerate(("PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "CANCELING"), 1):
            some = self.api.list(stack.ORGANIZATION, number)
            self.assertLessEqual({job["status"] for job in some}, {f"TRAINING_STATUS_{name}"})
        self.assertIn(self.failed, [job["id"] for job in self.api.list(stack.ORGANIZATION, stack.FAILED)])
        self.assertIn(self.finished, [job["id"] for job in jobs])
        self.assertEqual(self.open.list("nobody-here", 0), [])
        try:
            self.assertEqual(self.api.list(stack.ORGANIZATION, 77), [])
        except driver.Refused as error:
            self.assertEqual(error.code, "INVALID_ARGUMENT")
            self.note(error)

    # ---- cancel and delete

    @shows(29, 30)
    def test_cancel(self):
        id = self.submit("stays", "canceled")
        stack.wait_until(lambda: any(entry["message"] == "started" for entry in self.api.logs(id)), "it is up")
        self.assertIsNone(self.api.cancel(id))
        self.assertEqual(self.api.get(id)["status"], "TRAINING_STATUS_CANCELING")
        self.assertIsNone(self.api.cancel(id))  # once more
        self.gate.touch()
        self.ends(id, "CANCELED")
        for unknown in self.UNKNOWN:
            self.refused("NOT_FOUND", self.api.cancel, id=unknown)
        for ended in (id, self.finished, self.failed):
            self.refused("FAILED_PRECONDITION", self.api.cancel, id=ended)

    @shows(31)
    def test_a_job_that_ends_while_it_is_canceled(self):
        ids = [self.submit("stubborn", f"stubborn-{number}") for number in range(3)]
        for id in ids:
            self.reaches(id, "IN_PROGRESS")
            stack.wait_until(lambda: any(entry["message"] == "started" for entry in self.api.logs(id)), "it is up")
            self.api.cancel(id)
            ended = self.ends(id, "COMPLETED", "CANCELED")
            for status in (stack.COMPLETED, stack.CANCELED, stack.FAILED):
                is_there = id in [job["id"] for job in self.api.list(stack.ORGANIZATION, status)]
                self.assertEqual(is_there, ended["status"] == self.STATUSES[status], ended)
            self.assertEqual(self.api.get(id), ended)

    @shows(32)
    def test_delete(self):
        canceled = self.submit("sleeper", "to-delete")
        self.api.cancel(canceled)
        self.ends(canceled, "CANCELED")
        finished, failed = self.submit("train", "to-delete-2"), self.submit("fails", "to-delete-3")
        self.ends(finished, "COMPLETED")
        self.ends(failed, "FAILED")
        for id in (self.waiting, self.sleeping):
            self.refused("FAILED_PRECONDITION", self.open.delete, id=id)
        for id in (canceled, finished, failed):
            self.assertIsNone(self.api.delete(id))
            self.refused("NOT_FOUND", self.api.get, id=id)
        for id in (*self.UNKNOWN, finished):
            self.refused("NOT_FOUND", self.api.delete, id=id)
