// node main.mjs MODULES grpc|grpc-web: the SDK in Node, over the transport it takes by default (gRPC-Web) or the one that its
// documentation names for Node (native gRPC). Requests come as lines of JSON on stdin, each is answered with one on stdout.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { driver } from './sdk.mjs';

const [modules, transport] = process.argv.slice(2);
// The SDK's CommonJS file exports nothing in a package of type "module": it has to be imported.
const load = (path) => import(pathToFileURL(`${modules}/${path}`));
if (transport === 'grpc') {
  const { createGrpcTransport } = createRequire(`${modules}/`)('@connectrpc/connect-node');
  globalThis.VIAM = { GRPC_TRANSPORT_FACTORY: (options) => createGrpcTransport({ httpVersion: '2', ...options }) };
}
const answer = driver(await load('@viamrobotics/sdk/dist/main.es.js'));
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
process.exit(0); // connections of the transport would keep Node up
