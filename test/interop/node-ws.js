'use strict';
// Node's ws, in both roles.
const assert = require('assert');
const {once} = require('events');
const http = require('http');
const https = require('https');
const ours = require('./ours');
const {bytes, cases, longest, lost, runCase, same, text} =
    require('./web-cases');

const WebSocket = ['ws', '/usr/share/nodejs/ws'] // Debian's
    .reduce((found, name) => {
      try {
        return found || require(name);
      } catch (error) {
        if (error.code !== 'MODULE_NOT_FOUND') throw error;
      }
    }, null) || ours.skip('no ws');

const options = {maxPayload: 64 << 20};
const MiB16 = 16 << 20;
const MiB32 = 32 << 20;

/** Node does not do it below TLS. */
function reset(socket) {
  if (!socket.encrypted) return socket.resetAndDestroy();
  const {_parent: handle} = socket._handle;
  handle.close = handle.reset;
  socket.destroy();
}

/** As those of web-cases.js, for what is not on the web: `theirs` has the
 * socket from its birth, a promise that it is open, and a way to ask for the
 * nth line in which ours tells its bufferedAmount. */
const own = [
  {
    name: 'fragments and pings',
    target: '/ping',
    async theirs(ws, open) {
      await open;
      const message = Buffer.from('1\u20ac\u{1f600}2');
      const part = (from, to) => ws.send(message.subarray(from, to),
                                         {binary: false, fin: to === 9});
      part(0, 2); // inside a character
      const [pong, ping] = [once(ws, 'pong'), once(ws, 'ping')];
      ws.ping('first');
      assert.strictEqual(String((await pong)[0]), 'first');
      assert.strictEqual((await ping)[0].length, 125);
      for (const [from, to, payload] of [
        [2, 2, Buffer.alloc(0)], [2, 5, Buffer.from(bytes(125))],
      ]) {
        part(from, to);
        const pong = once(ws, 'pong');
        ws.ping(payload);
        assert.deepStrictEqual((await pong)[0], payload);
      }
      const echo = once(ws, 'message');
      part(5, 9);
      assert.deepStrictEqual(await echo, [message, false]);
      ws.close();
    },
    log: [
      `open ''`, 'ping [6669727374]', /^pong \[0083.*74\] answers$/, 'ping []',
      `ping [${Buffer.from(bytes(125)).toString('hex')}]`, 'text 9',
      `close 1005 clean 0 ''`,
    ],
  },
  {
    name: 'their unsolicited pong',
    target: '/echo',
    async theirs(ws, open) {
      await open;
      ws.pong('hi');
      ws.close(1001);
    },
    log: [`open ''`, 'pong [6869]', `close 1001 clean 0 ''`],
  },
  {
    name: 'a message in a thousand fragments',
    target: '/echo',
    async theirs(ws, open) {
      await open;
      const message = Buffer.from(text(100000));
      for (let i = 0; i < 1000; i++) {
        ws.send(message.subarray(i * 100, (i + 1) * 100),
                {binary: false, fin: i === 999});
      }
      assert.deepStrictEqual(await once(ws, 'message'), [message, false]);
      ws.close(4999, longest);
    },
    log: [`open ''`, 'text 100000', `close 4999 clean 0 '${longest}'`],
  },
  {
    name: 'backpressure',
    target: `/flood?bytes=${MiB32}`,
    async theirs(ws, open, buffered) {
      await open;
      ws.pause();
      ws.send('1'); // this may come in the turn of the flood
      await buffered(1);
      ws.send('2'); // this not, and what the kernel took is off
      const waiting = await buffered(2);
      assert(waiting > 0 && waiting < MiB32, `${waiting} buffered`);
      const flood = once(ws, 'message');
      ws.resume();
      assert(same((await flood)[0], bytes(MiB32)));
      ws.send('3');
      assert.strictEqual(await buffered(3), 0);
      ws.close();
    },
    log: [
      `open ''`, `buffered ${MiB32}`, 'text 1', /^buffered/, 'text 1',
      /^buffered/, 'text 1', 'buffered 0', `close 1005 clean 0 ''`,
    ],
  },
  {
    name: 'they terminate',
    target: '/echo',
    async theirs(ws, open) {
      await open;
      ws.terminate();
    },
    log: [`open ''`, ...lost],
  },
  {
    name: 'they reset',
    target: '/echo',
    async theirs(ws, open) {
      await open;
      reset(ws._socket);
    },
    log: [`open ''`, ...lost],
  },
  {
    name: 'they end inside a message',
    target: '/echo',
    async theirs(ws, open) {
      await open;
      ws.send('x', {fin: false});
      ws._socket.end();
    },
    log: [`open ''`, ...lost],
  },
];

/** A case, with a socket of theirs from its birth, and the number that it has
 * in a program of ours. */
async function play(ws, program, number, c) {
  if (!c.theirs) return runCase(ws, c);
  const open = ws.readyState === WebSocket.OPEN || once(ws, 'open');
  const closed = once(ws, 'close');
  const buffered = async (nth) => Number(
      (await program.line(`${number} buffered `, nth)).split(' ')[2]);
  await c.theirs(ws, open, buffered);
  await closed;
}

/** ALPN is ours to choose, or to offer, where there is TLS. */
function checkAlpn({socket}) {
  const chosen = ours.scheme === 'wss' ? 'http/1.1' : undefined;
  assert.strictEqual(socket.alpnProtocol, chosen);
}

/** A server of theirs, and its URL. */
async function serve(more) {
  const {createServer} = ours.scheme === 'wss' ? https : http;
  const server = createServer(ours.tls.server);
  const theirs = new WebSocket.Server({...options, ...more, server});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  theirs.once('connection', (ws, request) => {
    server.close();
    checkAlpn(request);
  });
  theirs.url = `${ours.scheme}://127.0.0.1:${server.address().port}/`;
  return theirs;
}

/** A case with a client of theirs. */
async function atOurServer(servers, c) {
  const program = c.echo ? servers.echo : servers.peer;
  const number = c.echo ? 0 : ++servers.sockets;
  const url = await program.url() + (c.target || '/');
  const ws = new WebSocket(url, c.protocols || [],
                           {...options, ...ours.tls.client});
  ws.on('upgrade', checkAlpn);
  await play(ws, program, number, c);
  if (!c.echo) await program.saw(number, c.log);
}

/** A case with a server of theirs. */
async function atOurClient(c) {
  const [, query] = (c.target || '').split('?');
  const chosen = new URLSearchParams(query).get('protocol') || false;
  const server = await serve({handleProtocols: () => chosen});
  const program = c.echo ?
      new ours.Program('ECHO_CLIENT', '--max-message', MiB16, server.url) :
      new ours.Program('PEER', 'client', server.url, c.target,
                       ...c.protocols || []);
  // Whatever happens to the socket comes after this callback.
  await new Promise((resolve, reject) => server.on('connection', (ws) => {
    play(ws, program, 1, c).then(resolve, reject);
  }));
  if (!c.echo) await program.saw(1, c.log);
  await program.end();
}

const refused = {
  name: 'no subprotocol of those offered',
  target: '/echo',
  protocols: ['a'],
  run: {},
};

const servers = {sockets: 0};

/** Loses a server of ours, once a client of theirs has had an echo. */
async function lose(signal, code) {
  const program = new ours.Program('PEER', 'server');
  const ws = new WebSocket(`${await program.url()}/echo`, ours.tls.client);
  await once(ws, 'open');
  ws.send('x');
  await once(ws, 'message');
  program.child.kill(signal);
  assert.strictEqual((await once(ws, 'close'))[0], code);
  return program;
}

ours.run([
  ['start', async () => {
    servers.peer = new ours.Program('PEER', 'server');
    servers.echo =
        new ours.Program('ECHO_SERVER', '--port', 0, '--max-message', MiB16);
  }],
  ...[...cases.filter((c) => !c.native), ...own].flatMap((c) => [
    [`our server: ${c.name}`, () => atOurServer(servers, c)],
    [`our client: ${c.name}`, () => atOurClient(c)],
  ]),
  [`our server: ${refused.name}`, () => atOurServer(servers, {
    ...refused,
    events: [`close 1006 unclean ''`],
    error: true,
    log: [`open ''`, ...lost],
  })],
  [`our client: ${refused.name}`, () => atOurClient({
    ...refused,
    events: ['open', `close 1006 unclean ''`],
    log: [/^error UVWS_EUPGRADE /, `close 1006 unclean UVWS_EUPGRADE ''`],
  })],
  ['our server: killed', async () => {
    const program = await lose('SIGKILL', 1006);
    assert.strictEqual(await program.child.exited, 'SIGKILL');
  }],
  ['our server: ends', async () => {
    const program = await lose('SIGTERM', 1001);
    await program.saw(1, [`open ''`, 'text 1', `close 1001 clean 0 ''`]);
    await program.end();
  }],
  ['our client: killed', async () => {
    const server = await serve();
    const program = new ours.Program('ECHO_CLIENT', server.url);
    const [ws] = await once(server, 'connection');
    ws.send('x');
    await once(ws, 'message');
    program.child.kill('SIGKILL');
    assert.strictEqual((await once(ws, 'close'))[0], 1006);
    assert.strictEqual(await program.child.exited, 'SIGKILL');
  }],
  ['stop', async () => {
    await servers.peer.end('SIGTERM');
    await servers.echo.end('SIGTERM');
  }],
]);
