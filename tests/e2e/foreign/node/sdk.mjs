// The TypeScript SDK behind the line protocol of foreign/driver.py, in Node and in a browser: one call of ours is one call of
// the SDK. What the SDK has not, it does not get here either.

const CODES = ['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS',
  'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL',
  'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'];

const number = (prefix, name, values) => {
  const found = values[name] ?? values[`${prefix}_${name}`];
  if (found === undefined) throw new Error(`no ${prefix} ${name} in the SDK`);
  return found;
};

/** `sdk` is the module @viamrobotics/sdk. Returns the function that answers one request. */
export function driver(sdk) {
  const { ModelType } = sdk.mlTrainingApi;
  let client;
  const calls = {
    open: async ({ url, key_id: authEntity, key, token }) => {
      const credentials = token === undefined ? { type: 'api-key', authEntity, payload: key }
        : { type: 'access-token', payload: token };
      client = await sdk.createViamClient({ serviceHost: url, credentials });
      return null;
    },
    organizations: async () => (await client.appClient.listOrganizations()).map(({ id, name }) => ({ id, name })),
    submit: (job) => client.mlTrainingClient.submitCustomTrainingJob(job.organization, job.dataset, job.script,
      job.script_version, job.model, job.model_version),
    submit_managed: (job) => client.mlTrainingClient.submitTrainingJob(job.organization, job.dataset, job.model,
      job.model_version, number('MODEL_TYPE', job.model_type, ModelType), job.tags),
    get: async ({ id }) => (await client.mlTrainingClient.getTrainingJob(id))?.toJson() ?? null,
    list: async ({ organization, status }) => (await client.mlTrainingClient.listTrainingJobs(organization, status))
      .map((job) => job.toJson()),
    cancel: ({ id }) => client.mlTrainingClient.cancelTrainingJob(id),
    delete: ({ id }) => client.mlTrainingClient.deleteCompletedTrainingJob(id),
  };
  return async ({ call, ...words }) => {
    if (!calls[call]) return { unsupported: `the SDK has no ${call}` };
    try {
      return { ok: await calls[call](words) };
    } catch (error) {
      if (error.code in CODES) return { error: { code: CODES[error.code], message: error.rawMessage } };
      return { error: { code: 'CLIENT', message: String(error.stack ?? error) } };
    }
  };
}
