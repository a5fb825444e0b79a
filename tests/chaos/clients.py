"""The clients of a run: they submit, cancel, delete and look, over gRPC and Kafka, and note what they were told and when.

A command is tried again until it is acknowledged; each of these is allowed to happen any number of times.
"""
import collections
import queue
import random
import threading
import time
import uuid

import checker
import stack

IN_FLIGHT = 48     # jobs that have not been seen to end
ALWAYS_OPEN = 10   # at least, as long as there are more to submit: no fault strikes an empty yard
RPC_SECONDS = 8
AGAIN_SECONDS = 0.5
# What is done with a job, and how often of 100.
PLANS = (("plain", 47), ("twice", 8), ("fails", 4), ("fragile", 5), ("delete", 12), ("race", 8), ("cancel", 10), ("cancel-first", 6))
FOREVER = "3600"
FRAGILE_ATTEMPTS = (1, 2)  # so many of its own


def shortfall(accepted, wanted):
    """What is to be said of a run with fewer jobs than were asked for; None: nothing."""
    return f"only {accepted} of {wanted} jobs were accepted" if accepted < wanted else None


class Clients:
    def __init__(self, yard, count, seed, job_seconds):
        """job_seconds: a job that ends by itself takes that long at most."""
        from confluent_kafka import Producer
        self.yard, self.count, self.random, self.job_seconds = yard, count, random.Random(seed), job_seconds
        self.lock = threading.Lock()
        self.jobs, self.replies, self.models = [], [], {}
        self.open = {}      # id -> Job, not seen to end yet
        self.plans = {}     # id -> plan
        self.due = queue.PriorityQueue()  # (when, tie, what)
        self.ties = 0
        self.over, self.faults_are_over = threading.Event(), threading.Event()
        self.submitted = 0  # acknowledged
        self.by_kafka = 0   # jobs that the intake may be the first to hear of
        self.allowed = IN_FLIGHT  # submits so far, but for those that keep ALWAYS_OPEN; the run moves it
        self.wanted = collections.deque()  # plans that a fault asks for
        self.ends = {}      # id -> when it was first seen to have ended, by the wall clock
        self.producer = Producer({"bootstrap.servers": yard.broker.address, "enable.idempotence": True,
                                  "message.timeout.ms": 120000, "linger.ms": 1})
        self.failures = []
        self.threads = [threading.Thread(target=self.guard, args=(work,), daemon=True) for work in
                        (self.submit_all, self.look_all, self.do_due, self.do_due, self.do_due, self.do_due)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        self.producer.flush(10)

    def guard(self, work):
        try:
            work()
        except Exception as error:
            self.failures.append(f"{work.__name__}: {error!r}")
            raise

    def later(self, seconds, what):
        with self.lock:
            self.ties += 1
            self.due.put((time.monotonic() + seconds, self.ties, what))

    def do_due(self):
        while not self.over.is_set():
            try:
                entry = self.due.get(timeout=0.1)
            except queue.Empty:
                continue
            wait = entry[0] - time.monotonic()
            if wait > 0:
                self.due.put(entry)
                self.over.wait(min(wait, 0.05))
                continue
            entry[2]()

    # ---- the two roads; True: acknowledged

    def publish(self, topic, job_id, value):
        done, answer = threading.Event(), []

        def on_delivery(error, _message):
            answer.append(error)
            done.set()
        self.producer.produce(stack.PREFIX + topic, key=job_id, value=value, on_delivery=on_delivery)
        deadline = time.monotonic() + 125
        while not done.is_set() and time.monotonic() < deadline:
            self.producer.poll(0.05)
        return bool(answer) and answer[0] is None

    def call(self, method, request, fine=()):
        """The reply; a code of `fine` is one, too; None: it is not known whether it was done."""
        import grpc
        try:
            return method(request, timeout=RPC_SECONDS)
        except grpc.RpcError as error:
            return error.code() if error.code() in fine else None

    # ---- submits

    def request(self, job, plan, seconds):
        return self.yard.custom_request("witness", job.model, {
            "witness": str(self.yard.witness), "seconds": FOREVER if plan in ("cancel", "cancel-first") else seconds,
            "exit": "3" if plan == "fails" else "0"})

    def submit_all(self):
        names, weights = zip(*PLANS)
        number = 0
        while number < self.count or not self.faults_are_over.is_set():
            while not self.may_submit():
                if self.over.wait(0.02):
                    return
            if self.over.is_set():
                return
            # The first of each kind, so that a short run has them all.
            if number < len(names):
                self.submit(names[number])
            else:
                self.submit(self.wanted.popleft() if self.wanted else self.random.choices(names, weights)[0])
            number += 1

    def may_submit(self):
        return bool(self.wanted) or len(self.open) < (IN_FLIGHT if self.submitted < self.allowed else ALWAYS_OPEN)

    def submit(self, plan):
        job = checker.Job(str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
                          ends_alone=plan not in ("cancel", "cancel-first"), may_fail=plan in ("fails", "fragile"))
        job.model = f"model-{job.id}"
        if plan == "fragile":
            job.max_attempts = self.random.choice(FRAGILE_ATTEMPTS)
        shortest = self.job_seconds / 2 if plan == "fragile" else 0.05  # long enough to be met by a fault
        request = self.request(job, plan, f"{self.random.uniform(shortest, self.job_seconds):.2f}")
        by_rpc = self.random.random() < 0.5 and plan not in ("twice", "cancel-first")
        if plan == "cancel-first":
            job.cancel_first = True
            self.cancel_by_kafka(job)
        if by_rpc:
            done = self.submit_by_rpc(job, request)
        else:
            command = self.yard.command(job.id, submit_custom=request,
                                        options=self.yard.messages.command.JobOptions(max_attempts=job.max_attempts))
            times = 2 if plan == "twice" else 1
            done = all([self.publish("submit", job.id, command) for _ in range(times)])
            self.by_kafka += 1  # when its records are in the topic, which are counted there
        if not done:
            if not self.over.is_set():
                self.failures.append(f"the submit of {job.id} ({plan}) was never acknowledged")
            return
        job.submitted = time.time()
        with self.lock:
            self.jobs.append(job)
            self.plans[job.id] = plan
            self.open[job.id] = job
            self.submitted += 1
        if plan in ("cancel", "race"):
            self.later(self.random.uniform(0, 6 if plan == "cancel" else 2), lambda: self.cancel(job))

    def submit_by_rpc(self, job, request):
        answer = None
        # The same key makes the same job, so it may be tried again.
        metadata = [("idempotency-key", job.id)]
        if job.max_attempts:
            metadata.append(("trainyard-max-attempts", str(job.max_attempts)))
        deadline = time.monotonic() + 120
        while answer is None and time.monotonic() < deadline and not self.over.is_set():
            answer = self.call(lambda message, timeout: self.yard.api.SubmitCustomTrainingJob(
                message, timeout=timeout, metadata=metadata), request)
            if answer is None:
                self.over.wait(AGAIN_SECONDS)
        if answer is None:
            return False
        job.id = answer.id
        return True

    # ---- cancel, delete

    def cancel_by_kafka(self, job):
        job.cancel_asked = job.cancel_asked or time.time()
        ml = self.yard.messages.ml
        while not self.publish("cancel", job.id, self.yard.command(job.id, cancel=ml.CancelTrainingJobRequest(id=job.id))):
            if self.over.is_set():
                return
        job.canceled = time.time()

    def cancel(self, job):
        import grpc
        if self.random.random() < 0.5:
            self.cancel_by_kafka(job)
            return
        job.cancel_asked = job.cancel_asked or time.time()
        ended = (grpc.StatusCode.FAILED_PRECONDITION,)  # nothing to cancel any more
        answer = self.call(self.yard.api.CancelTrainingJob, self.yard.messages.ml.CancelTrainingJobRequest(id=job.id), ended)
        if answer is None:
            self.later(AGAIN_SECONDS, lambda: self.cancel(job))
        elif answer not in ended:
            job.canceled, job.canceled_by_rpc = time.time(), True

    def delete(self, job):
        import grpc
        job.delete_asked = job.delete_asked or time.time()
        ml = self.yard.messages.ml
        request = ml.DeleteCompletedTrainingJobRequest(id=job.id)
        if self.random.random() < 0.3:
            done = self.publish("delete", job.id, self.yard.command(job.id, delete=request))
        else:
            gone = (grpc.StatusCode.NOT_FOUND,)  # by a call whose answer was lost
            answer = self.call(self.yard.api.DeleteCompletedTrainingJob, request, gone)
            done = answer is not None and answer not in gone
        if done:
            job.deleted = time.time()
        else:
            self.later(AGAIN_SECONDS, lambda: self.delete(job))

    # ---- looking

    def get(self, job):
        """The status, NOT_FOUND too; None: no answer."""
        import grpc
        asked = time.time()
        none = (grpc.StatusCode.NOT_FOUND,)
        answer = self.call(self.yard.api.GetTrainingJob, self.yard.messages.ml.GetTrainingJobRequest(id=job.id), none)
        if answer is None:
            return None
        status = checker.NOT_FOUND if answer in none else answer.metadata.status
        with self.lock:
            self.replies.append(checker.Reply(job.id, asked, time.time(), status))
        return status

    def look_all(self):
        looker = random.Random(1)
        while not self.over.is_set():
            with self.lock:
                jobs, old = list(self.open.values()), self.jobs[-2000:]
            if old:
                jobs += looker.sample(old, min(8, len(old)))
            for job in jobs:
                if self.over.is_set():
                    return
                if self.get(job) in checker.TERMINAL and self.open.pop(job.id, None):
                    self.ends[job.id] = time.time()
                    if self.plans[job.id] == "delete":
                        self.later(looker.uniform(0, 3), lambda job=job: self.delete(job))
            self.over.wait(0.1)

    def is_settled(self):
        return self.due.empty() and not self.open and not self.threads[0].is_alive()
