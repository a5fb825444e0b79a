"""Viam's Python SDK behind the line protocol of driver.py; run by the interpreter of `venv viam`."""
import asyncio
import json
import sys

from google.protobuf.json_format import MessageToDict
from grpclib.client import Channel
from grpclib.exceptions import GRPCError
from viam.app.ml_training_client import MLTrainingClient
from viam.app.viam_client import ViamClient
from viam.proto.app.mltraining import ModelType
from viam.rpc.dial import Credentials, DialOptions


class Calls:
    async def open(self, server, key_id=None, key=None, secure=False, **_):
        if key is None:  # no log-in: the client on a channel of one's own
            host, _, port = server.rpartition(":")
            self.training = MLTrainingClient(Channel(host, int(port)), {})
            return
        options = DialOptions(credentials=Credentials("api-key", key), auth_entity=key_id, insecure=not secure)
        client = await ViamClient.create_from_dial_options(options, app_url=server)
        self.training, self.app = client.ml_training_client, client.app_client

    async def organizations(self):
        return [{"id": one.id, "name": one.name} for one in await self.app.list_organizations()]

    async def submit(self, organization, dataset, script, script_version, model, model_version):
        return await self.training.submit_custom_training_job(
            org_id=organization, dataset_id=dataset, registry_item_id=script, registry_item_version=script_version,
            model_name=model, model_version=model_version)

    async def submit_managed(self, organization, dataset, model, model_version, model_type, tags):
        return await self.training.submit_training_job(
            org_id=organization, dataset_id=dataset, model_name=model, model_version=model_version,
            model_type=ModelType.Value("MODEL_TYPE_" + model_type), tags=tags)

    async def get(self, id):
        return MessageToDict(await self.training.get_training_job(id))

    async def list(self, organization, status):
        return [MessageToDict(job) for job in await self.training.list_training_jobs(organization, status or None)]

    async def cancel(self, id):
        await self.training.cancel_training_job(id)

    async def delete(self, id):
        await self.training.delete_completed_training_job(id)


async def answer(calls, request):
    call = getattr(calls, request.pop("call"), None)
    if call is None:
        return {"unsupported": "the SDK has no such call"}
    try:
        return {"ok": await call(**request)}
    except GRPCError as error:
        return {"error": {"code": error.status.name, "message": error.message}}
    except Exception as error:
        return {"error": {"code": "CLIENT", "message": f"{type(error).__name__}: {error}"}}


async def main():
    calls, loop = Calls(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await answer(calls, json.loads(line))), flush=True)


asyncio.run(main())
