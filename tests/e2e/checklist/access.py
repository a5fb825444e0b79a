"""Lines 10 to 15, 28: who asks."""
import base64
import json
import time

import stack
from checklist.lines import shows
from foreign import driver

AUTHENTICATE = "/proto.rpc.v1.AuthService/Authenticate"
LIST = "/viam.app.mltraining.v1.MLTrainingService/ListTrainingJobs"
OTHER = "0b6a8a53-4f1f-4a7a-9c55-6f0b6b7a2e22"
INVALID, NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED = 3, 5, 7, 12, 16
HOUR_S = 3600


class Access:
    def authenticate(self, server, entity, kind="api-key", payload="x", headers=()):
        from proto.rpc.v1 import auth_pb2
        request = auth_pb2.AuthenticateRequest(entity=entity)
        if kind is not None:
            request.credentials.type, request.credentials.payload = kind, payload
        answer = self.raw(server).call(AUTHENTICATE, request.SerializeToString(), headers)
        if answer.status():
            return answer.status(), None
        return 0, auth_pb2.AuthenticateResponse.FromString(answer.body[5:]).access_token

    @shows(10)
    def test_log_in(self):
        status, token = self.authenticate(self.yard.server, self.key["key_id"], payload=self.key["key"])
        self.assertEqual(status, 0)
        self.assertTrue(token)
        for entity in ("no uuid", "schön", "a" * 200, "x@y.example"):
            status, token = self.authenticate(self.open_server, entity)
            self.assertEqual((status, bool(token)), (0, True), entity)
            self.assertEqual(self.authenticate(self.yard.server, entity)[0], UNAUTHENTICATED)

    @shows(11)
    def test_log_in_that_fails(self):
        key_id, key = self.key["key_id"], self.key["key"]
        self.assertIn(self.authenticate(self.yard.server, key_id, payload="wrong")[0], (UNAUTHENTICATED, PERMISSION_DENIED))
        self.assertEqual(self.authenticate(self.yard.server, key_id, "no-such-type", key)[0], INVALID)
        self.assertEqual(self.authenticate(self.yard.server, key_id, None)[0], INVALID)
        self.assertEqual(self.authenticate(self.open_server, key_id, None)[0], INVALID)
        again = self.authenticate(self.yard.server, key_id, payload=key, headers=[("authorization", f"Bearer {self.token}")])
        self.assertIn(again[0], (0, INVALID))

    def list_with(self, server, *authorizations):
        request = self.messages.ListTrainingJobsRequest(organization_id=stack.ORGANIZATION)
        return self.raw(server).call(LIST, request.SerializeToString(), [("authorization", value) for value in authorizations]).status()

    @shows(12)
    def test_one_bearer(self):
        good = f"Bearer {self.token}"
        self.assertEqual(self.list_with(self.yard.server, good), 0)
        for wrong in ((), (f"bearer {self.token}",), (self.token,), (f"Basic {self.token}",), ("Bearer",), ("Bearer ",), (good, good)):
            self.assertEqual(self.list_with(self.yard.server, *wrong), UNAUTHENTICATED, wrong)
        for anything in ((), ("bearer x",), ("Basic eA==",), (good,), ("Bearer x", "Bearer y")):
            self.assertEqual(self.list_with(self.open_server, *anything), 0, anything)

    @shows(13)
    def test_tokens_last(self):
        """Clients do not look into a token; this check does."""
        _, claims, _ = self.token.split(".")
        expires = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        self.assertGreater(expires - time.time(), 24 * HOUR_S)

    @shows(14)
    def test_tokens_of_others(self):
        head, claims, signature = self.token.split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        for token in ("x", "a.b.c", "." * 1000, "x" * 6000, f"{head}.{claims}.", f"{none}.{claims}.", f"{none}.{claims}.{signature}",
                      f"{head}.{claims[:-2]}.{signature}", f"{head}.{claims}.{signature[::-1]}", "ey\tJ"):
            with self.subTest(token[:40]):
                self.assertEqual(self.list_with(self.yard.server, f"Bearer {token}"), UNAUTHENTICATED)
                self.assertEqual(self.list_with(self.open_server, f"Bearer {token}"), 0)

    @shows(15)
    def test_organizations(self):
        self.assertEqual(self.api.organizations(), [{"id": stack.ORGANIZATION, "name": stack.ORGANIZATION}])
        self.assertEqual(self.other.organizations(), [{"id": OTHER, "name": OTHER}])

    @shows(28)
    def test_jobs_of_others(self):
        for id in (self.finished, self.sleeping):
            for call in (self.other.get, self.other.cancel, self.other.delete, self.other.logs):
                self.refused("NOT_FOUND", call, id=id)
        self.assertNotEqual(self.api.get(self.sleeping)["status"], "TRAINING_STATUS_CANCELING")
        for call in (lambda: self.other.list(stack.ORGANIZATION, 0), lambda: self.other.submit(**self.job("train", "theirs"))):
            with self.assertRaises(driver.Refused) as caught:
                call()
            self.note(caught.exception)
            self.assertIn(caught.exception.code, ("NOT_FOUND", "PERMISSION_DENIED"))
