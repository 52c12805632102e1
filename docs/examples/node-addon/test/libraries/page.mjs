// What a page has and Node has not, in place before a library is loaded: import
// this first, and await nothing at the top of this module, for the others would
// not wait. And what the tests share: peers that stop with the test, and
// happenings that can be awaited in their order.

import { once } from 'node:events';
import { test as nodeTest } from 'node:test';
import * as uvws from 'uvws';
import { WebSocketServer as PeerServer } from 'ws';

export const { WebSocketServer } = uvws;

for (const name of ['WebSocket', 'CloseEvent', 'MessageEvent'])
  Object.defineProperty(globalThis, name, {
    value: uvws[name],
    writable: true,
    configurable: true,
  });

const LIMIT = 30_000;

export function test(name, ...rest) {
  const fn = rest.pop();
  nodeTest(name, { timeout: LIMIT, ...rest[0] }, fn);
}

// ---- happenings ----

export class Happenings {
  #items = [];
  #waiting = [];

  // Bound, for it is given away as a listener.
  push = (item) => {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  };

  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  // Those that nobody has awaited.
  get rest() {
    return [...this.#items];
  }
}

// What a close event says.
export function ending({ code, reason, wasClean }) {
  return { code, reason, wasClean };
}

export const clean = (code, reason) => ({ code, reason, wasClean: true });
export const LOST = { code: 1006, reason: '', wasClean: false };

// ---- peers, which are `ws` or Node's own ----

// A server of node:net or node:http, until the test ends.
export async function listen(t, server) {
  const connections = new Set();
  server.on('connection', (connection) => {
    connections.add(connection);
    connection.on('close', () => connections.delete(connection));
  });
  t.after(() => {
    for (const connection of connections) connection.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

// A server, and what happens to it: `sockets` come, and `ends` are how they go.
export async function serve(t, options = {}) {
  const server = new PeerServer({ host: '127.0.0.1', port: 0, ...options });
  const sockets = new Happenings();
  const ends = new Happenings();
  server.on('connection', (socket, request) => {
    socket.request = request;
    sockets.push(socket);
    socket.on('close', (code, reason) =>
      ends.push({ code, reason: String(reason) }));
  });
  const stop = () => {
    for (const socket of server.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  };
  t.after(stop);
  await once(server, 'listening');
  const { port } = server.address();
  return { server, sockets, ends, stop, port, url: `ws://127.0.0.1:${port}` };
}

// Bytes of which no two parts are alike.
export function bulk(size) {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 17) & 255;
  return bytes;
}
