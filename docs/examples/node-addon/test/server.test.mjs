// WebSocketServer with a port of its own. Its peers are raw ones, so that what
// is checked is what is on the wire. TLS is in server-tls.test.mjs, and what it
// has of Node's http server in server-http.test.mjs.

import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import { promisify } from 'node:util';
import {
  WebSocket,
  WebSocketServer,
  assert,
  child,
  microtasks,
  record,
  target,
  turn,
  until,
} from './helpers.mjs';
import {
  KEY,
  ask,
  codeOf,
  connect,
  left,
  listen,
  made,
  masked,
  test,
} from './raw-client.mjs';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  PING,
  PONG,
  TEXT,
  acceptOf,
  closePayload,
} from './raw-server.mjs';

const LIMIT = Number(process.env.UVWS_NODE_TEST_LIMIT ?? 30_000);
const hasIPv6 = await new Promise((resolve) => {
  const server = net.createServer();
  server.on('error', () => resolve(false));
  server.listen(0, '::1', () => server.close(() => resolve(true)));
});

// ---- constructor ----

for (const [name, options] of [
  ['none', undefined],
  ['none of them', { host: '127.0.0.1' }],
  ['port and noServer', { port: 0, noServer: true }],
  ['port and server', { port: 0, server: new EventEmitter() }],
  ['server and noServer', { server: new EventEmitter(), noServer: true }],
])
  test(`server: one of port, server and noServer: ${name}`, () => {
    assert.throws(() => new WebSocketServer(options), TypeError);
  });

test('server: what it is', async (t) => {
  const server = made(t, new WebSocketServer({ noServer: true }));
  assert.ok(server instanceof EventEmitter);
  assert.ok(server.clients instanceof Set);
  assert.equal(server.clients.size, 0);
  assert.equal(server.address(), null);
  assert.equal(server.ref(), server);
  assert.equal(server.unref(), server);
});

// ---- port: listening ----

test('port: listening comes later, then there is an address', async (t) => {
  const server = made(t, new WebSocketServer({ port: 0, host: '127.0.0.1' }));
  let heard = false;
  server.on('listening', () => {
    heard = true;
  });
  assert.equal(heard, false);
  await once(server, 'listening');
  const { port, ...rest } = server.address();
  assert.deepEqual(rest, { address: '127.0.0.1', family: 'IPv4' });
  assert.ok(port > 0);
  await connect(t, port);
});

test('port: an IPv6 address', { skip: !hasIPv6 }, async (t) => {
  const { server, port } = await listen(t, { host: '::1' });
  assert.deepEqual(server.address(), { address: '::1', family: 'IPv6', port });
  const connection = once(server, 'connection');
  const { status } = await ask(t, { host: '::1', port });
  assert.equal(status, 101);
  const [ws, request] = await connection;
  assert.equal(request.socket.remoteAddress, '::1');
  assert.equal(ws.url, 'ws://localhost/');
});

test('port: a host’s name', async (t) => {
  const { server, port } = await listen(t, { host: 'localhost' });
  const { address, family } = server.address();
  assert.equal(net.isIP(address), Number(family.at(-1)));
  const { status } = await ask(t, { host: address, port });
  assert.equal(status, 101);
});

test('port: a name that nobody has', async (t) => {
  // Two dots in a row make it one that no resolver need be asked about.
  const server = made(t, new WebSocketServer({ port: 0, host: 'a..b' }));
  assert.equal(server.address(), null);
  const [error] = await once(server, 'error');
  assert.match(error.code, /^(ENOTFOUND|EAI_AGAIN)$/);
  assert.equal(server.address(), null);
});

test('port: no host: all addresses', async (t) => {
  const { server, port } = await listen(t, { host: undefined });
  assert.match(server.address().address, /^(::|0\.0\.0\.0)$/);
  for (const host of ['127.0.0.1', ...(hasIPv6 ? ['::1'] : [])]) {
    const connection = once(server, 'connection');
    const { client, status } = await ask(t, { host, port });
    assert.equal(status, 101);
    const [, { socket }] = await connection;
    assert.equal(socket.remotePort, client.socket.localPort);
    assert.equal(socket.remoteAddress, client.socket.localAddress.includes(':')
      ? client.socket.localAddress
      : client.socket.localAddress.replace(/^/, '::ffff:'));
  }
});

test('port: EADDRINUSE is an error event', async (t) => {
  const { port } = await listen(t);
  const server = made(t, new WebSocketServer({ port, host: '127.0.0.1' }));
  server.on('listening', () => assert.fail('listening'));
  const [error] = await once(server, 'error');
  assert.ok(error instanceof Error);
  assert.equal(error.code, 'EADDRINUSE');
  assert.equal(error.syscall, 'listen');
  assert.ok(error.errno < 0);
  assert.equal(server.address(), null);
});

test('port: in use on every address', async (t) => {
  const { port } = await listen(t, { host: undefined });
  const server = made(t, new WebSocketServer({ port }));
  const [error] = await once(server, 'error');
  assert.equal(error.code, 'EADDRINUSE');
});

test('port: a port that there is not', () => {
  for (const port of [-1, 65536, 70000, NaN, 'x', 1.5])
    assert.throws(() => new WebSocketServer({ port }), RangeError, `${port}`);
});

test('port: backlog', async (t) => {
  const { port } = await listen(t, { backlog: 1 });
  const { status } = await ask(t, port);
  assert.equal(status, 101);
});

test('port: again, once it is closed', async (t) => {
  const { server, port } = await listen(t);
  await new Promise((resolve) => server.close(resolve));
  const again = await listen(t, { port });
  assert.equal(again.port, port);
  const { status } = await ask(t, port);
  assert.equal(status, 101);
});

// ---- port: requests ----

test('port: connection: the socket and the request', async (t) => {
  const { server, port } = await listen(t);
  const connection = once(server, 'connection');
  const { client, headers } = await ask(t, port, {
    target: '/chat?room=a%20b',
    host: 'Example.com:1234',
    headers: [
      ['X-Mixed-Case', 'Value'],
      ['X-Twice', 'a'],
      ['x-twice', 'b'],
      ['X-Latin', 'caf\xe9'],
      ['X-Empty', ''],
      ['Cookie', 'a=1'],
    ],
  });
  assert.equal(headers['sec-websocket-accept'], acceptOf(KEY));
  assert.equal(headers['sec-websocket-protocol'], undefined);
  assert.equal(headers['sec-websocket-extensions'], undefined);
  const [ws, request] = await connection;
  assert.equal(Object.getPrototypeOf(ws), WebSocket.prototype);
  assert.equal(ws.readyState, WebSocket.OPEN);
  assert.equal(ws.url, 'ws://Example.com:1234/chat?room=a%20b');
  assert.equal(request.method, 'GET');
  assert.equal(request.url, '/chat?room=a%20b');
  assert.equal(request.httpVersion, '1.1');
  const { headers: got } = request;
  assert.equal(got.host, 'Example.com:1234');
  assert.equal(got['x-mixed-case'], 'Value');
  assert.equal(got['X-Mixed-Case'], undefined);
  assert.equal(got['x-twice'], 'a, b');
  assert.equal(got['x-latin'], 'caf\xe9');
  assert.equal(got['x-empty'], '');
  assert.equal(got.cookie, 'a=1');
  assert.equal(got.__proto__, undefined);
  assert.equal(request.rawHeaders.length % 2, 0);
  const at = request.rawHeaders.indexOf('X-Twice');
  assert.deepEqual(request.rawHeaders.slice(at, at + 4), [
    'X-Twice',
    'a',
    'x-twice',
    'b',
  ]);
  assert.equal(request.socket.remoteAddress, '127.0.0.1');
  assert.equal(request.socket.remotePort, client.socket.localPort);
});

test('port: cookies of several lines, as Node has them', async (t) => {
  const { server, port } = await listen(t);
  const connection = once(server, 'connection');
  await ask(t, port, {
    headers: [
      ['Cookie', 'a=1'],
      ['Cookie', 'b=2'],
    ],
  });
  const [, { headers }] = await connection;
  assert.equal(headers.cookie, 'a=1; b=2');
});

for (const [name, options, expected] of [
  ['no upgrade', { upgrade: null, connection: null }, 426],
  ['another upgrade', { upgrade: 'h2c' }, 426],
  ['another version', { version: '8' }, 426],
  ['no key', { key: null }, 400],
  ['a wrong key', { key: 'short' }, 400],
  ['no host', { host: null }, 400],
  ['another method', { line: 'POST / HTTP/1.1' }, 405],
  ['another version of HTTP', { line: 'GET / HTTP/1.0' }, 505],
])
  test(`port: a request that is none: ${name}`, async (t) => {
    let asked = 0;
    const { port } = await listen(t, { verifyClient: () => ++asked });
    const { client, status, headers } = await ask(t, port, options);
    assert.equal(status, expected);
    if (name === 'another version')
      assert.equal(headers['sec-websocket-version'], '13');
    await client.ended;
    assert.equal(asked, 0);
  });

// ---- port: messages ----

test('port: message: a string, or an ArrayBuffer', async (t) => {
  const { server, port } = await listen(t);
  const seen = [];
  server.on('message', (...args) => seen.push(args));
  const connection = once(server, 'connection');
  const { client } = await ask(t, port);
  const [ws] = await connection;
  client.send(TEXT, 'text é€😀');
  client.send(TEXT, '');
  client.send(BINARY, Buffer.of(1, 2, 3));
  client.send(BINARY, '');
  client.send(TEXT, 'a', { fin: false });
  client.send(CONTINUATION, 'b');
  await until(() => seen.length === 5);
  for (const [socket, data, isBinary, ...rest] of seen) {
    assert.equal(socket, ws);
    assert.equal(isBinary, data instanceof ArrayBuffer);
    assert.equal(typeof data === 'string', !isBinary);
    assert.deepEqual(rest, []);
  }
  assert.deepEqual(
    seen.map(([, data]) =>
      typeof data === 'string' ? data : [...new Uint8Array(data)],
    ),
    ['text é€😀', '', [1, 2, 3], [], 'ab'],
  );
});

test('port: message comes of every socket, and to it, too', async (t) => {
  const { server, port } = await listen(t);
  const seen = [];
  server.on('message', (ws, data) => {
    seen.push(data);
    ws.send(`to ${data}`);
  });
  server.on('connection', (ws) => {
    ws.onmessage = ({ data }) => seen.push(`own ${data}`);
  });
  const clients = [];
  for (const name of ['a', 'b', 'c']) {
    const { client } = await ask(t, port);
    client.send(TEXT, name);
    clients.push([name, client]);
  }
  for (const [name, client] of clients) {
    const { opcode, masked: isMasked, payload } = await client.frame();
    assert.equal(opcode, TEXT);
    assert.equal(isMasked, false);
    assert.equal(payload.toString(), `to ${name}`);
  }
  await until(() => seen.length === 6);
  for (const name of ['a', 'b', 'c'])
    assert.equal(seen[seen.indexOf(name) + 1], `own ${name}`);
});

test('port: many messages in one segment', async (t) => {
  // Each in a task of its own: what one has put off runs before the next.
  const { server, port } = await listen(t);
  const seen = [];
  server.on('message', (ws, data) => {
    seen.push(data);
    Promise.resolve().then(() => seen.push(`after ${data}`));
    process.nextTick(() => seen.push(`tick ${data}`));
  });
  const frames = Array.from({ length: 1000 }, (_, i) => masked(TEXT, `${i}`));
  await ask(t, port, { tail: Buffer.concat(frames) });
  await until(() => seen.length === 3000);
  for (let i = 0; i < 1000; i++)
    assert.deepEqual(seen.slice(3 * i, 3 * i + 3), [
      `${i}`,
      `tick ${i}`,
      `after ${i}`,
    ]);
});

test('port: a ping is answered, a frame without a mask fails', async (t) => {
  const { server, port } = await listen(t);
  const connection = once(server, 'connection');
  const { client } = await ask(t, port);
  const [ws] = await connection;
  const events = record(ws);
  client.send(PING, 'hello');
  const pong = await client.frame();
  assert.equal(pong.opcode, PONG);
  assert.equal(pong.payload.toString(), 'hello');
  client.text('not masked');
  const close = await client.frame();
  assert.equal(close.opcode, CLOSE);
  assert.equal(codeOf(close), 1002);
  client.end();
  await until(() => ws.readyState === WebSocket.CLOSED);
  assert.deepEqual(events.types(), ['error', 'close']);
});

test('port: maxPayload', async (t) => {
  const { server, port } = await listen(t, { maxPayload: 10 });
  const seen = [];
  server.on('message', (ws, data) => seen.push(data));
  const { client } = await ask(t, port);
  client.send(TEXT, 'x'.repeat(10));
  client.send(TEXT, 'x'.repeat(11));
  const close = await client.frame();
  assert.equal(close.opcode, CLOSE);
  assert.equal(codeOf(close), 1009);
  assert.deepEqual(seen, ['x'.repeat(10)]);
});

for (const [name, perMessageDeflate, pattern] of [
  ['true', true, /^permessage-deflate/],
  ['options', { serverNoContextTakeover: true }, /server_no_context_takeover/],
  ['false', false, undefined],
  ['not said', undefined, undefined],
])
  test(`port: perMessageDeflate: ${name}`, async (t) => {
    const { server, port } = await listen(t, { perMessageDeflate });
    const connection = once(server, 'connection');
    const { client, headers } = await ask(t, port, {
      extensions: 'permessage-deflate; client_max_window_bits',
    });
    const extensions = headers['sec-websocket-extensions'];
    if (pattern === undefined) assert.equal(extensions, undefined);
    else assert.match(extensions, pattern);
    const [ws] = await connection;
    assert.equal(ws.extensions, extensions ?? '');
    const text = 'hello '.repeat(1000);
    ws.send(text);
    const { rsv, payload } = await client.frame();
    assert.equal(rsv, pattern === undefined ? 0 : 4);
    assert.equal(payload.length < text.length, pattern !== undefined);
  });

test('port: perMessageDeflate with a value that there is not', () => {
  const perMessageDeflate = { serverMaxWindowBits: 99 };
  assert.throws(
    () => new WebSocketServer({ port: 0, perMessageDeflate }),
    Error,
  );
});

// ---- port: which requests ----

test('port: handleProtocols', async (t) => {
  const seen = [];
  const { server, port } = await listen(t, {
    handleProtocols(protocols, request) {
      seen.push([protocols, request]);
      return protocols.has('b') ? 'b' : false;
    },
  });
  for (const [protocol, expected] of [
    ['a, b,c', 'b'],
    ['a', undefined],
    [null, undefined],
  ]) {
    const connection = once(server, 'connection');
    const { status, headers } = await ask(t, port, { protocol });
    assert.equal(status, 101);
    assert.equal(headers['sec-websocket-protocol'], expected);
    const [ws, request] = await connection;
    assert.equal(ws.protocol, expected ?? '');
    if (protocol !== null) assert.equal(seen.at(-1)[1], request);
  }
  // Not asked when nothing is offered.
  assert.equal(seen.length, 2);
  assert.ok(seen[0][0] instanceof Set);
  assert.deepEqual([...seen[0][0]], ['a', 'b', 'c']);
});

test('port: without handleProtocols it is the first', async (t) => {
  const { port } = await listen(t);
  const { headers } = await ask(t, port, { protocol: 'z, a' });
  assert.equal(headers['sec-websocket-protocol'], 'z');
});

for (const [name, handleProtocols] of [
  ['throws', () => { throw new Error('mine'); }],
  ['makes one up', () => 'x'],
])
  test(`port: handleProtocols ${name}: 500`, async (t) => {
    const { server, port } = await listen(t, { handleProtocols });
    const errors = [];
    server.on('error', (error) => errors.push(error));
    server.on('connection', () => assert.fail('connection'));
    const { client, status } = await ask(t, port, { protocol: 'a' });
    assert.equal(status, 500);
    await client.ended;
    assert.equal(errors.length, 1);
    assert.ok(errors[0] instanceof Error);
  });

for (const [name, verdict, expected] of [
  ['true', true, 101],
  ['false', false, 401],
  ['nothing', undefined, 401],
  ['403', 403, 403],
  ['503', 503, 503],
  ['no HTTP status', 0, 'refused'],
  ['one that is no refusal', 101, 'refused'],
  ['a number that is none', NaN, 'refused'],
])
  for (const [kind, wrap] of [
    ['', (value) => value],
    ['a promise of ', (value) => turn().then(() => value)],
  ])
    test(`port: verifyClient returns ${kind}${name}`, async (t) => {
      const { server, port } = await listen(t, {
        verifyClient: () => wrap(verdict),
      });
      let connections = 0;
      server.on('connection', () => connections++);
      server.on('error', () => {});
      const { client, status } = await ask(t, port);
      if (expected === 'refused')
        assert.ok(status >= 400 && status <= 599, `${status}`);
      else assert.equal(status, expected);
      if (status !== 101) await client.ended;
      assert.equal(connections, status === 101 ? 1 : 0);
    });

for (const [name, verifyClient] of [
  ['throws', () => { throw new Error('mine'); }],
  ['rejects', async () => { throw new Error('mine'); }],
])
  test(`port: verifyClient ${name}: 500 and an error event`, async (t) => {
    const { server, port } = await listen(t, { verifyClient });
    const errors = [];
    server.on('error', (error) => errors.push(error.message));
    const { client, status } = await ask(t, port);
    assert.equal(status, 500);
    await client.ended;
    assert.deepEqual(errors, ['mine']);
  });

test('port: verifyClient gets the request', async (t) => {
  let asked;
  const { server, port } = await listen(t, {
    verifyClient: (...args) => {
      asked = args;
      return true;
    },
  });
  const connection = once(server, 'connection');
  await ask(t, port, { target: '/x', headers: [['Cookie', 'id=1']] });
  assert.equal(asked.length, 1);
  assert.equal(asked[0].url, '/x');
  assert.equal(asked[0].headers.cookie, 'id=1');
  const [, request] = await connection;
  assert.equal(request, asked[0]);
});

// A request whose decision the test has in its hand.
async function undecided(t, options = {}) {
  let decide;
  let asked;
  const waiting = new Promise((resolve) => {
    asked = resolve;
  });
  const { server, port } = await listen(t, {
    verifyClient: () =>
      new Promise((resolve) => {
        decide = resolve;
        asked();
      }),
    ...options,
  });
  const client = await connect(t, port);
  client.ask(options.ask);
  await waiting;
  return { server, port, client, decide };
}

test('port: frames that come before the decision', async (t) => {
  const { server, client, decide } = await undecided(t, {
    ask: { tail: masked(TEXT, 'with it') },
  });
  const seen = [];
  server.on('message', (ws, data) => seen.push(data));
  client.send(TEXT, 'behind it');
  client.send(PING, 'x');
  decide(true);
  assert.equal((await client.response()).status, 101);
  assert.equal((await client.frame()).opcode, PONG);
  assert.deepEqual(seen, ['with it', 'behind it']);
});

test('port: a client that leaves before the decision', async (t) => {
  const { server, port, client, decide } = await undecided(t);
  server.on('connection', () => assert.fail('connection'));
  server.on('error', () => assert.fail('error'));
  client.reset();
  await client.closed;
  // Another connection's request comes behind this one's end.
  const other = await connect(t, port);
  const first = decide;
  other.ask({ line: 'POST / HTTP/1.1' });
  await other.response();
  first(true);
  await microtasks();
  await turn();
  assert.equal(server.clients.size, 0);
});

test('port: a decision when the server is closed', async (t) => {
  const { server, client, decide } = await undecided(t);
  const closed = once(server, 'close');
  server.on('connection', () => assert.fail('connection'));
  server.close();
  assert.equal((await client.response()).status, 503);
  decide(true);
  await client.ended;
  client.end();
  await closed;
  await microtasks();
});

test('port: path', async (t) => {
  const asked = [];
  const { port } = await listen(t, {
    path: '/chat',
    verifyClient({ url }) {
      asked.push(url);
      return true;
    },
  });
  for (const [target, expected] of [
    ['/chat', 101],
    ['/chat?a=b', 101],
    ['/', 404],
    ['/chat/', 404],
    ['/chatter', 404],
    ['/other?/chat', 404],
  ]) {
    const { status } = await ask(t, port, { target });
    assert.equal(status, expected, target);
  }
  // The path comes first.
  assert.deepEqual(asked, ['/chat', '/chat?a=b']);
});

for (const [name, origin, anyOrigin, expected] of [
  ['none', null, false, 101],
  ['its own', 'http://localhost:1', false, 101],
  ['another', 'http://example.com', false, 403],
  ['a subdomain', 'http://www.localhost:1', false, 403],
  ['opaque', 'null', false, 403],
  ['another, anyOrigin', 'http://example.com', true, 101],
])
  test(`port: Origin: ${name}`, async (t) => {
    let asked = 0;
    const { port } = await listen(t, {
      anyOrigin,
      verifyClient: () => {
        asked++;
        return true;
      },
    });
    const { status } = await ask(t, port, { host: 'localhost:1', origin });
    assert.equal(status, expected);
    assert.equal(asked, Number(expected === 101));
  });

test('port: headers: lines for the response', async (t) => {
  const { server, port } = await listen(t);
  let seen;
  server.on('headers', (lines, request) => {
    seen = request;
    lines.push('Set-Cookie: a=1; Path=/', 'X-Empty:', 'X-Colon: a:b');
  });
  const connection = once(server, 'connection');
  const { status, headers } = await ask(t, port);
  assert.equal(status, 101);
  assert.equal(headers['set-cookie'], 'a=1; Path=/');
  assert.equal(headers['x-empty'], '');
  assert.equal(headers['x-colon'], 'a:b');
  assert.equal((await connection)[1], seen);
});

for (const [name, listener] of [
  ['a value with a line in it', (lines) => lines.push('X: a\r\nY: b')],
  ['no line', (lines) => lines.push('nothing')],
  ['one of the handshake’s own', (lines) => lines.push('Upgrade: x')],
  ['throws', () => { throw new Error('mine'); }],
])
  test(`port: headers: ${name}: 500`, async (t) => {
    const { server, port } = await listen(t);
    const errors = [];
    server.on('headers', listener);
    server.on('error', (error) => errors.push(error));
    const { client, status } = await ask(t, port);
    assert.equal(status, 500);
    await client.ended;
    assert.equal(errors.length, 1);
  });

// ---- port: clients, close() ----

test('clients: from connection to close', async (t) => {
  const { server, port } = await listen(t);
  const connection = once(server, 'connection');
  server.once('connection', (ws) => assert.ok(server.clients.has(ws)));
  const { client } = await ask(t, port);
  const [ws] = await connection;
  assert.deepEqual([...server.clients], [ws]);
  let had;
  ws.onclose = () => {
    had = server.clients.has(ws);
  };
  client.send(CLOSE, closePayload(1000));
  await client.frame();
  client.end();
  await until(() => had !== undefined);
  assert.equal(had, false);
  assert.equal(ws.readyState, WebSocket.CLOSED);
  assert.equal(server.clients.size, 0);
});

test('close(): open sockets get 1001, then there is close', async (t) => {
  const { server, port } = await listen(t);
  const order = [];
  const clients = [];
  server.on('connection', (ws) => {
    ws.onclose = ({ code }) => order.push(code);
  });
  for (let i = 0; i < 3; i++) clients.push((await ask(t, port)).client);
  server.on('close', () => order.push('close'));
  server.close(() => order.push('callback'));
  assert.deepEqual(order, []);
  assert.equal(server.address(), null);
  for (const client of clients) {
    const got = await left(client);
    assert.equal(codeOf(got), 1001);
  }
  await until(() => order.length === 5);
  assert.deepEqual(order, [1001, 1001, 1001, 'close', 'callback']);
  assert.equal(server.clients.size, 0);
});

test('close(): what was sent before still arrives', async (t) => {
  const { server, port } = await listen(t);
  server.on('connection', (ws) => ws.send('x'.repeat(1_000_000)));
  const connection = once(server, 'connection');
  const { client } = await ask(t, port);
  await connection;
  server.close();
  const frames = await client.framesToClose();
  assert.deepEqual(
    frames.map(({ payload }) => payload.length),
    [1_000_000, 2],
  );
});

test('close(): it listens no more', async (t) => {
  const { server, port } = await listen(t);
  const closed = once(server, 'close');
  server.close();
  await closed;
  const [error] = await once(net.connect(port, '127.0.0.1'), 'error');
  assert.equal(error.code, 'ECONNREFUSED');
});

test('close(): twice, and once it is closed', async (t) => {
  const { server, port } = await listen(t);
  const { client } = await ask(t, port);
  const order = [];
  server.on('close', () => order.push('close'));
  server.close(() => order.push(1));
  server.close(() => order.push(2));
  server.close();
  await left(client);
  await until(() => order.length === 3);
  assert.deepEqual(order, ['close', 1, 2]);
  // Node's own servers call back with an error, and so does `ws`: whoever
  // waits need not know that he comes late.
  const error = await new Promise((resolve) => server.close(resolve));
  assert.ok(error === undefined || error instanceof Error);
  await turn();
  assert.deepEqual(order, ['close', 1, 2]);
});

test('close(): before it listens', async (t) => {
  for (const host of ['127.0.0.1', 'localhost', 'a..b']) {
    const server = made(t, new WebSocketServer({ port: 0, host }));
    const events = [];
    for (const type of ['listening', 'error', 'close'])
      server.on(type, () => events.push(type));
    const closed = once(server, 'close');
    server.close();
    await closed;
    assert.equal(server.address(), null);
    // The name is known by then: the lookups share their order.
    await lookup('localhost');
    await turn();
    assert.deepEqual(events, ['close'], host);
  }
});

for (const [name, prepare] of [
  ['connection', (server) => server.on('connection', () => server.close())],
  ['message', (server) => server.on('message', () => server.close())],
  ['headers', (server) => server.on('headers', () => server.close())],
])
  test(`close(): inside ${name}`, async (t) => {
    const { server, port } = await listen(t);
    const closed = once(server, 'close');
    prepare(server);
    server.on('error', () => assert.fail('error'));
    const { client, status } = await ask(t, port, {
      tail: masked(TEXT, 'x'),
    });
    if (name === 'headers') assert.ok(status >= 500, `${status}`);
    else assert.equal(codeOf(await left(client)), 1001);
    await client.ended;
    client.end();
    await closed;
  });

test('close(): inside verifyClient', async (t) => {
  const { server, port } = await listen(t, {
    verifyClient: () => {
      server.close();
      return true;
    },
  });
  const closed = once(server, 'close');
  server.on('connection', () => assert.fail('connection'));
  server.on('error', () => assert.fail('error'));
  const { client, status } = await ask(t, port);
  assert.ok(status >= 500, `${status}`);
  await client.ended;
  client.end();
  await closed;
});

test('close(): inside a socket’s close event', async (t) => {
  const { server, port } = await listen(t);
  const closed = once(server, 'close');
  server.on('connection', (ws) => {
    ws.onclose = () => server.close();
  });
  const { client } = await ask(t, port);
  client.send(CLOSE, closePayload(1000));
  await client.frame();
  client.end();
  await closed;
});

// ---- port: ref() and unref() ----

test('ref: a server keeps the process, until it is closed', async (t) => {
  const other = child(
    t,
    `
    process.on('beforeExit', () => say('beforeExit'));
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.on('listening', () => say(server.address().port));
    server.on('message', () => server.close(() => say('closed')));
    `,
  );
  const { client } = await ask(t, Number(await other.line()));
  client.send(TEXT, 'close');
  await left(client);
  assert.deepEqual((await other.ends()).slice(1), ['closed', 'beforeExit']);
});

test('ref: unref() lets it end', async (t) => {
  for (const [when, source] of [
    ['at once', 'server.unref();'],
    ['listening', `server.on('listening', () => server.unref());`],
    ['in between', 'server.unref(); server.ref(); server.unref();'],
  ]) {
    const other = child(
      t,
      `
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
      server.on('close', () => say('close'));
      ${source}
      `,
    );
    assert.deepEqual(await other.ends(), [], when);
  }
});

test('ref: its sockets keep the process all the same', async (t) => {
  const other = child(
    t,
    `
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.on('listening', () => say(server.address().port));
    server.on('connection', (ws) => {
      server.unref();
      ws.onclose = ({ code }) => say(code);
    });
    `,
  );
  const { client } = await ask(t, Number(await other.line()));
  client.send(CLOSE, closePayload(3000));
  await client.frame();
  client.end();
  assert.deepEqual((await other.ends()).slice(1), ['3000']);
});

test('ref: ref() after unref()', async (t) => {
  const other = child(
    t,
    `
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.unref().ref();
    server.on('listening', () => say(server.address().port));
    server.on('connection', () => server.close());
    `,
  );
  const { client } = await ask(t, Number(await other.line()));
  assert.equal(codeOf(await left(client)), 1001);
  await other.ends();
});

// ---- what listeners throw ----

// A process that reports what nobody has caught, and goes on.
const reporting = `
  process.on('uncaughtException', (error) => say('uncaught ' + error.message));
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('listening', () => say(server.address().port));
  const fail = (name) => { throw new Error(name); };
`;

test('exceptions: in the server’s listeners', async (t) => {
  const other = child(
    t,
    reporting +
      `
    server.on('connection', (ws) => {
      ws.addEventListener('message', ({ data }) => say('own ' + data));
      ws.addEventListener('close', ({ code }) => say('close ' + code));
      fail('connection');
    });
    server.on('message', (ws, data) => fail('message ' + data));
    server.on('close', () => fail('server'));
    `,
  );
  const { client } = await ask(t, Number(await other.line()), {
    tail: Buffer.concat([masked(TEXT, '1'), masked(TEXT, '2')]),
  });
  assert.equal(await other.line(), 'uncaught connection');
  const lines = [];
  for (let i = 0; i < 4; i++) lines.push(await other.line());
  // Whatever the order, the socket's own listeners are not left out.
  assert.deepEqual(lines.sort(), [
    'own 1',
    'own 2',
    'uncaught message 1',
    'uncaught message 2',
  ]);
  client.send(CLOSE, closePayload(3000));
  await client.frame();
  client.end();
  assert.equal(await other.line(), 'close 3000');
});

test('exceptions: in a socket’s listeners', async (t) => {
  const other = child(
    t,
    reporting +
      `
    server.on('connection', (ws) => {
      ws.onmessage = ({ data }) => fail('handler ' + data);
      ws.addEventListener('message', ({ data }) => say('second ' + data));
      ws.onclose = () => fail('close');
      ws.addEventListener('close', () => server.close(() => say('closed')));
    });
    `,
  );
  const { client } = await ask(t, Number(await other.line()), {
    tail: Buffer.concat([masked(TEXT, '1'), masked(TEXT, '2')]),
  });
  const lines = [];
  for (let i = 0; i < 4; i++) lines.push(await other.line());
  assert.deepEqual(lines.sort(), [
    'second 1',
    'second 2',
    'uncaught handler 1',
    'uncaught handler 2',
  ]);
  client.send(CLOSE, closePayload(1000));
  await client.frame();
  client.end();
  const rest = (await other.ends()).slice(5);
  assert.deepEqual(rest.sort(), ['closed', 'uncaught close']);
});

test('exceptions: in a listener of listening, or error', async (t) => {
  for (const [type, port] of [
    ['listening', 0],
    ['error', (await listen(t)).port],
  ]) {
    const other = child(
      t,
      `
      process.on('uncaughtException', (error) => say(error.message));
      const server =
        new WebSocketServer({ port: ${port}, host: '127.0.0.1' });
      server.on('${type}', () => { throw new Error('mine'); });
      setImmediate(() => server.close(() => say('closed')));
      `,
    );
    assert.deepEqual(await other.ends(), ['mine', 'closed']);
  }
});

test('exceptions: an error event that nobody listens to', async (t) => {
  const { port } = await listen(t);
  const other = child(
    t,
    `new WebSocketServer({ port: ${port}, host: '127.0.0.1' });`,
  );
  await other.ends(1);
  assert.match(other.stderr, /EADDRINUSE/);
});

// ---- the end of the process, and of a worker ----

const exits = (type) => `server.on('${type}', () => process.exit(7));`;

for (const [name, source, options = ''] of [
  ['listening', exits('listening')],
  ['connection', exits('connection')],
  ['message', exits('message')],
  ['headers', exits('headers')],
  ['close', `server.on('message', () => server.close());` + exits('close')],
  [
    'a socket’s close',
    `
    server.on('connection', (ws) => {
      ws.onmessage = () => ws.terminate();
      ws.onclose = () => process.exit(7);
    });
    `,
  ],
  ['verifyClient', '', 'verifyClient: () => process.exit(7)'],
  [
    'verifyClient, later',
    '',
    `verifyClient: () => new Promise(() => setImmediate(process.exit, 7))`,
  ],
  ['handleProtocols', '', 'handleProtocols: () => process.exit(7)'],
])
  test(`process: exit() in ${name}`, async (t) => {
    const other = child(
      t,
      `
      const server = new WebSocketServer({
        port: 0, host: '127.0.0.1', ${options}
      });
      server.on('listening', () => say(server.address().port));
      ${source}
      `,
    );
    const port = Number(await other.line());
    if (name !== 'listening') {
      // One that has not asked yet, and one that does it.
      const half = await connect(t, port);
      half.write('GET / HTTP/1.1\r\n');
      half.ended.then(() => half.end());
      const client = await connect(t, port);
      client.ask({ protocol: 'a', tail: masked(TEXT, 'x') });
      left(client).catch(() => {});
    }
    await other.ends(7);
  });

// A worker that has a server, for its parent to end.
const worker = `
  import { Worker } from 'node:worker_threads';
  const text = \`
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData).then(({ WebSocketServer }) => {
      const server = new WebSocketServer({
        port: 0,
        host: '127.0.0.1',
        verifyClient: ({ url }) => {
          parentPort.postMessage(url);
          return url === '/undecided' ? new Promise(() => {}) : true;
        },
      });
      server.on('connection', (ws) => {
        ws.send(new Uint8Array(ws.url.endsWith('/slow') ? 50_000_000 : 1));
        ws.onclose = () => parentPort.postMessage('never');
      });
      server.on('message', (ws, data) => {
        if (data === 'close') server.close();
        if (data === 'busy') for (;;);
      });
      server.on('close', () => parentPort.postMessage('never'));
      server.on('listening', () => {
        parentPort.postMessage(server.address().port);
      });
    });
  \`;
  const thread = new Worker(text, {
    eval: true,
    execArgv: [], // a script, whatever this is
    workerData: process.argv[1],
  });
  thread.on('message', say);
  thread.on('error', (error) => say('error ' + error.message));
  thread.on('exit', (code) => say('exit ' + code));
  let asked = 0;
  thread.on('message', (line) => {
    if (String(line).startsWith('/') && ++asked === 3)
      setImmediate(() => thread.terminate());
  });
`;

for (const name of ['', 'close', 'busy'])
  test(`worker: terminate() of a server${name && `, ${name}`}`, async (t) => {
    const other = child(t, worker, target);
    const line = await other.line();
    const port = Number(line);
    assert.ok(port > 0, line);
    const clients = [];
    for (const path of ['/undecided', '/slow', '/']) {
      const client = await connect(t, port);
      if (path === '/slow') client.pause();
      client.ask({
        target: path,
        tail: path === '/' && name ? masked(TEXT, name) : '',
      });
      clients.push(client);
    }
    const lines = await other.ends();
    assert.deepEqual(
      lines.slice(1).sort(),
      ['/', '/slow', '/undecided', 'exit 1'],
    );
    clients[1].resume();
    for (const client of clients) await client.ended;
  });

// ---- memory ----

// Both ends are in one process, a thousand at a time.
const rounds = `
  import { WebSocket, WebSocketServer } from ${JSON.stringify(target)};
  const turn = () => new Promise(setImmediate);
  const rss = () => Math.round(process.memoryUsage.rss() / 1024);
  let collected = 0;
  const registry = new FinalizationRegistry(() => collected++);
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('message', (ws, data) => ws.send(data));
  server.on('connection', (ws) => registry.register(ws));
  await new Promise((resolve) => server.on('listening', resolve));
  const url = 'ws://127.0.0.1:' + server.address().port + '/';
  const use = () => new Promise((resolve, reject) => {
    const ws = new WebSocket(url);
    registry.register(ws);
    ws.onopen = () => ws.send('x'.repeat(100));
    ws.onerror = reject;
    ws.onmessage = () => {
      ws.onopen = ws.onerror = ws.onmessage = null;
      resolve(ws);
    };
  });
  const round = async () => {
    const all = await Promise.all(Array.from({ length: 1000 }, use));
    return all.length > 0 && rss();
  };
  for (let i = 1; i <= 10; i++) {
    const open = await round();
    // Nobody closes them; it is for want of a reference that they go.
    while (server.clients.size > 0 || collected < 2000 * i) {
      gc();
      await turn();
    }
    console.log(open + ' ' + rss());
  }
  server.close();
`;

test('memory: 10,000 sockets opened, used and dropped', {
  timeout: 8 * LIMIT,
}, async (t) => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', rounds],
    { timeout: 7 * LIMIT },
  );
  const lines = stdout.trim().split('\n').map((line) => line.split(' '));
  assert.equal(lines.length, 10);
  const [open, dropped] = [0, 1].map((i) => lines.map((line) => +line[i]));
  t.diagnostic(`RSS with 1,000 sockets open, in KiB: ${open.join(' ')}`);
  t.diagnostic(`RSS once they are dropped, in KiB: ${dropped.join(' ')}`);
  // The heap finds its size in the first rounds; the address sanitizer keeps
  // what is freed.
  if (/asan/.test(process.env.LD_PRELOAD ?? '')) return;
  const first = Math.max(...dropped.slice(0, 4));
  const growth = Math.min(...dropped.slice(-3)) - first;
  assert.ok(growth < 8 * 1024, `${growth} KiB`);
});
