// socket.io's client in the build that pages load, and its server: heartbeats,
// binary attachments, and middlewares that refuse.

import './page.mjs';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import * as node from 'socket.io-client';
import page from 'socket.io-client/dist/socket.io.js';
import { bulk, Happenings, listen, test } from './page.mjs';

async function serveIO(t, options = {}) {
  const http = createServer();
  const server = new Server(http, { serveClient: false, ...options });
  t.after(() => server.close());
  const sockets = new Happenings();
  server.on('connection', sockets.push);
  const port = await listen(t, http);
  return { server, sockets, url: `http://127.0.0.1:${port}` };
}

function connect(t, url, options = {}, { io } = page) {
  const socket = io(url, {
    transports: ['websocket'],
    forceNew: true,
    reconnectionDelay: 1,
    randomizationFactor: 0,
    ...options,
  });
  t.after(() => socket.disconnect());
  const heard = {};
  for (const name of ['connect', 'disconnect', 'connect_error', 'data']) {
    heard[name] = new Happenings();
    socket.on(name, heard[name].push);
  }
  return Object.assign(socket, { heard });
}

const ws = (socket) => socket.io.engine.transport.ws;

test('events and acknowledgements, of either side', async (t) => {
  const peer = await serveIO(t);
  const socket = connect(t, peer.url, { auth: { token: 'ü' } });
  await socket.heard.connect.next();
  assert.ok(ws(socket) instanceof WebSocket);
  assert.equal(ws(socket).binaryType, 'arraybuffer');
  const server = await peer.sockets.next();
  assert.deepEqual(server.handshake.auth, { token: 'ü' });
  server.on('sum', (numbers, answer) =>
    answer(numbers.reduce((a, b) => a + b)));
  assert.equal(await socket.emitWithAck('sum', [1, 2, 3]), 6);
  socket.on('who', (answer) => answer('a client, ¿y tú?'));
  assert.equal(await server.emitWithAck('who'), 'a client, ¿y tú?');
});

test('binary attachments, large and many', async (t) => {
  const peer = await serveIO(t);
  const socket = connect(t, peer.url);
  const server = await peer.sockets.next();
  const received = new Happenings();
  server.on('data', received.push);
  const bytes = bulk(500_000);
  socket.emit('data', { bytes, deep: [bytes.buffer, bytes.subarray(5, 9)] });
  const { bytes: all, deep } = await received.next();
  assert.ok(all.equals(bytes));
  assert.ok(deep[0].equals(bytes));
  assert.deepEqual([...deep[1]], [...bytes.subarray(5, 9)]);
  for (let i = 0; i < 100; i++) server.emit('data', i, bytes.subarray(0, i));
  const answers = new Happenings();
  socket.on('data', (i, buffer) => answers.push([i, buffer]));
  server.emit('data', 100, bytes);
  for (;;) {
    const [i, buffer] = await answers.next();
    assert.ok(buffer instanceof ArrayBuffer);
    assert.equal(buffer.byteLength, i === 100 ? bytes.length : i);
    if (i === 100) break;
  }
});

test('compressed, when the server wants it', async (t) => {
  const peer = await serveIO(t, { perMessageDeflate: { threshold: 0 } });
  const socket = connect(t, peer.url);
  const server = await peer.sockets.next();
  await socket.heard.connect.next();
  assert.match(ws(socket).extensions, /^permessage-deflate/);
  const text = 'all the same, '.repeat(10_000);
  server.on('echo', (value, answer) => answer(value));
  assert.equal(await socket.emitWithAck('echo', text), text);
});

test('heartbeats', async (t) => {
  const peer = await serveIO(t, { pingInterval: 1 });
  const socket = connect(t, peer.url);
  const pings = new Happenings();
  socket.io.on('ping', pings.push);
  for (let i = 0; i < 5; i++) await pings.next();
  assert.ok(socket.connected);
});

test('connects again, and what waited is sent', async (t) => {
  const peer = await serveIO(t);
  const socket = connect(t, peer.url);
  await socket.heard.connect.next();
  let server = await peer.sockets.next();
  // A transport that is closed, and one that is lost.
  for (const end of [
    () => server.conn.close(),
    () => server.conn.transport.socket.terminate(),
  ]) {
    end();
    const reason = await socket.heard.disconnect.next();
    assert.match(reason, /^transport (close|error)$/);
    const asked = socket.emitWithAck('ask');
    server = await peer.sockets.next();
    server.on('ask', (answer) => answer('answered'));
    assert.equal(await asked, 'answered');
  }
});

test('refused by a middleware, and by another path', async (t) => {
  const peer = await serveIO(t);
  peer.server.of('/closed').use((_, next) => next(new Error('not you')));
  const refused = connect(t, `${peer.url}/closed`);
  assert.equal((await refused.heard.connect_error.next()).message, 'not you');
  const lost = connect(t, peer.url, { path: '/other/', reconnection: false });
  const error = await lost.heard.connect_error.next();
  assert.equal(error.message, 'websocket error');
  assert.equal(error.type, 'TransportError');
  assert.ok(error.description instanceof Event);
});

// It asks the class for a binaryType of `ws`, and would have to take blobs, so
// there are no attachments here.
test('the build for Node: from polling to the global class', async (t) => {
  const peer = await serveIO(t);
  const socket = connect(t, peer.url, {
    transports: [node.NodeXHR, node.WebSocket],
  }, node);
  await socket.heard.connect.next();
  if (socket.io.engine.transport.name !== 'websocket') {
    const upgraded = new Happenings();
    socket.io.engine.on('upgrade', upgraded.push);
    await upgraded.next();
  }
  assert.ok(ws(socket) instanceof WebSocket);
  const server = await peer.sockets.next();
  server.on('echo', (value, answer) => answer(value));
  assert.equal(await socket.emitWithAck('echo', 'über'), 'über');
});
