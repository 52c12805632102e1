// reconnecting-websocket, and partysocket, which it has become: they put on the
// class's face, make its events anew, and close sockets in any state.

import './page.mjs';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createTCP } from 'node:net';
import PartySocket from 'partysocket/ws';
import ReconnectingWebSocket from 'reconnecting-websocket';
import {
  bulk, clean, ending, Happenings, listen, serve, test,
} from './page.mjs';

const QUICK = {
  minReconnectionDelay: 1, maxReconnectionDelay: 20, minUptime: 1,
};

const EVENTS = ['open', 'message', 'close', 'error'];

function connect(t, Class, url, protocols, options = {}) {
  const socket = new Class(url, protocols, { ...QUICK, ...options });
  t.after(() => socket.close());
  const heard = {};
  for (const name of EVENTS) {
    heard[name] = new Happenings();
    socket.addEventListener(name, heard[name].push);
  }
  return Object.assign(socket, { heard });
}

for (const Class of [ReconnectingWebSocket, PartySocket]) {
  const name = Class === PartySocket ? 'partysocket' : 'reconnecting-websocket';

  test(`${name}: a server that goes away and comes back`, async (t) => {
    const peer = await serve(t);
    const socket = connect(t, Class, peer.url);
    await socket.heard.open.next();
    assert.ok(socket._ws instanceof WebSocket);
    assert.equal(socket.readyState, WebSocket.OPEN);
    assert.equal(socket.url, `${peer.url}/`);
    await peer.stop();
    await socket.heard.close.next();

    // What is sent in the meantime waits, in its order.
    socket.send('text');
    socket.send(new Uint8Array([0, 1, 2, 3]).subarray(1, 3));
    socket.send(new Blob(['blob']));
    socket.send(new Uint8Array([4, 5]).buffer);
    socket.send('last');
    assert.equal(socket.bufferedAmount, 4 + 2 + 4 + 2 + 4);
    for (let i = 0; i < 3; i++) { // a loss, and two refusals
      const event = await socket.heard.error.next();
      assert.ok(event instanceof Event);
      assert.equal(event.message, undefined);
    }
    assert.ok(socket.retryCount > 0);

    const heard = new Happenings();
    const again = await serve(t, { port: peer.port });
    again.server.on('connection', (socket) =>
      socket.on('message', (data, isBinary) =>
        heard.push(isBinary ? [...data] : String(data))));
    await socket.heard.open.next();
    for (const expected of [
      'text', [1, 2], [...Buffer.from('blob')], [4, 5], 'last',
    ])
      assert.deepEqual(await heard.next(), expected);
    socket.send('direct');
    assert.equal(await heard.next(), 'direct');
  });

  test(`${name}: close codes, of either side`, async (t) => {
    const peer = await serve(t);
    const socket = connect(t, Class, peer.url);
    const handled = new Happenings();
    socket.onclose = handled.push;
    (await peer.sockets.next()).close(4001, 'grün');
    assert.deepEqual(ending(await socket.heard.close.next()),
                     clean(4001, 'grün'));
    const event = await handled.next();
    assert.ok(event instanceof CloseEvent);
    assert.deepEqual(ending(event), clean(4001, 'grün'));

    const second = await peer.sockets.next();
    assert.equal((await peer.ends.next()).code, 4001);
    second.close(); // without a code
    assert.deepEqual(ending(await handled.next()), clean(1005, ''));
    await peer.ends.next();

    await peer.sockets.next();
    await socket.heard.open.next();
    while (socket.readyState !== WebSocket.OPEN)
      await socket.heard.open.next();
    socket.reconnect(4003, 'again');
    assert.deepEqual(await peer.ends.next(), { code: 4003, reason: 'again' });
    await peer.sockets.next();
    while (socket.readyState !== WebSocket.OPEN)
      await socket.heard.open.next();
    socket.close(4002, 'bye');
    assert.deepEqual(await peer.ends.next(), { code: 4002, reason: 'bye' });
    assert.deepEqual(peer.sockets.rest, []);
  });

  test(`${name}: binaryType, before and after the socket is there`,
    async (t) => {
      const peer = await serve(t);
      const socket = connect(t, Class, peer.url);
      const server = await peer.sockets.next();
      const { message, open } = socket.heard;
      await open.next();
      assert.equal(socket.binaryType, 'blob');
      server.send('text');
      assert.equal((await message.next()).data, 'text');
      server.send(bulk(3));
      const { data } = await message.next();
      assert.ok(data instanceof Blob);
      assert.deepEqual(new Uint8Array(await data.arrayBuffer()), bulk(3));

      socket.binaryType = 'arraybuffer';
      server.send(bulk(300_000));
      const event = await message.next();
      assert.ok(event instanceof MessageEvent);
      assert.equal(event.origin, peer.url);
      assert.ok(event.data instanceof ArrayBuffer);
      assert.deepEqual(new Uint8Array(event.data), bulk(300_000));

      // It is handed on to the next one.
      server.close(1012);
      (await peer.sockets.next()).send(bulk(4));
      assert.deepEqual(new Uint8Array((await message.next()).data), bulk(4));
      assert.equal(socket.binaryType, 'arraybuffer');
    });

  test(`${name}: URLs and protocols that are asked for each time`,
    async (t) => {
      const peer = await serve(t, {
        handleProtocols: (protocols) => [...protocols].at(-1),
      });
      let n = 0;
      const url = async () => `${peer.url}/${n++}`;
      const socket = connect(t, Class, url, ['one', 'two']);
      const first = await peer.sockets.next();
      await socket.heard.open.next();
      assert.equal(first.request.url, '/0');
      assert.equal(first.request.headers['sec-websocket-protocol'], 'one, two');
      assert.equal(socket.protocol, 'two');
      first.close(1001);
      assert.equal((await peer.sockets.next()).request.url, '/1');
    });

  test(`${name}: a connection that takes too long is given up`, async (t) => {
    const connections = new Happenings();
    const port = await listen(t, createTCP(connections.push)); // silent
    const socket = connect(t, Class, `ws://127.0.0.1:${port}`, [], {
      connectionTimeout: 1,
    });
    for (let i = 0; i < 2; i++) {
      const connection = await connections.next();
      connection.on('error', () => {});
      connection.resume();
      if (!connection.closed) await once(connection, 'close');
      assert.equal((await socket.heard.error.next()).message, 'TIMEOUT');
    }
  });
}

test('reconnecting-websocket: gives up after so many', async (t) => {
  const peer = await serve(t);
  await peer.stop();
  const socket = connect(t, ReconnectingWebSocket, peer.url, [], {
    maxRetries: 2,
  });
  for (let i = 0; i < 3; i++) await socket.heard.error.next();
  assert.equal(socket.readyState, WebSocket.CLOSED);
  assert.equal(socket.retryCount, 2);
});

test('reconnecting-websocket: exceptions are the class\'s', async (t) => {
  const peer = await serve(t);
  const socket = connect(t, ReconnectingWebSocket, peer.url);
  await socket.heard.open.next();
  for (const [args, name] of [
    [[1001], 'InvalidAccessError'],
    [[5000], 'InvalidAccessError'],
    [[1000, 'x'.repeat(124)], 'SyntaxError'],
  ])
    assert.throws(() => socket.close(...args), (error) => {
      assert.ok(error instanceof DOMException);
      assert.equal(error.name, name);
      return true;
    });
  socket.close(1000, 'x'.repeat(123));
  assert.equal((await peer.ends.next()).reason.length, 123);
  assert.equal((await socket.heard.close.next()).code, 1000);
});
