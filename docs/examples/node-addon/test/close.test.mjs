// 3.1, close(), and section 4, when the WebSocket connection is closed.

import {
  CloseEvent,
  LOST,
  WebSocket,
  assert,
  closed,
  connecting,
  ending,
  fails,
  happens,
  microtasks,
  pair,
  record,
  serve,
  slowBlob,
  test,
  throwsDOM,
  turn,
  until,
} from './helpers.mjs';
import {
  CLOSE,
  PING,
  PONG,
  TEXT,
  closeFrame,
  closePayload,
  frame,
} from './raw-server.mjs';

// What goes over the wire for close(...args).
async function sends(t, ...args) {
  const { ws, peer } = await pair(t);
  ws.close(...args);
  assert.equal(ws.readyState, WebSocket.CLOSING);
  const got = await peer.frame();
  assert.equal(got.opcode, CLOSE);
  assert.equal(got.fin, true);
  assert.equal(got.masked, true);
  return got.payload.toString('hex');
}

async function sendsClose(t, args, code, reason) {
  const expected = closePayload(code, reason).toString('hex');
  assert.equal(await sends(t, ...args), expected);
}

// ---- the close frame ----

test('3.1 close, step 3: no code and no reason: no body', async (t) => {
  await sendsClose(t, [], undefined);
});

test('WebIDL: close(undefined) and close(undefined, undefined)', async (t) => {
  await sendsClose(t, [undefined], undefined);
  await sendsClose(t, [undefined, undefined], undefined);
});

test('3.1 close, step 3: a code', async (t) => {
  await sendsClose(t, [1000], 1000);
  await sendsClose(t, [1000, undefined], 1000);
  await sendsClose(t, [3000], 3000);
  await sendsClose(t, [4999], 4999);
});

test('3.1 close, step 3: a code and a reason', async (t) => {
  await sendsClose(t, [1000, 'done'], 1000, 'done');
  await sendsClose(t, [4000, 'é€😀'], 4000, 'é€😀');
  await sendsClose(t, [3000, ''], 3000, '');
});

test('3.1 close, step 3: a reason without a code: 1000', async (t) => {
  // The draft of 2023 leaves it open; since WebSocketStream the text has it.
  await sendsClose(t, [undefined, 'done'], 1000, 'done');
});

test('3.1 close, step 3: an empty reason without a code', async (t) => {
  // The same: there the body is for a reason that is not empty.
  await sendsClose(t, [undefined, ''], undefined);
});

// ---- step 1: the code ----

test('3.1 close, step 1: every code there is', async (t) => {
  // In CLOSED: the checks come first, and then nothing happens.
  const { ws } = await closed(t);
  for (let code = 0; code <= 65535; code++) {
    if (code === 1000 || (code >= 3000 && code <= 4999)) ws.close(code);
    else throwsDOM(() => ws.close(code), 'InvalidAccessError');
  }
});

// Converted by [Clamp] unsigned short: to the nearest integer, of two the even
// one, within 0 and 65535.
for (const [name, value, code] of [
  ['1000.4', 1000.4, 1000],
  ['1000.5, the even one', 1000.5, 1000],
  ['999.5, the even one', 999.5, 1000],
  ['999.6', 999.6, 1000],
  ['2999.5, the even one', 2999.5, 3000],
  ['3000.5, the even one', 3000.5, 3000],
  ['3001.5, the even one', 3001.5, 3002],
  ['4998.5, the even one', 4998.5, 4998],
  ['4999.4', 4999.4, 4999],
  ['a string', '1000', 1000],
  ['a string with spaces', ' \n3000\t', 3000],
  ['a string with an exponent', '3e3', 3000],
  ['a hexadecimal string', '0xbb8', 3000],
  ['a Number object', new Number(4000), 4000],
  ['an array of one', [1000], 1000],
  ['valueOf', { valueOf: () => 3001 }, 3001],
  ['toString', { toString: () => '3002' }, 3002],
  ['Symbol.toPrimitive', {
    [Symbol.toPrimitive]: (hint) => (hint === 'number' ? 3003 : 0),
  }, 3003],
  ['a Date', new Date(3004), 3004],
])
  test(`WebIDL, [Clamp] unsigned short: ${name}: ${code}`, async (t) => {
    await sendsClose(t, [value], code);
  });

for (const [name, value] of [
  ['0', 0],
  ['null is 0', null],
  ['NaN is 0', NaN],
  ['Infinity is 65535', Infinity],
  ['-Infinity is 0', -Infinity],
  ['-1 is 0', -1],
  ['-1000 is 0', -1000],
  ['65536 + 1000 is 65535', 66536],
  ['2 ** 32 + 1000 is 65535', 2 ** 32 + 1000],
  ['1e300 is 65535', 1e300],
  ['999', 999],
  ['999.4', 999.4],
  ['1000.6', 1000.6],
  ['1001', 1001],
  ['1005', 1005],
  ['1006', 1006],
  ['2999', 2999],
  ['2999.4', 2999.4],
  ['4999.5, the even one', 4999.5],
  ['5000', 5000],
  ['true is 1', true],
  ['an empty string is 0', ''],
  ['a string that is no number is 0', 'x'],
  ['a reason in its place', 'done'],
  ['an object is 0', {}],
  ['an empty array is 0', []],
  ['an array of two is 0', [1000, 1000]],
])
  test(`3.1 close, step 1: ${name}: InvalidAccessError`, async (t) => {
    const { ws, peer, events } = await pair(t);
    throwsDOM(() => ws.close(value), 'InvalidAccessError');
    throwsDOM(() => ws.close(value, 'x'), 'InvalidAccessError');
    // Nothing has happened.
    assert.equal(ws.readyState, WebSocket.OPEN);
    ws.send('next');
    assert.equal((await peer.frame()).payload.toString(), 'next');
    assert.deepEqual(events.types(), ['open']);
  });

test('WebIDL: a code that is no number at all: TypeError', async (t) => {
  const { ws } = await pair(t);
  assert.throws(() => ws.close(Symbol('x')), TypeError);
  assert.throws(() => ws.close(1000n), TypeError);
  assert.throws(() => ws.close(Object.create(null)), TypeError);
  assert.equal(ws.readyState, WebSocket.OPEN);
});

test('3.1 close, step 1: InvalidAccessError has its code', async (t) => {
  const { ws } = await connecting(t);
  assert.throws(
    () => ws.close(0),
    (error) => error.code === DOMException.INVALID_ACCESS_ERR,
  );
});

// ---- step 2: the reason ----

for (const [name, reason] of [
  ['123 of one byte', 'x'.repeat(123)],
  ['61 of two, and one', `${'é'.repeat(61)}x`],
  ['41 of three', '€'.repeat(41)],
  ['30 of four, and three', `${'😀'.repeat(30)}€`],
  ['41 lone surrogates', '\ud800'.repeat(41)],
])
  test(`3.1 close, step 2: 123 bytes: ${name}`, async (t) => {
    // Buffer makes U+FFFD of lone surrogates, too.
    assert.equal(Buffer.byteLength(reason), 123);
    await sendsClose(t, [1000, reason], 1000, reason);
  });

for (const [name, reason] of [
  ['124 of one byte', 'x'.repeat(124)],
  ['62 of two', 'é'.repeat(62)],
  ['41 of three, and one', `${'€'.repeat(41)}x`],
  ['31 of four', '😀'.repeat(31)],
  ['42 lone surrogates', '\ud800'.repeat(42)],
  ['a million', 'x'.repeat(1_000_000)],
])
  test(`3.1 close, step 2: more than 123: ${name}: SyntaxError`, async (t) => {
    const { ws, peer } = await pair(t);
    throwsDOM(() => ws.close(1000, reason), 'SyntaxError');
    throwsDOM(() => ws.close(undefined, reason), 'SyntaxError');
    assert.equal(ws.readyState, WebSocket.OPEN);
    ws.send('next');
    assert.equal((await peer.frame()).payload.toString(), 'next');
  });

for (const [name, value, reason] of [
  ['null', null, 'null'],
  ['a number', 1.5, '1.5'],
  ['an object', {}, '[object Object]'],
  ['toString', { toString: () => 'é' }, 'é'],
  ['a lone surrogate', 'a\ud800b', 'a\ufffdb'],
  ['a pair the wrong way round', '\udc00\ud800', '\ufffd\ufffd'],
  ['a pair', '\ud83d\ude00', '😀'],
  ['NUL and a byte order mark', '\0\ufeff', '\0\ufeff'],
])
  test(`WebIDL, reason is a USVString: ${name}`, async (t) => {
    await sendsClose(t, [1000, value], 1000, reason);
  });

test('WebIDL: a reason that is no string: TypeError', async (t) => {
  const { ws } = await pair(t);
  assert.throws(() => ws.close(1000, Symbol('x')), TypeError);
  assert.throws(() => ws.close(1000, Object.create(null)), TypeError);
  assert.equal(ws.readyState, WebSocket.OPEN);
});

// ---- the order of the checks ----

test('WebIDL: code and reason are converted, then checked', async (t) => {
  const { ws } = await pair(t);
  const order = [];
  const code = {
    valueOf() {
      order.push('code');
      return 0;
    },
  };
  const reason = {
    toString() {
      order.push('reason');
      return 'x'.repeat(200);
    },
  };
  throwsDOM(() => ws.close(code, reason), 'InvalidAccessError');
  assert.deepEqual(order, ['code', 'reason']);
  assert.throws(() => ws.close(0, Symbol('x')), TypeError);
  assert.throws(() => ws.close(Symbol('x'), reason), TypeError);
  assert.deepEqual(order, ['code', 'reason']);
});

test('3.1 close, steps 1 and 2: the code before the reason', async (t) => {
  const { ws } = await pair(t);
  throwsDOM(() => ws.close(999, 'x'.repeat(124)), 'InvalidAccessError');
  throwsDOM(() => ws.close(3000, 'x'.repeat(124)), 'SyntaxError');
});

test('3.1 close, steps 1 and 2: in every state', async (t) => {
  const check = (ws) => {
    const state = ws.readyState;
    throwsDOM(() => ws.close(999), 'InvalidAccessError');
    throwsDOM(() => ws.close(1000, 'x'.repeat(124)), 'SyntaxError');
    assert.throws(() => ws.close(Symbol('x')), TypeError);
    assert.equal(ws.readyState, state);
  };
  const { ws } = await connecting(t);
  check(ws);
  ws.close();
  assert.equal(ws.readyState, WebSocket.CLOSING);
  check(ws);
  await happens(ws, 'close');
  check(ws);
  const opened = await pair(t);
  check(opened.ws);
  opened.ws.close();
  check(opened.ws);
  const gone = happens(opened.ws, 'close');
  await opened.peer.finish();
  await gone;
  assert.equal(opened.ws.readyState, WebSocket.CLOSED);
  check(opened.ws);
});

test('3.1 close: an exception in CONNECTING fails nothing', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  throwsDOM(() => ws.close(999), 'InvalidAccessError');
  const opened = happens(ws, 'open');
  await server.shaken();
  await opened;
});

// ---- step 3: in CONNECTING ----

test('3.1 close, step 3: in CONNECTING: error and close, later', async (t) => {
  const { ws, server } = await connecting(t);
  const events = record(ws);
  const peer = await server.connection();
  await peer.request();
  ws.close();
  assert.equal(ws.readyState, WebSocket.CLOSING);
  assert.deepEqual(events.types(), []);
  await microtasks();
  assert.deepEqual(events.types(), []);
  assert.equal(ws.readyState, WebSocket.CLOSING);
  await fails(ws, events);
  assert.deepEqual(
    events.map(({ state }) => state),
    [3, 3],
  );
  await peer.ended;
  assert.deepEqual(peer.frames, []);
});

test('3.1 close, step 3: right behind the constructor', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const events = record(ws);
  ws.close();
  assert.equal(ws.readyState, WebSocket.CLOSING);
  await fails(ws, events);
  assert.equal(ws.url, server.url());
});

test('3.1 close, step 3: in CONNECTING code and reason are lost', async (t) => {
  const { ws } = await connecting(t);
  const events = record(ws);
  ws.close(3000, 'mine');
  await fails(ws, events);
});

test('3.1 close, step 3: in CONNECTING, twice', async (t) => {
  const { ws } = await connecting(t);
  const events = record(ws);
  ws.close();
  ws.close(3000);
  await fails(ws, events);
  ws.close();
  await turn();
  assert.deepEqual(events.types(), ['error', 'close']);
});

test('3.1 close, step 3: in CONNECTING, the answer on its way', async (t) => {
  const { ws, server } = await connecting(t);
  const events = record(ws);
  const peer = await server.connection();
  await peer.request();
  // It may be in the kernel's hands already when close() is called.
  peer.accept({ tail: frame(TEXT, 'x') });
  ws.close();
  await fails(ws, events);
  await peer.ended;
});

test('3.1 close, step 3: in CONNECTING, a name looked up', async () => {
  const ws = new WebSocket('ws://localhost:9/');
  const events = record(ws);
  ws.close();
  await fails(ws, events);
});

test('3.1 close, step 3: in CONNECTING, with the end', async (t) => {
  const { ws, server } = await connecting(t);
  const events = record(ws);
  const peer = await server.connection();
  await peer.request();
  peer.destroy();
  ws.close();
  await fails(ws, events);
});

// ---- step 3: in OPEN, in CLOSING, in CLOSED ----

test('3.1 close, step 3: a closing handshake', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(3000, 'bye');
  assert.equal(ws.readyState, WebSocket.CLOSING);
  await microtasks();
  assert.deepEqual(events.types(), ['open']);
  await peer.finish();
  assert.deepEqual(ending(await gone), {
    code: 3000,
    reason: 'bye',
    wasClean: true,
  });
  assert.deepEqual(events.types(), ['open', 'close']);
  assert.equal(ws.readyState, WebSocket.CLOSED);
  assert.equal(peer.frames.length, 1);
});

test('3.1 close, step 3: in CLOSING: the first one counts', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(3000, 'first');
  ws.close(3001, 'second');
  ws.close();
  await turn();
  ws.close(1000);
  const got = await peer.finish();
  assert.deepEqual(got.payload, closePayload(3000, 'first'));
  await gone;
  ws.close(3002);
  assert.deepEqual(events.types(), ['open', 'close']);
  assert.equal(peer.frames.length, 1);
});

test('3.1 close, step 3: in CLOSED: nothing', async (t) => {
  const { ws, events } = await closed(t);
  ws.close();
  ws.close(3000, 'x');
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(ws.readyState, WebSocket.CLOSED);
  assert.deepEqual(events.types(), ['open', 'close']);
});

test('3.1 close, step 3: in onopen', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const events = record(ws);
  ws.onopen = () => {
    ws.close(3000);
    assert.equal(ws.readyState, WebSocket.CLOSING);
  };
  const gone = happens(ws, 'close');
  const peer = await server.shaken();
  await peer.finish();
  assert.deepEqual(ending(await gone), {
    code: 3000,
    reason: '',
    wasClean: true,
  });
  assert.deepEqual(events.types(), ['open', 'close']);
});

test('3.1 close, step 3: in onmessage', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  ws.onmessage = () => ws.close(3000);
  peer.write(Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]));
  await peer.finish();
  assert.equal((await gone).code, 3000);
  assert.deepEqual(events.data(), ['1']);
});

test('3.1 close, step 3: in onerror and onclose', async () => {
  const ws = new WebSocket('ws://127.0.0.1:1/');
  const events = record(ws);
  ws.onerror = () => ws.close(3000);
  ws.onclose = () => ws.close();
  await fails(ws, events);
  await turn();
  await turn();
  assert.deepEqual(events.types(), ['error', 'close']);
});

test('3.1 close, step 3: in onclose of a clean one', async (t) => {
  const { ws, peer, events } = await pair(t);
  ws.onclose = () => {
    assert.equal(ws.readyState, WebSocket.CLOSED);
    ws.close();
  };
  const gone = happens(ws, 'close');
  await peer.leave(1000);
  await gone;
  await turn();
  assert.deepEqual(events.types(), ['open', 'close']);
});

test('3.1 close, step 3: when the server has begun', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  peer.sendClose(3001, 'server');
  await until(() => ws.readyState === WebSocket.CLOSING);
  ws.close(3000, 'mine');
  await peer.framesToClose();
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 3001,
    reason: 'server',
    wasClean: true,
  });
  assert.equal(peer.frames.length, 1);
  assert.notEqual(peer.frames[0].payload.toString('latin1', 2), 'mine');
});

test('3.1 close, step 3: both sides at once', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  peer.sendClose(3001, 'server');
  ws.close(3000, 'client');
  await peer.framesToClose();
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 3001,
    reason: 'server',
    wasClean: true,
  });
  assert.equal(peer.frames.length, 1);
});

test('4 message, step 1: none after close()', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close();
  await peer.frame();
  peer.write(
    Buffer.concat([frame(TEXT, 'late'), frame(TEXT, 'later'), closeFrame()]),
  );
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 1005,
    reason: '',
    wasClean: true,
  });
  assert.deepEqual(events.types(), ['open', 'close']);
});

test('4 message, step 1: none after close() behind a Blob', async (t) => {
  // The closing handshake is yet to start, but the state is CLOSING.
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  const blob = await slowBlob(t, 32 << 20);
  peer.write(Buffer.concat([frame(TEXT, 'late'), frame(TEXT, 'later')]));
  ws.send(blob);
  ws.close(3000);
  assert.equal(ws.readyState, WebSocket.CLOSING);
  const states = [];
  const watch = () => {
    states.push(ws.readyState);
    if (ws.readyState === WebSocket.CLOSING) setImmediate(watch);
  };
  watch();
  await peer.finish();
  assert.equal((await gone).code, 3000);
  assert.deepEqual(events.types(), ['open', 'close']);
  assert.equal(peer.frames[0].payload.length, 32 << 20);
  // It does not go back in the meantime.
  assert.ok(states.every((state) => state >= WebSocket.CLOSING));
});

test('3.1 close, step 3: a Blob before, the server closes first', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  const blob = await slowBlob(t, 32 << 20);
  peer.sendClose(3001, 'server');
  ws.send(blob);
  ws.close(3000, 'mine');
  await peer.framesToClose();
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 3001,
    reason: 'server',
    wasClean: true,
  });
  assert.deepEqual(events.types(), ['open', 'close']);
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(ws.readyState, WebSocket.CLOSED);
});

test('4 message, step 1: none after close() in onopen', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const events = record(ws);
  ws.onopen = () => ws.close(3000);
  const gone = happens(ws, 'close');
  const peer = await server.connection();
  await peer.shake({
    tail: Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]),
  });
  await peer.finish();
  assert.equal((await gone).code, 3000);
  assert.deepEqual(events.types(), ['open', 'close']);
});

test('RFC 6455, 5.5.2: pings are answered after close(), too', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(1000);
  assert.equal((await peer.frame()).opcode, CLOSE);
  peer.write(frame(PING, 'still there?'));
  const pong = await peer.frame();
  assert.equal(pong.opcode, PONG);
  assert.equal(pong.payload.toString(), 'still there?');
  peer.sendClose(1000);
  peer.end();
  assert.equal((await gone).wasClean, true);
});

// ---- 4: the connection is closed ----

// The server begins, and completes it.
async function left(t, ...args) {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  const answer = await peer.leave(...args);
  const event = await gone;
  assert.deepEqual(events.types(), ['open', 'close']);
  assert.equal(events.at(-1).state, WebSocket.CLOSED);
  return { ws, event, answer, peer };
}

test('RFC 6455, 7.1.5: a close frame without a code: 1005', async (t) => {
  const { event, answer } = await left(t);
  assert.deepEqual(ending(event), { code: 1005, reason: '', wasClean: true });
  assert.equal(answer.payload.length, 0);
});

for (const code of [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000,
  3999, 4000, 4999,
])
  test(`RFC 6455, 7.1.5: the server’s code: ${code}`, async (t) => {
    const { event, answer } = await left(t, code);
    assert.deepEqual(ending(event), { code, reason: '', wasClean: true });
    // "Typically echos the status code": no other one, at least.
    assert.ok(
      answer.payload.length === 0 || answer.payload.readUInt16BE() === code,
    );
  });

for (const [name, reason] of [
  ['ASCII', 'going away'],
  ['two to four bytes', 'é€😀'],
  ['123 bytes', 'x'.repeat(123)],
  ['NUL', 'a\0b'],
  ['a byte order mark is kept', '\ufeffx'],
])
  test(`4 closed, step 3: the server’s reason: ${name}`, async (t) => {
    const { event } = await left(t, 1001, reason);
    assert.deepEqual(ending(event), { code: 1001, reason, wasClean: true });
  });

test('4 closed, step 3: it is a CloseEvent', async (t) => {
  const { ws, event } = await left(t, 1000, 'x');
  assert.equal(Object.getPrototypeOf(event), CloseEvent.prototype);
  assert.equal(event.type, 'close');
  assert.equal(event.target, ws);
  assert.equal(event.bubbles, false);
  assert.equal(event.cancelable, false);
  assert.equal(event.composed, false);
});

test('RFC 6455, 7.1.5: the code is that of the frame received', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(3000, 'mine');
  await peer.framesToClose();
  peer.sendClose(3001, 'theirs');
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 3001,
    reason: 'theirs',
    wasClean: true,
  });
});

test('RFC 6455, 7.1.5: … also when that has none', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(3000, 'mine');
  await peer.framesToClose();
  peer.sendClose();
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 1005,
    reason: '',
    wasClean: true,
  });
});

test('RFC 6455, 7.1.5: only the first close frame counts', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  peer.write(Buffer.concat([closeFrame(3000, 'a'), closeFrame(3001, 'b')]));
  peer.end();
  assert.equal((await gone).code, 3000);
  assert.deepEqual(events.types(), ['open', 'close']);
});

test('RFC 6455, 5.5.1: what follows a close frame is nothing', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  peer.write(
    Buffer.concat([
      frame(TEXT, 'before'),
      closeFrame(1000),
      frame(TEXT, 'after'),
      frame(3, 'no opcode'),
    ]),
  );
  await peer.framesToClose();
  peer.end();
  assert.deepEqual(ending(await gone), {
    code: 1000,
    reason: '',
    wasClean: true,
  });
  assert.deepEqual(events.types(), ['open', 'message', 'close']);
  assert.deepEqual(events.data(), ['before']);
});

test('4: a message and a close frame in one segment', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  const states = [];
  ws.addEventListener('message', () => states.push(ws.readyState));
  peer.write(
    Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2'), closeFrame(1000)]),
  );
  await peer.framesToClose();
  peer.end();
  await gone;
  assert.deepEqual(events.data(), ['1', '2']);
  assert.deepEqual(states, [WebSocket.OPEN, WebSocket.OPEN]);
});

test('4: the closing handshake is started: CLOSING', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.sendClose(1000);
  await until(() => ws.readyState !== WebSocket.OPEN);
  assert.equal(ws.readyState, WebSocket.CLOSING);
  assert.deepEqual(events.types(), ['open']);
  const gone = happens(ws, 'close');
  await peer.framesToClose();
  peer.end();
  await gone;
  assert.equal(ws.readyState, WebSocket.CLOSED);
});

test('RFC 6455, 7.1.1: the client waits for the server’s end', async (t) => {
  // "The client SHOULD wait for the server to close the connection."
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(1000);
  await peer.frame();
  peer.sendClose(1000);
  // What comes later than an end would: a whole connection by another socket.
  const other = await pair(t);
  const answer = happens(other.ws, 'message');
  other.peer.text('x');
  await answer;
  assert.equal(peer.isEnded, false);
  assert.equal(ws.readyState, WebSocket.CLOSING);
  assert.deepEqual(events.types(), ['open']);
  peer.end();
  assert.equal((await gone).wasClean, true);
});

test('RFC 6455, 7.1.4: the end without a close frame: 1006', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.end();
  await fails(ws, events, ['open']);
});

test('RFC 6455, 7.2.1: a reset: 1006', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.reset();
  await fails(ws, events, ['open']);
});

test('RFC 6455, 7.1.4: the end within a frame: 1006', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(frame(TEXT, 'hello').subarray(0, 4));
  peer.end();
  await fails(ws, events, ['open']);
});

test('RFC 6455, 7.1.4: the end within a message: 1006', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(frame(TEXT, 'hello', { fin: false }));
  peer.end();
  await fails(ws, events, ['open']);
});

test('RFC 6455, 7.1.4: the end within a close frame: 1006', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(closeFrame(1000, 'reason').subarray(0, 4));
  peer.end();
  await fails(ws, events, ['open']);
});

test('RFC 6455, 7.1.4: the end in place of an answer to ours', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close(3000, 'mine');
  await peer.frame();
  peer.end();
  assert.deepEqual(ending(await gone), LOST);
});

test('RFC 6455, 7.1.4: messages, then the end', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]));
  peer.end();
  await fails(ws, events, ['open', 'message', 'message']);
  assert.deepEqual(events.data(), ['1', '2']);
});

test('4 closed, step 2: error is a plain Event, before close', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.end();
  await fails(ws, events, ['open']);
  const { event, state } = events[1];
  assert.equal(Object.getPrototypeOf(event), Event.prototype);
  assert.equal(event.target, ws);
  assert.equal(event.bubbles, false);
  assert.equal(event.cancelable, false);
  assert.equal(event.composed, false);
  // Nothing tells what has happened.
  assert.deepEqual(Reflect.ownKeys(event), Reflect.ownKeys(new Event('x')));
  // Step 1 comes before it.
  assert.equal(state, WebSocket.CLOSED);
});

test('4 closed: once, whatever comes', async (t) => {
  const { ws, peer, events } = await pair(t);
  const gone = happens(ws, 'close');
  ws.close();
  await peer.frame();
  peer.write(Buffer.concat([closeFrame(1000), Buffer.of(0x83, 0)]));
  peer.reset();
  await gone;
  for (let i = 0; i < 5; i++) await turn();
  const count = events.types().filter((type) => type === 'close').length;
  assert.equal(count, 1);
});

test('3.1: attributes after the end', async (t) => {
  const { ws, peer, server } = await pair(t, {
    path: '/chat',
    protocols: ['a'],
    accept: { protocol: 'a', extensions: 'permessage-deflate' },
  });
  const gone = happens(ws, 'close');
  ws.binaryType = 'arraybuffer';
  await peer.leave(1000);
  await gone;
  assert.equal(ws.url, server.url('/chat'));
  assert.equal(ws.protocol, 'a');
  assert.equal(ws.extensions, 'permessage-deflate');
  assert.equal(ws.binaryType, 'arraybuffer');
  assert.equal(ws.readyState, WebSocket.CLOSED);
});

// ---- RFC 6455, 7.4 and 5.5.1: close frames that are none ----

for (const [name, payload, code] of [
  ['a body of one byte', Buffer.of(3), 1002],
  ['code 0', closePayload(0), 1002],
  ['code 999', closePayload(999), 1002],
  ['code 1004', closePayload(1004), 1002],
  ['code 1005', closePayload(1005), 1002],
  ['code 1006', closePayload(1006), 1002],
  ['code 1015', closePayload(1015), 1002],
  ['code 2999', closePayload(2999), 1002],
  ['code 5000', closePayload(5000), 1002],
  ['code 65535', closePayload(65535), 1002],
  ['a reason that is no UTF-8', closePayload(1000, Buffer.of(0xff)), 1007],
  ['a reason cut off', closePayload(1000, Buffer.of(0xe2, 0x82)), 1007],
])
  test(`RFC 6455, 7.4: ${name}: fails`, async (t) => {
    const { ws, peer, events } = await pair(t);
    peer.write(frame(CLOSE, payload));
    const got = (await peer.framesToClose()).at(-1);
    assert.equal(got.payload.readUInt16BE(), code);
    peer.end();
    await fails(ws, events, ['open']);
  });
