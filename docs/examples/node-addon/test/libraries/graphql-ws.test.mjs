// graphql-ws, client and server: the protocol leans on close codes and their
// reasons, on one subprotocol, and on the handlers of one socket.

import './page.mjs';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createClient } from 'graphql-ws';
import { useServer } from 'graphql-ws/lib/use/ws';
import { clean, ending, Happenings, LOST, serve, test } from './page.mjs';
import { ask, roots, schema } from './schema.mjs';

async function serveGraphQL(t, options = {}, serverOptions = {}) {
  const peer = await serve(t, serverOptions);
  useServer({ schema, roots, ...options }, peer.server);
  return peer;
}

const EVENTS = [
  'connecting', 'opened', 'connected', 'closed', 'error', 'ping', 'pong',
];

function client(t, url, options = {}) {
  const on = Object.fromEntries(EVENTS.map((name) => [name, new Happenings()]));
  const created = createClient({
    url,
    retryWait: async () => {},
    on: Object.fromEntries(EVENTS.map((name) => [name, on[name].push])),
    ...options,
  });
  t.after(() => created.dispose());
  return Object.assign(created, { heard: on });
}

// A subscription that lasts until its connection does.
function subscribe(graphql) {
  const results = new Happenings();
  graphql.subscribe({ query: 'subscription { lasting }' }, {
    next: results.push,
    error: (error) => results.push({ error }),
    complete: () => results.push('complete'),
  });
  return results;
}

const BEGUN = { data: { lasting: 'begun' } };

test('query, mutation and subscription, at once over one socket', async (t) => {
  const peer = await serveGraphQL(t);
  const graphql = client(t, peer.url);
  const answers = await Promise.all([
    ask(graphql, 'query ($t: String!) { echo(text: $t) }', { t: 'Grüße 🌍' }),
    ask(graphql, 'mutation { add(n: 3) }'),
    ask(graphql, 'subscription { count(to: 3) }'),
  ]);
  assert.deepEqual(answers, [
    [{ data: { echo: 'Grüße 🌍' } }],
    [{ data: { add: 3 } }],
    [1, 2, 3].map((count) => ({ data: { count } })),
  ]);
  const socket = await graphql.heard.opened.next();
  assert.ok(socket instanceof WebSocket);
  assert.equal(socket.protocol, 'graphql-transport-ws');
  await graphql.heard.closed.next();
  assert.equal((await peer.sockets.next()).protocol, 'graphql-transport-ws');
  assert.deepEqual(peer.sockets.rest, []);
});

test('messages of megabytes, both ways', async (t) => {
  const peer = await serveGraphQL(t);
  const graphql = client(t, peer.url);
  const text = 'ascii, ümlaut, 漢字, 🌍; '.repeat(100_000);
  const query = 'query ($text: String!) { echo(text: $text) }';
  const [{ data }] = await ask(graphql, query, { text });
  assert.ok(data.echo === text);
});

test('lazy: connects with the first subscription, closes with the last',
  async (t) => {
    const peer = await serveGraphQL(t);
    const lazy = client(t, `${peer.url}/lazy`);
    client(t, `${peer.url}/eager`, { lazy: false });
    assert.equal((await peer.sockets.next()).request.url, '/eager');
    await ask(lazy, '{ echo(text: "") }');
    assert.equal((await peer.sockets.next()).request.url, '/lazy');
    const event = await lazy.heard.closed.next();
    assert.ok(event instanceof CloseEvent);
    assert.deepEqual(ending(event), clean(1000, 'Normal Closure'));
    assert.deepEqual(await peer.ends.next(),
                     { code: 1000, reason: 'Normal Closure' });
    await ask(lazy, '{ echo(text: "") }');
    assert.equal((await peer.sockets.next()).request.url, '/lazy');
  });

test('an iteration that is left completes its subscription', async (t) => {
  const completed = new Happenings();
  const peer = await serveGraphQL(t, { onComplete: completed.push });
  const graphql = client(t, async () => peer.url);
  const seen = [];
  for await (const result of graphql.iterate({
    query: 'subscription { lasting }',
  })) {
    seen.push(result);
    break;
  }
  assert.deepEqual(seen, [BEGUN]);
  await completed.next();
  assert.deepEqual(ending(await graphql.heard.closed.next()),
                   clean(1000, 'Normal Closure'));
});

test('subscribes again after the server has closed with 1012', async (t) => {
  const peer = await serveGraphQL(t);
  const graphql = client(t, peer.url);
  const results = subscribe(graphql);
  assert.deepEqual(await results.next(), BEGUN);
  (await peer.sockets.next()).close(1012, 'Service Restart');
  assert.deepEqual(ending(await graphql.heard.closed.next()),
                   clean(1012, 'Service Restart'));
  assert.deepEqual(await results.next(), BEGUN);
  await peer.sockets.next();
});

test('gives up where the code is fatal', async (t) => {
  const peer = await serveGraphQL(t);
  for (const code of [1011, 4400]) {
    const results = subscribe(client(t, peer.url));
    assert.deepEqual(await results.next(), BEGUN);
    (await peer.sockets.next()).close(code, 'no');
    const { error } = await results.next();
    assert.ok(error instanceof CloseEvent);
    assert.deepEqual(ending(error), clean(code, 'no'));
  }
  assert.deepEqual(peer.sockets.rest, []);
});

test('non-lazy: tells of the end that it does not retry', async (t) => {
  const told = new Happenings();
  const peer = await serveGraphQL(t);
  client(t, peer.url, {
    lazy: false, retryAttempts: 0, onNonLazyError: told.push,
  });
  (await peer.sockets.next()).close(4409, 'already there');
  assert.deepEqual(ending(await told.next()), clean(4409, 'already there'));
});

test('subscribes again after a loss, and a server that was away', async (t) => {
  const peer = await serveGraphQL(t);
  let back;
  const isBack = new Promise((resolve) => { back = resolve; });
  const graphql = client(t, peer.url, {
    shouldRetry: () => true, // an error event has no code
    retryWait: (retries) => (retries === 0 ? undefined : isBack),
  });
  const results = subscribe(graphql);
  assert.deepEqual(await results.next(), BEGUN);
  await peer.stop();
  assert.deepEqual(ending(await graphql.heard.closed.next()), LOST);
  // The first retry, which is refused.
  assert.deepEqual(ending(await graphql.heard.closed.next()), LOST);
  for (const event of graphql.heard.error.rest) {
    assert.ok(event instanceof Event);
    assert.equal(event.type, 'error');
  }
  const again = await serveGraphQL(t, {}, { port: peer.port });
  back();
  await again.sockets.next();
  assert.deepEqual(await results.next(), BEGUN);
});

test('keep-alive: pings of either side have their pongs', async (t) => {
  const peer = await serveGraphQL(t);
  const graphql = client(t, peer.url, { keepAlive: 1 });
  const results = subscribe(graphql);
  assert.deepEqual(await results.next(), BEGUN);
  for (let i = 0; i < 3; i++) {
    assert.equal(await graphql.heard.ping.next(), false); // sent
    assert.equal(await graphql.heard.pong.next(), true); // received
  }
  const socket = await peer.sockets.next();
  const pongs = new Happenings();
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.type === 'pong') pongs.push(message);
  });
  const payload = { at: 'the server' };
  socket.send(JSON.stringify({ type: 'ping', payload }));
  assert.deepEqual(await pongs.next(), { type: 'pong', payload });
  socket.ping('a frame');
  const [frame] = await once(socket, 'pong');
  assert.equal(String(frame), 'a frame');
});

test('terminate: closes with 4499, and subscribes again', async (t) => {
  const peer = await serveGraphQL(t);
  const graphql = client(t, peer.url);
  const results = subscribe(graphql);
  assert.deepEqual(await results.next(), BEGUN);
  graphql.terminate();
  assert.equal((await graphql.heard.closed.next()).code, 4499);
  assert.deepEqual(await peer.ends.next(),
                   { code: 4499, reason: 'Terminated' });
  assert.deepEqual(await results.next(), BEGUN);
});

test('connectionParams: refused with 4403, accepted when they are right',
  async (t) => {
    const onConnect = ({ connectionParams }) =>
      connectionParams.token === 'right';
    const peer = await serveGraphQL(t, { onConnect });
    const refused = client(t, peer.url, {
      connectionParams: { token: 'wrong' }, retryAttempts: 0,
    });
    await assert.rejects(ask(refused, '{ echo(text: "") }'), (event) => {
      assert.ok(event instanceof CloseEvent);
      assert.deepEqual(ending(event), clean(4403, 'Forbidden'));
      return true;
    });
    const tokens = ['wrong', 'right'];
    const accepted = client(t, peer.url, {
      connectionParams: async () => ({ token: tokens.shift() }),
    });
    const [{ data }] = await ask(accepted, '{ echo(text: "in") }');
    assert.equal(data.echo, 'in');
    assert.equal((await accepted.heard.closed.next()).code, 4403);
  });

test('connectionParams that throw: 4005, with the reason', async (t) => {
  const peer = await serveGraphQL(t);
  const graphql = client(t, peer.url, {
    connectionParams: () => { throw new Error('kein Schlüssel'); },
  });
  await assert.rejects(ask(graphql, '{ echo(text: "") }'), /kein Schlüssel/);
  assert.deepEqual(await peer.ends.next(),
                   { code: 4005, reason: 'kein Schlüssel' });
});

test('no acknowledgement in time: 4504', async (t) => {
  const never = new Promise(() => {});
  const peer = await serveGraphQL(t, { onConnect: () => never });
  const graphql = client(t, peer.url, {
    connectionAckWaitTimeout: 1, retryAttempts: 0,
  });
  const reason = 'Connection acknowledgement timeout';
  await assert.rejects(ask(graphql, '{ echo(text: "") }'), (event) => {
    assert.deepEqual(ending(event), clean(4504, reason));
    return true;
  });
  assert.deepEqual(await peer.ends.next(), { code: 4504, reason });
});

test('a server without the subprotocol: the connection fails', async (t) => {
  const peer = await serve(t, { handleProtocols: () => false });
  const graphql = client(t, peer.url);
  await assert.rejects(ask(graphql, '{ echo(text: "") }'), (event) => {
    assert.ok(event instanceof Event);
    assert.equal(event.type, 'error');
    return true;
  });
  assert.deepEqual(ending(await graphql.heard.closed.next()), LOST);
});
