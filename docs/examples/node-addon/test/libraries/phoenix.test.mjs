// The client of the Phoenix framework: subprotocols that carry a token, binary
// frames of its own, and endings that wait for bufferedAmount and readyState.

import './page.mjs';
import assert from 'node:assert/strict';
import { Socket } from 'phoenix';
import {
  bulk, clean, ending, Happenings, serve, test,
} from './page.mjs';

const [PUSH, REPLY] = [0, 1];

function reply(socket, [joinRef, ref, topic], status, response) {
  if (typeof response === 'string') {
    const payload = { status, response: { text: response } };
    socket.send(JSON.stringify([joinRef, ref, topic, 'phx_reply', payload]));
    return;
  }
  const names = [joinRef, ref, topic, status].map((name) => Buffer.from(name));
  socket.send(Buffer.concat([
    Buffer.from([REPLY, ...names.map(({ length }) => length)]),
    ...names, response,
  ]));
}

function parse(data, isBinary) {
  if (!isBinary) return JSON.parse(data);
  assert.equal(data[0], PUSH);
  let at = 5;
  const names = [...data.subarray(1, 5)].map((length) =>
    String(data.subarray(at, at += length)));
  return [...names, data.subarray(at)];
}

// What a Phoenix server does with a socket, as far as it is needed here.
async function servePhoenix(t) {
  const peer = await serve(t);
  const beats = new Happenings();
  peer.server.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => {
      const message = parse(data, isBinary);
      const [, , topic, event, payload] = message;
      if (topic === 'phoenix') beats.push(event);
      if (event === 'shout' || event === 'bytes')
        reply(socket, message, 'ok', payload.text ?? payload);
      else
        reply(socket, message, topic === 'room:closed' ? 'error' : 'ok', event);
    });
  });
  return Object.assign(peer, { beats });
}

function connect(t, url, options = {}) {
  const socket = new Socket(`${url}/socket`, {
    reconnectAfterMs: () => 1, rejoinAfterMs: () => 1, ...options,
  });
  t.after(() => new Promise((resolve) => socket.disconnect(resolve)));
  const heard = { open: new Happenings(), close: new Happenings(),
                  error: new Happenings() };
  socket.onOpen(heard.open.push);
  socket.onClose(heard.close.push);
  socket.onError(heard.error.push);
  socket.connect();
  return Object.assign(socket, { heard });
}

const received = (push) => new Promise((resolve, reject) => {
  push.receive('ok', resolve);
  push.receive('error', (response) => reject(new Error(response.text)));
  push.receive('timeout', () => reject(new Error('timeout')));
});

test('channels: joins, pushes and replies', async (t) => {
  const peer = await servePhoenix(t);
  const socket = connect(t, peer.url, { params: { user: 'zoë' } });
  const channel = socket.channel('room:1');
  const joined = received(channel.join()); // before there is a connection
  assert.equal((await joined).text, 'phx_join');
  assert.ok(socket.conn instanceof WebSocket);
  assert.equal((await peer.sockets.next()).request.url,
               '/socket/websocket?user=zo%C3%AB&vsn=2.0.0');
  const { text } = await received(channel.push('shout', { text: 'Größe' }));
  assert.equal(text, 'Größe');
  await assert.rejects(received(socket.channel('room:closed').join()),
                       /phx_join/);
});

test('binary pushes and replies', async (t) => {
  const peer = await servePhoenix(t);
  const socket = connect(t, peer.url);
  const channel = socket.channel('room:ü');
  await received(channel.join());
  for (const size of [0, 1, 200_000]) {
    const { buffer } = bulk(size);
    const response = await received(channel.push('bytes', buffer));
    assert.ok(response instanceof ArrayBuffer);
    assert.deepEqual(new Uint8Array(response), bulk(size));
  }
});

test('a token among the subprotocols', async (t) => {
  const peer = await servePhoenix(t);
  const socket = connect(t, peer.url, { authToken: 'a?b>c' });
  await socket.heard.open.next();
  assert.equal(socket.conn.protocol, 'phoenix');
  const { request } = await peer.sockets.next();
  assert.equal(request.headers['sec-websocket-protocol'],
               'phoenix, base64url.bearer.phx.YT9iPmM');
});

test('heartbeats', async (t) => {
  const peer = await servePhoenix(t);
  connect(t, peer.url, { heartbeatIntervalMs: 20 });
  for (let i = 0; i < 3; i++)
    assert.equal(await peer.beats.next(), 'heartbeat');
});

test('joins again after a loss', async (t) => {
  const peer = await servePhoenix(t);
  const socket = connect(t, peer.url);
  const channel = socket.channel('room:1');
  const joined = new Happenings();
  channel.join().receive('ok', joined.push);
  await joined.next();
  (await peer.sockets.next()).terminate();
  assert.equal((await socket.heard.close.next()).code, 1006);
  await joined.next();
  (await peer.sockets.next()).close(1012, 'restart');
  const event = await socket.heard.close.next();
  assert.ok(event instanceof CloseEvent);
  assert.deepEqual(ending(event), clean(1012, 'restart'));
  await joined.next();
});

test('disconnects once all is sent, with a code of its own', async (t) => {
  const peer = await servePhoenix(t);
  const socket = connect(t, peer.url);
  const channel = socket.channel('room:1');
  await received(channel.join());
  const { conn } = socket;
  channel.push('bytes', bulk(3_000_000).buffer);
  assert.ok(conn.bufferedAmount > 0);
  const done = new Promise((resolve) =>
    socket.disconnect(resolve, 4000, 'genug'));
  assert.deepEqual(await peer.ends.next(), { code: 4000, reason: 'genug' });
  await done;
  assert.equal(conn.readyState, WebSocket.CLOSED);
  assert.equal(conn.bufferedAmount, 0);
});
