// A client that shares no code with what is tested: it writes requests and
// frames byte for byte, also wrong ones. What comes is read as in
// raw-server.mjs; there a head is a request, here it is a response.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocketServer, test as testAny } from './helpers.mjs';
import { CLOSE, RawConnection, frame } from './raw-server.mjs';

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const MASK = Buffer.of(1, 2, 3, 4);

// Another module under test may have no server.
export function test(name, ...rest) {
  const options = typeof rest[0] === 'object' ? rest.shift() : {};
  const skip = WebSocketServer === undefined || options.skip;
  testAny(name, { ...options, skip }, ...rest);
}

// What a test has opened: peers go first, so that no server waits for them.
const opened = new WeakMap();

function keep(t, list, item) {
  if (!opened.has(t)) {
    const all = { peers: [], servers: [] };
    opened.set(t, all);
    t.after(async () => {
      for (const peer of all.peers) peer.destroy();
      for (const end of all.servers) await end();
    });
  }
  opened.get(t)[list].push(item);
}

// `headers` are [name, value]; null leaves one of ours out.
export function requestHead(options = {}) {
  const {
    line = `GET ${options.target ?? '/'} HTTP/1.1`,
    host = 'localhost',
    upgrade = 'websocket',
    connection = 'Upgrade',
    key = KEY,
    version = '13',
    protocol = null,
    extensions = null,
    origin = null,
    headers = [],
  } = options;
  const lines = [
    ['Host', host],
    ['Upgrade', upgrade],
    ['Connection', connection],
    ['Sec-WebSocket-Key', key],
    ['Sec-WebSocket-Version', version],
    ['Sec-WebSocket-Protocol', protocol],
    ['Sec-WebSocket-Extensions', extensions],
    ['Origin', origin],
    ...headers,
  ]
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${line}\r\n${lines.join('')}\r\n`, 'latin1');
}

export const masked = (opcode, payload, options = {}) =>
  frame(opcode, payload, { mask: MASK, ...options });

export class RawClient extends RawConnection {
  constructor(socket) {
    super(socket);
    this.socket = socket;
  }

  // `tail` follows in the same segment.
  ask(options = {}) {
    const { tail = '' } = options;
    this.write(Buffer.concat([requestHead(options), Buffer.from(tail)]));
  }

  // { status, headers }
  async response() {
    const head = await this.request();
    return { status: Number(head.line.split(' ')[1]), headers: head.headers };
  }

  send(opcode, payload, options) {
    this.write(masked(opcode, payload, options));
  }
}

// To a port of this machine, or wherever net.connect() is told to.
export async function connect(t, where) {
  const all = typeof where === 'number' ? { port: where } : where;
  const host = all.path === undefined ? { host: '127.0.0.1' } : {};
  const socket = net.connect({
    noDelay: true,
    allowHalfOpen: true,
    ...host,
    ...all,
  });
  const client = new RawClient(socket);
  keep(t, 'peers', client);
  await once(socket, 'connect');
  return client;
}

// A close frame's.
export const codeOf = ({ payload }) => payload.readUInt16BE(0);

// The end of a connection, as a client sees it that plays along.
export async function left(client) {
  const got = (await client.framesToClose()).at(-1);
  client.send(CLOSE, got.payload);
  await client.ended;
  client.end();
  return got;
}

// What becomes of one request.
export async function ask(t, where, options = {}) {
  const client = await connect(t, where);
  client.ask(options);
  const { status, headers } = await client.response();
  return { client, status, headers };
}

// ---- servers ----

export function made(t, server) {
  const closed = new Promise((resolve) => server.once('close', resolve));
  keep(t, 'servers', () => {
    server.close();
    return closed;
  });
  return server;
}

export async function listen(t, options = {}) {
  const server = made(
    t,
    new WebSocketServer({ port: 0, host: '127.0.0.1', ...options }),
  );
  await once(server, 'listening');
  const { port } = server.address();
  return { server, port, url: `ws://127.0.0.1:${port}/` };
}

// Node's own http server with a page.
export async function listenHttp(t, where = 0) {
  const web = http.createServer((request, response) => {
    response.end(`page ${request.url}`);
  });
  const sockets = new Set();
  web.on('connection', (socket) => sockets.add(socket));
  keep(t, 'servers', () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => web.close(resolve));
  });
  web.listen(where, ...(where === 0 ? ['127.0.0.1'] : []));
  await once(web, 'listening');
  return { web, port: web.address().port };
}

export async function page(port, path = '/') {
  const request = http.get({ host: '127.0.0.1', port, path, agent: false });
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

// ---- certificates ----

const directories = [];
after(() => {
  for (const dir of directories) rmSync(dir, { recursive: true });
});

// A directory that is there until the tests are over.
export function temporary() {
  const dir = mkdtempSync(join(tmpdir(), 'uvws-'));
  directories.push(dir);
  return dir;
}

const script = fileURLToPath(
  new URL('../../../../cmake/ca', import.meta.url),
);

// A certificate for localhost, 127.0.0.1 and ::1, and who vouches for it.
export function authority() {
  const dir = temporary();
  execFileSync('sh', [script, dir]);
  const read = (name) => readFileSync(join(dir, name), 'utf8');
  return {
    dir,
    file: join(dir, 'ca.crt'),
    ca: read('ca.crt'),
    cert: read('localhost.crt'),
    key: read('localhost.key'),
  };
}

let first;
export const trusted = () => (first ??= authority());
