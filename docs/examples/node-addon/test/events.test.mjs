// 4, when events are fired; and HTML, "event handlers".

import diagnostics from 'node:diagnostics_channel';
import {
  WebSocket,
  assert,
  child,
  closed,
  connecting,
  fails,
  happens,
  microtasks,
  pair,
  record,
  serve,
  test,
  turn,
  until,
} from './helpers.mjs';
import { CLOSE, TEXT, closeFrame, frame } from './raw-server.mjs';

const HANDLERS = ['onopen', 'onmessage', 'onerror', 'onclose'];

// ---- the order of things ----

test('4: open comes before message, in one segment', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const events = record(ws);
  const all = until(() => events.length === 3);
  const peer = await server.connection();
  await peer.shake({
    tail: Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]),
  });
  await all;
  assert.deepEqual(events.types(), ['open', 'message', 'message']);
  assert.deepEqual(events.data(), ['1', '2']);
  assert.deepEqual(
    events.map(({ state }) => state),
    [1, 1, 1],
  );
});

test('4: … and close, in the same one', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const events = record(ws);
  const gone = happens(ws, 'close');
  const peer = await server.connection();
  await peer.shake({
    tail: Buffer.concat([frame(TEXT, '1'), closeFrame(3000, 'x')]),
  });
  peer.end();
  const { code, reason, wasClean } = await gone;
  assert.deepEqual([code, reason, wasClean], [3000, 'x', true]);
  assert.deepEqual(events.types(), ['open', 'message', 'close']);
});

test('4 open, steps 1 to 3: they come before the event', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url(), ['a', 'b']);
  const seen = new Promise((resolve) => {
    ws.onopen = (event) =>
      resolve([event, ws.readyState, ws.protocol, ws.extensions]);
  });
  const peer = await server.connection();
  await peer.request();
  assert.deepEqual([ws.readyState, ws.protocol, ws.extensions], [0, '', '']);
  peer.accept({ protocol: 'b', extensions: 'permessage-deflate' });
  const [event, ...rest] = await seen;
  assert.deepEqual(rest, [1, 'b', 'permessage-deflate']);
  // Step 4: "fire an event" makes a plain one.
  assert.equal(Object.getPrototypeOf(event), Event.prototype);
  assert.equal(event.type, 'open');
  assert.equal(event.target, ws);
  assert.equal(event.bubbles, false);
  assert.equal(event.cancelable, false);
  assert.equal(event.composed, false);
});

test('4 open: a listener added after the constructor is in time', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  await microtasks();
  const opened = happens(ws, 'open');
  await server.shaken();
  await opened;
});

test('DOM, dispatch: target, currentTarget, phase, path', async (t) => {
  // The first listener, for Node takes the dispatch for over behind that.
  const { ws, server } = await connecting(t);
  const seen = new Promise((resolve) => {
    ws.onmessage = (event) =>
      resolve([
        event.target,
        event.currentTarget,
        event.eventPhase,
        event.composedPath(),
      ]);
  });
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, 'x') });
  const [target, currentTarget, phase, path] = await seen;
  assert.equal(target, ws);
  assert.equal(currentTarget, ws);
  assert.equal(phase, Event.AT_TARGET);
  assert.deepEqual(path, [ws]);
});

// ---- tasks and microtasks ----

test('HTML, event loop: a checkpoint between two messages', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  ws.onmessage = ({ data }) => {
    log.push(data);
    process.nextTick(() => log.push(`${data} tick`));
    queueMicrotask(() => log.push(`${data} micro`));
    Promise.resolve()
      .then(() => {})
      .then(() => {})
      .then(() => log.push(`${data} later`));
  };
  const all = until(() => log.length === 12);
  peer.write(
    Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2'), frame(TEXT, '3')]),
  );
  await all;
  assert.deepEqual(log, [
    '1',
    '1 tick',
    '1 micro',
    '1 later',
    '2',
    '2 tick',
    '2 micro',
    '2 later',
    '3',
    '3 tick',
    '3 micro',
    '3 later',
  ]);
});

test('HTML, event loop: … between open and message', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const log = [];
  const note = async ({ type }) => {
    log.push(type);
    await null;
    await null;
    log.push(`${type} later`);
  };
  for (const name of HANDLERS) ws[name] = note;
  const gone = happens(ws, 'close');
  const peer = await server.connection();
  await peer.shake({
    tail: Buffer.concat([frame(TEXT, 'x'), closeFrame(1000)]),
  });
  peer.end();
  await gone;
  await microtasks();
  assert.deepEqual(log, [
    'open',
    'open later',
    'message',
    'message later',
    'close',
    'close later',
  ]);
});

test('HTML, event loop: … between error and close', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  const note = async ({ type }) => {
    log.push(type);
    await null;
    await null;
    log.push(`${type} later`);
  };
  ws.onerror = note;
  ws.onclose = note;
  const gone = happens(ws, 'close');
  peer.destroy();
  await gone;
  await microtasks();
  assert.deepEqual(log, ['error', 'error later', 'close', 'close later']);
});

test('HTML, event loop: … also where nothing was connected', async () => {
  const ws = new WebSocket('ws://127.0.0.1:1/');
  const log = [];
  const note = async ({ type }) => {
    log.push(type);
    await null;
    await null;
    log.push(`${type} later`);
  };
  ws.onerror = note;
  ws.onclose = note;
  await happens(ws, 'close');
  await microtasks();
  assert.deepEqual(log, ['error', 'error later', 'close', 'close later']);
});

test('HTML, event loop: await in a loop sees every message', async (t) => {
  // A common way to consume messages, which loses some where two events come
  // without a checkpoint between.
  const { ws, peer } = await pair(t);
  const seen = [];
  const next = () =>
    new Promise((resolve) => {
      ws.addEventListener('message', (event) => resolve(event.data), {
        once: true,
      });
    });
  const reader = (async () => {
    while (seen.at(-1) !== '99') seen.push(await next());
  })();
  const frames = [];
  for (let i = 0; i < 100; i++) frames.push(frame(TEXT, `${i}`));
  peer.write(Buffer.concat(frames));
  await reader;
  assert.equal(seen.length, 100);
});

test('HTML, event loop: messages of two sockets do not mix', async (t) => {
  const a = await pair(t);
  const b = await pair(t);
  const log = [];
  for (const { ws } of [a, b])
    ws.onmessage = async ({ data }) => {
      log.push(data);
      await null;
      log.push(`${data}'`);
    };
  const all = until(() => log.length === 8);
  a.peer.write(Buffer.concat([frame(TEXT, 'a1'), frame(TEXT, 'a2')]));
  b.peer.write(Buffer.concat([frame(TEXT, 'b1'), frame(TEXT, 'b2')]));
  await all;
  for (let i = 0; i < 8; i += 2) assert.equal(log[i + 1], `${log[i]}'`);
});

test('4: no event is fired within a call', async (t) => {
  const server = await serve(t);
  let inside = true;
  const events = [];
  const listen = (ws) => {
    for (const type of ['open', 'message', 'error', 'close'])
      ws.addEventListener(type, () => events.push([type, inside]));
  };
  // Each of these ends in events, and none of them fires one itself.
  const steps = [
    () => listen(new WebSocket('ws://127.0.0.1:1/')),
    () => {
      const ws = new WebSocket(server.url());
      listen(ws);
      ws.close();
    },
  ];
  for (const step of steps) {
    inside = true;
    step();
    await microtasks();
    inside = false;
    const count = events.length;
    await until(() => events.length === count + 2);
  }
  assert.deepEqual(events, [
    ['error', false],
    ['close', false],
    ['error', false],
    ['close', false],
  ]);
});

test('4: … not by send() and close(), however much there is', async (t) => {
  const { ws, peer, events } = await pair(t);
  // All of it waits in the kernel when the calls are made.
  peer.write(
    Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2'), closeFrame(1000)]),
  );
  let inside = 0;
  let wrong = 0;
  for (const type of ['message', 'close'])
    ws.addEventListener(type, () => {
      wrong += inside;
      inside = 1;
      ws.send('x'.repeat(100_000));
      ws.send(new Blob(['x']));
      ws.close();
      inside = 0;
    });
  const gone = happens(ws, 'close');
  inside = 1;
  ws.send('x'.repeat(1_000_000));
  inside = 0;
  await peer.framesToClose();
  peer.end();
  await gone;
  assert.equal(wrong, 0);
  assert.equal(events.at(-1).type, 'close');
});

test('4: events do not nest', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  ws.onmessage = ({ data }) => {
    log.push(`${data} (`);
    ws.send('x');
    if (data === '2') ws.close(3000);
    log.push(`${data} )`);
  };
  ws.onclose = () => log.push('close');
  peer.write(Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]));
  const gone = happens(ws, 'close');
  await peer.finish();
  await gone;
  assert.deepEqual(log, ['1 (', '1 )', '2 (', '2 )', 'close']);
});

// ---- HTML, event handler IDL attributes ----

for (const name of HANDLERS) {
  const type = name.slice(2);

  test(`HTML, event handlers: ${name}: at first null`, async (t) => {
    const { ws } = await connecting(t);
    assert.equal(ws[name], null);
  });

  test(`HTML, event handlers: ${name}: what it takes`, async (t) => {
    const { ws } = await connecting(t);
    for (const value of [
      () => {},
      async () => {},
      class {},
      {},
      [],
      { handleEvent() {} },
      new Proxy(() => {}, {}),
      Object.create(null),
    ]) {
      ws[name] = value;
      assert.equal(ws[name], value);
    }
  });

  test(`HTML, event handlers: ${name}: what is no object`, async (t) => {
    // [LegacyTreatNonObjectAsNull]
    const { ws } = await connecting(t);
    for (const value of [
      null,
      undefined,
      0,
      1,
      '',
      'alert()',
      true,
      1n,
      Symbol('x'),
    ]) {
      ws[name] = () => {};
      ws[name] = value;
      assert.equal(ws[name], null);
    }
  });

  test(`HTML, event handlers: ${name}: this, and the argument`, async (t) => {
    const { ws } = await connecting(t);
    const event = new Event(type);
    let call;
    ws[name] = function (...args) {
      call = [this, args];
    };
    ws.dispatchEvent(event);
    assert.deepEqual(call, [ws, [event]]);
    assert.equal(call[0], ws);
    assert.equal(call[1][0], event);
  });

  test(`HTML, event handlers: ${name}: an object is not called`, async (t) => {
    const { ws } = await connecting(t);
    let called = false;
    ws[name] = {
      handleEvent() {
        called = true;
      },
    };
    assert.equal(ws.dispatchEvent(new Event(type)), true);
    assert.equal(called, false);
  });

  test(`HTML, event handlers: ${name}: its place is kept`, async (t) => {
    const { ws } = await connecting(t);
    const log = [];
    ws.addEventListener(type, () => log.push('before'));
    ws[name] = () => log.push('first');
    ws.addEventListener(type, () => log.push('behind'));
    ws[name] = () => log.push('second');
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, ['before', 'second', 'behind']);
  });

  test(`HTML, event handlers: ${name}: an object keeps it, too`, async (t) => {
    const { ws } = await connecting(t);
    const log = [];
    ws[name] = {};
    ws.addEventListener(type, () => log.push('behind'));
    ws[name] = () => log.push('handler');
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, ['handler', 'behind']);
  });

  test(`HTML, event handlers: ${name}: null gives it up`, async (t) => {
    const { ws } = await connecting(t);
    const log = [];
    ws[name] = () => log.push('first');
    ws.addEventListener(type, () => log.push('listener'));
    ws[name] = null;
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, ['listener']);
    ws[name] = () => log.push('second');
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, ['listener', 'listener', 'second']);
  });

  test(`HTML, event handlers: ${name}: replaced while it runs`, async (t) => {
    const { ws } = await connecting(t);
    const log = [];
    ws.addEventListener(type, () => {
      ws[name] = () => log.push('new');
    });
    ws[name] = () => log.push('old');
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, ['new']);
  });

  test(`HTML, event handlers: ${name}: removed while it runs`, async (t) => {
    const { ws } = await connecting(t);
    const log = [];
    ws.addEventListener(type, () => {
      ws[name] = null;
    });
    ws[name] = () => log.push('handler');
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, []);
  });

  test(`HTML, event handlers: ${name}: set while it runs`, async (t) => {
    // The listeners were taken when the dispatch began.
    const { ws } = await connecting(t);
    const log = [];
    ws.addEventListener(type, () => {
      ws[name] = () => log.push('handler');
    });
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, []);
    ws.dispatchEvent(new Event(type));
    assert.deepEqual(log, ['handler']);
  });

  test(`HTML, event handlers: ${name}: false cancels`, async (t) => {
    const { ws } = await connecting(t);
    for (const [result, canceled] of [
      [false, true],
      [true, false],
      [undefined, false],
      [0, false],
      [null, false],
      ['', false],
    ]) {
      ws[name] = () => result;
      const event = new Event(type, { cancelable: true });
      assert.equal(ws.dispatchEvent(event), !canceled);
      assert.equal(event.defaultPrevented, canceled);
    }
  });

  test(`HTML, event handlers: ${name}: listeners apart`, async (t) => {
    // It is no listener that removeEventListener() could find.
    const { ws } = await connecting(t);
    const log = [];
    const fn = () => log.push('x');
    ws[name] = fn;
    ws.addEventListener(type, fn);
    ws.dispatchEvent(new Event(type));
    assert.equal(log.length, 2);
    ws.removeEventListener(type, fn);
    ws.dispatchEvent(new Event(type));
    assert.equal(log.length, 3);
    assert.equal(ws[name], fn);
  });

  test(`HTML, event handlers: ${name}: each socket its own`, async (t) => {
    const a = await connecting(t);
    const b = await connecting(t);
    const fn = () => {};
    a.ws[name] = fn;
    assert.equal(b.ws[name], null);
    assert.equal(a.ws[name], fn);
    for (const other of HANDLERS)
      if (other !== name) assert.equal(a.ws[other], null);
  });
}

test('HTML, event handlers: stopImmediatePropagation()', async (t) => {
  const { ws } = await connecting(t);
  const log = [];
  ws.onmessage = (event) => {
    log.push('handler');
    event.stopImmediatePropagation();
  };
  ws.addEventListener('message', () => log.push('listener'));
  ws.dispatchEvent(new Event('message'));
  assert.deepEqual(log, ['handler']);
});

test('HTML, event handlers: the events of a connection', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  const log = [];
  for (const name of HANDLERS)
    ws[name] = function (event) {
      assert.equal(this, ws);
      log.push(`${name} ${event.type} ${this.readyState}`);
    };
  const gone = happens(ws, 'close');
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, 'x') });
  peer.end();
  await gone;
  assert.deepEqual(log, [
    'onopen open 1',
    'onmessage message 1',
    'onerror error 3',
    'onclose close 3',
  ]);
});

// ---- DOM, listeners ----

test('DOM, addEventListener: once, signal, handleEvent', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  const controller = new AbortController();
  const object = {
    handleEvent(event) {
      log.push(`object ${event.data} ${this === object}`);
    },
  };
  ws.addEventListener('message', ({ data }) => log.push(`once ${data}`), {
    once: true,
  });
  ws.addEventListener('message', ({ data }) => log.push(`signal ${data}`), {
    signal: controller.signal,
  });
  ws.addEventListener('message', object);
  ws.addEventListener('message', object);
  const all = until(() => log.length === 6);
  ws.addEventListener('message', ({ data }) => {
    if (data === '2') controller.abort();
  });
  peer.write(
    Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2'), frame(TEXT, '3')]),
  );
  await all;
  assert.deepEqual(log, [
    'once 1',
    'signal 1',
    'object 1 true',
    'signal 2',
    'object 2 true',
    'object 3 true',
  ]);
});

test('DOM, addEventListener: a signal that is aborted already', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  ws.addEventListener('message', () => log.push('never'), {
    signal: AbortSignal.abort(),
  });
  const message = happens(ws, 'message');
  peer.text('x');
  await message;
  assert.deepEqual(log, []);
});

test('DOM, addEventListener: in order, each once, removable', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  const a = () => log.push('a');
  const b = () => log.push('b');
  const c = () => log.push('c');
  ws.addEventListener('message', a);
  ws.addEventListener('message', b);
  ws.addEventListener('message', c);
  ws.addEventListener('message', a);
  ws.removeEventListener('message', b);
  const message = happens(ws, 'message');
  peer.text('x');
  await message;
  assert.deepEqual(log, ['a', 'c']);
});

test('DOM, addEventListener: null, and other types', async (t) => {
  const { ws, peer } = await pair(t);
  ws.addEventListener('message', null);
  ws.addEventListener('Message', () => assert.fail());
  const message = happens(ws, 'message');
  peer.text('x');
  await message;
});

test('DOM, addEventListener: what a listener adds comes later', async (t) => {
  const { ws, peer } = await pair(t);
  const log = [];
  ws.addEventListener(
    'message',
    () => ws.addEventListener('message', ({ data }) => log.push(data)),
    { once: true },
  );
  const all = until(() => log.length === 1);
  peer.write(Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2')]));
  await all;
  assert.deepEqual(log, ['2']);
});

test('DOM, dispatchEvent: one’s own events', async (t) => {
  const { ws, events } = await closed(t);
  const before = events.length;
  const event = new Event('message');
  assert.equal(ws.dispatchEvent(event), true);
  assert.equal(events.length, before + 1);
  assert.equal(events.at(-1).event, event);
  assert.equal(ws.readyState, WebSocket.CLOSED);
});

// ---- HTML, "report an exception" ----

test('DOM, inner invoke: an exception does not stop others', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    process.on('uncaughtException', (error) => say('caught ' + error.message));
    ws.onmessage = ({ data }) => {
      say('handler ' + data);
      throw new Error('handler ' + data);
    };
    ws.addEventListener('message', ({ data }) => {
      say('listener ' + data);
      throw new Error('listener ' + data);
    });
    ws.addEventListener('message', ({ data }) => say('last ' + data));
    ws.onclose = ({ code, wasClean }) => say('close ' + code + wasClean);
    `,
  );
  const peer = await server.shaken();
  peer.write(
    Buffer.concat([frame(TEXT, '1'), frame(TEXT, '2'), closeFrame(1000)]),
  );
  await peer.framesToClose();
  peer.end();
  const lines = await other.ends();
  assert.deepEqual(
    lines.filter((line) => !line.startsWith('caught')),
    [
      'handler 1',
      'listener 1',
      'last 1',
      'handler 2',
      'listener 2',
      'last 2',
      'close 1000true',
    ],
  );
  // Each is reported; and before the next event, as far as Node does that.
  assert.ok(lines.indexOf('caught handler 1') < lines.indexOf('handler 2'));
  assert.equal(lines.filter((line) => line.startsWith('caught')).length, 4);
});

test('DOM, inner invoke: in every handler', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    process.on('uncaughtException', ({ message }) => say('caught ' + message));
    for (const type of ['open', 'message', 'error', 'close'])
      ws['on' + type] = () => {
        throw new Error(type);
      };
    `,
  );
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, 'x') });
  peer.end();
  assert.deepEqual(await other.ends(), [
    'caught open',
    'caught message',
    'caught error',
    'caught close',
  ]);
});

test('DOM, inner invoke: an exception that nobody handles', async (t) => {
  // Node's way to report one ends the process.
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onmessage = () => {
      throw new Error('mine');
    };
    `,
  );
  const peer = await server.shaken();
  peer.text('x');
  await other.ends(1);
  assert.match(other.stderr, /Error: mine/);
  await peer.ended;
});

test('DOM, inner invoke: Symbol.toPrimitive as exceptions', async (t) => {
  // Whatever is thrown, it is not lost, and it breaks nothing.
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    process.on('uncaughtException', (error) => say('caught ' + typeof error));
    const thrown = [undefined, null, 1, 'x', Symbol('x'), Object.create(null)];
    ws.onmessage = () => {
      throw thrown.shift();
    };
    ws.onclose = () => say('close');
    `,
  );
  const peer = await server.shaken();
  for (let i = 0; i < 6; i++) peer.text('x');
  await peer.leave(1000);
  assert.deepEqual(await other.ends(), [
    'caught undefined',
    'caught object',
    'caught number',
    'caught string',
    'caught symbol',
    'caught object',
    'close',
  ]);
});

// ---- what listeners do meanwhile ----

test('4: a socket made in each handler', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url('/0'));
  const made = [];
  for (const name of HANDLERS)
    ws[name] = () => made.push(new WebSocket(server.url(`/${name}`)));
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, 'x') });
  peer.end();
  const targets = [];
  for (let i = 0; i < HANDLERS.length; i++) {
    const next = await server.connection();
    targets.push((await next.shake()).target);
  }
  assert.deepEqual(
    targets.sort(),
    HANDLERS.map((name) => `/${name}`).sort(),
  );
  await until(() => made.every((other) => other.readyState === 1));
});

test('4: a new connection in onclose, again and again', async (t) => {
  const server = await serve(t);
  let count = 0;
  const done = new Promise((resolve) => {
    const connect = () => {
      const ws = new WebSocket(server.url());
      ws.onclose = () => {
        count++;
        if (count < 50) connect();
        else resolve();
      };
    };
    connect();
  });
  (async () => {
    for (let i = 0; i < 50; i++) {
      const peer = await server.connection();
      await peer.request();
      if (i % 3 === 0) peer.destroy();
      else peer.accept();
      if (i % 3 === 1) peer.leave(1000).catch(() => {});
      if (i % 3 === 2) peer.reset();
    }
  })();
  await done;
  assert.equal(count, 50);
});

test('4: sends in onclose and onerror do nothing', async (t) => {
  const { ws, peer, events } = await pair(t);
  for (const name of ['onerror', 'onclose'])
    ws[name] = () => {
      ws.send('x');
      ws.send(new Blob(['y']));
      ws.close();
    };
  peer.end();
  await fails(ws, events, ['open']);
  await turn();
  assert.equal(ws.bufferedAmount, 4);
  assert.deepEqual(
    peer.frames.filter(({ opcode }) => opcode !== CLOSE),
    [],
  );
});

test('package: what went wrong is published, not told', async (t) => {
  const found = [];
  const subscriber = (message) => found.push(message);
  const channel = diagnostics.channel('uvws:websocket:error');
  channel.subscribe(subscriber);
  t.after(() => channel.unsubscribe(subscriber));
  const { ws, peer, events } = await pair(t);
  peer.end();
  await fails(ws, events, ['open']);
  const never = new WebSocket('ws://127.0.0.1:1/');
  await happens(never, 'close');
  assert.deepEqual(
    found.map(({ websocket }) => websocket),
    [ws, never],
  );
  for (const { code, message } of found) {
    assert.equal(typeof code, 'string');
    assert.equal(typeof message, 'string');
    assert.ok(message.length > 0);
  }
});
