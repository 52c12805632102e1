// WebSocketServer on Node's http server, and by handleUpgrade(). Its peers are
// raw ones; the pages come by Node's own client.

import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import tls from 'node:tls';
import {
  WebSocket,
  WebSocketServer,
  assert,
  child,
  collect,
  happens,
  microtasks,
  turn,
  until,
} from './helpers.mjs';
import {
  KEY,
  RawClient,
  ask,
  codeOf,
  connect,
  left,
  listenHttp,
  made,
  masked,
  page,
  temporary,
  test,
  trusted,
} from './raw-client.mjs';
import {
  BINARY,
  CLOSE,
  PING,
  PONG,
  TEXT,
  acceptOf,
} from './raw-server.mjs';

const linux = process.platform === 'linux';

// ---- server ----

test('server: beside Node’s pages', async (t) => {
  const { web, port } = await listenHttp(t);
  const server = made(t, new WebSocketServer({ server: web }));
  server.on('message', (ws, data) => ws.send(data));
  assert.deepEqual(server.address(), web.address());
  assert.equal(await page(port, '/a'), 'page /a');
  const connection = once(server, 'connection');
  const { client, status, headers } = await ask(t, port, { target: '/b?c' });
  assert.equal(status, 101);
  assert.equal(headers['sec-websocket-accept'], acceptOf(KEY));
  const [ws, request] = await connection;
  assert.equal(request.constructor.name, 'IncomingMessage');
  assert.equal(request.url, '/b?c');
  assert.equal(ws.url, 'ws://localhost/b?c');
  assert.equal(ws.readyState, WebSocket.OPEN);
  client.send(TEXT, 'hello');
  assert.equal((await client.frame()).payload.toString(), 'hello');
  assert.equal(await page(port, '/d'), 'page /d');
  assert.deepEqual([...server.clients], [ws]);
});

test('server: its listening and error events', async (t) => {
  const taken = await listenHttp(t);
  const web = http.createServer();
  const server = made(t, new WebSocketServer({ server: web }));
  assert.equal(server.address(), null);
  const failed = once(server, 'error');
  web.listen(taken.port, '127.0.0.1');
  assert.equal((await failed)[0].code, 'EADDRINUSE');
  const listening = once(server, 'listening');
  web.listen(0, '127.0.0.1');
  await listening;
  assert.deepEqual(server.address(), web.address());
  await new Promise((resolve) => web.close(resolve));
});

for (const [name, options, expected] of [
  ['verifyClient: false', { verifyClient: () => false }, 401],
  ['verifyClient: 403', { verifyClient: async () => 403 }, 403],
  ['verifyClient: true', { verifyClient: () => true }, 101],
  ['verifyClient: 0', { verifyClient: () => 0 }, 'refused'],
  ['verifyClient throws', { verifyClient: () => { throw 1; } }, 500],
  ['path', { path: '/other' }, 404],
  ['handleProtocols throws', { handleProtocols: () => { throw 1; } }, 500],
])
  test(`server: ${name}`, async (t) => {
    const { web, port } = await listenHttp(t);
    const server = made(t, new WebSocketServer({ server: web, ...options }));
    server.on('error', () => {});
    const { client, status } = await ask(t, port, { protocol: 'a' });
    if (expected === 'refused') assert.ok(status >= 400, `${status}`);
    else assert.equal(status, expected);
    if (status === 101) return;
    await client.ended;
    assert.equal(server.clients.size, 0);
  });

test('server: Origin, version and key are checked, too', async (t) => {
  const { web, port } = await listenHttp(t);
  const server = made(t, new WebSocketServer({ server: web }));
  server.on('connection', () => assert.fail('connection'));
  for (const [options, expected] of [
    [{ origin: 'http://example.com' }, 403],
    [{ version: '8' }, 426],
    [{ key: 'short' }, 400],
    [{ upgrade: 'other' }, 'refused'],
    [{ line: 'GET / HTTP/1.0' }, 'refused'],
  ]) {
    const { client, status } = await ask(t, port, options);
    if (expected === 'refused')
      assert.ok(status >= 400, `${JSON.stringify(options)}: ${status}`);
    else assert.equal(status, expected);
    await client.ended;
  }
});

test('server: options for the sockets', async (t) => {
  const { web, port } = await listenHttp(t);
  const server = made(
    t,
    new WebSocketServer({
      server: web,
      anyOrigin: true,
      maxPayload: 10,
      perMessageDeflate: true,
      handleProtocols: () => 'b',
    }),
  );
  server.on('headers', (lines) => lines.push('X-Mine: yes'));
  const { client, status, headers } = await ask(t, port, {
    origin: 'http://example.com',
    protocol: 'a, b',
    extensions: 'permessage-deflate',
  });
  assert.equal(status, 101);
  assert.equal(headers['x-mine'], 'yes');
  assert.equal(headers['sec-websocket-protocol'], 'b');
  assert.match(headers['sec-websocket-extensions'], /^permessage-deflate/);
  client.send(TEXT, 'x'.repeat(11));
  assert.equal(codeOf(await client.frame()), 1009);
});

// On an http server, with the decision in the test's hand.
async function undecidedHttp(t, tail = '') {
  const { web, port } = await listenHttp(t);
  let decide;
  let asked;
  const waiting = new Promise((resolve) => {
    asked = resolve;
  });
  const server = made(
    t,
    new WebSocketServer({
      server: web,
      verifyClient: () =>
        new Promise((resolve) => {
          decide = resolve;
          asked();
        }),
    }),
  );
  const client = await connect(t, port);
  client.ask({ tail });
  await waiting;
  return { web, server, client, decide };
}

for (const size of [10, 1_000_000])
  test(`server: ${size} bytes before the decision`, async (t) => {
    // More than Node reads ahead, too.
    const parts = [randomBytes(10), randomBytes(size), randomBytes(10)];
    const { server, client, decide } = await undecidedHttp(
      t,
      masked(BINARY, parts[0]),
    );
    const seen = [];
    server.on('message', (ws, data) => seen.push(Buffer.from(data)));
    client.send(BINARY, parts[1]);
    client.send(BINARY, parts[2]);
    // As far as the kernel takes it.
    await turn();
    await turn();
    decide(true);
    client.send(PING, 'last');
    assert.equal((await client.response()).status, 101);
    assert.equal((await client.frame()).opcode, PONG);
    assert.deepEqual(seen, parts);
  });

test('server: a client leaves before the decision', async (t) => {
  // Nobody but us hears of its reset.
  const { server, web, client, decide } = await undecidedHttp(t);
  server.on('connection', () => assert.fail('connection'));
  client.reset();
  await client.closed;
  const count = () =>
    new Promise((resolve) => {
      web.getConnections((error, n) => resolve(n));
    });
  while ((await count()) > 0) await turn();
  decide(true);
  await microtasks();
  await turn();
  assert.equal(server.clients.size, 0);
});

test('server: a client ends before the decision', async (t) => {
  const { server, client, decide } = await undecidedHttp(t);
  client.send(TEXT, 'the last');
  client.end();
  const seen = [];
  server.on('message', (ws, data) => seen.push(data));
  decide(true);
  await client.ended;
  assert.ok(seen.length <= 1);
  await until(() => server.clients.size === 0);
});

test('server: a refusal of a client that has left', async (t) => {
  const { server, client, decide } = await undecidedHttp(t);
  client.reset();
  decide(false);
  await client.closed;
  await turn();
  await turn();
  assert.equal(server.clients.size, 0);
});

test('server: who is refused does not keep the connection', async (t) => {
  const { web, port } = await listenHttp(t);
  made(t, new WebSocketServer({ server: web, path: '/other' }));
  const count = () =>
    new Promise((resolve) => {
      web.getConnections((error, n) => resolve(n));
    });
  // Which does not end its own direction.
  const { client, status } = await ask(t, port);
  assert.equal(status, 404);
  await client.ended;
  while ((await count()) > 0) await turn();
});

test('server: a decision when it is closed', async (t) => {
  const { server, client, decide } = await undecidedHttp(t);
  const closed = once(server, 'close');
  server.on('connection', () => assert.fail('connection'));
  server.close();
  decide(true);
  await client.ended;
  client.end();
  await closed;
});

test('server: close() leaves Node’s as it is', async (t) => {
  const { web, port } = await listenHttp(t);
  const types = ['listening', 'error', 'upgrade'];
  const count = () => types.map((type) => web.listenerCount(type));
  const before = count();
  const server = made(t, new WebSocketServer({ server: web }));
  const { client } = await ask(t, port);
  await until(() => server.clients.size === 1);
  const closed = new Promise((resolve) => server.close(resolve));
  assert.equal(codeOf(await left(client)), 1001);
  await closed;
  assert.equal(web.listening, true);
  assert.equal(await page(port), 'page /');
  assert.deepEqual(count(), before);
});

test('server: one inside TLS is refused', async (t) => {
  const { cert, key, ca } = trusted();
  const web = https.createServer({ cert, key });
  web.listen(0, '127.0.0.1');
  t.after(() => web.close());
  await once(web, 'listening');
  let server;
  try {
    server = made(t, new WebSocketServer({ server: web }));
  } catch (error) {
    // As good, and earlier.
    assert.ok(error instanceof TypeError);
    return;
  }
  const failed = once(server, 'error');
  const ws = new WebSocket(`wss://localhost:${web.address().port}/`, [], {
    ca,
  });
  const gone = happens(ws, 'close');
  const [error] = await failed;
  assert.ok(error instanceof TypeError);
  assert.equal((await gone).code, 1006);
});

// ---- noServer ----

// `upgrade` gets what Node's event has.
async function upgrades(t, upgrade, options = {}) {
  const { web, port } = await listenHttp(t, options.where);
  const server = made(t, new WebSocketServer({ noServer: true, ...options }));
  web.on('upgrade', (request, socket, head) => {
    upgrade(server, request, socket, head);
  });
  return { web, port, server };
}

test('handleUpgrade: calls back instead of connection', async (t) => {
  let upgraded;
  const { port, server } = await upgrades(t, (wss, request, socket, head) => {
    const result = wss.handleUpgrade(request, socket, head, (...args) => {
      upgraded = { args, request };
    });
    assert.equal(result, undefined);
    assert.equal(upgraded, undefined);
  });
  server.on('connection', () => assert.fail('connection'));
  const { status } = await ask(t, port);
  assert.equal(status, 101);
  await until(() => upgraded !== undefined);
  const [ws, request, ...rest] = upgraded.args;
  assert.equal(Object.getPrototypeOf(ws), WebSocket.prototype);
  assert.equal(ws.readyState, WebSocket.OPEN);
  assert.equal(request, upgraded.request);
  assert.deepEqual(rest, []);
  assert.deepEqual([...server.clients], [ws]);
});

test('handleUpgrade: connection, when there is no callback', async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) =>
    wss.handleUpgrade(...args),
  );
  const connection = once(server, 'connection');
  await ask(t, port, { target: '/x' });
  const [ws, request] = await connection;
  assert.equal(ws.url, 'ws://localhost/x');
  assert.equal(request.url, '/x');
});

test('handleUpgrade: what comes with the request', async (t) => {
  const heads = [];
  const { port, server } = await upgrades(t, (wss, request, socket, head) => {
    heads.push(head.length);
    wss.handleUpgrade(request, socket, head);
  });
  const seen = [];
  server.on('message', (ws, data) => {
    seen.push(data);
    ws.send(data);
  });
  const frames = Array.from({ length: 100 }, (_, i) => masked(TEXT, `${i}`));
  const { client } = await ask(t, port, { tail: Buffer.concat(frames) });
  for (let i = 0; i < 100; i++)
    assert.equal((await client.frame()).payload.toString(), `${i}`);
  assert.equal(seen.length, 100);
  assert.ok(heads[0] > 0);
});

test('handleUpgrade: a frame that is cut by the head’s end', async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) =>
    wss.handleUpgrade(...args),
  );
  const seen = [];
  server.on('message', (ws, data) => seen.push(data));
  const bytes = masked(TEXT, 'cut in two');
  const { client } = await ask(t, port, { tail: bytes.subarray(0, 7) });
  client.write(bytes.subarray(7));
  await until(() => seen.length === 1);
  assert.deepEqual(seen, ['cut in two']);
});

test('handleUpgrade: later, after Node has read on', async (t) => {
  const waiting = [];
  const { port, server } = await upgrades(t, (wss, ...args) => {
    waiting.push(args);
  });
  const seen = [];
  server.on('message', (ws, data) => seen.push(data));
  const client = await connect(t, port);
  client.ask({ tail: masked(TEXT, 'a') });
  await until(() => waiting.length === 1);
  const [request, socket, head] = waiting[0];
  client.send(TEXT, 'b');
  await until(() => socket.readableLength > 0);
  server.handleUpgrade(request, socket, head);
  client.send(TEXT, 'c');
  assert.equal((await client.response()).status, 101);
  await until(() => seen.length === 3);
  assert.deepEqual(seen, ['a', 'b', 'c']);
});

test('handleUpgrade: nothing of Node’s socket stays', async (t) => {
  const heard = [];
  let gone = false;
  const types = ['data', 'readable', 'end', 'error', 'drain', 'timeout'];
  const { web, port, server } = await upgrades(t, (wss, ...args) => {
    const [, socket] = args;
    for (const type of types) socket.on(type, () => heard.push(type));
    socket.pause();
    socket.on('close', () => {
      gone = true;
    });
    wss.handleUpgrade(...args);
    assert.equal(socket.destroyed, true);
  });
  server.on('message', (ws, data) => ws.send(data));
  const data = randomBytes(1024 * 1024);
  const { client } = await ask(t, port, {
    tail: masked(BINARY, data.subarray(0, 1000)),
  });
  for (let at = 1000; at < data.length; at += 50_000)
    client.send(BINARY, data.subarray(at, at + 50_000));
  const back = createHash('sha256');
  for (let size = 0; size < data.length; ) {
    const { payload } = await client.frame();
    back.update(payload);
    size += payload.length;
  }
  const sent = createHash('sha256').update(data);
  assert.equal(back.digest('hex'), sent.digest('hex'));
  assert.deepEqual(heard, []);
  assert.equal(gone, true);
  // It is none of the http server's any more, which can end without it.
  await new Promise((resolve) => web.close(resolve));
  client.send(TEXT, 'still here');
  assert.equal((await client.frame()).payload.toString(), 'still here');
});

test('handleUpgrade: 1 MiB each way at once', async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) =>
    wss.handleUpgrade(...args),
  );
  const there = randomBytes(1024 * 1024);
  const back = randomBytes(1024 * 1024);
  server.on('connection', (ws) => ws.send(back));
  const message = once(server, 'message');
  const { client } = await ask(t, port, { tail: masked(BINARY, there) });
  assert.deepEqual(Buffer.from((await message)[1]), there);
  assert.deepEqual((await client.frame()).payload, back);
});

const descriptors = () =>
  new Map(
    readdirSync('/proc/self/fdinfo').flatMap((fd) => {
      try {
        const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
        return [[fd, parseInt(/flags:\s*(\d+)/.exec(text)[1], 8)]];
      } catch {
        return []; // the directory's own
      }
    }),
  );

test('handleUpgrade: descriptors', { skip: !linux }, async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) =>
    wss.handleUpgrade(...args),
  );
  const before = descriptors();
  const clients = [];
  for (let i = 0; i < 5; i++) clients.push((await ask(t, port)).client);
  await until(() => server.clients.size === 5);
  // No child process shall keep a connection: O_CLOEXEC.
  for (const [fd, flags] of descriptors())
    if (!before.has(fd)) assert.ok(flags & 0o2000000, `descriptor ${fd}`);
  for (const ws of server.clients) ws.close(1000);
  for (const client of clients) {
    await left(client);
    client.end();
    await client.closed;
  }
  await until(() => server.clients.size === 0);
  await until(() => descriptors().size <= before.size);
});

test('handleUpgrade: a unix socket', { skip: !linux }, async (t) => {
  const where = join(temporary(), 'socket');
  const { server } = await upgrades(
    t,
    (wss, ...args) => wss.handleUpgrade(...args),
    { where },
  );
  server.on('message', (ws, data) => ws.send(data));
  const { client, status } = await ask(t, { path: where });
  assert.equal(status, 101);
  client.send(TEXT, 'hello');
  assert.equal((await client.frame()).payload.toString(), 'hello');
});

test('handleUpgrade: one inside TLS: a TypeError', async (t) => {
  const { cert, key, ca } = trusted();
  const web = https.createServer({ cert, key });
  web.listen(0, '127.0.0.1');
  t.after(() => web.close());
  await once(web, 'listening');
  const server = made(t, new WebSocketServer({ noServer: true }));
  web.on('upgrade', (request, socket, head) => {
    assert.throws(() => server.handleUpgrade(request, socket, head), TypeError);
    // It is as it was.
    assert.equal(socket.destroyed, false);
    socket.end('HTTP/1.1 501 Not Implemented\r\n\r\n');
  });
  const socket = tls.connect({
    host: '127.0.0.1',
    port: web.address().port,
    servername: 'localhost',
    ca,
  });
  t.after(() => socket.destroy());
  const client = new RawClient(socket);
  await once(socket, 'secureConnect');
  client.ask();
  assert.equal((await client.response()).status, 501);
});

test('handleUpgrade: no socket of Node’s', () => {
  const server = new WebSocketServer({ noServer: true });
  const request = { method: 'GET', url: '/', headers: {}, rawHeaders: [] };
  for (const socket of [undefined, null, {}, new EventEmitter()])
    assert.throws(
      () => server.handleUpgrade(request, socket, Buffer.alloc(0)),
      TypeError,
    );
});

test('handleUpgrade: a socket that is destroyed', async (t) => {
  // It may be so at any time, and it is nobody's mistake.
  let result;
  const { port, server } = await upgrades(t, (wss, request, socket, head) => {
    socket.destroy();
    wss.handleUpgrade(request, socket, head, () => assert.fail('callback'));
    result = wss.clients.size;
  });
  const client = await connect(t, port);
  client.ask();
  await client.ended;
  assert.equal(result, 0);
  assert.equal(server.clients.size, 0);
});

test('handleUpgrade: a server that is closed', async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) => {
    wss.handleUpgrade(...args, () => assert.fail('callback'));
  });
  await new Promise((resolve) => server.close(resolve));
  const client = await connect(t, port);
  client.ask();
  await client.ended;
  assert.equal(server.clients.size, 0);
});

test('handleUpgrade: closed in the same turn', async (t) => {
  let closes = 0;
  const order = [];
  const { port, server } = await upgrades(t, (wss, ...args) => {
    wss.handleUpgrade(...args);
    wss.close();
  });
  server.on('connection', () => order.push('connection'));
  server.on('close', () => {
    closes++;
    order.push('close');
  });
  const client = await connect(t, port);
  client.ask();
  // Whether it was opened or not, it does not stay.
  client.request().catch(() => {});
  client.framesToClose().then(
    ({ length, [length - 1]: got }) => {
      assert.equal(codeOf(got), 1001);
      client.send(CLOSE, got.payload);
    },
    () => {},
  );
  await client.ended;
  await until(() => closes > 0);
  await turn();
  await turn();
  assert.equal(closes, 1);
  assert.equal(order.at(-1), 'close');
  assert.equal(server.clients.size, 0);
});

test('handleUpgrade: sockets that never open, then close()', async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) =>
    wss.handleUpgrade(...args),
  );
  let closes = 0;
  server.on('close', () => closes++);
  const { client, status } = await ask(t, port, { key: 'short' });
  assert.equal(status, 400);
  server.close();
  await client.ended;
  client.end();
  await client.closed;
  await until(() => closes > 0);
  await turn();
  await turn();
  assert.equal(closes, 1);
});

test('handleUpgrade: close() with open sockets', async (t) => {
  const { port, server } = await upgrades(t, (wss, ...args) =>
    wss.handleUpgrade(...args),
  );
  const clients = [];
  for (let i = 0; i < 3; i++) clients.push((await ask(t, port)).client);
  await until(() => server.clients.size === 3);
  const order = [];
  for (const ws of server.clients)
    ws.onclose = ({ code, wasClean }) => order.push(code, wasClean);
  server.on('close', () => order.push('close'));
  server.close(() => order.push('callback'));
  for (const client of clients) assert.equal(codeOf(await left(client)), 1001);
  await until(() => order.includes('callback'));
  const one = [1001, true];
  assert.deepEqual(order, [...one, ...one, ...one, 'close', 'callback']);
});

test('handleUpgrade: verifyClient and path hold here, too', async (t) => {
  // Whoever gives them relies on them.
  for (const [options, expected] of [
    [{ verifyClient: () => false }, 401],
    [{ verifyClient: async () => 403 }, 403],
    [{ path: '/other' }, 404],
    [{ path: '/', verifyClient: async () => true }, 101],
  ]) {
    const { port } = await upgrades(
      t,
      (wss, ...args) => wss.handleUpgrade(...args),
      options,
    );
    const { status } = await ask(t, port);
    assert.equal(status, expected, JSON.stringify(options));
  }
});

test('handleUpgrade: a socket stays although its server goes', async (t) => {
  // The server's listeners may still hear of its messages.
  const { web, port } = await listenHttp(t);
  const seen = [];
  web.on('upgrade', (...args) => {
    const server = new WebSocketServer({ noServer: true });
    server.on('message', (ws, data) => seen.push(data));
    server.handleUpgrade(...args);
  });
  const { client } = await ask(t, port);
  let closed = false;
  client.frame().then(
    () => {
      closed = true;
    },
    () => {},
  );
  let rounds = 0;
  await collect(() => ++rounds > 30);
  assert.equal(closed, false);
  client.send(TEXT, 'hello');
  await until(() => seen.length > 0);
});

test('exceptions: in handleUpgrade’s callback', async (t) => {
  const other = child(
    t,
    `
    import http from 'node:http';
    process.on('uncaughtException', (error) => say(error.message));
    const web = http.createServer();
    const server = new WebSocketServer({ noServer: true });
    server.on('message', (ws, data) => {
      say(data);
      web.close();
      server.close();
    });
    web.on('upgrade', (...args) => {
      server.handleUpgrade(...args, () => { throw new Error('mine'); });
    });
    web.listen(0, '127.0.0.1', () => say(web.address().port));
    `,
  );
  const { client } = await ask(t, Number(await other.line()), {
    tail: masked(TEXT, 'hello'),
  });
  assert.equal(codeOf(await left(client)), 1001);
  assert.deepEqual((await other.ends()).slice(1), ['mine', 'hello']);
});
