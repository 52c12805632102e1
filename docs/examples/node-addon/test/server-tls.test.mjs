// TLS: WebSocketServer with a certificate, and what a client is told of whom to
// trust. Here both ends are the package's; one client is Node's own.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import {
  WebSocket,
  WebSocketServer,
  assert,
  child,
  configure,
  happens,
  record,
} from './helpers.mjs';
import {
  RawClient,
  authority,
  codeOf,
  connect,
  left,
  listen,
  masked,
  test,
  trusted,
} from './raw-client.mjs';
import { BINARY, TEXT } from './raw-server.mjs';

async function listenTls(t, { cert, key } = trusted(), options = {}) {
  const { server, port } = await listen(t, { cert, key, ...options });
  server.on('message', (ws, data) => ws.send(data));
  return { server, port, url: `wss://localhost:${port}/` };
}

// Through a server that sends back what comes.
async function echoes(url, options) {
  const ws = new WebSocket(url, [], options);
  await happens(ws, 'open');
  const message = happens(ws, 'message');
  ws.send('hello');
  assert.equal((await message).data, 'hello');
  const gone = happens(ws, 'close');
  ws.close(1000);
  assert.equal((await gone).wasClean, true);
}

async function isRefused(url, options) {
  const ws = new WebSocket(url, [], options);
  const events = record(ws);
  await happens(ws, 'close');
  assert.deepEqual(events.types(), ['error', 'close']);
  assert.equal(events.at(-1).event.code, 1006);
}

test('TLS: a client of Node’s', async (t) => {
  const { server, port } = await listenTls(t);
  const connection = once(server, 'connection');
  const socket = tls.connect({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: trusted().ca,
  });
  t.after(() => socket.destroy());
  const client = new RawClient(socket);
  await once(socket, 'secureConnect');
  assert.equal(socket.authorized, true);
  client.ask({ target: '/x', tail: masked(TEXT, 'with it') });
  assert.equal((await client.response()).status, 101);
  assert.equal((await client.frame()).payload.toString(), 'with it');
  const [ws, request] = await connection;
  assert.equal(ws.url, 'wss://localhost/x');
  assert.equal(request.socket.remoteAddress, '127.0.0.1');
  assert.equal(request.socket.remotePort, socket.localPort);
  const big = randomBytes(1_000_000);
  client.send(BINARY, big);
  assert.deepEqual((await client.frame()).payload, big);
  server.close();
  assert.equal(codeOf(await left(client)), 1001);
});

for (const [name, ca] of [
  ['a string', ({ ca }) => ca],
  ['a Buffer', ({ ca }) => Buffer.from(ca)],
  ['an array of both', ({ ca }) => [authority().ca, Buffer.from(ca)]],
])
  test(`TLS: the option ca: ${name}`, async (t) => {
    const { url } = await listenTls(t);
    await echoes(url, { ca: ca(trusted()) });
    await isRefused(url, { ca: authority().ca });
  });

test('TLS: nobody vouches for it', async (t) => {
  const { url } = await listenTls(t);
  await isRefused(url);
  await isRefused(url, { ca: undefined });
});

test('TLS: rejectUnauthorized: false', async (t) => {
  const { url } = await listenTls(t);
  await echoes(url, { rejectUnauthorized: false });
  await isRefused(url, { rejectUnauthorized: true });
});

test('TLS: servername', async (t) => {
  const { port } = await listenTls(t);
  const { ca } = trusted();
  const url = `wss://127.0.0.1:${port}/`;
  await echoes(url, { ca });
  await echoes(url, { ca, servername: 'localhost' });
  await isRefused(url, { ca, servername: 'example.com' });
});

test('TLS: configure({ ca })', async (t) => {
  const { url } = await listenTls(t);
  t.after(() => configure({ ca: null }));
  configure({ ca: trusted().ca });
  await echoes(url);
  // What else is configured does not change it.
  configure({ origin: null });
  await echoes(url, { ca: authority().ca });
  configure({ ca: null });
  await isRefused(url);
});

test('TLS: NODE_EXTRA_CA_CERTS', async (t) => {
  const { url } = await listenTls(t);
  const source = `
    const ws = new WebSocket('${url}');
    ws.onopen = () => ws.close(3000);
    ws.onclose = ({ code }) => say(code);
  `;
  const without = child(t, source);
  assert.deepEqual(await without.ends(), ['1006']);
  process.env.NODE_EXTRA_CA_CERTS = trusted().file;
  const other = child(t, source);
  delete process.env.NODE_EXTRA_CA_CERTS;
  assert.deepEqual(await other.ends(), ['3000']);
});

test('TLS: NODE_EXTRA_CA_CERTS that is not there', async (t) => {
  // Node warns, and goes on.
  const { url } = await listenTls(t);
  process.env.NODE_EXTRA_CA_CERTS = join(trusted().dir, 'none');
  const other = child(
    t,
    `
    const ws = new WebSocket('${url}', [], { rejectUnauthorized: false });
    ws.onopen = () => ws.close(3000);
    ws.onclose = ({ code }) => say(code);
    `,
  );
  delete process.env.NODE_EXTRA_CA_CERTS;
  assert.deepEqual(await other.ends(), ['3000']);
});

test('TLS: a key with a passphrase', async (t) => {
  const { dir, ca, cert } = trusted();
  const file = join(dir, 'encrypted.key');
  execFileSync('openssl', [
    ...['pkcs8', '-topk8', '-in', join(dir, 'localhost.key')],
    // What mbedTLS can read of what OpenSSL writes.
    ...['-v2', 'des3', '-v2prf', 'hmacWithSHA1'],
    ...['-out', file, '-passout', 'pass:secret'],
  ]);
  const key = readFileSync(file, 'utf8');
  const { url } = await listenTls(t, { cert, key }, { passphrase: 'secret' });
  await echoes(url, { ca });
  for (const passphrase of [undefined, 'wrong'])
    assert.throws(
      () => new WebSocketServer({ port: 0, cert, key, passphrase }),
      Error,
    );
});

test('TLS: a certificate, or key, that is none', () => {
  const { cert, key } = trusted();
  for (const options of [
    { cert: 'x', key },
    { cert, key: 'x' },
    { cert },
    { cert, key: authority().key },
  ])
    assert.throws(() => new WebSocketServer({ port: 0, ...options }), Error);
});

test('TLS: who speaks none', async (t) => {
  const { server, port, url } = await listenTls(t);
  server.on('connection', (ws, request) => assert.equal(request.url, '/'));
  server.on('error', () => assert.fail('error'));
  const client = await connect(t, port);
  client.ask({ target: '/plain' });
  await client.ended;
  const ws = new WebSocket(`ws://127.0.0.1:${port}/plain`);
  await happens(ws, 'close');
  await echoes(url, { ca: trusted().ca });
});

test('TLS: a client leaves during the handshake', async (t) => {
  const { server, port, url } = await listenTls(t);
  server.on('error', () => assert.fail('error'));
  for (let i = 0; i < 5; i++) {
    const client = await connect(t, port);
    // The beginning of a record.
    client.write(Buffer.of(22, 3, 1, 2, 0).subarray(0, i + 1));
    client.reset();
    await client.closed;
  }
  await echoes(url, { ca: trusted().ca });
});
