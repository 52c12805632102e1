// The other way round: servers of public libraries on WebSocketServer, by what
// these offer for servers other than `ws`. Each has a client of its own kind.

import './page.mjs';
import aedes from 'aedes';
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import { Duplex } from 'node:stream';
import { createClient, handleProtocols, makeServer } from 'graphql-ws';
import mqtt from 'mqtt';
import { Server as IOServer } from 'socket.io';
import page from 'socket.io-client/dist/socket.io.js';
import WS from 'ws';
import {
  bulk, clean, ending, Happenings, listen, test, WebSocketServer,
} from './page.mjs';
import { ask, roots, schema } from './schema.mjs';

const skip = !WebSocketServer;

// ---- each way to have a server ----

const WAYS = ['port', 'server', 'noServer'];

async function serveBy(t, way, options = {}) {
  const local = { host: '127.0.0.1', port: 0 };
  if (way === 'port') {
    const server = new WebSocketServer({ ...local, ...options });
    t.after(() => { server.close(); });
    await once(server, 'listening');
    return { server, url: `ws://127.0.0.1:${server.address().port}` };
  }
  const http = createServer((_, response) => response.end('plain'));
  const server = new WebSocketServer({
    ...(way === 'server' ? { server: http } : { noServer: true }),
    ...options,
  });
  if (way === 'noServer')
    http.on('upgrade', (request, socket, head) => {
      server.handleUpgrade(request, socket, head, (ws, same) =>
        server.emit('connection', ws, same));
    });
  t.after(() => { server.close(); });
  const port = await listen(t, http);
  return { server, http, url: `ws://127.0.0.1:${port}` };
}

// ---- graphql-ws ----

async function serveGraphQL(t, way, options = {}) {
  const peer = await serveBy(t, way, { handleProtocols });
  const graphql = makeServer({ schema, roots, ...options });
  const requests = new Happenings();
  peer.server.on('connection', (socket, request) => {
    requests.push(request);
    const closed = graphql.opened({
      protocol: socket.protocol,
      send: (data) => socket.send(data),
      close: (code, reason) => socket.close(code, reason),
      onMessage: (listener) =>
        socket.addEventListener('message', ({ data }) => listener(data)),
    }, { socket, request });
    socket.addEventListener('close', ({ code, reason }) =>
      closed(code, reason));
  });
  return Object.assign(peer, { requests });
}

function graphqlClient(t, url, options) {
  const closed = new Happenings();
  const client = createClient({
    url, retryAttempts: 0, on: { closed: closed.push }, ...options,
  });
  t.after(() => client.dispose());
  return Object.assign(client, { closed });
}

for (const way of WAYS)
  for (const [kind, webSocketImpl] of [['the class', undefined], ['ws', WS]])
    test(`graphql-ws by ${way}; the client: ${kind}`, { skip }, async (t) => {
      const closes = new Happenings();
      const peer = await serveGraphQL(t, way, {
        onClose: (_, code, reason) => closes.push({ code, reason }),
      });
      const client = graphqlClient(t, `${peer.url}/graphql?a=b`, {
        webSocketImpl,
      });
      const text = 'ümlaut, 漢字, 🌍; '.repeat(100_000);
      const query = 'query ($text: String!) { echo(text: $text) }';
      const [[{ data }], counted] = await Promise.all([
        ask(client, query, { text }),
        ask(client, 'subscription { count(to: 500) }'),
      ]);
      assert.ok(data.echo === text);
      assert.deepEqual(
        counted.map(({ data }) => data.count),
        Array.from({ length: 500 }, (_, i) => i + 1));
      assert.deepEqual(await closes.next(),
                       { code: 1000, reason: 'Normal Closure' });
      const request = await peer.requests.next();
      assert.equal(request.method, 'GET');
      assert.equal(request.url, '/graphql?a=b');
      assert.equal(request.headers.upgrade, 'websocket');
      assert.equal(request.socket.remoteAddress, '127.0.0.1');
      assert.ok(request.socket.remotePort > 0);
    });

for (const way of WAYS)
  test(`graphql-ws by ${way}: ends of either side`, { skip }, async (t) => {
    const closes = new Happenings();
    const peer = await serveGraphQL(t, way, {
      onConnect: ({ connectionParams }) => connectionParams?.token === 'right',
      onClose: (_, code, reason) => closes.push({ code, reason }),
    });
    const query = '{ echo(text: "") }';
    const refused = graphqlClient(t, peer.url);
    await assert.rejects(ask(refused, query), ({ code, reason }) => {
      assert.deepEqual([code, reason], [4403, 'Forbidden']);
      return true;
    });
    assert.equal((await closes.next()).code, 4403);

    // It has not asked for the subprotocol.
    const other = new WebSocket(peer.url);
    const [event] = await once(other, 'close');
    assert.deepEqual(ending(event), clean(4406, 'Subprotocol not acceptable'));
    assert.equal((await closes.next()).code, 4406);

    const lasting = graphqlClient(t, peer.url, {
      connectionParams: { token: 'right' },
    });
    const results = new Happenings();
    lasting.subscribe({ query: 'subscription { lasting }' }, {
      next: results.push,
      error: results.push,
      complete: () => results.push('complete'),
    });
    assert.equal((await results.next()).data.lasting, 'begun');
    assert.equal(peer.server.clients.size, 1);
    const closed = once(peer.server, 'close');
    peer.server.close();
    assert.deepEqual(ending(await lasting.closed.next()), clean(1001, ''));
    assert.equal((await closes.next()).code, 1001);
    await closed;
    assert.equal(peer.server.clients.size, 0);
  });

test('HTTP and WebSockets on one port', { skip }, async (t) => {
  const peer = await serveGraphQL(t, 'server');
  const client = graphqlClient(t, peer.url);
  const plain = async () =>
    (await fetch(peer.url.replace('ws', 'http'))).text();
  const answers = await Promise.all([
    plain(), ask(client, '{ echo(text: "both") }'), plain(),
  ]);
  assert.deepEqual(answers, ['plain', [{ data: { echo: 'both' } }], 'plain']);
});

// ---- Socket.IO: its wsEngine is made and called as a server of `ws` is ----

class EngineSocket extends EventEmitter {
  #ws;

  constructor(ws) {
    super();
    this.#ws = ws;
    ws.binaryType = 'arraybuffer';
    ws.addEventListener('message', ({ data }) => {
      const isBinary = typeof data !== 'string';
      this.emit('message', isBinary ? Buffer.from(data) : data, isBinary);
    });
    ws.addEventListener('close', ({ code, reason }) =>
      this.emit('close', code, reason));
  }

  send(data, done) {
    this.#ws.send(data);
    process.nextTick(done);
  }

  close() {
    this.#ws.close();
  }
}

class Engine {
  #server;

  constructor(options) {
    this.#server = new WebSocketServer({ ...options, noServer: true });
  }

  handleUpgrade(request, socket, head, done) {
    this.#server.handleUpgrade(request, socket, head, (ws) =>
      done(new EngineSocket(ws)));
  }

  close() {
    this.#server.close();
  }
}

test('Socket.IO: events, acknowledgements, attachments', { skip },
  async (t) => {
    const http = createServer();
    const io = new IOServer(http, {
      serveClient: false, wsEngine: Engine, pingInterval: 1,
      perMessageDeflate: true,
    });
    const sockets = new Happenings();
    io.on('connection', sockets.push);
    t.after(() => io.close());
    const port = await listen(t, http);
    const client = page.io(`http://127.0.0.1:${port}`, {
      transports: ['websocket'], forceNew: true, reconnectionDelay: 1,
    });
    t.after(() => client.disconnect());
    const pings = new Happenings();
    client.io.on('ping', pings.push);

    const socket = await sockets.next();
    assert.equal(socket.handshake.address, '127.0.0.1');
    socket.on('echo', (...args) => args.pop()(...args));
    assert.equal(await client.emitWithAck('echo', 'größer'), 'größer');
    const bytes = bulk(500_000);
    const back = await client.emitWithAck('echo', { bytes });
    assert.deepEqual(new Uint8Array(back.bytes), bytes);
    assert.match(client.io.engine.transport.ws.extensions, /^permessage-/);
    for (let i = 0; i < 3; i++) await pings.next();

    // The server ends the transport: the client comes back.
    const gone = once(socket, 'disconnect');
    socket.conn.close();
    await gone;
    const again = await sockets.next();
    client.on('who', (answer) => answer('me'));
    assert.equal(await again.emitWithAck('who'), 'me');
  });

// ---- aedes: it takes any stream of bytes ----

function streamOf(ws) {
  ws.binaryType = 'arraybuffer';
  const stream = new Duplex({
    read() {},
    write(chunk, _, done) {
      ws.send(chunk);
      done();
    },
    final(done) {
      ws.close();
      done();
    },
    destroy(error, done) {
      ws.close();
      done(error);
    },
  });
  ws.addEventListener('message', ({ data }) => stream.push(Buffer.from(data)));
  ws.addEventListener('close', () => {
    stream.push(null);
    stream.destroy();
  });
  return stream;
}

for (const way of WAYS)
  test(`aedes by ${way}`, { skip }, async (t) => {
    const broker = aedes.createBroker();
    t.after(() => new Promise((resolve) => broker.close(resolve)));
    const { server, url } = await serveBy(t, way);
    server.on('connection', (socket, request) =>
      broker.handle(streamOf(socket), request));
    const client = await mqtt.connectAsync(url, { forceNativeWebSocket: true });
    t.after(() => client.endAsync(true));
    assert.ok(client.stream.socket instanceof WebSocket);
    assert.equal(client.stream.socket.protocol, 'mqtt');
    const messages = new Happenings();
    client.on('message', (_, payload) => messages.push(payload));
    await client.subscribeAsync('bytes', { qos: 2 });
    for (const size of [0, 1, 300_000]) {
      const payload = Buffer.from(bulk(size));
      await client.publishAsync('bytes', payload, { qos: 2 });
      assert.ok((await messages.next()).equals(payload));
    }
  });
