'use strict';
// Frames on their way through a socket of Node's: counted, and cut anew.

const FIN = 0x80;
const RSV1 = 0x40;
const MASK = 0x80;

function mask(payload, key) {
  for (let i = 0; i < payload.length; i++) payload[i] ^= key[i & 3];
  return payload;
}

/** Bytes into frames, whose payload is unmasked. */
class Reader {
  constructor(take) {
    this.take = take;
    this.chunks = [];
    this.size = this.wanted = 0;
  }

  /** A frame that comes in many chunks is put together once. */
  feed(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
    if (this.size < this.wanted) return;
    let bytes = Buffer.concat(this.chunks);
    for (;;) {
      this.wanted = this.read(bytes);
      if (this.wanted > bytes.length) break;
      bytes = bytes.subarray(this.wanted);
    }
    this.chunks = [bytes];
    this.size = bytes.length;
  }

  /** The size of the frame, or of what is needed to know it. */
  read(bytes) {
    if (bytes.length < 2) return 2;
    const short = bytes[1] & ~MASK;
    const extended = short === 127 ? 8 : short === 126 ? 2 : 0;
    const head = 2 + extended + (bytes[1] & MASK ? 4 : 0);
    if (bytes.length < head) return head;
    const length = extended === 8 ? bytes.readUInt32BE(6) :
        extended === 2 ? bytes.readUInt16BE(2) : short;
    if (bytes.length >= head + length) {
      const key = bytes[1] & MASK ? bytes.subarray(head - 4, head) : null;
      const payload = Buffer.from(bytes.subarray(head, head + length));
      if (key) mask(payload, key);
      this.take({first: bytes[0], key, payload});
    }
    return head + length;
  }
}

function write({first, key, payload}) {
  const {length} = payload;
  const head = Buffer.alloc(length > 65535 ? 10 : length > 125 ? 4 : 2);
  head[0] = first;
  head[1] = length > 65535 ? 127 : length > 125 ? 126 : length;
  if (length > 65535) head.writeUInt32BE(length, 6);
  else if (length > 125) head.writeUInt16BE(length, 2);
  if (!key) return Buffer.concat([head, payload]);
  head[1] |= MASK;
  return Buffer.concat([head, key, mask(Buffer.from(payload), key)]);
}

const isControl = (first) => (first & 8) !== 0;

/** What the frames of one direction came to. */
class Count {
  constructor() {
    this.messages = this.compressed = this.frames = this.bytes = 0;
    this.reader = new Reader((frame) => this.add(frame));
  }

  add({first, payload}) {
    if (isControl(first)) return;
    this.frames++;
    this.bytes += payload.length;
    if (first & 15) this.messages++;
    if (first & RSV1) this.compressed++;
  }

  feed(chunk) {
    this.reader.feed(chunk);
  }
}

/** Cuts a data frame where no compressor would: inside of a code, of the last
 * four bytes, at nothing. */
function cut({first, key, payload}, random) {
  const pieces = [];
  const n = [1, 1, 2, 3, 10][random(5)];
  const offsets = Array.from({length: n - 1}, () => {
    const near = Math.min(payload.length, 8);
    const at = random(random(2) ? near + 1 : payload.length + 1);
    return random(2) ? at : payload.length - at;
  }).sort((a, b) => a - b);
  offsets.forEach((to, i) => pieces.push([i ? offsets[i - 1] : 0, to]));
  pieces.push([offsets.length ? offsets[n - 2] : 0, payload.length]);
  return pieces.map(([from, to], i) => ({
    first: (i ? 0 : first & ~FIN) | (i === n - 1 ? first & FIN : 0),
    key,
    payload: payload.subarray(from, to),
  }));
}

/** Takes bytes, and gives them back with the frames cut anew, which it counts.
 */
class Cutter {
  constructor(random) {
    this.count = new Count();
    this.ready = [];
    this.reader = new Reader((frame) => {
      const frames = isControl(frame.first) ? [frame] : cut(frame, random);
      this.count.add(frame);
      this.ready.push(...frames.map(write));
    });
  }

  feed(chunk) {
    this.reader.feed(chunk);
    return Buffer.concat(this.ready.splice(0));
  }
}

/** What leaves a socket from now on is cut anew. */
function cutWrites(socket, random) {
  const cutter = new Cutter(random);
  const original = socket.write;
  socket.write = function(chunk, ...rest) {
    return original.call(this, cutter.feed(chunk), ...rest);
  };
  return cutter.count;
}

/** Counts what comes to a socket. */
function countReads(socket) {
  const count = new Count();
  socket.on('data', (chunk) => count.feed(chunk));
  return count;
}

/** Calls back with a head, and then with what follows it. */
function afterHead(onHead, onRest) {
  let head = Buffer.alloc(0);
  return (chunk) => {
    if (!head) return onRest(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n') + 4;
    if (end < 4) return;
    const rest = head.subarray(end);
    onHead(head.subarray(0, end));
    head = null;
    if (rest.length > 0) onRest(rest);
  };
}

/** Between a client and a server: the client's frames are cut anew, both sides'
 * are counted, and the server's head is kept. */
function between(client, server, random) {
  const cutter = new Cutter(random);
  const read = new Count();
  const result = {written: cutter.count, read, head: ''};
  client.on('data', afterHead((head) => server.write(head),
                              (chunk) => server.write(cutter.feed(chunk))));
  const answered = afterHead((head) => result.head = String(head),
                             (chunk) => read.feed(chunk));
  server.on('data', (chunk) => {
    answered(chunk);
    client.write(chunk);
  });
  for (const [from, to] of [[client, server], [server, client]])
    from.on('end', () => to.end()).on('error', () => to.destroy());
  return result;
}

module.exports = {between, countReads, cutWrites};
