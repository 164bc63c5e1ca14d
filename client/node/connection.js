// The services of a Dissonance server on this machine, with the owner's token.
//
//   const server = connect(dataDir);
//   const {models} = await call(server.models, 'listModels', {});
//   for await (const event of server.inference.generate(request)) ...
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTOS = process.env.DISSONANCE_PROTO_DIR ||
    fileURLToPath(new URL('../../proto', import.meta.url));

// Where the command line looks for a server, too.
export function defaultDataDir() {
  return process.env.DISSONANCE_DATA_DIR ||
      path.join(process.env.XDG_DATA_HOME ||
                    path.join(os.homedir(), '.local', 'share'),
                'dissonance');
}

function loadApi() {
  const files = ['models', 'inference', 'jobs', 'artifacts'].map(
      (name) => `dissonance/v1/${name}.proto`);
  const definition = protoLoader.loadSync(files, {
    includeDirs: [PROTOS],
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  return grpc.loadPackageDefinition(definition).dissonance.v1;
}

// Sends the token with every call.
function bearer(token) {
  return (options, nextCall) =>
      new grpc.InterceptingCall(nextCall(options), {
        start(metadata, listener, next) {
          metadata.set('authorization', `Bearer ${token}`);
          next(metadata, listener);
        },
      });
}

export function connect(dataDir) {
  const token =
      fs.readFileSync(path.join(dataDir, 'owner.token'), 'utf8').trim();
  const api = loadApi();
  const open = (Service) => new Service(
      `unix:${path.resolve(dataDir, 'dissonance.sock')}`,
      // The socket is for its user alone, so there is nothing to encrypt.
      grpc.credentials.createInsecure(), {
        interceptors: [bearer(token)],
        // A job comes with its spec, questions and all.
        'grpc.max_receive_message_length': -1,
      });
  return {
    models: open(api.Models),
    inference: open(api.Inference),
    jobs: open(api.Jobs),
    artifacts: open(api.Artifacts),
  };
}

// Ends the connections; a program with open ones does not end.
export function disconnect(server) {
  for (const service of Object.values(server)) service.close();
}

// A call with one answer, as a promise.
export function call(service, method, request) {
  return new Promise((resolve, reject) => {
    service[method](request, (error, response) => {
      if (error) reject(error);
      else resolve(response);
    });
  });
}
