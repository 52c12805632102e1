'use strict';
// libwebsockets, in both roles, through the program made of lws.c.
const assert = require('assert');
const ours = require('./ours');
const {longest, lost} = require('./web-cases');

if (!process.env.LWS) ours.skip('no libwebsockets');

const quoted = encodeURIComponent;
const closed = (code, reason = '') => `close ${code} clean 0 '${reason}'`;

/** They close; our answer is not told there. */
const theyClose = (code, reason) => ({
  name: `they close ${code} ${reason}`,
  target: '/echo',
  theirs: ['none', 'close', code, reason],
  log: [`open ''`, closed(code, reason)],
});

const weClose = (code, reason, heard = code) => ({
  name: `we close ${code}`,
  target: `/close?code=${code}&reason=${quoted(reason)}`,
  theirs: ['none', 'closed', heard, reason],
  log: [`open ''`, new RegExp(`^close ${heard} clean 0 `)],
});

// `theirs` is the steps, and the end, that lws.c knows.
const cases = [
  {
    name: 'data',
    theirs: ['data', 'close', 1000, ''],
  },
  {
    name: 'fragments and pings',
    target: '/ping',
    theirs: ['fragments', 'close', 1000, ''],
    log: [
      `open ''`, 'ping [6669727374]', /^pong \[0083.*74\] answers$/,
      'ping [00]', /^ping \[([0-9a-f]{2}){125}\]$/, 'text 9', closed(1000),
    ],
  },
  theyClose(1000, ''),
  theyClose(1001, 'bye'),
  theyClose(4999, longest),
  weClose(0, '', 1005),
  weClose(1000, 'bye'),
  weClose(1001, ''),
  weClose(4999, longest),
  {
    name: 'a subprotocol',
    target: '/echo?protocol=b.2',
    protocols: ['a', 'b.2', 'c'],
    chosen: 'b.2',
    theirs: ['one', 'close', 1000, ''],
    log: [`open 'b.2'`, 'text 1', closed(1000)],
  },
  {
    name: 'we terminate',
    target: '/abort',
    theirs: ['unanswered', 'lost'],
    log: [`open ''`, 'text 1', `close 1006 unclean ECANCELED ''`],
  },
  {
    name: 'they are killed',
    target: '/echo',
    theirs: ['one', 'die'],
    status: 'SIGKILL',
    log: [`open ''`, 'text 1', ...lost],
  },
];

const servers = {sockets: 0};

const url = async (lws) =>
    `${ours.scheme}://127.0.0.1:${await lws.line('')}/`;

/** Their client's program, at a server of ours. */
async function client(program, c) {
  const {port} = new URL(await program.url());
  return new ours.Program('LWS', 'client', c.chosen || '', ...c.theirs, port,
                          c.target || '/', (c.protocols || []).join());
}

async function atOurServer(c) {
  const program = c.log ? servers.peer : servers.echo;
  const lws = await client(program, c);
  if (c.log) await program.saw(++servers.sockets, c.log);
  assert.strictEqual(await lws.child.exited, c.status || 0);
}

async function atOurClient(c) {
  const lws = new ours.Program('LWS', 'server', c.chosen || '', ...c.theirs);
  const at = await url(lws);
  const program = c.log ?
      new ours.Program('PEER', 'client', at, c.target, ...c.protocols || []) :
      new ours.Program('ECHO_CLIENT', '--max-message', 16 << 20, at);
  if (c.log) await program.saw(1, c.log);
  await program.end();
  assert.strictEqual(await lws.child.exited, c.status || 0);
}

/** Ends a server of ours, once a client of theirs has sent something. */
async function lose(signal, ...theirs) {
  const program = new ours.Program('PEER', 'server');
  const lws = await client(program, {target: '/echo', theirs});
  await program.line('1 text');
  program.child.kill(signal);
  assert.strictEqual(await lws.child.exited, 0);
  return program;
}

ours.run([
  ['start', async () => {
    servers.peer = new ours.Program('PEER', 'server');
    servers.echo = new ours.Program('ECHO_SERVER', '--port', 0,
                                    '--max-message', 16 << 20);
  }],
  ...cases.flatMap((c) => [
    [`our server: ${c.name}`, () => atOurServer(c)],
    [`our client: ${c.name}`, () => atOurClient(c)],
  ]),
  ['our server: killed', async () => {
    const program = await lose('SIGKILL', 'one', 'lost');
    assert.strictEqual(await program.child.exited, 'SIGKILL');
  }],
  ['our server: ends', async () => {
    await (await lose('SIGTERM', 'one', 'closed', 1001, '')).end();
  }],
  ['our client: killed', async () => {
    const lws = new ours.Program('LWS', 'server', '', 'one', 'lost');
    const program = new ours.Program('PEER', 'client', await url(lws), '/echo');
    await program.line('1 text');
    program.child.kill('SIGKILL');
    assert.strictEqual(await program.child.exited, 'SIGKILL');
    assert.strictEqual(await lws.child.exited, 0);
  }],
  ['stop', async () => {
    await servers.peer.end('SIGTERM');
    await servers.echo.end('SIGTERM');
  }],
]);
