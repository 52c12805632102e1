// 3.1, the constructor: its arguments' conversions, the URL, the subprotocols.

import {
  LOST,
  WebSocket,
  assert,
  configure,
  ending,
  fails,
  happens,
  microtasks,
  record,
  serve,
  test,
  throwsDOM,
} from './helpers.mjs';

// A socket that is left alone when the test ends, wherever it wanted to go.
function make(t, ...args) {
  const ws = new WebSocket(...args);
  t.after(() => ws.close());
  return ws;
}

// What the server is asked for, by a socket that connects to it.
async function requested(t, server, ...args) {
  const ws = make(t, ...args);
  const peer = await server.connection();
  const request = await peer.request();
  peer.destroy();
  return { ws, request };
}

function syntaxError(...args) {
  throwsDOM(() => new WebSocket(...args), 'SyntaxError');
}

// ---- what it returns ----

test('3.1 constructor: the object, before anything has happened', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url('/chat?x=1'), ['a', 'b']);
  assert.equal(ws.url, server.url('/chat?x=1'));
  assert.equal(ws.readyState, WebSocket.CONNECTING);
  assert.equal(ws.bufferedAmount, 0);
  assert.equal(ws.extensions, '');
  assert.equal(ws.protocol, '');
  assert.equal(ws.binaryType, 'blob');
  for (const type of ['open', 'message', 'error', 'close'])
    assert.equal(ws[`on${type}`], null);
});

// ---- steps 1 to 3: the URL parser ----

// Each with what `url` says, what the request is for, and where it goes. PORT
// stands for the server's.
const URLS = [
  ['no path', 'ws://127.0.0.1:PORT', '/'],
  ['capitals in the scheme', 'WS://127.0.0.1:PORT/Path', '/Path'],
  ['spaces around', ' \t\nws://127.0.0.1:PORT/x \r\n', '/x'],
  ['tabs and newlines within', 'w\ts://127.0.0.1:PORT/a\nb', '/ab'],
  ['a space in the path', 'ws://127.0.0.1:PORT/a b', '/a%20b'],
  ['dots', 'ws://127.0.0.1:PORT/a/./../b/..', '/'],
  ['empty segments', 'ws://127.0.0.1:PORT//a//b/', '//a//b/'],
  ['beyond ASCII', 'ws://127.0.0.1:PORT/é?é', '/%C3%A9?%C3%A9'],
  ['a quotation mark', 'ws://127.0.0.1:PORT/"?"', '/%22?%22'],
  ['percent signs', 'ws://127.0.0.1:PORT/%zz%41?%', '/%zz%41?%'],
  ['a query alone', 'ws://127.0.0.1:PORT?q=1', '/?q=1'],
  ['question marks', 'ws://127.0.0.1:PORT/?a?b', '/?a?b'],
  ['backslashes', 'ws:\\\\127.0.0.1:PORT\\a', '/a'],
  ['no slashes', 'ws:127.0.0.1:PORT', '/'],
  ['zeros before the port', 'ws://127.0.0.1:000PORT/', '/'],
  ['a hexadecimal address', 'ws://0x7f.1:PORT/', '/'],
  ['percent signs in the host', 'ws://%31%32%37.0.0.1:PORT/', '/'],
  ['fullwidth digits in the host', 'ws://１２７.0.0.１:PORT/', '/'],
  ['ideographic full stops', 'ws://127。0。0。1:PORT/', '/'],
  ['http', 'http://127.0.0.1:PORT/x', '/x'],
];

for (const [name, input, path] of URLS)
  test(`3.1 constructor, steps 2 to 5: ${name}`, async (t) => {
    const server = await serve(t);
    const url = input.replace('PORT', server.port);
    const { ws, request } = await requested(t, server, url);
    assert.equal(ws.url, server.url(path));
    assert.equal(request.target, path);
    assert.equal(request.headers.host, `127.0.0.1:${server.port}`);
  });

test('3.1 constructor, step 2: credentials in the URL', async (t) => {
  const server = await serve(t);
  const url = `ws://user:pass@127.0.0.1:${server.port}/`;
  const { ws, request } = await requested(t, server, url);
  assert.equal(ws.url, url);
  assert.equal(request.headers.host, `127.0.0.1:${server.port}`);
  assert.equal(request.target, '/');
});

test('3.1 constructor, step 2: every character of a path', async (t) => {
  // The URL parser encodes some; all others have to go through as they are.
  // Without ^, which the URL Standard began to encode between Node's releases.
  let all = '';
  for (let code = 0x21; code <= 0x7e; code++)
    if (!'#?\\^'.includes(String.fromCharCode(code)))
      all += String.fromCharCode(code);
  const server = await serve(t);
  const url = new URL(server.url(`/${all}?${all}?\\`));
  const { ws, request } = await requested(t, server, url.href);
  assert.equal(ws.url, url.href);
  assert.equal(request.target, url.pathname + url.search);
});

test('3.1 constructor, step 2: every character of a host', async (t) => {
  const server = await serve(t);
  const proxy = server.url('', 'http');
  for (let code = 0x21; code <= 0x7e; code++) {
    const url = `ws://a${String.fromCharCode(code)}b.example/`;
    // Node's parser is the judge of what is one.
    let hostname;
    try {
      ({ hostname } = new URL(url));
    } catch {
      syntaxError(url);
      continue;
    }
    if (!hostname.endsWith('b.example') || url.includes('@')) continue;
    const { ws, request } = await requested(t, server, url, [], { proxy });
    assert.equal(ws.url, `ws://${hostname}/`);
    assert.equal(request.line, `CONNECT ${hostname}:80 HTTP/1.1`);
  }
});

test('3.1 constructor, step 2: a long path', async (t) => {
  const server = await serve(t);
  const url = server.url(`/${'x'.repeat(7000)}?${'y'.repeat(7000)}`);
  const { ws, request } = await requested(t, server, url);
  assert.equal(ws.url, url);
  assert.equal(server.url(request.target), url);
});

for (const [name, url] of [
  ['port 0', 'ws://127.0.0.1:0/'],
  ['a label that is too long', `ws://${'a'.repeat(64)}.invalid/`],
  ['a name that is too long', `ws://${'a.'.repeat(200)}invalid/`],
  ['an address without a route', 'ws://255.255.255.255:9/'],
  ['a name with an underscore', 'ws://a_b.localhost.invalid/'],
])
  test(`3.1 constructor, step 12: ${name}: fails later`, async (t) => {
    // They are URLs; what they name cannot be reached.
    const ws = make(t, url);
    const events = record(ws);
    assert.equal(ws.readyState, WebSocket.CONNECTING);
    assert.equal(ws.url, url);
    ws.close();
    await fails(ws, events);
  });

test('3.1 constructor, step 12: port 0, and a name, waited for', async (t) => {
  for (const url of ['ws://127.0.0.1:0/', `ws://${'a.'.repeat(200)}invalid/`]) {
    const ws = make(t, url);
    await fails(ws, record(ws));
  }
});

test('3.1 constructor, step 2: credentials of all kinds', async (t) => {
  const server = await serve(t);
  for (const [userinfo, kept] of [
    ['@', ''],
    [':@', ''],
    ['user@', 'user@'],
    ['user:@', 'user@'],
    [':pass@', ':pass@'],
    ['a%zz:b%20@', 'a%zz:b%20@'],
    ['a b:c/d@', undefined],
    ['é:€@', '%C3%A9:%E2%82%AC@'],
    ['a:b:c@', 'a:b%3Ac@'],
    ['a@b:c@', 'a%40b:c@'],
    ["!$&'()*+,;=@", new URL("ws://!$&'()*+,;=@h").href.slice(5, -2)],
  ]) {
    const url = `ws://${userinfo}127.0.0.1:${server.port}/`;
    if (kept === undefined) {
      syntaxError(url);
      continue;
    }
    const { ws } = await requested(t, server, url);
    assert.equal(ws.url, `ws://${kept}127.0.0.1:${server.port}/`);
  }
});

test('WebIDL: url is a USVString: lone surrogates', async (t) => {
  const server = await serve(t);
  const url = server.url('/\ud800x?\udc00');
  const { ws, request } = await requested(t, server, url);
  assert.equal(request.target, '/%EF%BF%BDx?%EF%BF%BD');
  assert.equal(ws.url, server.url('/%EF%BF%BDx?%EF%BF%BD'));
});

test('WebIDL: url is a USVString: objects', async (t) => {
  const server = await serve(t);
  const url = new URL(server.url('/a'));
  assert.equal((await requested(t, server, url)).ws.url, url.href);
  const object = { toString: () => server.url('/b') };
  const { ws, request } = await requested(t, server, object);
  assert.equal(ws.url, server.url('/b'));
  assert.equal(request.target, '/b');
});

test('3.1 constructor, step 2: the default port is dropped', (t) => {
  for (const [input, url] of [
    ['ws://127.0.0.1:80', 'ws://127.0.0.1/'],
    ['ws://127.0.0.1:443', 'ws://127.0.0.1:443/'],
    ['wss://127.0.0.1:443/x', 'wss://127.0.0.1/x'],
    ['wss://127.0.0.1:80/x', 'wss://127.0.0.1:80/x'],
    ['http://127.0.0.1:80?q', 'ws://127.0.0.1/?q'],
    ['https://127.0.0.1:443/', 'wss://127.0.0.1/'],
    ['https://127.0.0.1:80/', 'wss://127.0.0.1:80/'],
    ['ws://127.0.0.1:/', 'ws://127.0.0.1/'],
    ['ws://127.0.0.1:080/', 'ws://127.0.0.1/'],
  ]) {
    const ws = make(t, input);
    assert.equal(ws.url, url);
    ws.close();
  }
});

test('3.1 constructor, step 2: IDNA', async (t) => {
  // Through a proxy no resolver has to be asked.
  const server = await serve(t);
  for (const [host, ascii] of [
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['faß.example', 'xn--fa-hia.example'],
    ['☕.example', 'xn--53h.example'],
    ['b%C3%BCcher.example', 'xn--bcher-kva.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['EXAMPLE。example', 'example.example'],
  ]) {
    const proxy = server.url('', 'http');
    const { ws, request } = await requested(t, server, `ws://${host}/`, [], {
      proxy,
    });
    assert.equal(ws.url, `ws://${ascii}/`);
    assert.equal(request.line, `CONNECT ${ascii}:80 HTTP/1.1`);
  }
});

test('3.1 constructor, step 2: IPv6', (t) => {
  for (const [input, url] of [
    ['ws://[::1]:9/', 'ws://[::1]:9/'],
    ['ws://[0:0:0:0:0:0:0:1]:9/x', 'ws://[::1]:9/x'],
    ['ws://[::127.0.0.1]:9/', 'ws://[::7f00:1]:9/'],
  ]) {
    const ws = make(t, input);
    assert.equal(ws.url, url);
    ws.close();
  }
});

for (const input of [
  '',
  'foo',
  '/path',
  '//127.0.0.1/',
  '?query',
  'ws:',
  'ws://',
  'ws:///',
  'ws://?',
  'ws://127.0.0.1:99999/',
  'ws://127.0.0.1:port/',
  'ws://127.0.0.1:-1/',
  'ws://[::1',
  'ws://[::1]x/',
  'ws://a b/',
  'ws://a^b/',
  'ws://a%00b/',
  'ws://%zz/',
  'ws://1.2.3.256/',
  'ws://1.2.3.4.5/',
  'ws://:80/',
  'ws://user@/',
  'ws://xn--a/',
  'http://',
])
  test(`3.1 constructor, step 3: ${JSON.stringify(input)}: SyntaxError`, () => {
    syntaxError(input);
  });

// ---- steps 1 and 2: the base ----

for (const [base, input, path] of [
  ['http://127.0.0.1:PORT/dir/page', 'chat', '/dir/chat'],
  ['http://127.0.0.1:PORT/dir/page', '/chat', '/chat'],
  ['http://127.0.0.1:PORT/dir/page', '../chat?x', '/chat?x'],
  ['http://127.0.0.1:PORT/dir/page?old', '?new', '/dir/page?new'],
  ['http://127.0.0.1:PORT/dir/page?q#frag', '', '/dir/page?q'],
  ['http://other.invalid/dir/', '//127.0.0.1:PORT/x', '/x'],
  ['http://other.invalid/dir/', 'ws://127.0.0.1:PORT/x', '/x'],
  ['https://other.invalid/dir/', 'http://127.0.0.1:PORT/x', '/x'],
  ['ws://127.0.0.1:PORT/dir/', 'x', '/dir/x'],
])
  test(`3.1 constructor, step 1: '${input}' at ${base}`, async (t) => {
    const server = await serve(t);
    t.after(() => configure({ baseURL: null }));
    configure({ baseURL: base.replace('PORT', server.port) });
    const url = input.replace('PORT', server.port);
    const { ws, request } = await requested(t, server, url);
    assert.equal(ws.url, server.url(path));
    assert.equal(request.target, path);
  });

test('3.1 constructor, step 1: a https base makes it wss', (t) => {
  t.after(() => configure({ baseURL: null }));
  configure({ baseURL: 'https://127.0.0.1:9/dir/' });
  assert.equal(make(t, 'x').url, 'wss://127.0.0.1:9/dir/x');
});

test('3.1 constructor, step 1: no base any more', (t) => {
  t.after(() => configure({ baseURL: null }));
  configure({ baseURL: 'http://127.0.0.1:9/' });
  assert.equal(make(t, 'x').url, 'ws://127.0.0.1:9/x');
  // What is not named stays as it is.
  configure({ origin: undefined });
  configure({ baseURL: undefined });
  assert.equal(make(t, 'x').url, 'ws://127.0.0.1:9/x');
  configure({ baseURL: null });
  syntaxError('x');
});

test('3.1 constructor, steps 3 and 6: with a base', (t) => {
  t.after(() => configure({ baseURL: null }));
  configure({ baseURL: 'http://127.0.0.1:9/dir/' });
  syntaxError('http://a b/');
  syntaxError('ftp:x');
  syntaxError('mailto:x');
  configure({ baseURL: 'about:blank' });
  syntaxError('x');
  configure({ baseURL: 'file:///dir/' });
  syntaxError('x');
  syntaxError('');
});

test('3.1 constructor, step 7: a fragment, with a base', (t) => {
  t.after(() => configure({ baseURL: null }));
  configure({ baseURL: 'http://127.0.0.1:9/dir/' });
  syntaxError('#x');
  syntaxError('#');
  syntaxError('chat#x');
});

// ---- step 6: the scheme ----

for (const input of [
  'ftp://127.0.0.1/',
  'file:///x',
  'mailto:a@example.com',
  'about:blank',
  'data:text/plain,x',
  'javascript:0',
  'blob:ws://127.0.0.1/',
  'wsx://127.0.0.1/',
  'w://127.0.0.1/',
  'ws+unix://127.0.0.1/',
  'httpx://127.0.0.1/',
])
  test(`3.1 constructor, step 6: ${input}: SyntaxError`, () => {
    syntaxError(input);
  });

// ---- step 7: the fragment ----

for (const end of ['#', '#x', '/#', '/path#x', '/?q#', '/##', '/#%23'])
  for (const scheme of ['ws', 'wss', 'http', 'https'])
    test(`3.1 constructor, step 7: ${scheme}://…${end}: SyntaxError`, () => {
      syntaxError(`${scheme}://127.0.0.1:9${end}`);
    });

test('3.1 constructor, step 7: %23 is no fragment', async (t) => {
  const server = await serve(t);
  const { request } = await requested(t, server, server.url('/%23?%23'));
  assert.equal(request.target, '/%23?%23');
});

// ---- steps 8 and 9: the subprotocols ----

// An object that is converted to `text`, with such an iterator.
function object(text, iterator) {
  return { toString: () => text, [Symbol.iterator]: iterator };
}

function* letters() {
  yield 'a';
  yield 'b';
}

// Each with the header that is sent; null: there is none.
const PROTOCOLS = [
  ['none', [], null],
  ['undefined', [undefined], null],
  ['an empty array', [[]], null],
  ['a string', ['chat'], 'chat'],
  ['an array of one', [['chat']], 'chat'],
  ['an array', [['a', 'b', 'c']], 'a, b, c'],
  ['values that differ in case', [['a', 'A']], 'a, A'],
  ['null is converted', [null], 'null'],
  ['a number is converted', [1.5], '1.5'],
  ['a boolean is converted', [false], 'false'],
  ['a BigInt is converted', [10n], '10'],
  ['elements are converted', [[1, null, undefined]], '1, null, undefined'],
  ['an element with toString', [[{ toString: () => 'x' }]], 'x'],
  ['an array in an array', [[['a']]], 'a'],
  ['a Set', [new Set(['a', 'b'])], 'a, b'],
  ['a Map’s keys', [new Map([['a', 1]]).keys()], 'a'],
  ['a typed array', [Uint8Array.of(1, 2)], '1, 2'],
  ['an iterable of one’s own', [object('x', letters)], 'a, b'],
  ['a String object is a sequence', [new String('abc')], 'a, b, c'],
  ['an object that is not iterable', [{ toString: () => 'x' }], 'x'],
  ['an iterator that is undefined', [object('x', undefined)], 'x'],
  ['an iterator that is null', [object('x', null)], 'x'],
  ['a function', [Object.assign(() => {}, { toString: () => 'f' })], 'f'],
];

for (const [name, args, header] of PROTOCOLS)
  test(`3.1 constructor, step 8: ${name}`, async (t) => {
    const server = await serve(t);
    const { request } = await requested(t, server, server.url(), ...args);
    assert.equal(request.headers['sec-websocket-protocol'] ?? null, header);
  });

test('3.1 constructor, step 9: all characters of a token', async (t) => {
  const token =
    "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_" +
    '`abcdefghijklmnopqrstuvwxyz|~';
  const server = await serve(t);
  const single = await requested(t, server, server.url(), token);
  assert.equal(single.request.headers['sec-websocket-protocol'], token);
  const list = await requested(t, server, server.url(), [...token]);
  assert.equal(
    list.request.headers['sec-websocket-protocol'],
    [...token].join(', '),
  );
});

test('3.1 constructor, step 9: many of them', async (t) => {
  const server = await serve(t);
  const protocols = Array.from({ length: 1000 }, (_, i) => `protocol-${i}`);
  const { request } = await requested(t, server, server.url(), protocols);
  assert.equal(
    request.headers['sec-websocket-protocol'],
    protocols.join(', '),
  );
});

test('3.1 constructor, step 9: all others: SyntaxError', () => {
  // RFC 6455, 4.1, 10: U+0021 to U+007E without the separators of RFC 2616.
  const token = /^[!#$%&'*+\-.0-9A-Z^_`a-z|~]$/;
  for (let code = 0; code <= 0x17f; code++) {
    const character = String.fromCharCode(code);
    if (token.test(character)) continue;
    syntaxError('ws://127.0.0.1:9/', character);
    syntaxError('ws://127.0.0.1:9/', `a${character}b`);
    syntaxError('ws://127.0.0.1:9/', ['ok', `${character}a`]);
    syntaxError('ws://127.0.0.1:9/', [`a${character}`, 'ok']);
  }
});

for (const [name, protocols] of [
  ['an empty string', ''],
  ['an empty string in an array', ['']],
  ['an empty string behind a good one', ['a', '']],
  ['several in one string', 'a, b'],
  ['several in one string without a space', 'a,b'],
  ['twice', ['a', 'a']],
  ['twice, not in a row', ['a', 'b', 'c', 'a']],
  ['twice, once converted', ['1', 1]],
  ['a plain object', {}],
  ['a Promise', Promise.resolve()],
  ['a RegExp', /x/],
  ['beyond ASCII', 'é'],
  ['a lone surrogate', '\ud800'],
  ['a function', () => {}],
])
  test(`3.1 constructor, step 9: ${name}: SyntaxError`, () => {
    syntaxError('ws://127.0.0.1:9/', protocols);
  });

// What takes a number for a result must not go on for ever.
function once(result) {
  const results = [result];
  return () => {
    if (results.length === 0) throw new RangeError('asked again');
    return results.pop();
  };
}

for (const [name, protocols] of [
  ['a symbol', Symbol('x')],
  ['a symbol in an array', [Symbol('x')]],
  ['an iterator that is no function', object('x', 1)],
  ['an iterator that returns no object', object('x', () => 1)],
  ['an iterator without next', object('x', () => ({}))],
  ['a result that is no object', object('x', () => ({ next: once(1) }))],
  ['an object without a string', Object.create(null)],
])
  test(`WebIDL: protocols: ${name}: TypeError`, () => {
    const url = 'ws://127.0.0.1:9/';
    assert.throws(() => new WebSocket(url, protocols), TypeError);
  });

test('WebIDL: protocols: what an iterator throws', () => {
  const error = new RangeError('mine');
  const thrower = () => {
    throw error;
  };
  const done = Object.defineProperty({}, 'done', { get: thrower });
  for (const protocols of [
    object('x', thrower),
    object('x', () => ({ next: thrower })),
    object('x', () => ({ next: () => done })),
    Object.defineProperty({}, Symbol.iterator, { get: thrower }),
    [{ toString: thrower }],
    { toString: thrower },
  ])
    assert.throws(
      () => new WebSocket('ws://127.0.0.1:9/', protocols),
      (thrown) => thrown === error,
    );
});

test('WebIDL: protocols: Symbol.iterator is read once', async (t) => {
  const server = await serve(t);
  let times = 0;
  const protocols = {
    get [Symbol.iterator]() {
      times++;
      return ['a', 'b'][Symbol.iterator].bind(['a', 'b']);
    },
  };
  await requested(t, server, server.url(), protocols);
  assert.equal(times, 1);
});

test('WebIDL: protocols: an iterator is not closed', () => {
  // "Create a sequence from an iterable" has no such step, not even when an
  // element cannot be converted.
  let closed = false;
  const protocols = {
    [Symbol.iterator]: () => ({
      next: once({ done: false, value: Symbol('x') }),
      return() {
        closed = true;
        return {};
      },
    }),
  };
  assert.throws(() => new WebSocket('ws://127.0.0.1:9/', protocols), TypeError);
  assert.equal(closed, false);
});

test('WebIDL: protocols: a change afterwards has no effect', async (t) => {
  const server = await serve(t);
  const protocols = ['a', 'b'];
  const ws = make(t, server.url(), protocols);
  protocols.reverse();
  const request = await (await server.connection()).request();
  assert.equal(request.headers['sec-websocket-protocol'], 'a, b');
  assert.equal(ws.protocol, '');
});

// ---- the order ----

test('WebIDL: url is converted before protocols', () => {
  const order = [];
  const url = {
    toString() {
      order.push('url');
      return 'no URL';
    },
  };
  const protocols = {
    get [Symbol.iterator]() {
      order.push('protocols');
      return undefined;
    },
    toString() {
      order.push('string');
      return 'a';
    },
  };
  syntaxError(url, protocols);
  assert.deepEqual(order, ['url', 'protocols', 'string']);
});

test('WebIDL: both are converted before the URL is parsed', () => {
  const error = new RangeError('mine');
  const toString = () => {
    throw error;
  };
  const mine = (thrown) => thrown === error;
  assert.throws(() => new WebSocket({ toString }, 'a b'), mine);
  assert.throws(() => new WebSocket('no URL', { toString }), mine);
  assert.throws(() => new WebSocket('no URL', ['a', { toString }]), mine);
  assert.throws(() => new WebSocket(Symbol('x'), { toString }), TypeError);
});

test('WebIDL: url: what is no string', (t) => {
  assert.throws(() => new WebSocket(Symbol('x')), TypeError);
  assert.throws(() => new WebSocket(Object.create(null)), TypeError);
  syntaxError(undefined);
  syntaxError(null);
  syntaxError(1);
  syntaxError({});
  t.after(() => configure({ baseURL: null }));
  configure({ baseURL: 'http://127.0.0.1:9/' });
  assert.equal(make(t, undefined).url, 'ws://127.0.0.1:9/undefined');
  assert.equal(make(t, null).url, 'ws://127.0.0.1:9/null');
});

test('3.1 constructor: an exception leaves nothing behind', async (t) => {
  const server = await serve(t);
  syntaxError(server.url('/#'));
  syntaxError(server.url(), ['a', 'a']);
  assert.throws(() => new WebSocket(server.url(), Symbol('x')), TypeError);
  await requested(t, server, server.url());
  assert.equal(server.count, 1);
});

test('3.1 constructor: exceptions are DOMExceptions with codes', () => {
  assert.throws(
    () => new WebSocket('no URL'),
    (error) =>
      Object.getPrototypeOf(error) === DOMException.prototype &&
      error.code === DOMException.SYNTAX_ERR,
  );
});

// ---- Fetch's port blocking ----

// Not all of Fetch's list; the first and the last, and kinds of them between.
const BLOCKED = [1, 7, 22, 25, 110, 143, 993, 2049, 5060, 6000, 6667, 10080];

for (const port of BLOCKED)
  test(`Fetch, port blocking: ${port}: error and close 1006`, async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/`);
    const events = record(ws);
    assert.equal(ws.readyState, WebSocket.CONNECTING);
    // It is a task that tells it, and no microtask.
    await microtasks();
    assert.deepEqual(events.types(), []);
    assert.equal(ws.readyState, WebSocket.CONNECTING);
    throwsDOM(() => ws.send('x'), 'InvalidStateError');
    await fails(ws, events);
    assert.equal(ws.url, `ws://127.0.0.1:${port}/`);
    assert.deepEqual(
      events.map(({ state }) => state),
      [3, 3],
    );
  });

test('Fetch, port blocking: with wss, http and https', async () => {
  for (const scheme of ['wss', 'http', 'https']) {
    const ws = new WebSocket(`${scheme}://127.0.0.1:6667/`);
    await fails(ws, record(ws));
  }
});

test('Fetch, port blocking: close() before it is told', async () => {
  const ws = new WebSocket('ws://127.0.0.1:6667/');
  const events = record(ws);
  ws.close();
  assert.equal(ws.readyState, WebSocket.CLOSING);
  await microtasks();
  assert.deepEqual(events.types(), []);
  await fails(ws, events);
});

test('Fetch, port blocking: nothing is connected', async (t) => {
  // The one place where the port cannot be any.
  const ports = [10080, 6697, 6669, 6668, 6667, 6666, 6665, 6566, 5061, 5060];
  let server;
  for (const port of ports) {
    server = await serve(t, port).catch(() => undefined);
    if (server) break;
  }
  if (!server) {
    t.skip('all of these ports are in use');
    return;
  }
  const ws = new WebSocket(server.url());
  const close = await happens(ws, 'close');
  assert.deepEqual(ending(close), LOST);
  // What connects to the other one would come later.
  const other = await serve(t);
  await requested(t, other, other.url());
  assert.equal(server.count, 0);
});
