// 4, when a WebSocket message has been received; and what RFC 6455 makes of
// frames that are none.

import zlib from 'node:zlib';
import {
  MessageEvent,
  WebSocket,
  assert,
  ending,
  fails,
  happens,
  pair,
  record,
  serve,
  test,
  until,
} from './helpers.mjs';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  PING,
  PONG,
  TEXT,
  closeFrame,
  frame,
} from './raw-server.mjs';

// The data of as many messages as are expected of `bytes`.
async function receives(t, bytes, count = 1, options = {}) {
  const { ws, peer, events } = await pair(t, options);
  ws.binaryType = 'arraybuffer';
  const all = until(() => events.data().length === count);
  peer.write(bytes);
  await all;
  return events.data();
}

// ---- step 2: the data ----

for (const [name, text] of [
  ['empty', ''],
  ['ASCII', 'hello'],
  ['all of ASCII', String.fromCharCode(...Array(128).keys())],
  ['Latin-1', 'é§ÿ\u0080'],
  ['three bytes', '€\u0800\uffff'],
  ['the ends of the surrogates', '\ud7ff\ue000'],
  ['four bytes', '\u{10000}\u{10ffff}😀'],
  ['a byte order mark is kept', '\ufeffx'],
  ['NUL', 'a\0b'],
  ['noncharacters', '\ufffe\uffff\ufdd0'],
  ['one not ASCII at the end', `${'x'.repeat(1000)}é`],
  ['one not ASCII at the start', `é${'x'.repeat(1000)}`],
  ['long', 'x'.repeat(200_000)],
  ['long, not ASCII', 'x€'.repeat(100_000)],
])
  test(`4 message, step 2: text: ${name}`, async (t) => {
    const [data] = await receives(t, frame(TEXT, text));
    assert.equal(data, text);
  });

test('4 message, step 2: text, whatever binaryType is', async (t) => {
  const { ws, peer } = await pair(t);
  for (const type of ['blob', 'arraybuffer']) {
    ws.binaryType = type;
    const message = happens(ws, 'message');
    peer.text('x');
    assert.equal((await message).data, 'x');
  }
});

for (const size of [0, 1, 125, 126, 1000, 65535, 65536, 3_000_000]) {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 7) & 255;

  test(`4 message, step 2: arraybuffer: ${size} bytes`, async (t) => {
    const { ws, peer } = await pair(t);
    ws.binaryType = 'arraybuffer';
    const message = happens(ws, 'message');
    peer.binary(bytes);
    const { data } = await message;
    assert.equal(Object.getPrototypeOf(data), ArrayBuffer.prototype);
    assert.equal(data.byteLength, size);
    assert.ok(Buffer.from(data).equals(bytes));
    if ('resizable' in data) assert.equal(data.resizable, false);
    // It is the listener's own, who may write to it.
    new Uint8Array(data).fill(1);
    assert.ok(Buffer.from(data).equals(Buffer.alloc(size, 1)));
  });

  test(`HTML, transferable objects: arraybuffer: ${size} bytes`, async (t) => {
    // "A new ArrayBuffer object" is one that can be transferred.
    const { ws, peer } = await pair(t);
    ws.binaryType = 'arraybuffer';
    const message = happens(ws, 'message');
    peer.binary(bytes);
    const { data } = await message;
    const moved = structuredClone(data, { transfer: [data] });
    assert.equal(data.byteLength, 0);
    assert.ok(Buffer.from(moved).equals(bytes));
  });

  test(`4 message, step 2: blob: ${size} bytes`, async (t) => {
    const { ws, peer } = await pair(t);
    const message = happens(ws, 'message');
    peer.binary(bytes);
    const { data } = await message;
    assert.equal(Object.getPrototypeOf(data), Blob.prototype);
    assert.equal(data.size, size);
    assert.equal(data.type, '');
    assert.ok(Buffer.from(await data.arrayBuffer()).equals(bytes));
  });
}

test('4 message, step 2: each ArrayBuffer is another one', async (t) => {
  const [a, b] = await receives(
    t,
    Buffer.concat([frame(BINARY, 'aa'), frame(BINARY, 'bb')]),
    2,
  );
  new Uint8Array(a).fill(0);
  assert.notEqual(a, b);
  assert.equal(Buffer.from(b).toString(), 'bb');
});

test('4 message, step 2: binaryType at the time of the task', async (t) => {
  const { ws, peer, events } = await pair(t);
  ws.addEventListener('message', () => {
    ws.binaryType = ws.binaryType === 'blob' ? 'arraybuffer' : 'blob';
  });
  const all = until(() => events.data().length === 4);
  peer.write(
    Buffer.concat([
      frame(BINARY, '1'),
      frame(BINARY, '2'),
      frame(BINARY, '3'),
      frame(BINARY, '4'),
    ]),
  );
  await all;
  const names = events.data().map((data) => data.constructor.name);
  assert.deepEqual(names, ['Blob', 'ArrayBuffer', 'Blob', 'ArrayBuffer']);
});

test('4 message, step 2: binaryType set in onopen', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  ws.onopen = () => {
    ws.binaryType = 'arraybuffer';
  };
  const message = happens(ws, 'message');
  const peer = await server.connection();
  await peer.shake({ tail: frame(BINARY, 'x') });
  assert.ok((await message).data instanceof ArrayBuffer);
});

// ---- 3.1, binaryType ----

test('3.1 binaryType: is set in every state', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const flip = () => {
    const other = ws.binaryType === 'blob' ? 'arraybuffer' : 'blob';
    ws.binaryType = other;
    assert.equal(ws.binaryType, other);
  };
  assert.equal(ws.binaryType, 'blob');
  flip();
  const opened = happens(ws, 'open');
  const peer = await server.shaken();
  await opened;
  flip();
  const gone = happens(ws, 'close');
  ws.close();
  flip();
  await peer.finish();
  await gone;
  flip();
});

for (const value of [
  '',
  'Blob',
  'BLOB',
  'blob ',
  'ArrayBuffer',
  'arrayBuffer',
  'array buffer',
  'text',
  'nodebuffer',
  'fragments',
  'blob\0',
  undefined,
  null,
  0,
  {},
  ['blob', 'arraybuffer'],
  Blob,
  ArrayBuffer,
])
  test(`WebIDL, enumerations: binaryType = ${String(value)}`, async (t) => {
    // An attribute's setter ignores it, and does not throw.
    const { ws } = await pair(t);
    for (const type of ['arraybuffer', 'blob']) {
      ws.binaryType = type;
      ws.binaryType = value;
      assert.equal(ws.binaryType, type);
    }
  });

test('WebIDL, enumerations: values are converted to strings', async (t) => {
  const { ws } = await pair(t);
  ws.binaryType = { toString: () => 'arraybuffer' };
  assert.equal(ws.binaryType, 'arraybuffer');
  ws.binaryType = ['blob'];
  assert.equal(ws.binaryType, 'blob');
  ws.binaryType = new String('arraybuffer');
  assert.equal(ws.binaryType, 'arraybuffer');
  assert.throws(() => {
    ws.binaryType = Symbol('blob');
  }, TypeError);
  const error = new RangeError('mine');
  assert.throws(
    () => {
      ws.binaryType = {
        toString() {
          throw error;
        },
      };
    },
    (thrown) => thrown === error,
  );
  assert.equal(ws.binaryType, 'arraybuffer');
});

// ---- step 3: the event ----

test('4 message, step 3: it is a MessageEvent', async (t) => {
  const { ws, peer, server } = await pair(t, { path: '/chat?x' });
  const message = happens(ws, 'message');
  peer.text('x');
  const event = await message;
  assert.equal(Object.getPrototypeOf(event), MessageEvent.prototype);
  assert.equal(event.type, 'message');
  assert.equal(event.target, ws);
  assert.equal(event.srcElement, ws);
  assert.equal(event.bubbles, false);
  assert.equal(event.cancelable, false);
  assert.equal(event.composed, false);
  assert.equal(event.data, 'x');
  assert.equal(event.data, event.data);
  // The URL's origin, serialised.
  assert.equal(event.origin, server.url(''));
  assert.equal(event.lastEventId, '');
  assert.equal(event.source, null);
  assert.deepEqual(event.ports, []);
  assert.ok(Object.isFrozen(event.ports));
});

test('4 message, step 3: the origin has no credentials', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(`http://user:pass@127.0.0.1:${server.port}/x`);
  const message = happens(ws, 'message');
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, 'x') });
  assert.equal((await message).origin, server.url(''));
});

test('4 message, step 3: data is the same each time', async (t) => {
  const { ws, peer } = await pair(t);
  for (const type of ['blob', 'arraybuffer']) {
    ws.binaryType = type;
    const message = happens(ws, 'message');
    peer.binary('x');
    const event = await message;
    assert.equal(event.data, event.data);
  }
});

// ---- RFC 6455, 5.4: messages in fragments ----

for (const [name, frames, text] of [
  [
    'two',
    [
      [TEXT, 'hel', { fin: false }],
      [CONTINUATION, 'lo'],
    ],
    'hello',
  ],
  [
    'three, the last one empty',
    [
      [TEXT, 'hel', { fin: false }],
      [CONTINUATION, 'lo', { fin: false }],
      [CONTINUATION, ''],
    ],
    'hello',
  ],
  [
    'all empty',
    [
      [TEXT, '', { fin: false }],
      [CONTINUATION, '', { fin: false }],
      [CONTINUATION, ''],
    ],
    '',
  ],
  [
    'cut within characters',
    [
      [TEXT, Buffer.from('€😀').subarray(0, 1), { fin: false }],
      [CONTINUATION, Buffer.from('€😀').subarray(1, 4), { fin: false }],
      [CONTINUATION, Buffer.from('€😀').subarray(4)],
    ],
    '€😀',
  ],
  [
    'with a ping and a pong between',
    [
      [TEXT, 'hel', { fin: false }],
      [PING, 'ping'],
      [PONG, 'pong'],
      [CONTINUATION, 'lo'],
    ],
    'hello',
  ],
]) {
  const bytes = Buffer.concat(frames.map((args) => frame(...args)));

  test(`RFC 6455, 5.4: fragments: ${name}`, async (t) => {
    assert.deepEqual(await receives(t, bytes), [text]);
  });

  test(`RFC 6455, 5.4: fragments: ${name}: byte by byte`, async (t) => {
    const { ws, peer, events } = await pair(t);
    const message = happens(ws, 'message');
    await peer.trickle(bytes);
    assert.equal((await message).data, text);
    assert.deepEqual(events.types(), ['open', 'message']);
  });
}

test('RFC 6455, 5.4: fragments: binary', async (t) => {
  const [data] = await receives(
    t,
    Buffer.concat([
      frame(BINARY, Buffer.of(0, 255), { fin: false }),
      frame(CONTINUATION, Buffer.of(1)),
    ]),
  );
  assert.deepEqual([...new Uint8Array(data)], [0, 255, 1]);
});

test('RFC 6455, 5.4: fragments: many', async (t) => {
  const frames = [frame(TEXT, 'a', { fin: false })];
  for (let i = 0; i < 1000; i++)
    frames.push(frame(CONTINUATION, 'b', { fin: false }));
  frames.push(frame(CONTINUATION, 'c'));
  const [data] = await receives(t, Buffer.concat(frames));
  assert.equal(data, `a${'b'.repeat(1000)}c`);
});

test('RFC 6455, 5.4: fragments: large', async (t) => {
  const part = Buffer.alloc(700_000, 'é');
  const [data] = await receives(
    t,
    Buffer.concat([
      frame(TEXT, part, { fin: false }),
      frame(CONTINUATION, part, { fin: false }),
      frame(CONTINUATION, part),
    ]),
  );
  assert.equal(data, 'é'.repeat(1_050_000));
});

test('4: messages in one segment, in order', async (t) => {
  const frames = [];
  for (let i = 0; i < 500; i++) frames.push(frame(TEXT, `${i}`));
  const data = await receives(t, Buffer.concat(frames), 500);
  assert.deepEqual(
    data,
    Array.from({ length: 500 }, (_, i) => `${i}`),
  );
});

// ---- 5, and RFC 6455, 5.5.2: pings ----

test('RFC 6455, 5.5.2: a ping is answered with its bytes', async (t) => {
  const { peer, events } = await pair(t);
  for (const payload of ['', 'x', Buffer.alloc(125, 255)]) {
    peer.write(frame(PING, payload));
    const got = await peer.frame();
    assert.equal(got.opcode, PONG);
    assert.equal(got.masked, true);
    assert.equal(got.fin, true);
    assert.ok(got.payload.equals(Buffer.from(payload)));
  }
  // Section 5: they are not exposed.
  assert.deepEqual(events.types(), ['open']);
});

test('5: a pong that nobody asked for is nothing', async (t) => {
  const { ws, peer, events } = await pair(t);
  const message = happens(ws, 'message');
  peer.write(Buffer.concat([frame(PONG, 'x'), frame(TEXT, 'y')]));
  assert.equal((await message).data, 'y');
  assert.deepEqual(events.types(), ['open', 'message']);
  assert.deepEqual(peer.frames, []);
});

// ---- frames that fail the connection ----

const MASK = Buffer.of(1, 2, 3, 4);

for (const [name, bytes, code] of [
  // RFC 6455, 5.1
  ['a masked frame', frame(TEXT, 'x', { mask: MASK }), 1002],
  ['a masked ping', frame(PING, '', { mask: MASK }), 1002],
  // 5.2
  ['reserved bit 1', frame(TEXT, 'x', { rsv: 4 }), 1002],
  ['reserved bit 2', frame(TEXT, 'x', { rsv: 2 }), 1002],
  ['reserved bit 3', frame(BINARY, 'x', { rsv: 1 }), 1002],
  ['a reserved bit of a ping', frame(PING, '', { rsv: 4 }), 1002],
  ['opcode 3', frame(3, 'x'), 1002],
  ['opcode 7', frame(7, ''), 1002],
  ['opcode 11', frame(11, 'x'), 1002],
  ['opcode 15', frame(15, ''), 1002],
  ['a length in 16 bits for no reason', frame(TEXT, 'x', { form: 16 }), 1002],
  ['a length in 64 bits for no reason', frame(TEXT, 'x', { form: 64 }), 1002],
  ['a length with its highest bit', Buffer.concat([
    Buffer.of(0x82, 127, 0x80),
    Buffer.alloc(7),
  ]), 1002],
  // 5.4
  ['a continuation of nothing', frame(CONTINUATION, 'x'), 1002],
  ['a continuation behind a message', Buffer.concat([
    frame(PING, ''),
    frame(CONTINUATION, 'x', { fin: false }),
  ]), 1002],
  ['a message within another', Buffer.concat([
    frame(TEXT, 'x', { fin: false }),
    frame(TEXT, 'y'),
  ]), 1002],
  ['a binary one within a text', Buffer.concat([
    frame(TEXT, 'x', { fin: false }),
    frame(BINARY, 'y', { fin: false }),
  ]), 1002],
  // 5.5
  ['a ping in fragments', frame(PING, 'x', { fin: false }), 1002],
  ['a close frame in fragments', frame(CLOSE, '', { fin: false }), 1002],
  ['a ping of 126 bytes', frame(PING, Buffer.alloc(126)), 1002],
  ['a close frame of 126 bytes', frame(CLOSE, Buffer.alloc(126, 3)), 1002],
  // 8.1
  ['overlong', frame(TEXT, Buffer.of(0xc0, 0x80)), 1007],
  ['overlong, three bytes', frame(TEXT, Buffer.of(0xe0, 0x9f, 0xbf)), 1007],
  ['overlong, four', frame(TEXT, Buffer.of(0xf0, 0x8f, 0xbf, 0xbf)), 1007],
  ['a surrogate', frame(TEXT, Buffer.of(0xed, 0xa0, 0x80)), 1007],
  ['a pair of them', frame(TEXT, Buffer.from('eda0bdedb880', 'hex')), 1007],
  ['beyond U+10FFFF', frame(TEXT, Buffer.of(0xf4, 0x90, 0x80, 0x80)), 1007],
  ['F5', frame(TEXT, Buffer.of(0xf5, 0x80, 0x80, 0x80)), 1007],
  ['FF', frame(TEXT, Buffer.of(0xff)), 1007],
  ['a continuation byte alone', frame(TEXT, Buffer.of(0x61, 0x80)), 1007],
  ['a character cut off', frame(TEXT, Buffer.of(0x61, 0xe2, 0x82)), 1007],
  ['a character cut off by ASCII', frame(TEXT, Buffer.of(0xe2, 0x61)), 1007],
  ['behind much that is good', frame(TEXT, Buffer.concat([
    Buffer.alloc(100_000, 'x'),
    Buffer.of(0xff),
  ])), 1007],
  ['in the second fragment', Buffer.concat([
    frame(TEXT, Buffer.of(0xe2), { fin: false }),
    frame(CONTINUATION, 'x'),
  ]), 1007],
])
  test(`RFC 6455, 5 and 8.1: ${name}: fails with ${code}`, async (t) => {
    const { ws, peer, events } = await pair(t);
    peer.write(bytes);
    // 7.1.7: SHOULD send a close frame with an appropriate code.
    const got = (await peer.framesToClose()).at(-1);
    assert.equal(got.payload.readUInt16BE(), code);
    // The server's answer is not looked at any more.
    peer.write(frame(CLOSE, got.payload));
    peer.end();
    await fails(ws, events, ['open']);
  });

test('RFC 6455, 8.1: what came before is told', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(Buffer.concat([frame(TEXT, 'good'), frame(TEXT, Buffer.of(255))]));
  await peer.framesToClose();
  peer.end();
  await fails(ws, events, ['open', 'message']);
});

test('RFC 6455, 7.1.7: nothing is told of what comes behind', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(
    Buffer.concat([frame(3, ''), frame(TEXT, 'late'), closeFrame(3000)]),
  );
  await peer.framesToClose();
  peer.end();
  await fails(ws, events, ['open']);
});

test('RFC 6455, 7.1.7: send() behind it sends nothing', async (t) => {
  const { ws, peer, events } = await pair(t);
  peer.write(frame(3, ''));
  await until(() => ws.readyState !== WebSocket.OPEN);
  const before = ws.bufferedAmount;
  ws.send('late');
  ws.close(3000);
  assert.equal(ws.bufferedAmount, before + 4);
  await peer.framesToClose();
  peer.end();
  await fails(ws, events, ['open']);
  assert.equal(peer.frames.length, 1);
});

test('RFC 6455, 7.1.7: in the same segment as the handshake', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const events = record(ws);
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, Buffer.of(0xff)) });
  const got = (await peer.framesToClose()).at(-1);
  assert.equal(got.payload.readUInt16BE(), 1007);
  peer.end();
  await fails(ws, events, ['open']);
});

test('package: maxPayload: 1009', async (t) => {
  const { ws, peer, events } = await pair(t, { options: { maxPayload: 100 } });
  const message = happens(ws, 'message');
  peer.text('x'.repeat(100));
  assert.equal((await message).data.length, 100);
  peer.text('x'.repeat(101));
  const got = (await peer.framesToClose()).at(-1);
  assert.equal(got.payload.readUInt16BE(), 1009);
  peer.end();
  await fails(ws, events, ['open', 'message']);
});

// ---- RFC 7692 ----

const DEFLATE = { accept: { extensions: 'permessage-deflate' } };

function deflate(text) {
  const bytes = zlib.deflateRawSync(text, {
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
  });
  return bytes.subarray(0, -4);
}

function inflate(payload) {
  const tail = Buffer.of(0, 0, 255, 255);
  return zlib.inflateRawSync(Buffer.concat([payload, tail]), {
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
  });
}

test('RFC 7692, 7.2.2: compressed messages are received', async (t) => {
  const text = 'hello, hello, hello €'.repeat(50);
  const bytes = Buffer.concat([
    frame(TEXT, deflate(text), { rsv: 4 }),
    frame(BINARY, deflate(text), { rsv: 4 }),
    frame(TEXT, 'not compressed'),
    frame(TEXT, deflate(''), { rsv: 4 }),
  ]);
  const data = await receives(t, bytes, 4, DEFLATE);
  assert.equal(data[0], text);
  assert.equal(Buffer.from(data[1]).toString(), text);
  assert.equal(data[2], 'not compressed');
  assert.equal(data[3], '');
});

test('RFC 7692, 7.2.2: … in fragments', async (t) => {
  const text = 'hello, hello, hello €'.repeat(50);
  const all = deflate(text);
  const bytes = Buffer.concat([
    frame(TEXT, all.subarray(0, 5), { rsv: 4, fin: false }),
    frame(PING, ''),
    frame(CONTINUATION, all.subarray(5), { fin: false }),
    frame(CONTINUATION, ''),
  ]);
  assert.deepEqual(await receives(t, bytes, 1, DEFLATE), [text]);
});

test('RFC 7692, 7.2.1: what is sent, compressed or not', async (t) => {
  const { ws, peer } = await pair(t, {
    accept: {
      extensions: 'permessage-deflate; client_no_context_takeover',
    },
  });
  assert.equal(
    ws.extensions,
    'permessage-deflate; client_no_context_takeover',
  );
  const text = 'hello, hello, hello €'.repeat(1000);
  for (const data of ['x', text, Buffer.from(text), new Blob([text])]) {
    const before = ws.bufferedAmount;
    ws.send(data);
    // 3.1: the bytes of the application, not those that zlib makes of them.
    const bytes = Buffer.from(data instanceof Blob ? text : data);
    assert.equal(ws.bufferedAmount, before + bytes.length);
    const { opcode, rsv, payload } = await peer.frame();
    assert.equal(opcode, typeof data === 'string' ? TEXT : BINARY);
    const plain = rsv === 4 ? inflate(payload) : payload;
    assert.ok(plain.equals(bytes));
    await until(() => ws.bufferedAmount === 0);
  }
});

for (const [name, bytes, code] of [
  ['no deflate at all', frame(TEXT, Buffer.alloc(9, 255), { rsv: 4 }), 1002],
  ['no UTF-8 inside', frame(TEXT, deflate(Buffer.of(255)), { rsv: 4 }), 1007],
  ['the bit on a continuation', Buffer.concat([
    frame(TEXT, 'x', { fin: false }),
    frame(CONTINUATION, 'y', { rsv: 4 }),
  ]), 1002],
  ['the bit on a ping', frame(PING, '', { rsv: 4 }), 1002],
  ['bit 2', frame(TEXT, 'x', { rsv: 2 }), 1002],
])
  test(`RFC 7692, 6.2: ${name}: fails`, async (t) => {
    const { ws, peer, events } = await pair(t, DEFLATE);
    peer.write(bytes);
    const got = (await peer.framesToClose()).at(-1);
    const told = got.payload.readUInt16BE();
    // RFC 7692 names no code for data that cannot be inflated.
    if (name === 'no deflate at all') assert.ok([1002, 1007].includes(told));
    else assert.equal(told, code);
    peer.end();
    await fails(ws, events, ['open']);
  });

test('RFC 7692: the closing handshake is not compressed', async (t) => {
  const { ws, peer } = await pair(t, DEFLATE);
  const gone = happens(ws, 'close');
  ws.close(3000, 'x'.repeat(123));
  const got = await peer.finish();
  assert.equal(got.rsv, 0);
  assert.deepEqual(ending(await gone), {
    code: 3000,
    reason: 'x'.repeat(123),
    wasClean: true,
  });
});
