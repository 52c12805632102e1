// 3.1, send() and bufferedAmount: the conversions, and the bytes on the wire.

import { runInNewContext } from 'node:vm';
import {
  WebSocket,
  assert,
  closed,
  connecting,
  happens,
  microtasks,
  pair,
  slowBlob,
  test,
  throwsDOM,
  turn,
  until,
} from './helpers.mjs';
import { BINARY, CLOSE, TEXT } from './raw-server.mjs';

// Sends each of the values, and tells what the server got.
async function sent(t, ...values) {
  const { ws, peer } = await pair(t);
  let amount = 0;
  const frames = [];
  for (const value of values) {
    const before = ws.bufferedAmount;
    ws.send(value);
    amount += ws.bufferedAmount - before;
    frames.push(await peer.frame());
  }
  for (const { fin, masked } of frames) {
    assert.equal(fin, true);
    assert.equal(masked, true);
  }
  return { frames, amount };
}

async function sendsText(t, value, text) {
  const { frames, amount } = await sent(t, value);
  const [{ opcode, payload }] = frames;
  assert.equal(opcode, TEXT);
  assert.equal(payload.toString('hex'), Buffer.from(text).toString('hex'));
  assert.equal(amount, Buffer.byteLength(text));
}

async function sendsBytes(t, value, bytes) {
  const { frames, amount } = await sent(t, value);
  const [{ opcode, payload }] = frames;
  assert.equal(opcode, BINARY);
  assert.equal(payload.toString('hex'), Buffer.from(bytes).toString('hex'));
  assert.equal(amount, bytes.length);
}

// ---- step 1: the state ----

test('3.1 send, step 1: CONNECTING: InvalidStateError', async (t) => {
  const { ws } = await connecting(t);
  for (const data of ['x', '', new ArrayBuffer(1), Uint8Array.of(1), 1, null])
    throwsDOM(() => ws.send(data), 'InvalidStateError');
  throwsDOM(() => ws.send(new Blob(['x'])), 'InvalidStateError');
  assert.equal(ws.bufferedAmount, 0);
  assert.equal(ws.readyState, WebSocket.CONNECTING);
});

test('WebIDL: data is converted before step 1', async (t) => {
  const { ws } = await connecting(t);
  let converted = 0;
  const toString = () => `${converted++}`;
  throwsDOM(() => ws.send({ toString }), 'InvalidStateError');
  assert.equal(converted, 1);
  assert.throws(() => ws.send(Symbol('x')), TypeError);
  const shared = new Uint8Array(new SharedArrayBuffer(1));
  assert.throws(() => ws.send(shared), TypeError);
});

test('3.1 send, step 1: InvalidStateError has its code', async (t) => {
  const { ws } = await connecting(t);
  assert.throws(
    () => ws.send(''),
    (error) => error.code === DOMException.INVALID_STATE_ERR,
  );
});

// ---- step 2: strings ----

for (const [name, text] of [
  ['empty', ''],
  ['ASCII', 'hello, world'],
  ['all of ASCII', String.fromCharCode(...Array(128).keys())],
  ['Latin-1', 'é§ÿ\u0080'],
  ['two bytes', '\u0080\u07ff'],
  ['three bytes', '\u0800\uffff€'],
  ['four bytes', '\u{10000}\u{10ffff}😀'],
  ['a byte order mark', '\ufeffx\ufeff'],
  ['NUL', 'a\0b\0'],
  ['noncharacters', '\ufffe\uffff\ufdd0'],
])
  test(`3.1 send, string: ${name}`, async (t) => {
    await sendsText(t, text, text);
  });

for (const [name, text, repaired] of [
  ['a high surrogate', '\ud800', '\ufffd'],
  ['a low surrogate', '\udc00', '\ufffd'],
  ['a high one at the end', 'ab\udbff', 'ab\ufffd'],
  ['a low one at the start', '\udfffab', '\ufffdab'],
  ['the wrong way round', '\udc00\ud800', '\ufffd\ufffd'],
  ['two high ones and a low one', '\ud83d\ud83d\ude00', '\ufffd😀'],
  ['a high one and two low ones', '\ud83d\ude00\ude00', '😀\ufffd'],
  ['between others', 'é\ud800é', 'é\ufffdé'],
])
  test(`WebIDL, USVString: ${name}`, async (t) => {
    await sendsText(t, text, repaired);
  });

test('3.1 send, string: long ones, lone surrogates and all', async (t) => {
  const { ws, peer } = await pair(t);
  for (const length of [4095, 4096, 65535, 65536, 65537, 1 << 20]) {
    for (const end of ['x', 'é', '€', '😀', '\ud800']) {
      const text = 'a'.repeat(length) + end + 'b';
      ws.send(text);
      const { payload } = await peer.frame();
      // Buffer replaces them, too.
      assert.ok(payload.equals(Buffer.from(text)), `${length} ${end}`);
    }
  }
});

test('3.1 send, string: 16 MiB', async (t) => {
  const { ws, peer } = await pair(t);
  const text = '0123456789abcdef'.repeat(1 << 20);
  ws.send(text);
  assert.equal(ws.bufferedAmount, text.length);
  const { opcode, payload } = await peer.frame();
  assert.equal(opcode, TEXT);
  assert.ok(payload.equals(Buffer.from(text)));
  await until(() => ws.bufferedAmount === 0);
});

for (const [name, value, text] of [
  ['undefined', undefined, 'undefined'],
  ['null', null, 'null'],
  ['a number', 1.5, '1.5'],
  ['minus zero', -0, '0'],
  ['NaN', NaN, 'NaN'],
  ['a boolean', false, 'false'],
  ['a BigInt', 12345678901234567890n, '12345678901234567890'],
  ['a String object', new String('x'), 'x'],
  ['a plain object', {}, '[object Object]'],
  ['an array', [1, 'é', null], '1,é,'],
  ['toString', { toString: () => 'é' }, 'é'],
  ['valueOf is not asked', { valueOf: () => 'v', toString: () => 's' }, 's'],
  ['Symbol.toPrimitive', { [Symbol.toPrimitive]: (hint) => hint }, 'string'],
  ['a function', Object.assign(() => {}, { toString: () => 'f' }), 'f'],
  ['a URL', new URL('ws://x/'), 'ws://x/'],
  ['a Promise', Promise.resolve(), '[object Promise]'],
  ['toString with a lone surrogate', { toString: () => '\ud800' }, '\ufffd'],
])
  test(`WebIDL, data is a string: ${name}`, async (t) => {
    await sendsText(t, value, text);
  });

test('WebIDL, data is a string: what cannot be one: TypeError', async (t) => {
  const { ws, peer } = await pair(t);
  assert.throws(() => ws.send(Symbol('x')), TypeError);
  assert.throws(() => ws.send(Object.create(null)), TypeError);
  const error = new RangeError('mine');
  const toString = () => {
    throw error;
  };
  assert.throws(
    () => ws.send({ toString }),
    (thrown) => thrown === error,
  );
  assert.equal(ws.bufferedAmount, 0);
  ws.send('next');
  assert.equal((await peer.frame()).payload.toString(), 'next');
});

test('WebIDL, data is a string: toString closes the socket', async (t) => {
  // The state is looked at after the conversion.
  const { ws, peer } = await pair(t);
  ws.send({
    toString() {
      ws.close();
      return 'late';
    },
  });
  assert.equal(ws.readyState, WebSocket.CLOSING);
  assert.equal(ws.bufferedAmount, 4);
  assert.equal((await peer.frame()).opcode, CLOSE);
});

test('3.1 send: further arguments are not looked at', async (t) => {
  const { ws, peer } = await pair(t);
  ws.send('a', { binary: true, fin: false });
  const { opcode, fin, payload } = await peer.frame();
  assert.deepEqual([opcode, fin, payload.toString()], [TEXT, true, 'a']);
});

// ---- step 2: ArrayBuffer ----

test('3.1 send, ArrayBuffer: its bytes', async (t) => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await sendsBytes(t, bytes.buffer, bytes);
});

test('3.1 send, ArrayBuffer: an empty one', async (t) => {
  await sendsBytes(t, new ArrayBuffer(0), []);
});

test('3.1 send, ArrayBuffer: of another realm', async (t) => {
  const buffer = runInNewContext('new Uint8Array([1, 2, 3]).buffer');
  assert.equal(buffer instanceof ArrayBuffer, false);
  await sendsBytes(t, buffer, [1, 2, 3]);
});

test('3.1 send, ArrayBuffer: what it inherits from is no matter', async (t) => {
  const { buffer } = Uint8Array.of(1, 2, 3);
  Object.setPrototypeOf(buffer, null);
  await sendsBytes(t, buffer, [1, 2, 3]);
  class Own extends ArrayBuffer {
    get byteLength() {
      return 1;
    }

    toString() {
      return 'own';
    }
  }
  await sendsBytes(t, new Own(2), [0, 0]);
});

test('WebIDL: what only looks like an ArrayBuffer is a string', async (t) => {
  const fake = Object.create(ArrayBuffer.prototype);
  await sendsText(t, fake, '[object ArrayBuffer]');
});

test('WebIDL: a detached ArrayBuffer is empty', async (t) => {
  const buffer = new ArrayBuffer(3);
  structuredClone(buffer, { transfer: [buffer] });
  await sendsBytes(t, buffer, []);
});

test('3.1 send, ArrayBuffer: a change afterwards has no effect', async (t) => {
  const { ws, peer } = await pair(t);
  for (const size of [3, 1000, 100_000, 10_000_000]) {
    const bytes = new Uint8Array(size).fill(1);
    ws.send(bytes.buffer);
    bytes.fill(2);
    const { payload } = await peer.frame();
    assert.ok(payload.equals(Buffer.alloc(size, 1)), `${size}`);
  }
});

test('3.1 send, ArrayBuffer: transferred afterwards', async (t) => {
  const { ws, peer } = await pair(t);
  const bytes = new Uint8Array(1_000_000).fill(7);
  ws.send(bytes.buffer);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  assert.ok((await peer.frame()).payload.equals(Buffer.alloc(1_000_000, 7)));
});

// ---- step 2: ArrayBufferView ----

const VIEWS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
];
if (globalThis.Float16Array) VIEWS.push(globalThis.Float16Array);

for (const View of VIEWS) {
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
  const unit = View.BYTES_PER_ELEMENT ?? 1;

  test(`3.1 send, ArrayBufferView: ${View.name}: all of it`, async (t) => {
    await sendsBytes(t, new View(bytes.buffer), bytes);
  });

  test(`3.1 send, ArrayBufferView: ${View.name}: from an offset`, async (t) => {
    await sendsBytes(t, new View(bytes.buffer, 16), bytes.subarray(16));
  });

  test(`3.1 send, ArrayBufferView: ${View.name}: offset, length`, async (t) => {
    // bufferedAmount grows by what the view has, not by all of the buffer.
    const view = new View(bytes.buffer, 8, 2);
    await sendsBytes(t, view, bytes.subarray(8, 8 + 2 * unit));
  });

  test(`3.1 send, ArrayBufferView: ${View.name}: empty`, async (t) => {
    await sendsBytes(t, new View(bytes.buffer, 8, 0), []);
    await sendsBytes(t, new View(new ArrayBuffer(0)), []);
  });

  test(`WebIDL, ${View.name}: of shared memory: TypeError`, async (t) => {
    const { ws } = await pair(t);
    const view = new View(new SharedArrayBuffer(16));
    assert.throws(() => ws.send(view), TypeError);
    assert.equal(ws.bufferedAmount, 0);
  });

  test(
    `WebIDL, ${View.name}: of a resizable buffer: TypeError`,
    { skip: !('resizable' in ArrayBuffer.prototype) },
    async (t) => {
      const { ws } = await pair(t);
      const buffer = new ArrayBuffer(16, { maxByteLength: 32 });
      assert.throws(() => ws.send(new View(buffer)), TypeError);
      assert.throws(() => ws.send(new View(buffer, 8, 1)), TypeError);
      assert.equal(ws.bufferedAmount, 0);
    },
  );
}

test('3.1 send, ArrayBufferView: Buffer, out of its pool', async (t) => {
  const buffer = Buffer.from('hello');
  assert.ok(buffer.buffer.byteLength > 5);
  await sendsBytes(t, buffer, Buffer.from('hello'));
});

test('3.1 send, ArrayBufferView: its properties are no matter', async (t) => {
  const view = Uint8Array.of(1, 2, 3);
  const other = { get: () => 1 };
  for (const name of ['byteLength', 'byteOffset', 'length', 'buffer'])
    Object.defineProperty(view, name, other);
  Object.setPrototypeOf(view, null);
  await sendsBytes(t, view, [1, 2, 3]);
  const data = new DataView(Uint8Array.of(1, 2, 3).buffer, 1);
  for (const name of ['byteLength', 'byteOffset', 'buffer'])
    Object.defineProperty(data, name, other);
  await sendsBytes(t, data, [2, 3]);
});

test('3.1 send, ArrayBufferView: what it inherits from', async (t) => {
  const view = Uint8Array.of(1, 2, 3).subarray(1);
  Object.setPrototypeOf(view, null);
  await sendsBytes(t, view, [2, 3]);
  const data = new DataView(Uint8Array.of(1, 2, 3).buffer, 1);
  Object.setPrototypeOf(data, null);
  await sendsBytes(t, data, [2, 3]);
});

test('WebIDL: what a view is of is no matter of its properties', async (t) => {
  const { ws } = await pair(t);
  const shared = new Uint8Array(new SharedArrayBuffer(3));
  Object.defineProperty(shared, 'buffer', { value: new ArrayBuffer(3) });
  assert.throws(() => ws.send(shared), TypeError);
  const view = Uint8Array.of(1, 2);
  Object.defineProperty(view, 'buffer', { value: new SharedArrayBuffer(3) });
  Object.defineProperty(view.buffer, 'resizable', { value: true });
  await sendsBytes(t, view, [1, 2]);
});

test('3.1 send, ArrayBufferView: of another realm', async (t) => {
  const view = runInNewContext('new Uint16Array([0x0201])');
  await sendsBytes(t, view, [1, 2]);
});

test('WebIDL: what only looks like a view is a string', async (t) => {
  const fake = Object.create(DataView.prototype);
  await sendsText(t, fake, '[object DataView]');
});

test('WebIDL: a view of a detached buffer is empty', async (t) => {
  const view = Uint8Array.of(1, 2, 3);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  await sendsBytes(t, view, []);
  const data = new DataView(new ArrayBuffer(8), 2);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  await sendsBytes(t, data, []);
});

test('WebIDL: a SharedArrayBuffer is converted to a string', async (t) => {
  await sendsText(t, new SharedArrayBuffer(4), '[object SharedArrayBuffer]');
});

test(
  'WebIDL: a growable SharedArrayBuffer: the same',
  { skip: !('growable' in SharedArrayBuffer.prototype) },
  async (t) => {
    const shared = new SharedArrayBuffer(4, { maxByteLength: 8 });
    await sendsText(t, shared, '[object SharedArrayBuffer]');
  },
);

test('WebIDL: WebAssembly’s memory', async (t) => {
  // Its buffer has a fixed length; only growing detaches it.
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
  new Uint8Array(memory.buffer).fill(5);
  await sendsBytes(t, memory.buffer, new Uint8Array(65536).fill(5));
  await sendsBytes(t, new Uint8Array(memory.buffer, 1, 2), [5, 5]);
  const shared = new WebAssembly.Memory({
    initial: 1,
    maximum: 2,
    shared: true,
  });
  const { ws } = await pair(t);
  assert.throws(() => ws.send(new Uint8Array(shared.buffer)), TypeError);
});

test(
  'WebIDL: a resizable ArrayBuffer: TypeError',
  { skip: !('resizable' in ArrayBuffer.prototype) },
  async (t) => {
    const { ws, peer } = await pair(t);
    const buffer = new ArrayBuffer(4, { maxByteLength: 8 });
    assert.throws(() => ws.send(buffer), TypeError);
    assert.throws(
      () => ws.send(new ArrayBuffer(4, { maxByteLength: 4 })),
      TypeError,
    );
    assert.equal(ws.bufferedAmount, 0);
    ws.send('next');
    assert.equal((await peer.frame()).payload.toString(), 'next');
  },
);

// ---- step 2: Blob ----

for (const [name, blob, bytes] of [
  ['its bytes', new Blob([Uint8Array.of(0, 1, 255)]), [0, 1, 255]],
  ['an empty one', new Blob([]), []],
  ['text makes it binary all the same', new Blob(['é']), Buffer.from('é')],
  ['of several parts', new Blob(['ab', new Blob(['cd'])]), Buffer.from('abcd')],
  ['a slice', new Blob(['abcdef']).slice(1, 3), Buffer.from('bc')],
  ['of a type', new Blob(['x'], { type: 'text/plain' }), Buffer.from('x')],
])
  test(`3.1 send, Blob: ${name}`, async (t) => {
    await sendsBytes(t, blob, bytes);
  });

test('3.1 send, Blob: a large one', async (t) => {
  const bytes = Buffer.alloc(3_000_000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7) & 255;
  const { ws, peer } = await pair(t);
  ws.send(new Blob([bytes, bytes]));
  assert.equal(ws.bufferedAmount, 2 * bytes.length);
  const { payload } = await peer.frame();
  assert.ok(payload.equals(Buffer.concat([bytes, bytes])));
  await until(() => ws.bufferedAmount === 0);
});

test('3.1 send, Blob: a subclass, and File', async (t) => {
  class Own extends Blob {
    get size() {
      return 1;
    }

    arrayBuffer() {
      return Promise.resolve(new ArrayBuffer(1));
    }

    stream() {
      return new Own(['y']).stream();
    }
  }
  await sendsBytes(t, new Own(['abc']), Buffer.from('abc'));
  if (globalThis.File) {
    const file = new globalThis.File(['abc'], 'name');
    await sendsBytes(t, file, Buffer.from('abc'));
  }
});

test('WebIDL: what only looks like a Blob is a string', async (t) => {
  await sendsText(t, Object.create(Blob.prototype), '[object Blob]');
});

test('3.1 send, Blob: in order with what is sent around it', async (t) => {
  const { ws, peer } = await pair(t);
  ws.send('1');
  ws.send(new Blob(['22']));
  ws.send(Uint8Array.of(3, 3, 3));
  ws.send(new Blob([]));
  ws.send(new Blob(['4'.repeat(100_000)]));
  ws.send('5');
  assert.equal(ws.bufferedAmount, 1 + 2 + 3 + 0 + 100_000 + 1);
  const order = [];
  for (let i = 0; i < 6; i++) {
    const { opcode, payload } = await peer.frame();
    order.push([opcode, payload.length, payload[0]]);
  }
  assert.deepEqual(order, [
    [TEXT, 1, '1'.charCodeAt()],
    [BINARY, 2, '2'.charCodeAt()],
    [BINARY, 3, 3],
    [BINARY, 0, undefined],
    [BINARY, 100_000, '4'.charCodeAt()],
    [TEXT, 1, '5'.charCodeAt()],
  ]);
  await until(() => ws.bufferedAmount === 0);
});

test('3.1 send, Blob: in order, when sent in the turns between', async (t) => {
  const { ws, peer } = await pair(t);
  ws.send(await slowBlob(t, 4_000_000, 'a'.charCodeAt()));
  for (let i = 0; i < 10; i++) {
    await turn();
    ws.send(`${i}`);
  }
  ws.send(await slowBlob(t, 1000, 'b'.charCodeAt()));
  const order = [];
  for (let i = 0; i < 12; i++)
    order.push((await peer.frame()).payload.toString('latin1', 0, 1));
  assert.deepEqual(order, ['a', ...'0123456789', 'b']);
});

test('3.1 send, Blob: what is sent behind it is taken at once', async (t) => {
  const { ws, peer } = await pair(t);
  const bytes = Uint8Array.of(1, 2, 3);
  ws.send(new Blob(['x'.repeat(100_000)]));
  ws.send(bytes);
  bytes.fill(9);
  await peer.frame();
  assert.deepEqual([...(await peer.frame()).payload], [1, 2, 3]);
});

test('3.1 send, Blob: all kinds of data behind it', async (t) => {
  const { ws, peer } = await pair(t);
  const detached = new ArrayBuffer(3);
  structuredClone(detached, { transfer: [detached] });
  const detachedView = Uint8Array.of(1, 2, 3);
  structuredClone(detachedView.buffer, { transfer: [detachedView.buffer] });
  const bare = Uint8Array.of(1, 2);
  Object.setPrototypeOf(bare, null);
  const bareBuffer = Uint8Array.of(3, 4).buffer;
  Object.setPrototypeOf(bareBuffer, null);
  const dressed = Uint8Array.of(5, 6, 7);
  for (const name of ['size', 'byteLength', 'length', 'byteOffset', 'slice'])
    Object.defineProperty(dressed, name, { value: 1 });
  ws.send(new Blob(['x'.repeat(100_000)]));
  let amount = ws.bufferedAmount;
  const expected = [];
  for (const [data, bytes] of [
    [detached, []],
    [detachedView, []],
    [bare, [1, 2]],
    [bareBuffer, [3, 4]],
    [dressed, [5, 6, 7]],
    [runInNewContext('new Uint8Array([8]).buffer'), [8]],
    [runInNewContext('new Uint16Array([0x0a09])'), [9, 10]],
    [Buffer.from('pool'), [...Buffer.from('pool')]],
    [new DataView(Uint8Array.of(1, 2, 3).buffer, 1, 1), [2]],
    [new SharedArrayBuffer(1), [...Buffer.from('[object SharedArrayBuffer]')]],
    ['\ud800', [0xef, 0xbf, 0xbd]],
    [null, [...Buffer.from('null')]],
  ]) {
    ws.send(data);
    amount += bytes.length;
    assert.equal(ws.bufferedAmount, amount);
    expected.push(bytes);
  }
  const shared = new Uint8Array(new SharedArrayBuffer(1));
  assert.throws(() => ws.send(shared), TypeError);
  assert.throws(() => ws.send(Symbol('x')), TypeError);
  assert.equal(ws.bufferedAmount, amount);
  await peer.frame();
  for (const bytes of expected)
    assert.deepEqual([...(await peer.frame()).payload], bytes);
  await until(() => ws.bufferedAmount === 0);
});

test('3.1 close, note: close() does not overtake a Blob', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  ws.send(new Blob(['a'.repeat(200_000)]));
  ws.send('b');
  ws.close(3000, 'done');
  assert.equal(ws.readyState, WebSocket.CLOSING);
  // Not sent, for the closing handshake has been asked for.
  ws.send('c');
  ws.send(new Blob(['d']));
  assert.equal(ws.bufferedAmount, 200_000 + 1 + 1 + 1);
  const frames = await peer.framesToClose();
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [BINARY, 200_000],
      [TEXT, 1],
      [CLOSE, 6],
    ],
  );
  peer.sendClose(3000, 'done');
  peer.end();
  assert.equal((await gone).wasClean, true);
});

test('3.1 close, note: … nor does close() without a code', async (t) => {
  const { ws, peer } = await pair(t);
  ws.send(new Blob(['a']));
  ws.close();
  const frames = await peer.framesToClose();
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [BINARY, 1],
      [CLOSE, 0],
    ],
  );
});

test('3.1 send, Blob: the connection is lost before it is read', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  const blob = await slowBlob(t, 32 << 20);
  peer.destroy();
  ws.send(blob);
  ws.send('b');
  ws.close();
  const { code, wasClean } = await gone;
  assert.deepEqual([code, wasClean], [1006, false]);
  assert.equal(ws.bufferedAmount, (32 << 20) + 1);
  // What is read of the Blob then changes nothing any more.
  for (let i = 0; i < 100; i++) await turn();
  assert.equal(ws.readyState, WebSocket.CLOSED);
  assert.equal(ws.bufferedAmount, (32 << 20) + 1);
});

// ---- the frames: RFC 6455, 5 ----

test('RFC 6455, 5.2: the shortest form of the length', async (t) => {
  const { ws, peer } = await pair(t);
  for (const [length, form] of [
    [0, 7],
    [1, 7],
    [125, 7],
    [126, 16],
    [65535, 16],
    [65536, 64],
  ]) {
    ws.send('x'.repeat(length));
    let got = await peer.frame();
    assert.deepEqual([got.payload.length, got.form], [length, form]);
    ws.send(new ArrayBuffer(length));
    got = await peer.frame();
    assert.deepEqual([got.payload.length, got.form], [length, form]);
    ws.send(new Blob([new ArrayBuffer(length)]));
    got = await peer.frame();
    assert.deepEqual([got.payload.length, got.form], [length, form]);
  }
});

test('RFC 6455, 5.3: every frame is masked, with a new mask', async (t) => {
  const { ws, peer } = await pair(t);
  const masks = new Set();
  for (let i = 0; i < 32; i++) {
    ws.send(i % 2 ? 'x' : new ArrayBuffer(4));
    const { masked, mask } = await peer.frame();
    assert.equal(masked, true);
    masks.add(mask.toString('hex'));
  }
  ws.close();
  const { masked, mask } = await peer.frame();
  assert.equal(masked, true);
  masks.add(mask.toString('hex'));
  // One pair of 33 may be the same by chance, once in eight million times.
  assert.ok(masks.size >= 32);
});

test('RFC 6455, 5.2: no reserved bits without an extension', async (t) => {
  const { ws, peer } = await pair(t);
  ws.send('x'.repeat(10_000));
  ws.send(new ArrayBuffer(10_000));
  assert.equal((await peer.frame()).rsv, 0);
  assert.equal((await peer.frame()).rsv, 0);
});

test('3.1 send: messages arrive in order', async (t) => {
  const { ws, peer } = await pair(t);
  for (let i = 0; i < 1000; i++) ws.send(i % 3 ? `${i}` : Buffer.from(`${i}`));
  for (let i = 0; i < 1000; i++) {
    const { opcode, payload } = await peer.frame();
    assert.equal(payload.toString(), `${i}`);
    assert.equal(opcode, i % 3 ? TEXT : BINARY);
  }
});

// ---- step 2: after the closing handshake has started ----

// Sends one of everything, and checks what each adds.
function sendAll(ws) {
  const blob = new Blob(['12345678']);
  for (const [data, size] of [
    ['', 0],
    ['abc', 3],
    ['é€😀', 9],
    ['\ud800', 3],
    [null, 4],
    [new ArrayBuffer(5), 5],
    [new Uint8Array(new ArrayBuffer(100), 10, 6), 6],
    [new DataView(new ArrayBuffer(100), 10, 7), 7],
    [blob, 8],
  ]) {
    const before = ws.bufferedAmount;
    assert.equal(ws.send(data), undefined);
    assert.equal(ws.bufferedAmount, before + size);
  }
}

const ALL = 45;

test('3.1 send: in CLOSING only bufferedAmount grows', async (t) => {
  const { ws, peer } = await pair(t);
  ws.close();
  sendAll(ws);
  assert.equal(ws.bufferedAmount, ALL);
  const gone = happens(ws, 'close');
  await peer.finish();
  await gone;
  assert.equal(ws.bufferedAmount, ALL);
  assert.deepEqual(
    peer.frames.map(({ opcode }) => opcode),
    [CLOSE],
  );
});

test('3.1 send: in CLOSING after close() in CONNECTING', async (t) => {
  const { ws } = await connecting(t);
  ws.close();
  sendAll(ws);
  assert.equal(ws.bufferedAmount, ALL);
  await happens(ws, 'close');
  assert.equal(ws.bufferedAmount, ALL);
  sendAll(ws);
  assert.equal(ws.bufferedAmount, 2 * ALL);
});

test('3.1 send: in CLOSED only bufferedAmount grows', async (t) => {
  const { ws } = await closed(t);
  assert.equal(ws.bufferedAmount, 0);
  sendAll(ws);
  assert.equal(ws.bufferedAmount, ALL);
  await turn();
  await turn();
  assert.equal(ws.bufferedAmount, ALL);
});

test('3.1 send: … after a connection that failed', async () => {
  const ws = new WebSocket('ws://127.0.0.1:1/');
  const amounts = [];
  ws.onerror = () => {
    ws.send('abc');
    amounts.push(ws.bufferedAmount);
  };
  ws.onclose = () => {
    ws.send('de');
    amounts.push(ws.bufferedAmount);
  };
  await happens(ws, 'close');
  assert.deepEqual(amounts, [3, 5]);
  sendAll(ws);
  assert.equal(ws.bufferedAmount, 5 + ALL);
});

test('3.1 send: the server has begun to close', async (t) => {
  const { ws, peer } = await pair(t);
  peer.sendClose(1000);
  await until(() => ws.readyState === WebSocket.CLOSING);
  sendAll(ws);
  assert.equal(ws.bufferedAmount, ALL);
  const gone = happens(ws, 'close');
  await peer.framesToClose();
  peer.end();
  await gone;
  assert.equal(ws.bufferedAmount, ALL);
  assert.equal(peer.frames.length, 1);
});

test('WebIDL: data is converted in CLOSED, too', async (t) => {
  const { ws } = await closed(t);
  assert.throws(() => ws.send(Symbol('x')), TypeError);
  const shared = new Uint8Array(new SharedArrayBuffer(1));
  assert.throws(() => ws.send(shared), TypeError);
  assert.equal(ws.bufferedAmount, 0);
});

// ---- bufferedAmount ----

test('3.1 bufferedAmount: is not less before the task ends', async (t) => {
  const { ws, peer } = await pair(t);
  // The event loop reaches its step 1 only behind this.
  await turn();
  ws.send('a'.repeat(1000));
  assert.equal(ws.bufferedAmount, 1000);
  ws.send(new ArrayBuffer(500));
  assert.equal(ws.bufferedAmount, 1500);
  // Time in which a kernel, or a thread, might take it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  assert.equal(ws.bufferedAmount, 1500);
  await microtasks();
  assert.equal(ws.bufferedAmount, 1500);
  ws.send('é');
  assert.equal(ws.bufferedAmount, 1502);
  ws.send(new Blob(['xyz']));
  assert.equal(ws.bufferedAmount, 1505);
  await microtasks();
  assert.equal(ws.bufferedAmount, 1505);
  for (let i = 0; i < 4; i++) await peer.frame();
  await until(() => ws.bufferedAmount === 0);
});

test('3.1 bufferedAmount: … nor within an event’s task', async (t) => {
  const { ws, peer } = await pair(t);
  const amounts = [];
  let all;
  const done = new Promise((resolve) => {
    all = resolve;
  });
  ws.addEventListener('message', async () => {
    const before = ws.bufferedAmount;
    ws.send('x'.repeat(100));
    amounts.push(ws.bufferedAmount - before);
    await null;
    ws.send('y');
    amounts.push(ws.bufferedAmount - before);
    await microtasks();
    amounts.push(ws.bufferedAmount - before);
    all();
  });
  ws.addEventListener('message', () => {
    amounts.push(ws.bufferedAmount);
  });
  peer.text('go');
  await done;
  assert.deepEqual(amounts, [100, 100, 101, 101]);
  await peer.frame();
  await peer.frame();
  await until(() => ws.bufferedAmount === 0);
});

test('3.1 bufferedAmount: has no framing in it', async (t) => {
  const { ws, peer } = await pair(t);
  await turn();
  for (let i = 0; i < 10; i++) ws.send('');
  ws.send(new ArrayBuffer(0));
  assert.equal(ws.bufferedAmount, 0);
  ws.send('x'.repeat(70_000));
  assert.equal(ws.bufferedAmount, 70_000);
  // A close frame is no application data.
  ws.close(1000, 'reason');
  assert.equal(ws.bufferedAmount, 70_000);
  const gone = happens(ws, 'close');
  await peer.finish();
  await gone;
  assert.equal(ws.bufferedAmount, 0);
});

test('3.1 bufferedAmount: what the network does not take', async (t) => {
  const { ws, peer } = await pair(t);
  peer.pause();
  const size = 48 * 1024 * 1024;
  ws.send(new Uint8Array(size));
  assert.equal(ws.bufferedAmount, size);
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(ws.bufferedAmount > 0);
  assert.ok(ws.bufferedAmount <= size);
  let last = ws.bufferedAmount;
  peer.resume();
  await until(() => {
    // Nothing is sent: it only falls.
    assert.ok(ws.bufferedAmount <= last);
    last = ws.bufferedAmount;
    return last === 0;
  });
  assert.equal((await peer.frame()).payload.length, size);
});

test('3.1 bufferedAmount: closing does not reset it', async (t) => {
  const { ws, peer } = await pair(t);
  const gone = happens(ws, 'close');
  peer.pause();
  ws.send(new Uint8Array(48 * 1024 * 1024));
  for (let i = 0; i < 20; i++) await turn();
  peer.reset();
  const { code } = await gone;
  assert.equal(code, 1006);
  const left = ws.bufferedAmount;
  assert.ok(left > 0);
  sendAll(ws);
  assert.equal(ws.bufferedAmount, left + ALL);
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(ws.bufferedAmount, left + ALL);
});

test('3.1 bufferedAmount: a number, also beyond 32 bits', async (t) => {
  const { ws } = await closed(t);
  const buffer = new ArrayBuffer(1 << 30);
  for (let i = 1; i <= 5; i++) {
    ws.send(buffer);
    assert.equal(ws.bufferedAmount, i * 2 ** 30);
  }
});

test('3.1 close, note: all that was sent arrives before', async (t) => {
  const { ws, peer } = await pair(t);
  peer.pause();
  const size = 24 * 1024 * 1024;
  ws.send(new Uint8Array(size));
  ws.send('last');
  ws.close(1000);
  await turn();
  peer.resume();
  const gone = happens(ws, 'close');
  const frames = await peer.framesToClose();
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [BINARY, size],
      [TEXT, 4],
      [CLOSE, 2],
    ],
  );
  peer.sendClose(1000);
  peer.end();
  assert.equal((await gone).wasClean, true);
  assert.equal(ws.bufferedAmount, 0);
});
