// Sockets of the package's server are instances of the same class, and behave
// as the interface's text says from OPEN on. Both ends are under test here.

import {
  CloseEvent,
  MessageEvent,
  WebSocket,
  WebSocketServer,
  assert,
  ending,
  happens,
  record,
  test,
  throwsDOM,
  turn,
} from './helpers.mjs';

const skip = WebSocketServer === undefined;

// Both ends of a connection through the server.
async function ends(t, protocols = [], options = {}) {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    ...options,
  });
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const url = `ws://127.0.0.1:${server.address().port}/chat`;
  const client = new WebSocket(url, protocols);
  const clientEvents = record(client);
  const opened = happens(client, 'open');
  const [socket, request] = await new Promise((resolve) => {
    server.once('connection', (...args) => resolve(args));
  });
  const events = record(socket);
  await opened;
  return { server, client, clientEvents, socket, request, events, url };
}

test('accepted: an instance of the class, in OPEN', { skip }, async (t) => {
  const { socket, url } = await ends(t);
  assert.equal(Object.getPrototypeOf(socket), WebSocket.prototype);
  assert.equal(socket.readyState, WebSocket.OPEN);
  assert.equal(socket.url, url);
  assert.equal(socket.bufferedAmount, 0);
  assert.equal(socket.protocol, '');
  assert.equal(socket.extensions, '');
  assert.equal(socket.binaryType, 'blob');
  for (const type of ['open', 'message', 'error', 'close'])
    assert.equal(socket[`on${type}`], null);
  assert.deepEqual(Object.getOwnPropertyNames(socket), []);
});

test('accepted: the subprotocol, at both ends', { skip }, async (t) => {
  const { socket, client } = await ends(t, ['a', 'b'], {
    handleProtocols: (protocols) => [...protocols].at(-1),
  });
  assert.equal(socket.protocol, 'b');
  assert.equal(client.protocol, 'b');
});

for (const [name, options, pattern] of [
  ['not by default', {}, /^$/],
  ['when both want it', { perMessageDeflate: true }, /^permessage-deflate/],
])
  test(`accepted: compression: ${name}`, { skip }, async (t) => {
    const { socket, client } = await ends(t, [], options);
    assert.match(client.extensions, pattern);
    assert.equal(socket.extensions, client.extensions);
    const text = 'hello €'.repeat(10_000);
    const there = happens(socket, 'message');
    client.send(text);
    assert.equal((await there).data, text);
    const back = happens(client, 'message');
    socket.send(text);
    assert.equal((await back).data, text);
  });

test('accepted: message events', { skip }, async (t) => {
  const { socket, client, url } = await ends(t);
  const next = (data) => {
    const message = happens(socket, 'message');
    client.send(data);
    return message;
  };
  const event = await next('é\ud800');
  assert.equal(Object.getPrototypeOf(event), MessageEvent.prototype);
  assert.equal(event.data, 'é\ufffd');
  assert.equal(event.origin, new URL(url).origin);
  const { data: blob } = await next(Uint8Array.of(1, 2, 3));
  assert.ok(blob instanceof Blob);
  assert.deepEqual([...new Uint8Array(await blob.arrayBuffer())], [1, 2, 3]);
  socket.binaryType = 'arraybuffer';
  const { data: buffer } = await next(new Blob(['xyz']));
  assert.ok(buffer instanceof ArrayBuffer);
  assert.equal(Buffer.from(buffer).toString(), 'xyz');
});

test('accepted: send() of every type, in order', { skip }, async (t) => {
  const { socket, client, clientEvents } = await ends(t);
  client.binaryType = 'arraybuffer';
  const gone = happens(client, 'close');
  socket.send('text');
  socket.send(new Blob(['blob']));
  socket.send(Uint8Array.of(1));
  socket.send(new DataView(Uint8Array.of(1, 2, 3).buffer, 1));
  socket.send(null);
  assert.equal(socket.bufferedAmount, 4 + 4 + 1 + 2 + 4);
  socket.close(3000, 'done');
  assert.equal(socket.readyState, WebSocket.CLOSING);
  socket.send('late');
  assert.deepEqual(ending(await gone), {
    code: 3000,
    reason: 'done',
    wasClean: true,
  });
  assert.deepEqual(
    clientEvents
      .data()
      .map((data) => (typeof data === 'string' ? data : Buffer.from(data))),
    [
      'text',
      Buffer.from('blob'),
      Buffer.of(1),
      Buffer.of(2, 3),
      'null',
    ],
  );
});

test('accepted: close() has the same checks', { skip }, async (t) => {
  const { socket } = await ends(t);
  throwsDOM(() => socket.close(1001), 'InvalidAccessError');
  throwsDOM(() => socket.close(1011), 'InvalidAccessError');
  throwsDOM(() => socket.close(1000, 'x'.repeat(124)), 'SyntaxError');
  assert.throws(() => socket.send(Symbol('x')), TypeError);
  assert.equal(socket.readyState, WebSocket.OPEN);
});

test('accepted: the close event, at both ends', { skip }, async (t) => {
  const { socket, client, events, clientEvents } = await ends(t);
  const both = [happens(socket, 'close'), happens(client, 'close')];
  client.close(3001, 'bye é');
  const [there, here] = await Promise.all(both);
  const reason = 'bye é';
  assert.deepEqual(ending(there), { code: 3001, reason, wasClean: true });
  // What the server answers need not have the reason.
  assert.deepEqual([here.code, here.wasClean], [3001, true]);
  assert.equal(Object.getPrototypeOf(there), CloseEvent.prototype);
  assert.deepEqual(events.types(), ['close']);
  assert.deepEqual(clientEvents.types(), ['open', 'close']);
  assert.equal(socket.readyState, WebSocket.CLOSED);
  socket.send('abc');
  assert.equal(socket.bufferedAmount, 3);
  socket.close();
  await turn();
  assert.deepEqual(events.types(), ['close']);
});

test('accepted: close() without a code: 1005', { skip }, async (t) => {
  const { socket, client } = await ends(t);
  const both = [happens(socket, 'close'), happens(client, 'close')];
  socket.close();
  for (const event of await Promise.all(both))
    assert.deepEqual(ending(event), { code: 1005, reason: '', wasClean: true });
});

test('accepted: the connection is lost', { skip }, async (t) => {
  const { socket, client, events } = await ends(t);
  const gone = happens(socket, 'close');
  client.terminate();
  await gone;
  assert.deepEqual(events.types(), ['error', 'close']);
  assert.equal(events.at(-1).event.code, 1006);
});

test('accepted: a message right behind open', { skip }, async (t) => {
  // The client sends in onopen, before it has heard of the server's listeners.
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const seen = new Promise((resolve) => {
    server.on('connection', (socket) => {
      socket.onmessage = ({ data }) => resolve(data);
    });
  });
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}/`);
  client.onopen = () => client.send('first');
  assert.equal(await seen, 'first');
});

test('accepted: an echo of many messages', { skip }, async (t) => {
  const { socket, client, clientEvents } = await ends(t);
  socket.binaryType = 'arraybuffer';
  client.binaryType = 'arraybuffer';
  socket.onmessage = ({ data }) => socket.send(data);
  const gone = happens(client, 'close');
  for (let i = 0; i < 300; i++)
    client.send(i % 2 ? `${i}` : new Uint8Array(i * 1000).fill(i));
  client.send('end');
  client.addEventListener('message', ({ data }) => {
    if (data === 'end') client.close(1000);
  });
  assert.equal((await gone).wasClean, true);
  const data = clientEvents.data();
  assert.equal(data.length, 301);
  for (let i = 0; i < 300; i++)
    if (i % 2) assert.equal(data[i], `${i}`);
    else assert.equal(data[i].byteLength, i * 1000);
});
