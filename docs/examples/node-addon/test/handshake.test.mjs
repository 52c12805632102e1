// 2, the protocol's alterations: the request, and what a response has to be.
// RFC 6455, 4.1 is what the standard follows for the rest.

import {
  LOST,
  WebSocket,
  assert,
  configure,
  ending,
  fails,
  happens,
  record,
  serve,
  test,
} from './helpers.mjs';
import { acceptOf, frame, TEXT } from './raw-server.mjs';

async function request(t, path = '/', ...args) {
  const server = await serve(t);
  const ws = new WebSocket(server.url(path), ...args);
  const peer = await server.connection();
  return { ws, server, peer, request: await peer.request() };
}

// ---- 2.1 and 2.2: the request ----

test('2.2 step 11: the request is a GET', async (t) => {
  const got = (await request(t)).request;
  assert.equal(got.line, 'GET / HTTP/1.1');
});

test('2.2 steps 3 to 6: the handshake’s headers, each once', async (t) => {
  const got = (await request(t)).request;
  assert.equal(got.headers.upgrade, 'websocket');
  assert.equal(got.headers.connection, 'Upgrade');
  assert.equal(got.headers['sec-websocket-version'], '13');
  const names = got.rawHeaders.map(([name]) => name.toLowerCase());
  assert.equal(new Set(names).size, names.length);
});

test('RFC 6455, 4.1, 4: Host has the port', async (t) => {
  const { server, request: got } = await request(t);
  assert.equal(got.headers.host, `127.0.0.1:${server.port}`);
});

test('2.2 step 5: the key is 16 random bytes in base64', async (t) => {
  const keys = new Set();
  for (let i = 0; i < 8; i++) {
    const key = (await request(t)).request.headers['sec-websocket-key'];
    assert.match(key, /^[A-Za-z0-9+/]{22}==$/);
    assert.equal(Buffer.from(key, 'base64').length, 16);
    assert.equal(Buffer.from(key, 'base64').toString('base64'), key);
    keys.add(key);
  }
  assert.equal(keys.size, 8);
});

test('2.2 step 8: no subprotocols, no header', async (t) => {
  const got = (await request(t)).request;
  assert.equal('sec-websocket-protocol' in got.headers, false);
});

test('2.2 step 8: subprotocols are combined', async (t) => {
  const got = (await request(t, '/', ['b', 'a', 'c'])).request;
  const lines = got.rawHeaders.filter(
    ([name]) => name.toLowerCase() === 'sec-websocket-protocol',
  );
  assert.deepEqual(
    lines.map(([, value]) => value),
    ['b, a, c'],
  );
});

test('2.2 steps 9 and 10: permessage-deflate is offered', async (t) => {
  const got = (await request(t)).request;
  assert.match(
    got.headers['sec-websocket-extensions'],
    /^permessage-deflate(;|,|$)/,
  );
});

test('2.2 step 2: no referrer, no cookies, no body', async (t) => {
  const { headers } = (await request(t)).request;
  for (const name of ['referer', 'cookie', 'content-length'])
    assert.equal(name in headers, false, name);
  assert.equal('transfer-encoding' in headers, false);
});

for (const [path, ...targets] of [
  ['', '/'],
  ['/', '/'],
  ['/a/b', '/a/b'],
  ['//', '//'],
  ['/a//b/', '/a//b/'],
  ['/?a=b', '/?a=b'],
  ['?a=b', '/?a=b'],
  ['/??', '/??'],
  // 2.1 drops the question mark of an empty query, but Fetch, which makes the
  // request, does not look at the resource name: browsers keep it.
  ['/a?', '/a', '/a?'],
  ['/?', '/', '/?'],
])
  test(`2.1 steps 3 and 4: the resource name of '${path}'`, async (t) => {
    const { ws, server, request: got } = await request(t, path);
    assert.ok(targets.includes(got.target), got.target);
    // What it is in the URL is another matter.
    assert.equal(ws.url, new URL(server.url(path)).href);
  });

test('2.2 step 11: Origin is the one that was configured', async (t) => {
  t.after(() => configure({ origin: null }));
  configure({ origin: 'https://example.com' });
  assert.equal(
    (await request(t)).request.headers.origin,
    'https://example.com',
  );
  const own = { origin: 'https://own.example' };
  assert.equal(
    (await request(t, '/', [], own)).request.headers.origin,
    'https://own.example',
  );
  configure({ origin: null });
  assert.equal('origin' in (await request(t)).request.headers, false);
});

test('package: headers, as an object or in pairs', async (t) => {
  const headers = { 'X-One': '1', Authorization: 'Bearer x' };
  const got = (await request(t, '/', [], { headers })).request;
  assert.equal(got.headers['x-one'], '1');
  assert.equal(got.headers.authorization, 'Bearer x');
  const pairs = [
    ['X-One', '1'],
    ['X-One', '2'],
  ];
  const other = (await request(t, '/', [], { headers: pairs })).request;
  assert.equal(other.headers['x-one'], '1, 2');
});

test('package: handshakeTimeout: error and close 1006', async (t) => {
  const { ws } = await request(t, '/', [], { handshakeTimeout: 20 });
  await fails(ws, record(ws));
});

// ---- the response: what passes ----

async function opens(t, response, protocols = []) {
  const { ws, peer, server } = await request(t, '/', protocols);
  const opened = happens(ws, 'open');
  peer.accept(response);
  await opened;
  return { ws, peer, server };
}

for (const [name, response] of [
  ['as it should be', {}],
  ['Upgrade in other letters', { upgrade: 'WebSocket' }],
  ['Connection in other letters', { connection: 'upgrade' }],
  ['Connection with more', { connection: 'keep-alive, Upgrade, x' }],
  ['another reason phrase', { status: '101 Welcome' }],
  ['no reason phrase', { status: '101 ' }],
  ['more headers', { headers: [['Server', 'x'], ['X-Empty', '']] }],
  ['a cookie', { headers: [['Set-Cookie', 'a=b']] }],
])
  test(`2.2 processResponse: ${name}: opens`, async (t) => {
    const { ws } = await opens(t, response);
    assert.equal(ws.readyState, WebSocket.OPEN);
    assert.equal(ws.protocol, '');
    assert.equal(ws.extensions, '');
  });

test('RFC 6455, 4.1: white space around the header’s value', async (t) => {
  const { ws, peer } = await request(t);
  const opened = happens(ws, 'open');
  const accept = acceptOf(peer.lastRequest.headers['sec-websocket-key']);
  peer.accept({ accept: `\t ${accept} ` });
  await opened;
});

test('2.2 processResponse: names of headers in other letters', async (t) => {
  const { ws, peer } = await request(t);
  const opened = happens(ws, 'open');
  const accept = acceptOf(peer.lastRequest.headers['sec-websocket-key']);
  peer.write(
    'HTTP/1.1 101 X\r\nUPGRADE: websocket\r\nconnection: Upgrade\r\n' +
      `sec-WebSocket-ACCEPT: ${accept}\r\n\r\n`,
  );
  await opened;
});

test('2.2 processResponse: one byte at a time', async (t) => {
  const { ws, peer } = await request(t);
  const events = record(ws);
  const accept = acceptOf(peer.lastRequest.headers['sec-websocket-key']);
  const head =
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n' +
    `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
  const message = happens(ws, 'message');
  await peer.trickle(Buffer.concat([Buffer.from(head), frame(TEXT, 'hi')]));
  assert.equal((await message).data, 'hi');
  assert.deepEqual(events.types(), ['open', 'message']);
});

for (const [protocols, protocol] of [
  ['a', 'a'],
  [['a', 'b'], 'a'],
  [['a', 'b'], 'b'],
  [['a', 'A'], 'A'],
])
  test(`4 open, step 3: protocol: ${protocol} of ${protocols}`, async (t) => {
    const { ws } = await opens(t, { protocol }, protocols);
    assert.equal(ws.protocol, protocol);
  });

for (const extensions of [
  'permessage-deflate',
  'permessage-deflate; server_no_context_takeover',
  'permessage-deflate; client_no_context_takeover',
  'permessage-deflate ;server_no_context_takeover',
])
  test(`4 open, step 2: extensions: ${extensions}`, async (t) => {
    // RFC 6455, 4.1: _Extensions In Use_ is equal to the header's value.
    const { ws } = await opens(t, { extensions });
    assert.equal(ws.extensions, extensions);
  });

// ---- the response: what fails ----

const FAILING = [
  // 2.2 processResponse, step 1
  ['status 200', { status: '200 OK' }],
  ['status 204', { status: '204 No Content' }],
  ['status 301, which is not followed', {
    status: '301 Moved Permanently',
    headers: [['Location', '/other'], ['Content-Length', '0']],
  }],
  ['status 307', { status: '307 X', headers: [['Location', '/other']] }],
  ['status 401', {
    status: '401 Unauthorized',
    headers: [['WWW-Authenticate', 'Basic realm="x"']],
  }],
  ['status 403', { status: '403 Forbidden' }],
  ['status 404', { status: '404 Not Found' }],
  ['status 407', { status: '407 Proxy Authentication Required' }],
  ['status 500', { status: '500 Internal Server Error' }],
  ['status 1010', { status: '1010 X' }],
  // RFC 6455, 4.1, 2
  ['no Upgrade', { upgrade: null }],
  ['an empty Upgrade', { upgrade: '' }],
  ['another Upgrade', { upgrade: 'h2c' }],
  ['an Upgrade that begins alike', { upgrade: 'websockets' }],
  // RFC 6455, 4.1, 3
  ['no Connection', { connection: null }],
  ['another Connection', { connection: 'keep-alive' }],
  ['a Connection that begins alike', { connection: 'Upgraded' }],
  // RFC 6455, 4.1, 4
  ['no Accept', { accept: null }],
  ['an empty Accept', { accept: '' }],
  ['another Accept', { accept: acceptOf('AAAAAAAAAAAAAAAAAAAAAA==') }],
  // RFC 6455, 4.1, 5
  ['an extension that is not known', { extensions: 'x-other' }],
  ['one more extension', { extensions: 'permessage-deflate, x-other' }],
  ['permessage-deflate twice', {
    extensions: 'permessage-deflate, permessage-deflate',
  }],
  // RFC 7692, 7.1
  ['an unknown parameter', { extensions: 'permessage-deflate; x' }],
  ['a parameter twice', {
    extensions:
      'permessage-deflate; server_no_context_takeover; ' +
      'server_no_context_takeover',
  }],
  ['a value where none belongs', {
    extensions: 'permessage-deflate; server_no_context_takeover=1',
  }],
  ['7 window bits', {
    extensions: 'permessage-deflate; server_max_window_bits=7',
  }],
  ['16 window bits', {
    extensions: 'permessage-deflate; server_max_window_bits=16',
  }],
  ['window bits with a zero before', {
    extensions: 'permessage-deflate; server_max_window_bits=09',
  }],
  ['window bits without a value', {
    extensions: 'permessage-deflate; server_max_window_bits',
  }],
  // RFC 6455, 4.1, 6
  ['a subprotocol that was not asked for', { protocol: 'a' }],
];

for (const [name, response] of FAILING)
  test(`2.2 processResponse: ${name}: fails`, async (t) => {
    const { ws, server, peer } = await request(t);
    const events = record(ws);
    peer.accept(response);
    await fails(ws, events);
    assert.equal(ws.protocol, '');
    assert.equal(ws.extensions, '');
    await peer.ended;
    // No frame follows a handshake that failed, and no other request.
    assert.deepEqual(peer.frames, []);
    assert.equal(server.count, 1);
  });

test('RFC 6455, 4.1, 4: the Accept of other letters', async (t) => {
  const { ws, peer } = await request(t);
  const events = record(ws);
  const accept = acceptOf(peer.lastRequest.headers['sec-websocket-key']);
  const swap = (c) => (c < 'a' ? c.toLowerCase() : c.toUpperCase());
  peer.accept({ accept: accept.replace(/[a-z]/gi, swap) });
  await fails(ws, events);
});

for (const [name, protocols, response] of [
  // 2.2 processResponse, step 2
  ['none', ['a'], {}],
  ['an empty one', ['a'], { protocol: '' }],
  ['two in one line', ['a', 'b'], { protocol: 'a, b' }],
  ['two lines', ['a', 'b'], {
    protocol: 'a',
    headers: [['Sec-WebSocket-Protocol', 'b']],
  }],
  ['the same in two lines', ['a', 'b'], {
    protocol: 'a',
    headers: [['Sec-WebSocket-Protocol', 'a']],
  }],
  ['one that is no token', ['a'], { protocol: 'a b' }],
  // RFC 6455, 4.1, 6
  ['another one', ['a'], { protocol: 'b' }],
  ['one in other letters', ['a'], { protocol: 'A' }],
])
  test(`2.2 processResponse, step 2: ${name} chosen: fails`, async (t) => {
    const { ws, peer } = await request(t, '/', protocols);
    const events = record(ws);
    peer.accept(response);
    await fails(ws, events);
    assert.equal(ws.protocol, '');
  });

test('RFC 7692: an extension that was not offered fails', async (t) => {
  const { ws, peer, request: got } = await request(t, '/', [], {
    perMessageDeflate: false,
  });
  assert.equal('sec-websocket-extensions' in got.headers, false);
  const events = record(ws);
  peer.accept({ extensions: 'permessage-deflate' });
  await fails(ws, events);
});

for (const [name, answer] of [
  ['no HTTP', 'hello\r\n\r\n'],
  ['nothing but ends of lines', '\r\n\r\n\r\n\r\n'],
  ['a binary answer', Buffer.from([0, 1, 2, 3, 255, 13, 10, 13, 10])],
  ['HTTP/2', 'HTTP/2 101 X\r\n\r\n'],
  ['no colon', 'HTTP/1.1 101 X\r\nUpgrade websocket\r\n\r\n'],
  ['frames', frame(TEXT, 'hello')],
])
  test(`2.2 processResponse: a network error: ${name}`, async (t) => {
    const { ws, peer } = await request(t);
    const events = record(ws);
    peer.write(answer);
    peer.end();
    await fails(ws, events);
  });

test('2.2 processResponse: the end before an answer', async (t) => {
  const { ws, peer } = await request(t);
  const events = record(ws);
  peer.end();
  await fails(ws, events);
});

test('2.2 processResponse: the end within the answer', async (t) => {
  const { ws, peer } = await request(t);
  const events = record(ws);
  peer.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: web');
  peer.end();
  await fails(ws, events);
});

test('2.2 processResponse: a reset', async (t) => {
  const { ws, peer } = await request(t);
  const events = record(ws);
  peer.reset();
  await fails(ws, events);
});

test('2.1 step 6: nobody listens', async (t) => {
  const server = await serve(t);
  const url = server.url();
  await server.close();
  const ws = new WebSocket(url);
  await fails(ws, record(ws));
});

test('2.1 step 6: a wss URL, where there is no TLS', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url('/', 'wss'));
  const events = record(ws);
  const peer = await server.connection();
  peer.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  peer.end();
  await fails(ws, events);
});

test('4: what failed cannot be told apart', async (t) => {
  // The warning in section 4: the same for a refused connection, an answer that
  // is none, a subprotocol that was not offered, and a connection cut off.
  const looks = [];
  const look = async (ws) => {
    const log = [];
    for (const type of ['open', 'message', 'error', 'close'])
      ws.addEventListener(type, (event) => {
        const names = Object.getOwnPropertyNames(event);
        log.push([event.constructor.name, names, ws.readyState, type]);
      });
    const close = await happens(ws, 'close');
    looks.push({ log, ...ending(close), protocol: ws.protocol });
  };
  const gone = await serve(t);
  const url = gone.url();
  await gone.close();
  await look(new WebSocket(url));
  await look(new WebSocket('ws://127.0.0.1:1/'));
  for (const answer of [
    (peer) => peer.end(),
    (peer) => peer.accept({ status: '404 Not Found' }),
    (peer) => peer.accept({ protocol: 'b' }),
  ]) {
    const { ws, peer } = await request(t);
    answer(peer);
    await look(ws);
  }
  for (const found of looks) assert.deepEqual(found, looks[0]);
  assert.equal(looks[0].code, LOST.code);
});

// ---- RFC 6455, 4.1, 2: one connection in CONNECTING ----

// Something that comes later than a connection that should not be made: a whole
// handshake and a message, through another port.
async function later(t) {
  const { ws, peer } = await opens(t, {});
  const message = happens(ws, 'message');
  peer.text('x');
  await message;
}

test('RFC 6455, 4.1, 2: a second connection waits for the first', async (t) => {
  const server = await serve(t);
  const first = new WebSocket(server.url('/1'));
  const second = new WebSocket(server.url('/2'));
  const peer = await server.connection();
  assert.equal((await peer.request()).target, '/1');
  await later(t);
  assert.equal(server.count, 1);
  assert.equal(second.readyState, WebSocket.CONNECTING);
  const opened = happens(first, 'open');
  peer.accept();
  await opened;
  const next = await server.connection();
  assert.equal((await next.request()).target, '/2');
  const openedToo = happens(second, 'open');
  next.accept();
  await openedToo;
  assert.equal(first.readyState, WebSocket.OPEN);
});

test('RFC 6455, 4.1, 2: … or for it to have failed', async (t) => {
  const server = await serve(t);
  const first = new WebSocket(server.url('/1'));
  const second = new WebSocket(server.url('/2'));
  const events = record(first);
  const peer = await server.connection();
  await peer.request();
  await later(t);
  assert.equal(server.count, 1);
  peer.accept({ status: '404 Not Found' });
  await fails(first, events);
  const opened = happens(second, 'open');
  const next = await server.connection();
  assert.equal((await next.shake()).target, '/2');
  await opened;
});

test('RFC 6455, 4.1, 2: … or for close() to have failed it', async (t) => {
  const server = await serve(t);
  const first = new WebSocket(server.url('/1'));
  const second = new WebSocket(server.url('/2'));
  const peer = await server.connection();
  await peer.request();
  first.close();
  await peer.ended;
  const opened = happens(second, 'open');
  assert.equal((await (await server.connection()).shake()).target, '/2');
  await opened;
});

test('RFC 6455, 4.1, 2: close() of the one that waits', async (t) => {
  const server = await serve(t);
  const first = new WebSocket(server.url('/1'));
  const second = new WebSocket(server.url('/2'));
  const third = new WebSocket(server.url('/3'));
  const peer = await server.connection();
  await peer.request();
  const events = record(second);
  second.close();
  assert.equal(second.readyState, WebSocket.CLOSING);
  assert.deepEqual(events.types(), []);
  await fails(second, events);
  assert.equal(first.readyState, WebSocket.CONNECTING);
  peer.accept();
  const opened = happens(third, 'open');
  assert.equal((await (await server.connection()).shake()).target, '/3');
  await opened;
  assert.equal(server.count, 2);
});

test('RFC 6455, 4.1, 2: the same address by another name', async (t) => {
  const server = await serve(t);
  const first = new WebSocket(server.url('/1'));
  const second = new WebSocket(`ws://localhost:${server.port}/2`);
  const peer = await server.connection();
  assert.equal((await peer.request()).target, '/1');
  await later(t);
  assert.equal(server.count, 1);
  const opened = Promise.all([happens(first, 'open'), happens(second, 'open')]);
  peer.accept();
  assert.equal((await (await server.connection()).shake()).target, '/2');
  await opened;
});

test('RFC 6455, 4.1, 2: many to one server, one by one', async (t) => {
  const server = await serve(t);
  const sockets = [];
  for (let i = 0; i < 20; i++) sockets.push(new WebSocket(server.url(`/${i}`)));
  const opened = sockets.map((ws) => happens(ws, 'open'));
  const targets = new Set();
  for (let i = 1; i <= 20; i++) {
    const peer = await server.connection();
    const { target } = await peer.request();
    assert.equal(server.count, i);
    targets.add(target);
    peer.accept();
    await opened[target.slice(1)];
  }
  assert.equal(targets.size, 20);
});
