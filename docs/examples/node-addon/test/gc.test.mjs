// 7, garbage collection: what must not be collected, and what is when nobody
// can hear of it any more. That it is at all is not in the standard, which says
// only what happens then; a process that runs for long depends on it.

import {
  WebSocket,
  assert,
  collect,
  collectOften,
  gc,
  serve,
  slowBlob,
  test,
  turn,
} from './helpers.mjs';
import { BINARY, CLOSE, TEXT } from './raw-server.mjs';

// Each socket here is made in a function of its own that does not refer to it
// any more when it returns.

// A socket that has been opened. `prepare` is called with it before it is, and
// `after` when it is.
async function abandon(server, prepare = () => {}, after = () => {}) {
  const ws = new WebSocket(server.url());
  prepare(ws);
  const opened = new Promise((resolve) => {
    ws.addEventListener('open', () => resolve(), { once: true });
  });
  const peer = await server.shaken();
  await opened;
  after(ws);
  return { ref: new WeakRef(ws), peer };
}

async function goes({ ref, peer }) {
  // A reference that was looked at stays until the end of the job.
  await turn();
  const frame = peer.frame();
  let got;
  frame.then((value) => {
    got = value;
  });
  await collect(() => got !== undefined);
  // "With no status code for the Close message."
  assert.equal(got.opcode, CLOSE);
  assert.equal(got.payload.length, 0);
  assert.equal(got.masked, true);
  peer.sendClose();
  peer.end();
  await collect(() => ref.deref() === undefined);
}

async function stays({ ref }) {
  await turn();
  await collectOften();
  assert.ok(ref.deref());
}

// ---- OPEN ----

test('7: OPEN, no listeners: goes, closing without a code', async (t) => {
  const server = await serve(t);
  await goes(await abandon(server));
});

test('7: OPEN, only open listeners: goes', async (t) => {
  const server = await serve(t);
  await goes(
    await abandon(server, (ws) => {
      ws.onopen = () => {};
      ws.addEventListener('open', () => {});
      ws.addEventListener('other', () => {});
    }),
  );
});

for (const type of ['message', 'error', 'close']) {
  test(`7: OPEN, a ${type} listener: stays`, async (t) => {
    const server = await serve(t);
    const seen = [];
    const socket = await abandon(server, (ws) =>
      ws.addEventListener(type, (event) => seen.push(event.type)),
    );
    await stays(socket);
    socket.peer.text('x');
    socket.peer.end();
    await collect(() => seen.length === 1);
    assert.deepEqual(seen, [type]);
  });

  test(`7: OPEN, on${type}: stays`, async (t) => {
    const server = await serve(t);
    const seen = [];
    const socket = await abandon(server, (ws) => {
      ws[`on${type}`] = (event) => seen.push(event.type);
    });
    await stays(socket);
    socket.peer.text('x');
    socket.peer.end();
    await collect(() => seen.length === 1);
    assert.deepEqual(seen, [type]);
  });

  test(`7: OPEN, a ${type} listener added then: stays`, async (t) => {
    const server = await serve(t);
    const seen = [];
    const socket = await abandon(server, undefined, (ws) => {
      ws[`on${type}`] = () => seen.push(type);
    });
    await stays(socket);
    socket.peer.text('x');
    socket.peer.end();
    await collect(() => seen.length === 1);
  });

  test(`7: OPEN, a ${type} listener that was removed: goes`, async (t) => {
    const server = await serve(t);
    const listener = () => {};
    const controller = new AbortController();
    await goes(
      await abandon(
        server,
        (ws) => {
          ws.addEventListener(type, listener);
          ws.addEventListener(type, listener, { capture: true });
          ws.addEventListener(type, () => {}, { signal: controller.signal });
          ws[`on${type}`] = listener;
        },
        (ws) => {
          ws.removeEventListener(type, listener);
          ws.removeEventListener(type, listener, { capture: true });
          controller.abort();
          ws[`on${type}`] = null;
        },
      ),
    );
  });

  test(`7: OPEN, one ${type} listener of two left: stays`, async (t) => {
    const server = await serve(t);
    const listener = () => {};
    await stays(
      await abandon(
        server,
        (ws) => {
          ws.addEventListener(type, listener);
          ws[`on${type}`] = listener;
        },
        (ws) => ws.removeEventListener(type, listener),
      ),
    );
  });

  test(`7: OPEN, a ${type} listener of EventTarget’s own`, async (t) => {
    const server = await serve(t);
    const { addEventListener } = EventTarget.prototype;
    await stays(
      await abandon(server, (ws) =>
        Reflect.apply(addEventListener, ws, [type, () => {}]),
      ),
    );
  });
}

test('7: OPEN, a once listener that has been called: goes', async (t) => {
  const server = await serve(t);
  const seen = [];
  const socket = await abandon(server, (ws) =>
    ws.addEventListener('message', () => seen.push('x'), { once: true }),
  );
  await stays(socket);
  socket.peer.text('x');
  await collect(() => seen.length === 1);
  await goes(socket);
});

test('7: OPEN, messages keep coming to a socket nobody has', async (t) => {
  const server = await serve(t);
  const seen = [];
  const socket = await abandon(server, (ws) => {
    ws.binaryType = 'arraybuffer';
    ws.onmessage = ({ data }) => seen.push(data);
  });
  for (let i = 1; i <= 20; i++) {
    socket.peer.text(`${i}`);
    await collect(() => seen.length === i);
  }
  assert.equal(seen.at(-1), '20');
});

test('7: OPEN, an event keeps its socket', async (t) => {
  const server = await serve(t);
  let event;
  const socket = await abandon(server, (ws) =>
    ws.addEventListener(
      'message',
      (got) => {
        event = got;
      },
      { once: true },
    ),
  );
  socket.peer.text('x');
  await collect(() => event !== undefined);
  await stays(socket);
  assert.equal(event.target.readyState, WebSocket.OPEN);
  event = undefined;
  await goes(socket);
});

test('7: OPEN, listeners that refer to it do not keep it', async (t) => {
  const server = await serve(t);
  await goes(
    await abandon(server, (ws) => {
      ws.onopen = () => ws.url;
      ws.own = { ws };
    }),
  );
});

// ---- CONNECTING ----

for (const type of ['open', 'message', 'error', 'close'])
  test(`7: CONNECTING, a ${type} listener: stays`, async (t) => {
    const server = await serve(t);
    const seen = [];
    (() => {
      const ws = new WebSocket(server.url());
      ws[`on${type}`] = () => seen.push(type);
    })();
    const peer = await server.connection();
    await peer.request();
    await collectOften();
    assert.equal(peer.isEnded, false);
    peer.accept();
    peer.text('x');
    peer.end();
    await collect(() => seen.length === 1);
  });

test('7: CONNECTING, where nothing can be connected: stays', async () => {
  const seen = [];
  (() => {
    const ws = new WebSocket('ws://127.0.0.1:1/');
    ws.onclose = ({ code }) => seen.push(code);
  })();
  await collect(() => seen.length === 1);
  assert.deepEqual(seen, [1006]);
});

test('7: CONNECTING, waiting for another one’s turn: stays', async (t) => {
  const server = await serve(t);
  const seen = [];
  (() => {
    for (let i = 0; i < 3; i++) {
      const ws = new WebSocket(server.url());
      ws.onopen = () => seen.push(i);
    }
  })();
  for (let i = 0; i < 3; i++) {
    const peer = await server.connection();
    await peer.request();
    await collectOften();
    peer.accept();
    await collect(() => seen.length === i + 1);
  }
});

test('7: CONNECTING, only an open listener, then: goes', async (t) => {
  const server = await serve(t);
  const seen = [];
  (() => {
    const ws = new WebSocket(server.url());
    ws.onopen = () => seen.push('open');
  })();
  const peer = await server.connection();
  await peer.request();
  await collectOften();
  peer.accept();
  await collect(() => seen.length === 1);
  const frame = peer.frame();
  let got;
  frame.then((value) => {
    got = value;
  });
  await collect(() => got !== undefined);
  assert.deepEqual([got.opcode, got.payload.length], [CLOSE, 0]);
});

// ---- CLOSING ----

for (const type of ['error', 'close'])
  test(`7: CLOSING, a ${type} listener: stays`, async (t) => {
    const server = await serve(t);
    const seen = [];
    const socket = await abandon(
      server,
      (ws) => {
        ws[`on${type}`] = () => seen.push(type);
      },
      (ws) => ws.close(3000),
    );
    assert.equal((await socket.peer.frame()).opcode, CLOSE);
    await stays(socket);
    socket.peer.destroy();
    await collect(() => seen.length === 1);
  });

test('7: CLOSING, begun by the server: stays', async (t) => {
  const server = await serve(t);
  const seen = [];
  const socket = await abandon(server, (ws) => {
    ws.onclose = ({ code }) => seen.push(code);
  });
  socket.peer.sendClose(3000);
  await socket.peer.frame();
  await stays(socket);
  socket.peer.end();
  await collect(() => seen.length === 1);
  assert.deepEqual(seen, [3000]);
});

test('7: CLOSING, close() in CONNECTING: stays', async (t) => {
  const server = await serve(t);
  const seen = [];
  (() => {
    const ws = new WebSocket(server.url());
    ws.onclose = ({ code }) => seen.push(code);
    ws.close();
  })();
  await collect(() => seen.length === 1);
  assert.deepEqual(seen, [1006]);
});

// ---- CLOSED ----

test('7: CLOSED: goes, listeners or not', async (t) => {
  const server = await serve(t);
  const seen = [];
  const { ref, peer } = await abandon(server, (ws) => {
    for (const type of ['open', 'message', 'error', 'close']) {
      ws[`on${type}`] = () => {};
      ws.addEventListener(type, () => seen.push([type, ws.readyState]));
    }
  });
  await peer.leave(1000);
  await collect(() => seen.length === 2);
  await collect(() => ref.deref() === undefined);
});

test('7: CLOSED, after it failed: goes', async () => {
  const refs = [];
  const seen = [];
  (() => {
    const ws = new WebSocket('ws://127.0.0.1:1/');
    ws.onclose = () => seen.push(ws.readyState);
    refs.push(new WeakRef(ws));
  })();
  await collect(() => seen.length === 1);
  await collect(() => refs[0].deref() === undefined);
});

// ---- data that waits ----

test('7: data that is queued is transmitted', async (t) => {
  const server = await serve(t);
  const size = 48 * 1024 * 1024;
  const { ref, peer } = await abandon(server, undefined, (ws) => {
    ws.send(new Uint8Array(size).fill(7));
    ws.send('last');
  });
  peer.pause();
  await turn();
  await collectOften();
  peer.resume();
  const frames = [];
  const reader = (async () => {
    for (let i = 0; i < 3; i++) frames.push(await peer.frame());
  })();
  await collect(() => frames.length === 3);
  await reader;
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [BINARY, size],
      [TEXT, 4],
      [CLOSE, 0],
    ],
  );
  assert.equal(frames[0].payload.indexOf(0), -1);
  peer.sendClose();
  peer.end();
  await collect(() => ref.deref() === undefined);
});

test('7: a Blob that is being read is transmitted, too', async (t) => {
  const server = await serve(t);
  const blob = await slowBlob(t, 4_000_000);
  const { ref, peer } = await abandon(server, undefined, (ws) => {
    ws.send(blob);
    ws.send('last');
  });
  const frames = [];
  const reader = (async () => {
    for (let i = 0; i < 3; i++) frames.push(await peer.frame());
  })();
  await collect(() => frames.length === 3);
  await reader;
  assert.deepEqual(
    frames.map(({ opcode, payload }) => [opcode, payload.length]),
    [
      [BINARY, 4_000_000],
      [TEXT, 4],
      [CLOSE, 0],
    ],
  );
  peer.sendClose();
  peer.end();
  await collect(() => ref.deref() === undefined);
});

test('7: a Blob, then close(): both are transmitted', async (t) => {
  const server = await serve(t);
  const blob = await slowBlob(t, 4_000_000);
  const { peer } = await abandon(server, undefined, (ws) => {
    ws.send(blob);
    ws.close(3000, 'done');
  });
  const frames = [];
  const reader = (async () => {
    for (let i = 0; i < 2; i++) frames.push(await peer.frame());
  })();
  await collect(() => frames.length === 2);
  await reader;
  assert.equal(frames[0].payload.length, 4_000_000);
  assert.equal(frames[1].payload.toString('latin1', 2), 'done');
});

// ---- many ----

test('7: a thousand sockets, opened, used and dropped', async (t) => {
  const server = await serve(t);
  const refs = [];
  for (let i = 0; i < 1000; i++) {
    const { ref, peer } = await abandon(server, undefined, (ws) => {
      ws.send('x'.repeat(1000));
      if (i % 2) ws.onmessage = () => {};
    });
    refs.push(ref);
    if (i % 2) peer.leave(1000).catch(() => {});
    else peer.framesToClose().then(() => peer.end(), () => {});
  }
  await collect(() => refs.every((ref) => ref.deref() === undefined));
});

test('7: what a message held is collected with it', async (t) => {
  // Its bytes are outside of the engine's heap.
  const server = await serve(t);
  const refs = [];
  const { peer } = await abandon(server, (ws) => {
    ws.binaryType = 'arraybuffer';
    ws.onmessage = ({ data }) => refs.push(new WeakRef(data));
  });
  const bytes = Buffer.alloc(1 << 20, 1);
  gc();
  const before = process.memoryUsage().external;
  for (let i = 1; i <= 50; i++) {
    peer.binary(bytes);
    await collect(() => refs.length === i);
  }
  await collect(() => refs.every((ref) => ref.deref() === undefined));
  // Fifty megabytes came; some of the last may be there yet.
  await collect(() => process.memoryUsage().external < before + (10 << 20));
});
