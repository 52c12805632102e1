// What the tests share. The module under test is the package's own; the
// environment may name another one, to see what that makes of the standard:
//
//   UVWS_NODE_TEST=/path/to/module.mjs node --test test/*.test.mjs
//
// Tests are named by the section of the WebSockets Standard they check, and by
// the numbers of the steps in its review draft of September 2023, which stay in
// place while the living text moves; or by the text that the standard refers
// to. No test waits for time to pass. That something does not happen is checked
// once something else did that would have come later.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test as nodeTest } from 'node:test';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { RawServer } from './raw-server.mjs';

export { assert };

export const target = process.env.UVWS_NODE_TEST
  ? pathToFileURL(process.env.UVWS_NODE_TEST).href
  : new URL('../index.mjs', import.meta.url).href;

export const {
  WebSocket,
  CloseEvent,
  MessageEvent,
  WebSocketServer,
  configure,
} = await import(target);

// For each test, in milliseconds; sanitizers may need more.
const LIMIT = Number(process.env.UVWS_NODE_TEST_LIMIT ?? 30_000);

export function test(name, ...rest) {
  const fn = rest.pop();
  nodeTest(name, { timeout: LIMIT, ...rest[0] }, fn);
}

// ---- the loop ----

export function turn() {
  return new Promise(setImmediate);
}

// More than any chain of promises in here is long.
export async function microtasks() {
  for (let i = 0; i < 100; i++) await null;
}

// For what no event tells. The deadline only ends a test that fails.
export async function until(condition) {
  const deadline = Date.now() + LIMIT / 2;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never: ${condition}`);
    await turn();
  }
}

// ---- events ----

const TYPES = ['open', 'message', 'error', 'close'];

// Resolves with the next such event; rejects when a `close` comes before it.
export function happens(ws, type) {
  return new Promise((resolve, reject) => {
    const early = (event) =>
      reject(new Error(`close (${event.code}) instead of ${type}`));
    ws.addEventListener(
      type,
      (event) => {
        ws.removeEventListener('close', early);
        resolve(event);
      },
      { once: true },
    );
    if (type !== 'close') ws.addEventListener('close', early, { once: true });
  });
}

// All that a socket fires, with the state at that moment.
export function record(ws) {
  const events = [];
  for (const type of TYPES)
    ws.addEventListener(type, (event) => {
      events.push({ type, event, state: ws.readyState });
    });
  events.types = () => events.map(({ type }) => type);
  events.data = () =>
    events.filter(({ type }) => type === 'message').map((e) => e.event.data);
  return events;
}

// What a close event says.
export function ending(event) {
  const { code, reason, wasClean } = event;
  return { code, reason, wasClean };
}

export const LOST = { code: 1006, reason: '', wasClean: false };

// The connection fails: `error`, then `close`, and nothing else after what
// `before` lists.
export async function fails(ws, events, before = []) {
  if (ws.readyState !== 3) await happens(ws, 'close');
  assert.deepEqual(events.types(), [...before, 'error', 'close']);
  assert.deepEqual(ending(events.at(-1).event), LOST);
}

export function throwsDOM(fn, name) {
  assert.throws(fn, (error) => {
    assert.ok(error instanceof DOMException, `not a DOMException: ${error}`);
    assert.equal(error.name, name);
    return true;
  });
}

// ---- peers ----

const servers = new WeakMap(); // of each test

export async function serve(t, port) {
  const server = await RawServer.listen(port);
  t.after(() => server.retire());
  servers.set(t, [...(servers.get(t) ?? []), server]);
  return server;
}

// A socket that is open, and the other end of it.
export async function pair(t, options = {}) {
  const server = await serve(t);
  const ws = new WebSocket(
    server.url(options.path),
    options.protocols ?? [],
    options.options ?? {},
  );
  const events = record(ws);
  const opened = happens(ws, 'open');
  const peer = await server.shaken(options.accept);
  await opened;
  return { server, ws, peer, events };
}

// A socket that stays in CONNECTING until the test ends.
export async function connecting(t) {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  return { server, ws };
}

// A socket whose connection is closed, cleanly, with 1000.
export async function closed(t) {
  const opened = await pair(t);
  const gone = happens(opened.ws, 'close');
  await opened.peer.leave(1000);
  await gone;
  return opened;
}

// A Blob whose bytes take their time: those of a file, where Node has them.
export async function slowBlob(t, size, fill = 0) {
  const bytes = new Uint8Array(size).fill(fill);
  if (!fs.openAsBlob) return new Blob([bytes]);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  fs.writeFileSync(path.join(dir, 'blob'), bytes);
  return fs.openAsBlob(path.join(dir, 'blob'));
}

// ---- garbage ----

setFlagsFromString('--expose-gc');
export const gc = runInNewContext('gc');

// An object may outlive a collection for reasons of the engine's own (inline
// caches, a frame not yet left), so one collection proves nothing.
export async function collect(condition) {
  await until(() => {
    gc();
    return condition();
  });
}

export async function collectOften() {
  for (let i = 0; i < 30; i++) {
    gc();
    await turn();
  }
}

// ---- processes ----

class Child {
  #lines = [];
  #wake = () => {};
  #over = false;
  stderr = '';

  constructor(source, args) {
    const text =
      `import * as it from ${JSON.stringify(target)};\n` +
      'const { WebSocket, WebSocketServer } = it;\n' +
      'const say = (line) => process.stdout.write(`${line}\\n`);\n' +
      source;
    const process_ = spawn(
      process.execPath,
      ['--input-type=module', '-e', text, '--', ...args],
      { stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT / 2 },
    );
    process_.stderr.setEncoding('utf8').on('data', (data) => {
      this.stderr += data;
    });
    let rest = '';
    process_.stdout.setEncoding('utf8').on('data', (data) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      this.#lines.push(...lines);
      this.lines.push(...lines);
      this.#wake();
    });
    this.exit = new Promise((resolve) => {
      process_.on('close', (code, signal) => {
        this.#over = true;
        this.#wake();
        resolve({ code, signal });
      });
    });
    this.process = process_;
  }

  // All that it has said.
  lines = [];

  // The next line that it says.
  async line() {
    while (this.#lines.length === 0) {
      if (this.#over) throw new Error(`it ended: ${this.stderr}`);
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#lines.shift();
  }

  // It ends by itself, and as if all were well.
  async ends(code = 0) {
    const exit = await this.exit;
    const ended = { code, signal: null };
    assert.deepEqual(exit, ended, `${this.lines.join(' ')}\n${this.stderr}`);
    return this.lines;
  }
}

// A process of its own that has the classes, and `say(line)`.
export function child(t, source, ...args) {
  const result = new Child(source, args.map(String));
  t.after(() => result.process.kill('SIGKILL'));
  // Who waits for its connections need not wait until the test's time is up.
  result.exit.then(() => {
    const error = new Error(`the process ended: ${result.stderr}`);
    for (const server of servers.get(t) ?? []) server.forget(error);
  });
  return result;
}
