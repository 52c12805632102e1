// rpc-websockets in its build for browsers, and its server: JSON-RPC 2.0 with
// notifications, over the event handlers and listeners of one socket.

import './page.mjs';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Server } from 'rpc-websockets';
import { Happenings, test } from './page.mjs';

globalThis.window = globalThis;
// It has a name only for bundlers.
const { Client } =
  await import('./node_modules/rpc-websockets/dist/index.browser.mjs');

async function serveRPC(t, port = 0) {
  const server = new Server({ host: '127.0.0.1', port });
  const stop = () => {
    for (const socket of server.wss.clients) socket.terminate();
    return new Promise((resolve) => server.wss.close(resolve));
  };
  t.after(stop);
  await once(server.wss, 'listening');
  server.register('sum', ([a, b]) => a + b);
  server.register('fail', () => { throw new Error('nicht möglich'); });
  server.event('news');
  const sockets = new Happenings();
  server.on('connection', sockets.push);
  const { port: own } = server.wss.address();
  return { server, sockets, stop, port: own, url: `ws://127.0.0.1:${own}` };
}

function client(t, url, options = {}) {
  const created = new Client(url, { reconnect_interval: 1, ...options });
  t.after(() => {
    created.setAutoReconnect(false);
    created.close();
  });
  const heard = {};
  for (const name of ['open', 'close', 'error', 'news', 'later']) {
    heard[name] = new Happenings();
    created.on(name, (...args) => heard[name].push(args));
  }
  return Object.assign(created, { heard });
}

test('calls, errors, notifications and events', async (t) => {
  const peer = await serveRPC(t);
  const rpc = client(t, peer.url);
  await rpc.heard.open.next();
  assert.ok(rpc.socket.socket instanceof WebSocket);
  assert.equal(rpc.socket.socket.protocol, '');
  assert.equal(await rpc.call('sum', [1, 2]), 3);
  const sums = await Promise.all(
    Array.from({ length: 200 }, (_, n) => rpc.call('sum', [n, n])));
  assert.deepEqual(sums, Array.from({ length: 200 }, (_, n) => 2 * n));
  await assert.rejects(rpc.call('fail', []), ({ code, message, data }) => {
    assert.equal(code, -32000);
    assert.match(`${message} ${data}`, /nicht möglich/);
    return true;
  });
  await rpc.subscribe('news');
  peer.server.emit('news', 'heute', 1);
  assert.deepEqual(await rpc.heard.news.next(), ['heute', 1]);
});

test('connects again after a loss, not after an end', async (t) => {
  const peer = await serveRPC(t);
  const rpc = client(t, peer.url);
  await rpc.heard.open.next();
  (await peer.sockets.next()).terminate();
  await rpc.heard.open.next();
  assert.equal(await rpc.call('sum', [2, 2]), 4);
  const [code] = await rpc.heard.close.next();
  assert.equal(code, 1006);
  rpc.close(1000, 'das war\'s');
  const [theirs, reason] = await once(await peer.sockets.next(), 'close');
  assert.deepEqual([theirs, String(reason)], [1000, 'das war\'s']);
  assert.deepEqual(await rpc.heard.close.next(), [1000, 'das war\'s']);
  assert.equal(rpc.socket, undefined);
});

test('a server that is not there: errors, until it gives up', async (t) => {
  const peer = await serveRPC(t);
  await peer.stop();
  const rpc = client(t, peer.url, { max_reconnects: 3 });
  const reached = new Promise((resolve) =>
    rpc.on('max_reconnects_reached', resolve));
  for (let i = 0; i < 3; i++) {
    // Once from the socket's handler, once from its listener.
    const [event] = await rpc.heard.error.next();
    assert.ok(event instanceof Event);
    assert.equal(event.type, 'error');
  }
  assert.equal(await reached, 1006);
});
