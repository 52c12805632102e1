// What is Node's: how sockets keep a process, and how they end with it. Each of
// these is a process of its own.

import { assert, child, serve, target, test } from './helpers.mjs';
import { CLOSE, TEXT, frame } from './raw-server.mjs';

// ---- keeping the process ----

test('process: an open socket keeps it, and no longer', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    process.on('beforeExit', () => say('beforeExit'));
    const ws = new WebSocket('${server.url()}');
    ws.onopen = () => say('open');
    ws.onmessage = ({ data }) => say(data);
    ws.onclose = ({ code }) => say('close ' + code);
    `,
  );
  const peer = await server.shaken();
  assert.equal(await other.line(), 'open');
  peer.text('message');
  assert.equal(await other.line(), 'message');
  await peer.leave(3000);
  const lines = await other.ends();
  assert.deepEqual(lines, ['open', 'message', 'close 3000', 'beforeExit']);
});

test('process: a connecting socket keeps it', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    process.on('beforeExit', () => say('beforeExit'));
    const ws = new WebSocket('${server.url()}');
    ws.onerror = () => say('error');
    ws.onclose = ({ code }) => say('close ' + code);
    say('connecting');
    `,
  );
  const peer = await server.connection();
  await peer.request();
  assert.equal(await other.line(), 'connecting');
  peer.destroy();
  assert.deepEqual(await other.ends(), [
    'connecting',
    'error',
    'close 1006',
    'beforeExit',
  ]);
});

test('process: a blocked port is told before it ends', async (t) => {
  const other = child(
    t,
    `
    const ws = new WebSocket('ws://127.0.0.1:1/');
    ws.onerror = () => say('error');
    ws.onclose = ({ code }) => say('close ' + code);
    `,
  );
  assert.deepEqual(await other.ends(), ['error', 'close 1006']);
});

test('process: a socket that nobody listens to keeps it, too', async (t) => {
  // As a socket in Node does. Collection apart, which does not come by itself
  // in so short a time.
  const server = await serve(t);
  const other = child(
    t,
    `
    globalThis.ws = new WebSocket('${server.url()}');
    process.on('beforeExit', () => say('state ' + ws.readyState));
    `,
  );
  const peer = await server.shaken();
  await peer.leave(1000);
  assert.deepEqual(await other.ends(), ['state 3']);
});

test('process: an unreferenced socket lets it end: CONNECTING', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onclose = () => say('close');
    ws.unref();
    process.on('beforeExit', () => say('beforeExit ' + ws.readyState));
    `,
  );
  assert.deepEqual(await other.ends(), ['beforeExit 0']);
});

test('process: an unreferenced socket lets it end: OPEN', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onclose = () => say('close');
    ws.onmessage = () => {};
    ws.onopen = () => ws.unref();
    process.on('beforeExit', () => say('beforeExit ' + ws.readyState));
    `,
  );
  const peer = await server.shaken();
  assert.deepEqual(await other.ends(), ['beforeExit 1']);
  await peer.ended;
});

test('process: ref() after unref() keeps it', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.unref();
    ws.unref();
    ws.ref();
    ws.onopen = () => say('open');
    ws.onclose = ({ code }) => say('close ' + code);
    `,
  );
  const peer = await server.shaken();
  await peer.leave(1000);
  assert.deepEqual(await other.ends(), ['open', 'close 1000']);
});

test('process: an unreferenced socket works meanwhile', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.unref();
    const timer = setInterval(() => {}, 1000);
    ws.onmessage = ({ data }) => {
      say(data);
      clearInterval(timer);
    };
    `,
  );
  const peer = await server.connection();
  await peer.shake({ tail: frame(TEXT, 'x') });
  assert.deepEqual(await other.ends(), ['x']);
});

test('process: ref(), unref() and terminate() in every state', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    const all = () => {
      ws.unref();
      ws.ref();
    };
    all();
    ws.onopen = () => {
      all();
      ws.terminate();
      all();
    };
    ws.onclose = ({ code, wasClean }) => {
      say('close ' + code + ' ' + wasClean);
      all();
      ws.terminate();
      setImmediate(() => {
        all();
        ws.terminate();
      });
    };
    const never = new WebSocket('ws://127.0.0.1:1/');
    never.unref();
    never.ref();
    never.terminate();
    never.onclose = () => never.unref();
    `,
  );
  const peer = await server.shaken();
  await peer.ended;
  const lines = await other.ends();
  assert.deepEqual(lines, ['close 1006 false']);
});

test('process: a closing handshake is waited for', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onopen = () => {
      ws.send('x'.repeat(1_000_000));
      ws.close(3000);
    };
    ws.onclose = ({ wasClean }) => say('clean ' + wasClean);
    `,
  );
  const peer = await server.shaken();
  const frames = await peer.framesToClose();
  assert.equal(frames.length, 2);
  assert.equal(frames[0].payload.length, 1_000_000);
  peer.sendClose(3000);
  peer.end();
  assert.deepEqual(await other.ends(), ['clean true']);
});

// ---- ending with open sockets ----

for (const type of ['open', 'message', 'error', 'close'])
  test(`process: exit() in on${type}, others open`, async (t) => {
    const server = await serve(t);
    const quiet = await serve(t);
    const other = child(
      t,
      `
      const open = new WebSocket('${quiet.url('/open')}');
      open.onmessage = () => {};
      open.onopen = () => {
        const connecting = new WebSocket('${quiet.url('/connecting')}');
        connecting.onclose = () => say('never');
        open.send('x'.repeat(10_000_000));
        open.send(new Blob(['x'.repeat(10_000_000)]));
        const ws = new WebSocket('${server.url()}');
        ws.on${type} = () => {
          say('${type}');
          ws.send('x'.repeat(1_000_000));
          process.exit(7);
        };
      };
      `,
    );
    const peer = await quiet.shaken();
    const one = await server.connection();
    await one.shake({ tail: frame(TEXT, 'x') });
    one.end();
    assert.deepEqual(await other.ends(7), [type]);
    await peer.ended;
    await one.ended;
  });

test('process: exit() within send() and close()', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onopen = () => {
      ws.send({ toString: () => process.exit(3) });
    };
    `,
  );
  await server.shaken();
  await other.ends(3);
});

test('process: exit() with a hundred sockets in all states', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const sockets = [];
    for (let i = 0; i < 100; i++) {
      const ws = new WebSocket('${server.url()}');
      ws.binaryType = 'arraybuffer';
      ws.onmessage = () => {};
      ws.onopen = () => {
        if (i % 4 === 1) ws.close();
        if (i % 4 === 2) ws.send(new Uint8Array(1_000_000));
        if (i % 4 === 3) ws.terminate();
        if (i === 89) process.exit(0);
      };
      sockets.push(ws);
    }
    `,
  );
  let over = false;
  other.exit.then(() => {
    over = true;
  });
  // The child may be gone before a connection has said what it wants.
  while (!over) {
    await server.shaken().catch(() => {});
  }
  await other.ends(0);
});

test('process: an exit listener may do what it likes', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    process.on('exit', () => {
      ws.send('x');
      ws.send(new Blob(['x']));
      ws.close(3000);
      ws.onclose = () => {};
      ws.addEventListener('message', () => {});
      const late = new WebSocket('${server.url()}');
      late.onopen = () => {};
      say([ws.readyState, late.readyState, ws.bufferedAmount].join());
    });
    ws.onopen = () => process.exit(0);
    `,
  );
  await server.shaken();
  const [line] = await other.ends();
  assert.match(line, /^2,0,\d+$/);
});

test('process: killed by a signal: the server sees an end', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onopen = () => say('open');
    `,
  );
  const peer = await server.shaken();
  assert.equal(await other.line(), 'open');
  other.process.kill('SIGTERM');
  await peer.ended;
  assert.deepEqual(await other.exit, { code: null, signal: 'SIGTERM' });
});

test('process: a rejection that nobody handles', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onopen = async () => {
      await null;
      throw new Error('mine');
    };
    `,
  );
  await server.shaken();
  await other.ends(1);
  assert.match(other.stderr, /mine/);
});

// ---- worker threads ----

// What starts workers that have the class and `say`, and do `source`.
const worker = (source) => `
  import { Worker } from 'node:worker_threads';
  const text = \`
    const { parentPort, workerData } = require('node:worker_threads');
    const say = (line) => parentPort.postMessage(line);
    import(workerData.target).then(({ WebSocket }) => {
      ${source.replaceAll('`', '\\`').replaceAll('$', '\\$')}
    });
  \`;
  const start = (data) => {
    const thread = new Worker(text, {
      eval: true,
      // The text is a script, unlike that of this process.
      execArgv: [],
      workerData: { ...data, target: '${target}' },
    });
    thread.on('message', say);
    thread.on('error', (error) => say('error ' + error.message));
    thread.on('exit', (code) => say('exit ' + code));
    return thread;
  };
`;

test('worker_threads: each has its sockets, and its end', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    worker(`
      const ws = new WebSocket(workerData.url);
      ws.onmessage = ({ data }) => {
        say(workerData.name + ' ' + data);
        ws.close(3000);
      };
      ws.onclose = ({ code }) => say(workerData.name + ' ' + code);
    `) +
      `
    for (const name of ['a', 'b', 'c'])
      start({ name, url: '${server.url('/')}' + name });
    const ws = new WebSocket('${server.url('/main')}');
    ws.onmessage = ({ data }) => {
      say('main ' + data);
      ws.close(3000);
    };
    ws.onclose = ({ code }) => say('main ' + code);
    `,
  );
  for (let i = 0; i < 4; i++) {
    const peer = await server.connection();
    const request = await peer.shake();
    peer.text(request.target);
    peer.finish().catch(() => {});
  }
  const lines = await other.ends();
  assert.deepEqual(lines.slice().sort(), [
    'a /a',
    'a 3000',
    'b /b',
    'b 3000',
    'c /c',
    'c 3000',
    'exit 0',
    'exit 0',
    'exit 0',
    'main /main',
    'main 3000',
  ]);
});

for (const [state, source] of [
  ['CONNECTING', `say('ready')`],
  ['OPEN', `ws.onopen = () => say('ready')`],
  [
    'OPEN, with data that waits',
    `ws.onopen = () => {
      ws.send(new Uint8Array(50_000_000));
      say('ready');
    }`,
  ],
  [
    'OPEN, with a Blob',
    `ws.onopen = () => {
      ws.send(new Blob([new Uint8Array(50_000_000)]));
      say('ready');
    }`,
  ],
  [
    'CLOSING',
    `ws.onopen = () => {
      ws.close(3000);
      say('ready');
    }`,
  ],
  [
    'in a handler that does not end',
    `ws.onopen = () => {
      say('ready');
      for (;;);
    }`,
  ],
])
  test(`worker_threads: terminate(): ${state}`, async (t) => {
    const server = await serve(t);
    const other = child(
      t,
      worker(`
        const ws = new WebSocket(workerData.url);
        ws.onclose = () => {};
        ws.onmessage = () => {};
        ${source};
      `) +
        `
      const thread = start({ url: '${server.url()}' });
      thread.once('message', () => thread.terminate());
      // The main thread's own socket outlives it.
      const ws = new WebSocket('${server.url('/main')}');
      ws.onmessage = ({ data }) => say(data);
      ws.onclose = ({ code }) => say('close ' + code);
      `,
    );
    let main;
    let thread;
    for (let i = 0; i < 2; i++) {
      const peer = await server.connection();
      const request = await peer.request();
      if (request.target === '/main') main = peer;
      else thread = peer;
      if (thread === peer && !state.startsWith('OPEN, with')) peer.resume();
      if (thread === peer && state.startsWith('OPEN, with')) peer.pause();
      if (thread !== peer || state !== 'CONNECTING') peer.accept();
    }
    assert.equal(await other.line(), 'ready');
    assert.equal(await other.line(), 'exit 1');
    thread.resume();
    await thread.ended;
    main.text('still here');
    assert.equal(await other.line(), 'still here');
    await main.leave(1000);
    assert.deepEqual(await other.ends(), [
      'ready',
      'exit 1',
      'still here',
      'close 1000',
    ]);
  });

test('worker_threads: process.exit() in a worker’s handler', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    worker(`
      const open = new WebSocket(workerData.url);
      open.onclose = () => say('never');
      open.onopen = () => process.exit(5);
    `) + `start({ url: '${server.url()}' });`,
  );
  const peer = await server.shaken();
  assert.deepEqual(await other.ends(), ['exit 5']);
  await peer.ended;
});

test('worker_threads: the process exits while they have sockets', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    worker(`
      const ws = new WebSocket(workerData.url);
      ws.onopen = () => say('ready');
      ws.onclose = () => say('never');
    `) +
      `
    for (let i = 0; i < 3; i++) {
      start({ url: '${server.url()}' }).on('message', () => {
        globalThis.count = (globalThis.count ?? 0) + 1;
        if (globalThis.count === 3) process.exit(4);
      });
    }
    `,
  );
  const peers = [];
  for (let i = 0; i < 3; i++) peers.push(await server.shaken());
  assert.deepEqual(
    (await other.ends(4)).filter((line) => line !== 'exit 1'),
    ['ready', 'ready', 'ready'],
  );
  for (const peer of peers) await peer.ended;
});

test('worker_threads: an exception in a worker’s handler', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    worker(`
      const ws = new WebSocket(workerData.url);
      ws.onopen = () => {
        throw new Error('mine');
      };
    `) + `start({ url: '${server.url()}' });`,
  );
  const peer = await server.shaken();
  assert.deepEqual(await other.ends(), ['error mine', 'exit 1']);
  await peer.ended;
});

test('worker_threads: again and again', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    worker(`
      const ws = new WebSocket(workerData.url);
      ws.onopen = () => say('ready');
    `) +
      `
    for (let i = 0; i < 10; i++) {
      const thread = start({ url: '${server.url()}' });
      await new Promise((resolve) => thread.once('message', resolve));
      await thread.terminate();
    }
    `,
  );
  for (let i = 0; i < 10; i++) {
    const peer = await server.shaken();
    await peer.ended;
  }
  const lines = await other.ends();
  assert.equal(lines.filter((line) => line === 'exit 1').length, 10);
});

// ---- the module ----

test('process: importing alone keeps nothing', async (t) => {
  const other = child(t, `say(typeof WebSocket);`);
  assert.deepEqual(await other.ends(), ['function']);
});

test('process: a clean end sends its close frame', async (t) => {
  const server = await serve(t);
  const other = child(
    t,
    `
    const ws = new WebSocket('${server.url()}');
    ws.onopen = () => {
      ws.send('bye');
      ws.close(3001, 'leaving');
      ws.unref();
    };
    `,
  );
  const peer = await server.shaken();
  await other.ends();
  const frames = await peer.framesToClose();
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [TEXT, 3],
      [CLOSE, 9],
    ],
  );
});
