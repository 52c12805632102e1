'use strict';
// permessage-deflate with Node's ws, in both roles: all that can be agreed on,
// asked for by either side.
const assert = require('assert');
const {once} = require('events');
const http = require('http');
const https = require('https');
const {equal, messages, numbers} = require('./deflate-cases');
const {countReads, cutWrites} = require('./frames');
const ours = require('./ours');

const WebSocket = ['ws', '/usr/share/nodejs/ws'] // Debian's
    .reduce((found, name) => {
      try {
        return found || require(name);
      } catch (error) {
        if (error.code !== 'MODULE_NOT_FOUND') throw error;
      }
    }, null) || ours.skip('no ws');

const secure = ours.scheme === 'wss';
// Over TLS, and below valgrind, some of each must do.
const many = secure || process.env.LAUNCHER ? 10 : 250;
const some = secure || process.env.LAUNCHER ? 5 : 50;
const DEPTH = 8; // messages on their way

/** Parameters as they stand in a header. */
const header = (parameters) => Object.entries(parameters)
    .map(([name, value]) => value === true ? name : `${name}=${value}`);

/** Parameters as ws wants them. */
const option = (name) => name.replace(/_./g, (_) => _[1].toUpperCase());
const options = (parameters) => Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [option(name), value]));

/** What they ask for, and that nothing is too small for them to compress. */
const theirs = (parameters) => ({
  perMessageDeflate: {threshold: 0, ...options(parameters)},
  maxPayload: 64 << 20,
});

/** What ours is told. */
const ask = (parameters) => [...header(parameters), 'threshold=0'].join('; ');

function checkAgreed(value, parameters) {
  const [name, ...agreed] = value.split(/; */);
  assert.strictEqual(name, 'permessage-deflate');
  assert.deepStrictEqual(agreed.sort(), header(parameters).sort());
}

/** Sends a message: whole, or in fragments that ws compresses one by one. */
function send(ws, message, random) {
  if (typeof message === 'string' || random(4)) return ws.send(message);
  const middle = random(message.length + 1);
  ws.send(message.subarray(0, middle), {fin: false});
  ws.send(message.subarray(middle), {fin: true});
}

/** Has messages echoed, until all have come back. Resolves to what our side's
 * took on the wire, in percent. */
async function exchange(ws, socket, count) {
  const random = numbers(1);
  const written = cutWrites(socket, random);
  const read = countReads(socket);
  const due = [];
  let payload = 0, received = 0;
  const queue = messages(2, count);
  const more = () => {
    const {value, done} = queue.next();
    if (done) return due.length === 0 && ws.close(1000);
    due.push(value);
    send(ws, value, random);
  };
  const closed = once(ws, 'close');
  const end = new Promise((resolve, reject) => {
    ws.on('error', reject);
    ws.on('message', (data, isBinary) => {
      const sent = due.shift();
      payload += data.length;
      const same = isBinary ? data.equals(sent) : equal(String(data), sent);
      if (!same) reject(new Error(`message ${received} came back changed`));
      received++;
      more();
    });
    closed.then(resolve);
  });
  for (let i = 0; i < DEPTH; i++) more();
  await end;
  assert.strictEqual((await closed)[0], 1000);
  assert.strictEqual(received, count);
  for (const {messages, compressed, bytes} of [written, read]) {
    assert.strictEqual(messages, count);
    assert(compressed > count / 2, `${compressed} compressed`);
    assert(bytes < payload, `${bytes} for ${payload}`);
  }
  return 100 * read.bytes / payload;
}

/** A client of theirs: what it asks for, what ours does, what is agreed on. */
async function atOurServer(wanted, granted, agreed, count) {
  const program = new ours.Program(
      'ECHO_SERVER', '--port', 0, '--deflate', ask(granted));
  const ws = new WebSocket(await program.url(),
                           {...theirs(wanted), ...ours.tls.client});
  const open = once(ws, 'open');
  const [{headers, socket}] = await once(ws, 'upgrade');
  checkAgreed(headers['sec-websocket-extensions'], agreed);
  await open;
  const percent = await exchange(ws, socket, count);
  await program.end('SIGTERM');
  return percent;
}

/** A server of theirs, likewise. */
async function atOurClient(wanted, granted, agreed, count) {
  const {createServer} = secure ? https : http;
  const server = createServer(ours.tls.server);
  const wss = new WebSocket.Server({...theirs(granted), server});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const headers = once(wss, 'headers');
  const connection = once(wss, 'connection');
  const program = new ours.Program(
      'ECHO_CLIENT', '--deflate', ask(wanted),
      `${ours.scheme}://127.0.0.1:${server.address().port}/`);
  const [lines] = await headers;
  const start = 'Sec-WebSocket-Extensions: ';
  checkAgreed(lines.find((line) => line.startsWith(start)).slice(start.length),
              agreed);
  const [ws, request] = await connection;
  const percent = await exchange(ws, request.socket, count);
  server.close();
  await program.end();
  return percent;
}

const roles = {'our server': atOurServer, 'our client': atOurClient};

/** The share that ours took of a session: by role, who asked, and for what. */
const shares = {};

/** In both roles, and asked for by either side. */
const sessions = (parameters, count) => Object.entries(roles).flatMap(
    ([role, run]) => ['they', 'we'].map((who) => {
      const name = `${role}: ${who} ask for ${title(parameters)}`;
      return [name, async () => {
        const client = (role === 'our server') === (who === 'they');
        const [wanted, granted] = client ? [parameters, {}] : [{}, parameters];
        shares[name] = await run(wanted, granted, parameters, count);
      }];
    }));

const title = (parameters) => header(parameters).join(', ') || 'nothing';

/** What may be asked for, in all combinations. */
const limits = [
  ['server_no_context_takeover', true],
  ['client_no_context_takeover', true],
  ['server_max_window_bits', 10],
  ['client_max_window_bits', 11],
];
const shapes = Array.from({length: 16}, (_, i) => Object.fromEntries(
    limits.filter((_, bit) => i >> bit & 1)));
const bits = [8, 9, 10, 11, 12, 13, 14, 15];
const window = (side, bits) => ({[`${side}_max_window_bits`]: bits});

/** Both sides ask: for all that either does, and the smaller window. */
const both = [
  [{server_no_context_takeover: true, server_max_window_bits: 12},
   {client_no_context_takeover: true, server_max_window_bits: 9}],
  [{client_max_window_bits: 9}, {client_max_window_bits: 9}],
];

/** What ours sent is the smaller, the more it could refer to. */
function checkShares() {
  if (many < 100) return; // too little to tell
  for (const side of ['server', 'client']) {
    for (const who of ['they', 'we']) {
      const of = (parameters) =>
          shares[`our ${side}: ${who} ask for ${title(parameters)}`];
      const none = of({[`${side}_no_context_takeover`]: true});
      assert(of({}) < none - 1, `${of({})} % with takeover, ${none} % without`);
      const windows = bits.map((n) => of(window(side, n)));
      // Zlib's 8 is its 9.
      assert(windows.every((share, i) => i < 2 || share < windows[i - 1] - 0.1),
             windows.join());
    }
  }
}

ours.run([
  ...shapes.flatMap((shape) => sessions(shape, many)),
  ...['server', 'client'].flatMap((side) => bits.flatMap(
      (n) => sessions(window(side, n), some))),
  ...both.flatMap(([wanted, granted], i) => Object.entries(roles).map(
      ([role, run]) => [`${role}: both ask, ${i}`, () => run(
          wanted, granted, {...wanted, ...granted}, some)])),
  ['how much was sent', checkShares],
]);
