// A peer that shares no code with what is tested: a TCP server that does the
// opening handshake and the framing by itself, so that it can also do them
// wrongly, and that keeps what it received byte for byte.

import { createHash } from 'node:crypto';
import net from 'node:net';

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export function acceptOf(key) {
  return createHash('sha1').update(key + GUID).digest('base64');
}

function lengthBytes(length, form) {
  if (form === 7) return Buffer.of(length);
  if (form === 16) return Buffer.of(126, length >> 8, length & 255);
  const bytes = Buffer.alloc(9);
  bytes[0] = 127;
  bytes.writeBigUInt64BE(BigInt(length), 1);
  return bytes;
}

function shortestForm(length) {
  if (length < 126) return 7;
  return length < 65536 ? 16 : 64;
}

function applyMask(bytes, mask) {
  const result = Buffer.from(bytes);
  for (let i = 0; i < result.length; i++) result[i] ^= mask[i & 3];
  return result;
}

// `mask` makes it a client's frame; `form` (7, 16 or 64) is how many bits tell
// the length; `length` is one that is told in place of the payload's own.
export function frame(opcode, payload = '', options = {}) {
  const { fin = true, rsv = 0, mask } = options;
  let body = Buffer.from(payload);
  const { length = body.length } = options;
  const { form = shortestForm(length) } = options;
  const size = lengthBytes(length, form);
  if (mask) {
    size[0] |= 0x80;
    body = applyMask(body, mask);
  }
  const first = Buffer.of((fin ? 0x80 : 0) | (rsv << 4) | opcode);
  return Buffer.concat([first, size, Buffer.from(mask ?? ''), body]);
}

export function closePayload(code, reason = '') {
  if (code === undefined) return Buffer.alloc(0);
  return Buffer.concat([Buffer.of(code >> 8, code & 255), Buffer.from(reason)]);
}

export function closeFrame(code, reason) {
  return frame(CLOSE, closePayload(code, reason));
}

// One frame from the start of `bytes`; or, while it is incomplete, how many
// bytes have to be there before another look.
function parseFrame(bytes) {
  if (bytes.length < 2) return 2;
  const masked = (bytes[1] & 0x80) !== 0;
  let length = bytes[1] & 0x7f;
  const form = length < 126 ? 7 : length === 126 ? 16 : 64;
  const start = { 7: 2, 16: 4, 64: 10 }[form];
  if (bytes.length < start) return start;
  if (form === 16) length = bytes.readUInt16BE(2);
  if (form === 64) length = Number(bytes.readBigUInt64BE(2));
  const body = start + (masked ? 4 : 0);
  const size = body + length;
  if (bytes.length < size) return size;
  const mask = masked ? Buffer.from(bytes.subarray(start, body)) : undefined;
  const data = bytes.subarray(body, size);
  return {
    fin: (bytes[0] & 0x80) !== 0,
    rsv: (bytes[0] >> 4) & 7,
    opcode: bytes[0] & 15,
    form,
    masked,
    mask,
    payload: masked ? applyMask(data, mask) : Buffer.from(data),
    size,
  };
}

function parseRequest(head) {
  const [line, ...lines] = head.split('\r\n');
  const [method, target, version] = line.split(' ');
  const headers = {};
  const rawHeaders = [];
  for (const text of lines) {
    const colon = text.indexOf(':');
    const name = text.slice(0, colon);
    const value = text.slice(colon + 1).trim();
    rawHeaders.push([name, value]);
    const known = headers[name.toLowerCase()];
    headers[name.toLowerCase()] =
      known === undefined ? value : `${known}, ${value}`;
  }
  return { line, method, target, version, headers, rawHeaders };
}

// What has come and what is waited for, whichever is first.
class Queue {
  #items = [];
  #waiting = [];
  #end;

  put(item) {
    const next = this.#waiting.shift();
    if (next) next.resolve(item);
    else this.#items.push(item);
  }

  end(error) {
    this.#end = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  take() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }
}

export class RawConnection {
  #socket;
  #chunks = [];
  #size = 0;
  #needed = 1; // so many bytes make another look worth while
  #request = new Queue();
  #queue = new Queue();
  #shaken = false;
  // Whatever was received, in order.
  frames = [];
  // When the client said that it sends no more, or the connection is gone.
  ended;
  closed;
  isEnded = false;
  isClosed = false;
  received = 0;

  constructor(socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#onData(chunk));
    // A reset is one of the things that are tried here.
    socket.on('error', () => {});
    this.ended = new Promise((resolve) => {
      const onEnd = () => {
        this.isEnded = true;
        this.#request.end(new Error('the connection ended before a request'));
        this.#queue.end(new Error('the connection ended before a frame'));
        resolve();
      };
      socket.on('end', onEnd);
      socket.on('close', onEnd);
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isClosed = true;
        resolve();
      });
    });
  }

  #onData(chunk) {
    this.received += chunk.length;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= this.#needed) {
      const bytes = Buffer.concat(this.#chunks);
      const read = this.#shaken ? this.#readFrame : this.#readHead;
      const used = read.call(this, bytes);
      this.#chunks = [bytes.subarray(used)];
      this.#size -= used;
    }
  }

  #readHead(bytes) {
    const end = bytes.indexOf('\r\n\r\n');
    this.#needed = end < 0 ? bytes.length + 1 : 2;
    if (end < 0) return 0;
    this.#shaken = true;
    this.#request.put(parseRequest(bytes.toString('latin1', 0, end)));
    return end + 4;
  }

  #readFrame(bytes) {
    const got = parseFrame(bytes);
    this.#needed = typeof got === 'number' ? got : 2;
    if (typeof got === 'number') return 0;
    this.frames.push(got);
    this.#queue.put(got);
    return got.size;
  }

  // The client's request; one for each connection.
  async request() {
    this.lastRequest = await this.#request.take();
    return this.lastRequest;
  }

  // Answers the request. `accept`, `headers` and the rest make it a wrong one;
  // null leaves a header out. `tail` follows in the same segment.
  accept(options = {}) {
    const {
      status = '101 Switching Protocols',
      upgrade = 'websocket',
      connection = 'Upgrade',
      accept = acceptOf(this.lastRequest.headers['sec-websocket-key']),
      protocol = null,
      extensions = null,
      headers = [],
      tail = '',
    } = options;
    const lines = [
      ['Upgrade', upgrade],
      ['Connection', connection],
      ['Sec-WebSocket-Accept', accept],
      ['Sec-WebSocket-Protocol', protocol],
      ['Sec-WebSocket-Extensions', extensions],
      ...headers,
    ]
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name}: ${value}\r\n`);
    const head = `HTTP/1.1 ${status}\r\n${lines.join('')}\r\n`;
    this.write(Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(tail)]));
  }

  async shake(options) {
    const request = await this.request();
    this.accept(options);
    return request;
  }

  write(bytes) {
    this.#socket.write(bytes);
  }

  // Each byte in a segment of its own, as far as TCP lets one say so.
  async trickle(bytes) {
    for (const byte of Buffer.from(bytes)) {
      await new Promise((resolve) => {
        this.#socket.write(Buffer.of(byte), resolve);
      });
      await new Promise(setImmediate);
    }
  }

  text(payload) {
    this.write(frame(TEXT, payload));
  }

  binary(payload) {
    this.write(frame(BINARY, payload));
  }

  sendClose(code, reason) {
    this.write(closeFrame(code, reason));
  }

  // The next frame, in the order they came in.
  frame() {
    return this.#queue.take();
  }

  // Everything up to the client's close frame, which is the last of it.
  async framesToClose() {
    const frames = [];
    do frames.push(await this.frame());
    while (frames.at(-1).opcode !== CLOSE);
    return frames;
  }

  // Completes a closing handshake that the client began, as a server does: the
  // same body, then the end of the connection.
  async finish() {
    const got = (await this.framesToClose()).at(-1);
    this.write(frame(CLOSE, got.payload));
    this.end();
    return got;
  }

  // Begins one, and completes it.
  async leave(code, reason) {
    this.sendClose(code, reason);
    const got = (await this.framesToClose()).at(-1);
    this.end();
    return got;
  }

  // Nothing is read, until the kernel's buffers are full.
  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  end() {
    this.#socket.end();
  }

  destroy() {
    this.#socket.destroy();
  }

  reset() {
    this.#socket.resetAndDestroy();
  }
}

export class RawServer {
  #server;
  #queue = new Queue();
  #isRetired = false;
  connections = [];

  static async listen(port = 0) {
    const server = new RawServer();
    await server.#listen(port);
    return server;
  }

  #listen(port) {
    // The end of the one direction does not end the other by itself.
    this.#server = net.createServer(
      { allowHalfOpen: true, noDelay: true },
      (socket) => {
        if (this.#isRetired) {
          socket.destroy();
          return;
        }
        const connection = new RawConnection(socket);
        this.connections.push(connection);
        this.#queue.put(connection);
      },
    );
    return new Promise((resolve, reject) => {
      this.#server.on('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
  }

  get port() {
    return this.#server.address().port;
  }

  // How many have connected so far.
  get count() {
    return this.connections.length;
  }

  url(rest = '/', scheme = 'ws') {
    return `${scheme}://127.0.0.1:${this.port}${rest}`;
  }

  // The next one that connects, or has connected and was not asked for.
  connection() {
    return this.#queue.take();
  }

  async shaken(options) {
    const connection = await this.connection();
    await connection.shake(options);
    return connection;
  }

  // Nobody will connect any more, as far as one knows.
  forget(error) {
    this.#queue.end(error);
  }

  // Who connects from now on is refused, until the port is another's.
  close() {
    for (const connection of this.connections) connection.destroy();
    return new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  // Ends its connections, and those that still come. The port stays taken until
  // the process ends, for a test may be over before its client has connected:
  // another server that was given the port meanwhile, in a process that runs at
  // the same time, would take that client for its own.
  async retire() {
    this.#isRetired = true;
    this.#server.unref();
    for (const connection of this.connections) connection.destroy();
    await Promise.all(this.connections.map(({ closed }) => closed));
  }
}
