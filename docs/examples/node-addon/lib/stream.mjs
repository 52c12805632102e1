// WebSocketStream, as whatwg/websockets has it in pull request 48: the promises
// and streams of a connection. All else is the native half's, backpressure too:
// one that is not read does not read, and a write waits until there is room.
import events from 'node:events';
import {toUSVString, types} from 'node:util';
import {asInterface} from './events.mjs';
import {
  CLOSE, DRAIN, ERROR, Link, MESSAGE, OPEN, native,
} from './native.mjs';
import {
  bufferOf, checkBuffer, checkClose, checkProtocols, connect, parseURL,
  publishFailure,
} from './websocket.mjs';

// "Sufficient buffer space", in bytes: what may wait for the kernel before a
// write does, and how little it then waits for.
const ROOM = {highWater: 64 * 1024, lowWater: 16 * 1024};
// A message costs something even when it is empty.
const OVERHEAD = 64;
const ABNORMAL = 1006;
const STATE_OPEN = 1;

// ---- conversions ----

const isObject = (value) =>
  (typeof value === 'object' && value !== null) || typeof value === 'function';

/** WebIDL: a dictionary is an object, or is missing. */
function toDictionary(value, name) {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw new TypeError(`${name}: not an object`);
  return value;
}

/** WebIDL: sequence<USVString>, which one string is not. */
function toStrings(value, name) {
  if (!isObject(value)) throw new TypeError(`${name}: not a sequence`);
  const strings = [];
  for (const one of value) strings.push(toUSVString(`${one}`));
  return strings;
}

/** WebIDL: [EnforceRange] unsigned short. */
function toEnforcedShort(value, name) {
  const number = Math.trunc(+value);
  if (!(number >= 0 && number <= 65535))
    throw new TypeError(`${name}: not from 0 to 65535`);
  return number;
}

/** WebIDL: members in the order of their names, each read once. */
function toOptions(value) {
  const options = toDictionary(value, 'WebSocketStreamOptions');
  const {protocols} = options;
  const strings = protocols === undefined ? [] :
    toStrings(protocols, 'WebSocketStreamOptions.protocols');
  const {signal} = options;
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError('WebSocketStreamOptions.signal: not an AbortSignal');
  return {options, protocols: strings, signal};
}

function toCloseInfo(value) {
  const info = toDictionary(value, 'WebSocketCloseInfo');
  const {closeCode} = info;
  const code = closeCode === undefined ? null :
    toEnforcedShort(closeCode, 'WebSocketCloseInfo.closeCode');
  const {reason = ''} = info;
  return [code, toUSVString(`${reason}`)];
}

/** "Validate close code and reason"; a reason is nothing without a code. */
function checkCloseInfo(code, reason) {
  checkClose(code ?? 1000, reason);
  return code ?? (reason === '' ? null : 1000);
}

// ---- WebSocketError ----

let makeError;
let closeInfoOf;

export class WebSocketError extends DOMException {
  #closeCode;
  #reason;

  constructor(message = '', init = {}) {
    message = `${message}`;
    const [code, reason] = toCloseInfo(init);
    super(message, 'WebSocketError');
    this.#closeCode = checkCloseInfo(code, reason);
    this.#reason = reason;
  }

  get closeCode() { return this.#closeCode; }
  get reason() { return this.#reason; }

  static {
    /** With a code that only an ending has. */
    makeError = (message, code, reason) => {
      const error = new WebSocketError(message);
      error.#closeCode = code;
      error.#reason = reason;
      return error;
    };

    /** What any value says of how to close. */
    closeInfoOf = (value) => isObject(value) && #closeCode in value ?
      [value.#closeCode, value.#reason] : [null, ''];
  }
}
asInterface(WebSocketError, 'WebSocketError', ['closeCode', 'reason']);

// ---- WebSocketStream ----

/** Whoever looks at one of two promises need not look at the other. */
function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => {
    Object.assign(result, {resolve, reject});
  });
  result.promise.catch(() => {});
  return result;
}

/** DOM, "add an algorithm": no listener can keep it from being run. */
function onAbort(signal, steps) {
  if (events.addAbortListener !== undefined) {
    const listener = events.addAbortListener(signal, steps);
    return () => listener[Symbol.dispose]();
  }
  signal.addEventListener('abort', steps, {once: true});
  return () => signal.removeEventListener('abort', steps);
}

function isBufferSource(chunk) {
  const isView = ArrayBuffer.isView(chunk);
  if (!isView && !types.isArrayBuffer(chunk)) return false;
  checkBuffer(isView ? bufferOf(chunk) : chunk);
  return true;
}

export class WebSocketStream {
  #link = new Link(this, (stream, event, a, b, c) =>
    stream.#deliver(event, a, b, c));
  #handle = null; // null where there was never a connection
  #url;
  #opened = deferred();
  #closed = deferred();
  #forgetSignal = () => {};
  #failure = ''; // what the native half says of an end
  #source = null; // the readable's controller, until it is cancelled
  #sink = null; // the writable's, from its opening on
  #isStopped = false; // nothing is read
  #writing = null; // the latest write that had to wait
  #written = 0; // bytes since one had to
  #closing = null; // the writable is being closed

  constructor(url, options = {}) {
    if (arguments.length < 1)
      throw new TypeError(
          'WebSocketStream: 1 argument required, but only 0 present');
    url = `${url}`;
    const {options: all, protocols, signal} = toOptions(options);
    const parsed = parseURL(url);
    checkProtocols(protocols);
    this.#url = parsed.href;
    if (signal?.aborted) {
      this.#abort(signal.reason);
      return;
    }
    const status = connect(this.#link, parsed, protocols, all, ROOM);
    if (signal !== undefined)
      this.#forgetSignal = onAbort(signal, () => this.#abort(signal.reason));
    if (status === 0) {
      this.#handle = this.#link.handle;
      // The promises and streams may be awaited without being referred to.
      native.hold(this.#handle, true);
    } else {
      setImmediate(() => this.#neverConnects(status));
    }
  }

  get url() { return this.#url; }

  /** WebIDL: a getter of a promise does not throw. */
  get opened() {
    return #opened in Object(this) ? this.#opened.promise :
      Promise.reject(new TypeError('Illegal invocation'));
  }

  get closed() {
    return #closed in Object(this) ? this.#closed.promise :
      Promise.reject(new TypeError('Illegal invocation'));
  }

  close(closeInfo = {}) {
    if (!(#link in this)) throw new TypeError('Illegal invocation');
    this.#close(...toCloseInfo(closeInfo));
  }

  // ---- ending it ----

  /** "Close the WebSocket". */
  #close(code, reason) {
    code = checkCloseInfo(code, reason);
    if (this.#handle === null) return;
    const status = native.close(this.#handle, code ?? 0, reason);
    if (status !== 0) native.terminate(this.#handle);
  }

  /** "Close using reason": a code that cannot be sent is left out. */
  #closeUsing(reason) {
    const [code, text] = closeInfoOf(reason);
    try {
      this.#close(code, text);
    } catch {
      this.#close(null, '');
    }
  }

  /** The signal's abort steps; an open connection has forgotten the signal. */
  #abort(reason) {
    if (this.#handle !== null) native.terminate(this.#handle);
    this.#opened.reject(reason);
    this.#closed.reject(reason);
  }

  // ---- what the native half tells ----

  #deliver(event, a, b, c) {
    switch (event) {
      case MESSAGE:
        this.#receive(typeof a === 'string' ? a : new Uint8Array(a));
        return;
      case DRAIN:
        this.#writing?.resolve();
        return;
      case OPEN:
        this.#open(a, b);
        return;
      case ERROR:
        this.#fail(a, b);
        return;
      case CLOSE:
        this.#end(a, b, c);
    }
  }

  #fail(code, message) {
    this.#failure = `: ${message}`;
    publishFailure(this, code, message);
  }

  /** As WebSocket's. */
  #neverConnects(status) {
    this.#fail(native.errName(status), native.strerror(status));
    this.#end(ABNORMAL, '', false);
  }

  #open(protocol, extensions) {
    this.#forgetSignal();
    const readable = new ReadableStream({
      start: (controller) => {
        this.#source = controller;
      },
      pull: () => this.#pull(),
      cancel: (reason) => {
        this.#source = null;
        this.#closeUsing(reason);
      },
    });
    const writable = new WritableStream({
      start: (controller) => {
        this.#sink = controller;
        controller.signal.addEventListener('abort', () => this.#waitNoMore());
      },
      write: (chunk) => this.#write(chunk),
      close: () => {
        this.#closing = deferred();
        this.#close(null, '');
        return this.#closing.promise;
      },
      abort: (reason) => this.#closeUsing(reason),
    });
    this.#opened.resolve({extensions, protocol, readable, writable});
  }

  #end(code, reason, wasClean) {
    this.#forgetSignal();
    if (this.#sink === null)
      this.#opened.reject(
          new WebSocketError(`The WebSocket was never open${this.#failure}`));
    if (wasClean)
      this.#endCleanly(code, reason);
    else
      this.#endUncleanly(makeError(
          `The WebSocket was not closed cleanly${this.#failure}`,
          code, reason));
  }

  /** All that was accepted is with the kernel: else it would not be clean. */
  #endCleanly(closeCode, reason) {
    const error = new DOMException(
        'The WebSocketStream is closed.', 'InvalidStateError');
    this.#source?.close();
    if (this.#writing?.isAccepted)
      this.#writing.resolve();
    else
      this.#writing?.reject(error);
    if (this.#closing !== null)
      this.#closing.resolve();
    else
      this.#sink.error(error);
    this.#closed.resolve({closeCode, reason});
  }

  #endUncleanly(error) {
    this.#source?.error(error);
    this.#writing?.reject(error);
    this.#closing?.reject(error);
    this.#sink?.error(error);
    this.#closed.reject(error);
  }

  // ---- reading ----

  #receive(chunk) {
    this.#source.enqueue(chunk);
    if (this.#source.desiredSize > 0) return;
    this.#isStopped = true;
    native.read(this.#handle, false);
  }

  #pull() {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    native.read(this.#handle, true);
  }

  // ---- writing ----

  /**
   * What comes once the closing handshake has begun is not sent, and its writer
   * is told when the connection is closed. A promise is to be resolved by a
   * task: many small writes share one, but none goes on for ever without.
   */
  #write(chunk) {
    const isBinary = isBufferSource(chunk);
    if (!isBinary) chunk = `${chunk}`;
    const handle = this.#handle;
    const status = isBinary ? native.sendBinary(handle, chunk) :
      native.sendText(handle, chunk);
    const isAccepted = status === 0;
    const isFull = native.needsDrain(handle);
    this.#written += OVERHEAD + (isBinary ? chunk.byteLength : chunk.length);
    if (isAccepted && !isFull && this.#written < ROOM.highWater)
      return undefined;
    this.#written = 0;
    if (!isAccepted && native.readyState(handle) === STATE_OPEN)
      native.terminate(handle); // there is no memory
    return new Promise((resolve, reject) => {
      this.#writing = {isAccepted, resolve, reject};
      if (isAccepted && !isFull) setImmediate(resolve);
    });
  }

  /** The writable is aborted, which must not wait for a peer to read. */
  #waitNoMore() {
    if (this.#writing?.isAccepted)
      this.#writing.resolve();
    else
      this.#writing?.reject(this.#sink.signal.reason);
  }
}
asInterface(WebSocketStream, 'WebSocketStream', [
  'url', 'opened', 'closed', 'close',
]);
