// Cap'n Web: object-capability RPC whose both ends take the standard's class,
// so the server's end is one here, too.

import './page.mjs';
import assert from 'node:assert/strict';
import { newWebSocketRpcSession, RpcTarget } from 'capnweb';
import { Happenings, serve, test, WebSocketServer } from './page.mjs';

class Counter extends RpcTarget {
  #value = 0;
  add(n) { return this.#value += n; }
}

class Api extends RpcTarget {
  greet(name) { return `Grüezi, ${name}`; }
  counter() { return new Counter(); }
  async each(n, callback) {
    const results = [];
    for (let i = 0; i < n; i++) results.push(await callback(i));
    return results;
  }
  length(bytes) { return bytes.length; }
  fail() { throw new RangeError('außerhalb'); }
}

// Each way to have a server: what serves, and what to do at the end.
async function serveApi(t, own) {
  const sockets = new Happenings();
  const begin = (socket) => {
    newWebSocketRpcSession(socket, new Api());
    sockets.push(socket);
  };
  if (!own) {
    const peer = await serve(t);
    peer.server.on('connection', begin);
    return { url: peer.url, sockets };
  }
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  t.after(() => new Promise((resolve) => server.close(resolve)));
  server.on('connection', begin);
  await new Promise((resolve) => server.once('listening', resolve));
  return { url: `ws://127.0.0.1:${server.address().port}`, sockets };
}

for (const own of [false, true]) {
  const skip = own && !WebSocketServer;
  const server = own ? 'the same class' : 'ws';

  test(`calls, pipelines and callbacks; the server: ${server}`, { skip },
    async (t) => {
      const { url } = await serveApi(t, own);
      const api = newWebSocketRpcSession(url);
      t.after(() => api[Symbol.dispose]());
      assert.equal(await api.greet('Uri'), 'Grüezi, Uri');
      const counter = api.counter(); // not awaited
      assert.deepEqual(await Promise.all([counter.add(1), counter.add(2)]),
                       [1, 3]);
      assert.deepEqual(await api.each(20, (i) => i * i),
                       Array.from({ length: 20 }, (_, i) => i * i));
      assert.equal(await api.length(new Uint8Array(100_000)), 100_000);
      await assert.rejects(async () => api.fail(), (error) => {
        assert.ok(error instanceof RangeError);
        assert.equal(error.message, 'außerhalb');
        return true;
      });
    });

  test(`an end breaks what waits; the server: ${server}`, { skip },
    async (t) => {
      const { url, sockets } = await serveApi(t, own);
      const socket = new WebSocket(url);
      const api = newWebSocketRpcSession(socket);
      const broken = new Happenings();
      api.onRpcBroken(broken.push);
      assert.equal(await api.greet(''), 'Grüezi, ');
      const waiting = api.each(1, () => new Promise(() => {}));
      const expected = /Peer closed WebSocket: 4000 fertig/;
      const rejected = assert.rejects(async () => waiting, expected);
      (await sockets.next()).close(4000, 'fertig');
      await rejected;
      assert.match((await broken.next()).message, expected);
    });
}
