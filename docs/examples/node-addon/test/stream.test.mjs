// WebSocketStream and WebSocketError, from whatwg/websockets' pull request 48.
// Tests are named by its algorithms, as its text calls them: "write", "close
// using reason", "when the connection is closed".

import events from 'node:events';
import net from 'node:net';
import {
  assert,
  child,
  collect,
  collectOften,
  configure,
  microtasks,
  serve,
  target,
  test,
  throwsDOM,
  turn,
  until,
} from './helpers.mjs';
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  TEXT,
  acceptOf,
  closeFrame,
  closePayload,
  frame,
} from './raw-server.mjs';

const { WebSocketError, WebSocketStream } = await import(target);

// ---- what the tests share ----

// One that does not read would not see that a failed test has ended.
function connect(t, ...args) {
  const wss = new WebSocketStream(...args);
  t.after(() => wss.close());
  return wss;
}

// A stream that is open, and the other end of it.
async function pair(t, { accept, ...options } = {}) {
  const server = await serve(t);
  const wss = connect(t, server.url(), options);
  const peer = await server.shaken(accept);
  const { readable, writable } = await wss.opened;
  return { server, wss, peer, readable, writable };
}

// A stream that is not, whose request has come, and waits for good.
async function requesting(t, options = {}) {
  const server = await serve(t);
  const wss = connect(t, server.url(), { ...options, handshakeTimeout: 0 });
  const peer = await server.connection();
  await peer.request();
  return { server, wss, peer };
}

function reasonOf(promise) {
  return promise.then(
    (value) => assert.fail(`fulfilled with ${value}`),
    (reason) => reason,
  );
}

// What has become of a promise that no task has to settle any more.
async function stateOf(promise) {
  let state = 'pending';
  promise.then(
    () => {
      state = 'fulfilled';
    },
    () => {
      state = 'rejected';
    },
  );
  await microtasks();
  return state;
}

function isWebSocketError(error, closeCode, reason = '') {
  assert.ok(error instanceof WebSocketError, `${error}`);
  assert.equal(error.name, 'WebSocketError');
  assert.equal(error.closeCode, closeCode);
  assert.equal(error.reason, reason);
}

function isInvalidState(error) {
  assert.ok(error instanceof DOMException, `${error}`);
  assert.equal(error.name, 'InvalidStateError');
}

// The promises of a connection that never was: each has an error of its own.
async function neverOpens(wss) {
  const opened = await reasonOf(wss.opened);
  const closed = await reasonOf(wss.closed);
  isWebSocketError(opened, null);
  isWebSocketError(closed, 1006);
  assert.notEqual(opened, closed);
}

function isFrame(got, opcode, payload) {
  assert.equal(got.opcode, opcode);
  assert.equal(got.payload.toString('latin1'),
    Buffer.from(payload).toString('latin1'));
}

// It still works, in both directions.
async function isOpen({ peer, readable, writable }) {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  await writer.write('there');
  isFrame(await peer.frame(), TEXT, 'there');
  peer.text('back');
  assert.deepEqual(await reader.read(), { value: 'back', done: false });
  reader.releaseLock();
  writer.releaseLock();
}

// ---- WebSocketError ----

const BAD_CODES = [0, 1, 999, 1001, 1005, 1006, 1015, 2999, 5000, 65535];
const OUT_OF_RANGE = [-1, 65536, NaN, Infinity, -Infinity, 'x', {}];

test('WebSocketError: what it is without arguments', () => {
  const error = new WebSocketError();
  assert.ok(error instanceof DOMException);
  assert.ok(error instanceof Error);
  assert.equal(error.message, '');
  assert.equal(error.code, 0);
  isWebSocketError(error, null);
});

test('WebSocketError: message, closeCode and reason', () => {
  const init = { closeCode: 3456, reason: 'why' };
  const error = new WebSocketError('what', init);
  assert.equal(error.message, 'what');
  assert.equal(error.code, 0);
  isWebSocketError(error, 3456, 'why');
  assert.equal(`${error}`, 'WebSocketError: what');
  assert.equal(new WebSocketError(null).message, 'null');
  assert.equal(new WebSocketError(undefined).message, '');
  assert.throws(() => new WebSocketError(Symbol('s')), TypeError);
});

test('WebSocketError: a code alone, a reason alone, neither', () => {
  isWebSocketError(new WebSocketError('', { closeCode: 3000 }), 3000);
  isWebSocketError(new WebSocketError('', { closeCode: 4999 }), 4999);
  isWebSocketError(new WebSocketError('', { closeCode: 1000 }), 1000);
  isWebSocketError(new WebSocketError('', { reason: 'x' }), 1000, 'x');
  isWebSocketError(new WebSocketError('', { reason: '' }), null);
  isWebSocketError(new WebSocketError('', { reason: undefined }), null);
});

test('WebSocketError: a code that nobody may send', () => {
  for (const closeCode of BAD_CODES)
    throwsDOM(
      () => new WebSocketError('', { closeCode }),
      'InvalidAccessError',
    );
});

test('WebSocketError: closeCode is an [EnforceRange] unsigned short', () => {
  for (const closeCode of OUT_OF_RANGE)
    assert.throws(() => new WebSocketError('', { closeCode }), TypeError);
  assert.throws(() => new WebSocketError('', { closeCode: 3000n }), TypeError);
  // Zero, which is in range and no code.
  throwsDOM(
    () => new WebSocketError('', { closeCode: null }),
    'InvalidAccessError',
  );
  assert.equal(new WebSocketError('', { closeCode: '3000' }).closeCode, 3000);
  assert.equal(new WebSocketError('', { closeCode: 3000.9 }).closeCode, 3000);
  assert.equal(
    new WebSocketError('', { closeCode: undefined }).closeCode,
    null,
  );
});

test('WebSocketError: a reason of 123 bytes, and of more', () => {
  const fits = 'x'.repeat(123);
  assert.equal(new WebSocketError('', { reason: fits }).reason, fits);
  for (const reason of [`${fits}x`, '\u{1f50c}'.repeat(31)]) {
    throwsDOM(() => new WebSocketError('', { reason }), 'SyntaxError');
    // The code is looked at first.
    throwsDOM(
      () => new WebSocketError('', { reason, closeCode: 1001 }),
      'InvalidAccessError',
    );
  }
});

test('WebSocketError: reason is a USVString', () => {
  assert.equal(new WebSocketError('', { reason: null }).reason, 'null');
  assert.equal(new WebSocketError('', { reason: 'a\ud800b' }).reason,
    'a\ufffdb');
});

test('WebSocketError: init is a dictionary', () => {
  for (const init of [undefined, null, {}, () => {}])
    isWebSocketError(new WebSocketError('', init), null);
  for (const init of [true, 1, 'x', Symbol('s'), 1n])
    assert.throws(() => new WebSocketError('', init), TypeError);
});

test('WebSocketError: in which order what is converted', () => {
  const log = [];
  const told = (name, value) => ({
    toString: () => {
      log.push(`${name} to string`);
      return value;
    },
    valueOf: () => {
      log.push(`${name} to number`);
      return value;
    },
  });
  new WebSocketError(told('message', 'm'), {
    get reason() {
      log.push('reason');
      return told('reason', 'r');
    },
    get closeCode() {
      log.push('closeCode');
      return told('closeCode', 3000);
    },
  });
  assert.deepEqual(log, [
    'message to string',
    'closeCode',
    'closeCode to number',
    'reason',
    'reason to string',
  ]);
});

test('WebSocketError: the interface', () => {
  const { prototype } = WebSocketError;
  assert.equal(WebSocketError.length, 0);
  assert.equal(WebSocketError.name, 'WebSocketError');
  assert.equal(Object.getPrototypeOf(prototype), DOMException.prototype);
  assert.equal(Object.prototype.toString.call(prototype),
    '[object WebSocketError]');
  for (const name of ['closeCode', 'reason']) {
    const own = Object.getOwnPropertyDescriptor(prototype, name);
    assert.equal(own.enumerable, true);
    assert.equal(own.set, undefined);
    for (const other of [{}, new DOMException('x')])
      assert.throws(() => own.get.call(other), TypeError);
  }
});

// ---- the constructor ----

test('constructor: the interface', () => {
  const { prototype } = WebSocketStream;
  assert.equal(WebSocketStream.length, 1);
  assert.equal(prototype.close.length, 0);
  assert.equal(Object.prototype.toString.call(prototype),
    '[object WebSocketStream]');
  assert.deepEqual(Object.keys(prototype).sort(),
    ['close', 'closed', 'opened', 'url']);
  assert.throws(() => WebSocketStream('ws://127.0.0.1/'), TypeError);
});

test('constructor: another object has no such attributes', async () => {
  const { prototype } = WebSocketStream;
  assert.throws(() => prototype.url, TypeError);
  assert.throws(() => prototype.close.call({}), TypeError);
  // WebIDL: what a getter of a promise throws is what that is rejected with.
  assert.ok((await reasonOf(prototype.opened)) instanceof TypeError);
  assert.ok((await reasonOf(prototype.closed)) instanceof TypeError);
});

test('constructor: arguments that cannot be converted', () => {
  const url = 'ws://127.0.0.1:1/';
  assert.throws(() => new WebSocketStream(), TypeError);
  for (const options of [true, 0, 'x', Symbol('s')])
    assert.throws(() => new WebSocketStream(url, options), TypeError);
  // One string is no sequence of strings, as it is for WebSocket.
  for (const protocols of ['chat', null, 1, {}, { [Symbol.iterator]: 1 }])
    assert.throws(() => new WebSocketStream(url, { protocols }), TypeError);
  assert.throws(
    () => new WebSocketStream(url, { protocols: [Symbol('s')] }),
    TypeError,
  );
  for (const signal of [null, {}, new AbortController()])
    assert.throws(() => new WebSocketStream(url, { signal }), TypeError);
});

test('constructor: arguments that are left out', async (t) => {
  const server = await serve(t);
  for (const options of [undefined, null, {}, { protocols: undefined }]) {
    const wss = new WebSocketStream(server.url(), options);
    const peer = await server.connection();
    const { headers } = await peer.request();
    assert.equal('sec-websocket-protocol' in headers, false);
    peer.destroy();
    await neverOpens(wss);
  }
});

test('constructor: in which order what is converted', () => {
  const log = [];
  const url = {
    toString() {
      log.push('url');
      return 'no scheme';
    },
  };
  const options = {
    get signal() {
      log.push('signal');
      return undefined;
    },
    get protocols() {
      log.push('protocols');
      return ['twice', 'twice'];
    },
  };
  // Everything is converted before anything is judged.
  throwsDOM(() => new WebSocketStream(url, options), 'SyntaxError');
  assert.deepEqual(log, ['url', 'protocols', 'signal']);
});

test('constructor, step 2: the URL', async (t) => {
  for (const url of ['', '/x', 'ws://', 'ftp://x/', 'ws://x/#', 'ws://x/#y'])
    throwsDOM(() => new WebSocketStream(url), 'SyntaxError');
  const server = await serve(t);
  const made = [
    [server.url('/a b?c'), '/a%20b?c'],
    [server.url('/', 'http'), '/'],
    [new URL(server.url('/object')), '/object'],
  ];
  for (const [url, path] of made) {
    const wss = new WebSocketStream(url);
    assert.equal(wss.url, server.url(path));
    const peer = await server.connection();
    assert.equal((await peer.request()).target, path);
    peer.destroy();
    await reasonOf(wss.closed);
  }
});

test('constructor, step 1: a relative URL', async (t) => {
  const server = await serve(t);
  t.after(() => configure({ baseURL: null }));
  configure({ baseURL: server.url('/deep/page', 'http') });
  const wss = new WebSocketStream('chat');
  assert.equal(wss.url, server.url('/deep/chat'));
  wss.close();
  await neverOpens(wss);
});

test('constructor, step 4: subprotocols', async (t) => {
  const server = await serve(t);
  for (const protocols of [['a', 'a'], [''], ['a b'], ['\u00e4'], ['a', 'b,c']])
    throwsDOM(
      () => new WebSocketStream(server.url(), { protocols }),
      'SyntaxError',
    );
  const protocols = new Set(['chat', { toString: () => 'superchat' }]);
  const wss = connect(t, server.url(), { protocols });
  const peer = await server.connection();
  const { headers } = await peer.request();
  assert.equal(headers['sec-websocket-protocol'], 'chat, superchat');
  peer.accept({ protocol: 'superchat' });
  assert.equal((await wss.opened).protocol, 'superchat');
});

// Not in any text: what WebSocket's third argument has.
test('constructor: options of our own', async (t) => {
  const server = await serve(t);
  const headers = { Authorization: 'Bearer x' };
  connect(t, server.url(), { headers });
  const peer = await server.connection();
  assert.equal((await peer.request()).headers.authorization, 'Bearer x');
});

// ---- opened ----

test('connection established: what opened is fulfilled with', async (t) => {
  const server = await serve(t);
  const wss = connect(t, server.url(), { protocols: ['chat'] });
  const { opened } = wss;
  await server.shaken({ protocol: 'chat', extensions: 'permessage-deflate' });
  const info = await opened;
  assert.equal(wss.opened, opened);
  assert.deepEqual(Object.keys(info).sort(),
    ['extensions', 'protocol', 'readable', 'writable']);
  assert.equal(info.protocol, 'chat');
  assert.equal(info.extensions, 'permessage-deflate');
  assert.ok(info.readable instanceof ReadableStream);
  assert.ok(info.writable instanceof WritableStream);
  assert.equal(await stateOf(wss.closed), 'pending');
});

test('connection established: nothing chosen is empty strings', async (t) => {
  const server = await serve(t);
  const wss = connect(t, server.url());
  await server.shaken();
  const { extensions, protocol } = await wss.opened;
  assert.equal(extensions, '');
  assert.equal(protocol, '');
});

test('connection closed, step 3: it was never open', async (t) => {
  const server = await serve(t);
  const endings = [
    (peer) => peer.accept({ status: '404 Not Found' }),
    (peer) => peer.accept({ accept: acceptOf('another') }),
    (peer) => peer.accept({ protocol: 'unasked' }),
    (peer) => peer.end(),
    (peer) => peer.reset(),
  ];
  for (const end of endings) {
    const wss = connect(t, server.url());
    const peer = await server.connection();
    await peer.request();
    end(peer);
    await neverOpens(wss);
  }
});

test('connection closed, step 3: there is no server', async (t) => {
  const server = await serve(t);
  const url = server.url();
  await server.close();
  await neverOpens(new WebSocketStream(url));
});

test('establish: a blocked port fails later, not inside the call', async () => {
  const wss = new WebSocketStream('ws://127.0.0.1:1/');
  assert.equal(await stateOf(wss.opened), 'pending');
  wss.close();
  await neverOpens(wss);
});

test('promises that nobody looks at do not end the process', async (t) => {
  const source = `
    const { WebSocketStream } = it;
    new WebSocketStream('ws://127.0.0.1:1/');
    new WebSocketStream('ws://127.0.0.1:1/', { signal: AbortSignal.abort() });
    const wss = new WebSocketStream('ws://127.0.0.1:1/');
    wss.opened.catch(() => say('failed'));
    process.on('exit', () => say('end'));
  `;
  assert.deepEqual(await child(t, source).ends(), ['failed', 'end']);
});

// ---- the signal ----

test('constructor, step 8.2: a signal that is aborted already', async (t) => {
  const server = await serve(t);
  const reason = { why: 'no more' };
  const signal = AbortSignal.abort(reason);
  const wss = new WebSocketStream(server.url(), { signal });
  assert.equal(await reasonOf(wss.opened), reason);
  assert.equal(await reasonOf(wss.closed), reason);
  assert.equal(wss.url, server.url());
  // Another connection, later than that one, is the first that comes.
  const other = connect(t, server.url());
  const peer = await server.shaken();
  await other.opened;
  assert.equal(server.count, 1);
  peer.destroy();
  // There is nothing to close, but what is wrong is still wrong.
  wss.close();
  throwsDOM(() => new WebSocketStream('x:', { signal }), 'SyntaxError');
  throwsDOM(() => wss.close({ closeCode: 1 }), 'InvalidAccessError');
});

test('constructor, step 8.3: abort while it connects', async (t) => {
  const server = await serve(t);
  const controller = new AbortController();
  const { signal } = controller;
  const wss = new WebSocketStream(server.url(), { signal });
  const reason = new Error('not now');
  controller.abort(reason);
  // At once: this is not a task's work.
  assert.equal(await stateOf(wss.opened), 'rejected');
  assert.equal(await reasonOf(wss.opened), reason);
  assert.equal(await reasonOf(wss.closed), reason);
});

test('constructor, step 8.3: abort during the handshake', async (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  const { wss, peer } = await requesting(t, { signal });
  controller.abort();
  const opened = await reasonOf(wss.opened);
  assert.equal(opened, signal.reason);
  assert.equal(opened.name, 'AbortError');
  assert.equal(await reasonOf(wss.closed), opened);
  await peer.ended;
  assert.deepEqual(peer.frames, []);
});

test('constructor, step 8.3: abort after close()', async (t) => {
  const controller = new AbortController();
  const { wss } = await requesting(t, { signal: controller.signal });
  wss.close();
  controller.abort('changed my mind');
  assert.equal(await reasonOf(wss.opened), 'changed my mind');
  assert.equal(await reasonOf(wss.closed), 'changed my mind');
});

test('constructor, step 8.3: abort steps cannot be kept from running', {
  skip: events.addAbortListener === undefined,
}, async (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  signal.addEventListener('abort', (event) => event.stopImmediatePropagation());
  const { wss } = await requesting(t, { signal });
  controller.abort(1);
  assert.equal(await reasonOf(wss.opened), 1);
});

test('constructor, step 8.3.1: abort once it is open', async (t) => {
  const controller = new AbortController();
  const open = await pair(t, { signal: controller.signal });
  controller.abort();
  await isOpen(open);
});

test('constructor, step 8.3: a signal outlives its streams', async (t) => {
  const { signal } = new AbortController();
  const count = () => events.getEventListeners(signal, 'abort').length;
  await pair(t, { signal });
  assert.equal(count(), 0);
  const { wss, peer } = await requesting(t, { signal });
  assert.equal(count(), 1);
  peer.destroy();
  await reasonOf(wss.closed);
  assert.equal(count(), 0);
});

// ---- close() ----

test('close(): code and reason, there and back', async (t) => {
  const { wss, peer } = await pair(t);
  const { closed } = wss;
  wss.close({ closeCode: 3456, reason: 'h\u00e9' });
  isFrame(await peer.finish(), CLOSE, closePayload(3456, 'h\u00e9'));
  assert.deepEqual(await closed, { closeCode: 3456, reason: 'h\u00e9' });
  assert.equal(wss.closed, closed);
});

test('close(): without a code the frame is empty', async (t) => {
  for (const args of [[], [undefined], [null], [{}], [{ reason: '' }]]) {
    const { wss, peer } = await pair(t);
    wss.close(...args);
    isFrame(await peer.finish(), CLOSE, '');
    assert.deepEqual(await wss.closed, { closeCode: 1005, reason: '' });
  }
});

test('close the WebSocket, step 2: a reason without a code', async (t) => {
  const { wss, peer } = await pair(t);
  wss.close({ reason: 'done' });
  isFrame(await peer.finish(), CLOSE, closePayload(1000, 'done'));
  assert.deepEqual(await wss.closed, { closeCode: 1000, reason: 'done' });
});

test('validate close code and reason: nothing has happened', async (t) => {
  const open = await pair(t);
  const { wss } = open;
  for (const closeCode of BAD_CODES)
    throwsDOM(() => wss.close({ closeCode }), 'InvalidAccessError');
  throwsDOM(() => wss.close({ reason: '\u00e9'.repeat(62) }), 'SyntaxError');
  for (const closeCode of OUT_OF_RANGE)
    assert.throws(() => wss.close({ closeCode }), TypeError);
  assert.throws(() => wss.close(true), TypeError);
  assert.throws(() => wss.close({ reason: Symbol('s') }), TypeError);
  await isOpen(open);
});

test('close the WebSocket, step 3: it is not yet open', async (t) => {
  const { wss, peer } = await requesting(t);
  wss.close({ closeCode: 3000, reason: 'never told' });
  // The connection is failed by a task.
  assert.equal(await stateOf(wss.opened), 'pending');
  await neverOpens(wss);
  await peer.ended;
  assert.deepEqual(peer.frames, []);
});

test('close the WebSocket, step 3: it is closing, or closed', async (t) => {
  const { wss, peer } = await pair(t);
  wss.close({ closeCode: 3000 });
  wss.close({ closeCode: 3001 });
  throwsDOM(() => wss.close({ closeCode: 1 }), 'InvalidAccessError');
  isFrame(await peer.finish(), CLOSE, closePayload(3000));
  assert.equal((await wss.closed).closeCode, 3000);
  wss.close({ closeCode: 3002 });
  throwsDOM(() => wss.close({ closeCode: 1 }), 'InvalidAccessError');
  await peer.closed;
  assert.equal(peer.frames.length, 1);
});

test('close(): what was written before is sent before', async (t) => {
  const { wss, peer, writable } = await pair(t);
  const writer = writable.getWriter();
  await writer.ready;
  const writes = [writer.write('one')];
  wss.close();
  const frames = await peer.framesToClose();
  assert.equal(frames.length, 2);
  isFrame(frames[0], TEXT, 'one');
  peer.sendClose();
  peer.end();
  await Promise.all(writes);
  await wss.closed;
});

test('close(): the peer says another code', async (t) => {
  const { wss, peer } = await pair(t);
  wss.close({ closeCode: 4111, reason: 'local' });
  await peer.framesToClose();
  peer.sendClose(4222, 'remote');
  peer.end();
  assert.deepEqual(await wss.closed, { closeCode: 4222, reason: 'remote' });
});

test('close(): the peer does not answer', async (t) => {
  const { wss, peer, readable, writable } = await pair(t);
  wss.close({ closeCode: 4000, reason: 'because' });
  await peer.framesToClose();
  peer.end();
  const error = await reasonOf(wss.closed);
  isWebSocketError(error, 1006);
  assert.equal(await reasonOf(readable.getReader().read()), error);
  assert.equal(await reasonOf(writable.getWriter().ready), error);
});

test('message received, step 1: not while it is closing', async (t) => {
  const { wss, peer, readable } = await pair(t);
  const reader = readable.getReader();
  peer.text('before');
  assert.equal((await reader.read()).value, 'before');
  wss.close();
  await peer.framesToClose();
  peer.text('after');
  peer.sendClose();
  peer.end();
  assert.deepEqual(await reader.read(), { value: undefined, done: true });
  await wss.closed;
});

// ---- when the connection is closed ----

test('connection closed, step 6: cleanly', async (t) => {
  const { wss, peer, readable, writable } = await pair(t);
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const reading = reader.read();
  isFrame(await peer.leave(4000, '\u30ed\u30dc'), CLOSE, closePayload(4000));
  assert.deepEqual(await wss.closed,
    { closeCode: 4000, reason: '\u30ed\u30dc' });
  assert.deepEqual(await reading, { value: undefined, done: true });
  await reader.closed;
  const error = await reasonOf(writer.ready);
  isInvalidState(error);
  assert.equal(await reasonOf(writer.closed), error);
  assert.equal(await reasonOf(writer.write('late')), error);
});

test('connection closed, step 4: a close frame without a code', async (t) => {
  const { wss, peer } = await pair(t);
  await peer.leave();
  assert.deepEqual(await wss.closed, { closeCode: 1005, reason: '' });
});

test('connection closed, step 6.1: what is there can be read', async (t) => {
  const { wss, peer, readable } = await pair(t);
  // The first is in the stream; the second waits, and comes too late.
  peer.write(Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]));
  peer.text('3');
  await isOpen(await pair(t));
  wss.close();
  await peer.finish();
  await wss.closed;
  const reader = readable.getReader();
  assert.deepEqual(await reader.read(), { value: '1', done: false });
  assert.deepEqual(await reader.read(), { value: undefined, done: true });
});

test('connection closed, step 7: uncleanly', async (t) => {
  for (const end of ['end', 'reset', 'destroy']) {
    const { wss, peer, readable, writable } = await pair(t);
    const reader = readable.getReader();
    const writer = writable.getWriter();
    const reading = reasonOf(reader.read());
    peer[end]();
    const error = await reasonOf(wss.closed);
    isWebSocketError(error, 1006);
    // The same object everywhere.
    assert.equal(await reading, error);
    assert.equal(await reasonOf(reader.closed), error);
    assert.equal(await reasonOf(writer.ready), error);
    assert.equal(await reasonOf(writer.closed), error);
  }
});

test('connection closed, step 7: messages that are not UTF-8', async (t) => {
  const { wss, peer, readable } = await pair(t);
  const reader = readable.getReader();
  peer.text('\u00e9');
  assert.equal((await reader.read()).value, '\u00e9');
  peer.text(Buffer.of(0x61, 0xc3));
  const { payload } = (await peer.framesToClose()).at(-1);
  assert.equal(payload.readUInt16BE(), 1007);
  peer.end();
  const error = await reasonOf(wss.closed);
  isWebSocketError(error, 1006);
  assert.equal(await reasonOf(reader.read()), error);
});

test('connection closed, step 7: a reason that is not UTF-8', async (t) => {
  const { wss, peer } = await pair(t);
  peer.write(frame(CLOSE, Buffer.of(0x0f, 0xa0, 0xff)));
  const { payload } = (await peer.framesToClose()).at(-1);
  assert.equal(payload.readUInt16BE(), 1007);
  peer.end();
  isWebSocketError(await reasonOf(wss.closed), 1006);
});

// ---- close using reason ----

class Reasons {
  static none = [undefined, 1005, ''];
  static object = [{ closeCode: 3333, reason: 'no' }, 1005, ''];
  static string = ['no', 1005, ''];
  static fake = [
    Object.assign(new DOMException('no', 'WebSocketError'),
      { closeCode: 3333, reason: 'no' }),
    1005,
    '',
  ];
  static code = [new WebSocketError('', { closeCode: 3333 }), 3333, ''];
  static both = [
    new WebSocketError('', { closeCode: 3456, reason: 'set' }),
    3456,
    'set',
  ];
  static reason = [new WebSocketError('', { reason: 'set' }), 1000, 'set'];
}

for (const [stream, method] of [['readable', 'cancel'], ['writable', 'abort']])
  for (const [name, [reason, closeCode, text]] of Object.entries(Reasons))
    test(`close using reason: ${method}(), ${name}`, async (t) => {
      const open = await pair(t);
      const ended = open[stream][method](reason);
      const sent = closeCode === 1005 ? undefined : closeCode;
      isFrame(await open.peer.finish(), CLOSE, closePayload(sent, text));
      assert.deepEqual(await open.wss.closed, { closeCode, reason: text });
      assert.equal(await ended, undefined);
    });

for (const [stream, method] of [['readable', 'cancel'], ['writable', 'abort']])
  test(`close using reason, step 4: ${method}(), unsendable`, async (t) => {
    const lost = await pair(t);
    lost.peer.destroy();
    const error = await reasonOf(lost.wss.closed);
    isWebSocketError(error, 1006);
    const open = await pair(t);
    const ended = open[stream][method](error);
    isFrame(await open.peer.finish(), CLOSE, '');
    assert.equal((await open.wss.closed).closeCode, 1005);
    await ended;
  });

test('cancel: the writable waits for the end of the handshake', async (t) => {
  const { wss, peer, readable, writable } = await pair(t);
  const writer = writable.getWriter();
  await readable.cancel();
  await peer.framesToClose();
  assert.equal(await stateOf(writer.closed), 'pending');
  peer.text('for nobody');
  peer.sendClose();
  peer.end();
  await wss.closed;
  isInvalidState(await reasonOf(writer.closed));
});

test('abort: the readable waits for the end of the handshake', async (t) => {
  const { wss, peer, readable, writable } = await pair(t);
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const reason = new WebSocketError('', { closeCode: 3000 });
  await writer.abort(reason);
  assert.equal(await reasonOf(writer.closed), reason);
  assert.equal(await stateOf(reader.closed), 'pending');
  await peer.finish();
  await reader.closed;
  await wss.closed;
});

// ---- reading ----

test('message received, step 2: a string, or a Uint8Array', async (t) => {
  const { peer, readable } = await pair(t);
  const reader = readable.getReader();
  const texts = ['a', '', '\u00e9\u20ac\u{1f600}', '\ufeffmark', 'x\0y'];
  for (const text of texts) {
    peer.text(text);
    assert.deepEqual(await reader.read(), { value: text, done: false });
  }
  // Those above some length are not copied.
  for (const length of [0, 3, 16 * 1024, 100_000]) {
    const bytes = Buffer.alloc(length, 'bytes');
    peer.binary(bytes);
    const { value } = await reader.read();
    assert.equal(Object.getPrototypeOf(value), Uint8Array.prototype);
    assert.equal(value.byteOffset, 0);
    assert.equal(value.buffer.byteLength, length);
    assert.ok(bytes.equals(value));
  }
});

test('message received: in fragments it is one chunk', async (t) => {
  const { peer, readable } = await pair(t);
  const reader = readable.getReader();
  const euro = Buffer.from('\u20ac');
  peer.write(frame(TEXT, euro.subarray(0, 1), { fin: false }));
  peer.write(frame(CONTINUATION, euro.subarray(1), { fin: false }));
  peer.write(frame(CONTINUATION, '!'));
  assert.equal((await reader.read()).value, '\u20ac!');
});

test('message received: right behind the handshake', async (t) => {
  const server = await serve(t);
  const wss = connect(t, server.url());
  const texts = ['1', '2', '3', '4'];
  const tail = Buffer.concat(texts.map((text) => frame(TEXT, text)));
  await server.shaken({ tail });
  const { readable } = await wss.opened;
  // Long enough for all of them to be there, and to be dropped.
  for (let i = 0; i < 10; i++) await turn();
  const reader = readable.getReader();
  for (const text of texts) {
    assert.equal((await reader.read()).value, text);
    await turn();
  }
});

test('message received: many in one segment, for a slow reader', async (t) => {
  const { peer, readable } = await pair(t);
  const frames = [];
  for (let i = 0; i < 500; i++) frames.push(frame(TEXT, `${i}`));
  peer.write(Buffer.concat(frames));
  const reader = readable.getReader();
  for (let i = 0; i < 500; i++) {
    assert.equal((await reader.read()).value, `${i}`);
    if (i % 3 > 0) await turn();
  }
  peer.text('end');
  assert.equal((await reader.read()).value, 'end');
});

// ---- writing ----

test('write, step 4: bytes', async (t) => {
  const { peer, writable } = await pair(t);
  const writer = writable.getWriter();
  const { buffer } = Uint8Array.of(1, 2, 3, 4, 5, 6);
  const chunks = [
    [buffer, [1, 2, 3, 4, 5, 6]],
    [new Uint8Array(buffer, 1, 3), [2, 3, 4]],
    [new Uint16Array(buffer, 2, 1), [3, 4]],
    [new DataView(buffer, 3), [4, 5, 6]],
    [Buffer.from('hi'), Buffer.from('hi')],
    [new ArrayBuffer(0), []],
  ];
  for (const [chunk, bytes] of chunks) {
    assert.equal(await writer.write(chunk), undefined);
    isFrame(await peer.frame(), BINARY, bytes);
  }
});

test('write, step 4.1: a copy of them', async (t) => {
  const { peer, writable } = await pair(t);
  const writer = writable.getWriter();
  for (const length of [10, 100_000]) {
    await writer.ready;
    const chunk = Buffer.alloc(length, 'x');
    const written = writer.write(chunk);
    chunk.fill('y');
    isFrame(await peer.frame(), BINARY, Buffer.alloc(length, 'x'));
    await written;
  }
});

test('write, step 5: anything else is a string', async (t) => {
  const { peer, writable } = await pair(t);
  const writer = writable.getWriter();
  const chunks = [
    ['text', 'text'],
    ['', ''],
    ['\u00e9\u{1f600}', '\u00e9\u{1f600}'],
    ['a\udc00b\ud800', 'a\ufffdb\ufffd'],
    ['x'.repeat(100_000), 'x'.repeat(100_000)],
    ['\u20ac'.repeat(100_000), '\u20ac'.repeat(100_000)],
    [12, '12'],
    [null, 'null'],
    [undefined, 'undefined'],
    [[1, 2], '1,2'],
    [{ toString: () => 'object' }, 'object'],
    // Neither of these is a BufferSource.
    [new Blob(['x']), '[object Blob]'],
    [new SharedArrayBuffer(1), '[object SharedArrayBuffer]'],
  ];
  for (const [chunk, text] of chunks) {
    await writer.write(chunk);
    isFrame(await peer.frame(), TEXT, text);
  }
});

test('write, step 5.1: what cannot be a string', async (t) => {
  const thrown = new Error('thrown');
  const chunks = [
    [Symbol('s'), (error) => error instanceof TypeError],
    [{ toString: () => ({}) }, (error) => error instanceof TypeError],
    [
      {
        toString() {
          throw thrown;
        },
      },
      (error) => error === thrown,
    ],
  ];
  for (const [chunk, is] of chunks) {
    const { wss, peer, readable, writable } = await pair(t);
    const writer = writable.getWriter();
    const error = await reasonOf(writer.write(chunk));
    assert.ok(is(error), `${error}`);
    // That is the end of the writable, but not of the connection.
    assert.equal(await reasonOf(writer.closed), error);
    peer.text('still');
    assert.equal((await readable.getReader().read()).value, 'still');
    wss.close();
    await peer.finish();
    await wss.closed;
    assert.equal(peer.frames.length, 1);
  }
});

test('write, step 4: memory that is shared, or can be resized', async (t) => {
  const chunks = [new Uint8Array(new SharedArrayBuffer(8))];
  if ('resizable' in ArrayBuffer.prototype) {
    const buffer = new ArrayBuffer(8, { maxByteLength: 16 });
    chunks.push(buffer, new Uint8Array(buffer));
  }
  for (const chunk of chunks) {
    const { writable } = await pair(t);
    const error = await reasonOf(writable.getWriter().write(chunk));
    assert.ok(error instanceof TypeError, `${error}`);
  }
});

test('write, step 6.2: not once the closing handshake has begun', async (t) => {
  for (const begin of ['wss', 'peer']) {
    const { wss, peer, readable, writable } = await pair(t);
    const writer = writable.getWriter();
    await writer.ready;
    if (begin === 'wss') {
      wss.close();
    } else {
      const reader = readable.getReader();
      peer.write(Buffer.concat([frame(TEXT, 'last'), closeFrame(1000)]));
      await reader.read();
      await turn();
    }
    const written = reasonOf(writer.write('late'));
    await peer.framesToClose();
    if (begin === 'wss') peer.sendClose(1000);
    peer.end();
    await wss.closed;
    // Its writer is told.
    isInvalidState(await written);
    await peer.closed;
    assert.equal(peer.frames.length, 1);
  }
});

// Neither does it take a turn for each.
test('write, step 6.3: who only writes does not stop the loop', async (t) => {
  const { writable } = await pair(t);
  const writer = writable.getWriter();
  for (const text of ['x'.repeat(100), '']) {
    let hasTurned = false;
    setImmediate(() => {
      hasTurned = true;
    });
    // Less than the kernel takes when the peer does nothing.
    let n = 0;
    while (!hasTurned && n < 3000) {
      await writer.write(text);
      n++;
    }
    assert.ok(hasTurned);
    assert.ok(n > 10, `${n} messages`);
  }
});

// ---- closing the writable ----

test('close the writable: it takes the whole handshake', async (t) => {
  const { wss, peer, writable } = await pair(t);
  const writer = writable.getWriter();
  writer.write('last');
  const closed = writer.close();
  const frames = await peer.framesToClose();
  assert.equal(frames.length, 2);
  isFrame(frames[0], TEXT, 'last');
  isFrame(frames[1], CLOSE, '');
  // The peer has it, and has not answered.
  assert.equal(await stateOf(closed), 'pending');
  peer.sendClose(1000);
  peer.end();
  await closed;
  await writer.closed;
  await writer.ready;
  assert.deepEqual(await wss.closed, { closeCode: 1000, reason: '' });
});

test('close the writable: the peer does not answer', async (t) => {
  const { wss, peer, writable } = await pair(t);
  const writer = writable.getWriter();
  const closed = reasonOf(writer.close());
  await peer.framesToClose();
  peer.end();
  const error = await closed;
  isWebSocketError(error, 1006);
  assert.equal(await reasonOf(wss.closed), error);
  assert.equal(await reasonOf(writer.closed), error);
});

test('close the writable: the peer was first', async (t) => {
  const { wss, peer, readable, writable } = await pair(t);
  const reader = readable.getReader();
  peer.write(Buffer.concat([frame(TEXT, 'last'), closeFrame(3000)]));
  await reader.read();
  await turn();
  const closed = writable.getWriter().close();
  isFrame((await peer.framesToClose()).at(-1), CLOSE, closePayload(3000));
  assert.equal(await stateOf(closed), 'pending');
  peer.end();
  await closed;
  assert.equal((await wss.closed).closeCode, 3000);
});

// ---- backpressure ----

const MESSAGE_SIZE = 64 * 1024;
const MESSAGES = 512;
// What the kernel holds of a connection whose one end is not read is a quarter
// of that, and what a stream holds is far less.
const HALF = MESSAGES / 2;

function numbered(i) {
  const bytes = Buffer.alloc(MESSAGE_SIZE, i & 255);
  bytes.writeUInt32BE(i);
  return bytes;
}

function isNumbered(bytes, i) {
  assert.equal(bytes.length, MESSAGE_SIZE);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  assert.equal(view.getUint32(0), i);
  assert.equal(bytes.at(-1), i & 255);
}

// A server that sends all messages to each client as fast as TCP takes them.
// `sent` has how many it took, by the target that was asked for.
async function flooding(t) {
  const sent = {};
  const sockets = [];
  const flood = async (socket, path) => {
    for (sent[path] = 0; sent[path] < MESSAGES; sent[path]++) {
      const bytes = frame(BINARY, numbered(sent[path]));
      await new Promise((resolve, reject) => {
        socket.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
    }
  };
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', (data) => {
      const head = data.toString('latin1');
      const key = /^Sec-WebSocket-Key: *(.*?) *$/im.exec(head)[1];
      const lines = [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${acceptOf(key)}`,
      ];
      socket.write(`${lines.join('\r\n')}\r\n\r\n`);
      flood(socket, head.split(' ')[1]).catch(() => {});
    });
  });
  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => {
      server.close(resolve);
    });
  });
  const url = (path) => `ws://127.0.0.1:${server.address().port}${path}`;
  return { sent, sockets, url };
}

async function readNumbered(reader, from, to) {
  for (let i = from; i < to; i++) isNumbered((await reader.read()).value, i);
}

// Neither is anything lost.
test('apply backpressure: who does not read makes the peer stop', async (t) => {
  const { sent, url } = await flooding(t);
  const idle = await connect(t, url('/idle')).opened;
  // Beside it goes one that reads: in this time the other could have, too.
  const busy = await connect(t, url('/busy')).opened;
  await readNumbered(busy.readable.getReader(), 0, MESSAGES);
  assert.equal(sent['/busy'] >= MESSAGES - 1, true);
  assert.ok(sent['/idle'] > 0);
  assert.ok(sent['/idle'] < HALF, `${sent['/idle']} messages were taken`);
  // Again, after it has read for a while.
  const reader = idle.readable.getReader();
  await readNumbered(reader, 0, 100);
  const more = await connect(t, url('/more')).opened;
  await readNumbered(more.readable.getReader(), 0, MESSAGES);
  assert.ok(sent['/idle'] < HALF + 100, `${sent['/idle']} messages were taken`);
  await readNumbered(reader, 100, MESSAGES);
});

test('apply backpressure: closing releases it', async (t) => {
  const { sockets, url } = await flooding(t);
  const wss = connect(t, url('/'));
  await wss.opened;
  const [socket] = sockets;
  // Something was written that the peer has to wait with.
  await until(() => socket.writableLength > 0);
  wss.close({ closeCode: 3000 });
  let received = Buffer.alloc(0);
  socket.on('data', (data) => {
    received = Buffer.concat([received, data]);
  });
  // The close frame: 2 bytes, the mask, the code.
  await until(() => received.length >= 8);
  socket.write(closeFrame(3000));
  socket.end();
  assert.equal((await wss.closed).closeCode, 3000);
});

async function writeNumbered(writer, done) {
  const writes = [];
  for (let i = 0; i < MESSAGES; i++) {
    await writer.ready;
    writes.push(writer.write(numbered(i)).then(() => done.n++));
  }
  await Promise.all(writes);
}

// And has all in the end.
test('write, step 6.1: a peer that does not read makes it wait', async (t) => {
  const idle = await pair(t);
  const busy = await pair(t);
  idle.peer.pause();
  const writer = idle.writable.getWriter();
  const [done, other] = [{ n: 0 }, { n: 0 }];
  const written = writeNumbered(writer, done);
  await writeNumbered(busy.writable.getWriter(), other);
  assert.equal(other.n, MESSAGES);
  assert.ok(done.n > 0);
  assert.ok(done.n < HALF, `${done.n} messages were accepted`);
  assert.equal(writer.desiredSize, 0);
  assert.equal(await stateOf(writer.ready), 'pending');
  idle.peer.resume();
  for (let i = 0; i < MESSAGES; i++) {
    const got = await idle.peer.frame();
    assert.equal(got.opcode, BINARY);
    isNumbered(got.payload, i);
  }
  await written;
  assert.equal(done.n, MESSAGES);
});

// A stream with a write that waits for its peer.
async function waiting(t) {
  const open = await pair(t);
  open.peer.pause();
  const writer = open.writable.getWriter();
  await writer.ready;
  const size = 16 * 1024 * 1024;
  const written = writer.write(Buffer.alloc(size));
  // As long as another takes for a question and an answer, nothing comes of it.
  await isOpen(await pair(t));
  assert.equal(await stateOf(written), 'pending');
  return { ...open, writer, written, size };
}

async function takesAll({ peer, size }, payload) {
  peer.resume();
  const frames = await peer.framesToClose();
  assert.equal(frames.length, 2);
  assert.equal(frames[0].payload.length, size);
  isFrame(frames[1], CLOSE, payload);
}

test('write, step 6.1: close() while one waits', async (t) => {
  const { wss, peer, written, ...rest } = await waiting(t);
  wss.close({ closeCode: 3000 });
  await takesAll({ peer, ...rest }, closePayload(3000));
  // It has been sent all the same; that is clear when the end is a clean one.
  assert.equal(await stateOf(written), 'pending');
  peer.sendClose(3000);
  peer.end();
  assert.equal((await wss.closed).closeCode, 3000);
  await written;
});

test('write, step 6.1: the peer closes, and takes what waits', async (t) => {
  const { wss, peer, written, ...rest } = await waiting(t);
  peer.sendClose(1000);
  await takesAll({ peer, ...rest }, closePayload(1000));
  peer.end();
  assert.deepEqual(await wss.closed, { closeCode: 1000, reason: '' });
  await written;
});

test('connection closed, step 7: the peer leaves what waits', async (t) => {
  const { wss, peer, readable, writer, written } = await waiting(t);
  const reader = readable.getReader();
  peer.write(Buffer.concat([frame(TEXT, 'last'), closeFrame(4567, 'late')]));
  assert.equal((await reader.read()).value, 'last');
  await turn();
  peer.destroy();
  const error = await reasonOf(wss.closed);
  isWebSocketError(error, 4567, 'late');
  assert.equal(await reasonOf(written), error);
  assert.equal(await reasonOf(writer.closed), error);
  assert.equal(await reasonOf(reader.closed), error);
});

test('abort: not even a write that waits holds it up', async (t) => {
  const { wss, peer, writer, written, ...rest } = await waiting(t);
  const reason = new WebSocketError('', { closeCode: 3000, reason: 'enough' });
  await writer.abort(reason);
  await written;
  assert.equal(await reasonOf(writer.closed), reason);
  await takesAll({ peer, ...rest }, closePayload(3000, 'enough'));
  peer.sendClose(3000, 'enough');
  peer.end();
  assert.equal((await wss.closed).closeCode, 3000);
});

test('pull, write: an echo by pipeTo()', async (t) => {
  const { wss, peer, readable, writable } = await pair(t);
  const piped = readable.pipeTo(writable);
  const bytes = Buffer.alloc(20_000, 'piped');
  for (let i = 0; i < 200; i++)
    peer.write(Buffer.concat([frame(TEXT, `${i}`), frame(BINARY, bytes)]));
  for (let i = 0; i < 200; i++) {
    isFrame(await peer.frame(), TEXT, `${i}`);
    isFrame(await peer.frame(), BINARY, bytes);
  }
  await peer.leave(1000);
  await wss.closed;
  // The one stream is at its end, and the other cannot be closed any more.
  isInvalidState(await reasonOf(piped));
});

// ---- garbage ----

test('garbage collection: a stream that is only waited for', async (t) => {
  const server = await serve(t);
  let got = null;
  const read = async () => {
    const { readable } = await new WebSocketStream(server.url()).opened;
    got = (await readable.getReader().read()).value;
  };
  read();
  const peer = await server.connection();
  await peer.request();
  await collectOften();
  peer.accept();
  await collectOften();
  peer.text('late');
  await until(() => got !== null);
  assert.equal(got, 'late');
});

test('garbage collection: a stream whose connection is closed', async (t) => {
  const server = await serve(t);
  const { signal } = new AbortController();
  const use = async () => {
    const wss = new WebSocketStream(server.url(), { signal });
    const peer = await server.shaken();
    await wss.opened;
    await peer.leave(1000);
    await wss.closed;
    return new WeakRef(wss);
  };
  const refs = [await use(), await use()];
  await collect(() => refs.every((ref) => ref.deref() === undefined));
});
