/// <reference types="node" />
import type {EventEmitter} from 'node:events';
import type {IncomingMessage, Server} from 'node:http';
import type {AddressInfo} from 'node:net';
import type {Duplex} from 'node:stream';

type Pem = string | Buffer | ReadonlyArray<string | Buffer>;
type Headers = Record<string, string | string[]> | Iterable<[string, string]>;

interface EventInit {
  bubbles?: boolean;
  cancelable?: boolean;
  composed?: boolean;
}

interface ListenerOptions {
  capture?: boolean;
  once?: boolean;
  passive?: boolean;
  signal?: AbortSignal;
}

/** permessage-deflate (RFC 7692). */
export interface DeflateOptions {
  serverNoContextTakeover?: boolean;
  clientNoContextTakeover?: boolean;
  /** 8 to 15. */
  serverMaxWindowBits?: number;
  clientMaxWindowBits?: number;
  /** zlib's, 1 to 9; 6. */
  level?: number;
  /** zlib's, 1 to 9; 8. */
  memLevel?: number;
  /** Smaller messages are not compressed; 1024 bytes. */
  threshold?: number;
}

/** What a page has, and Node has not. `null` resets a member. */
export interface Settings {
  /** The base of relative URLs. */
  baseURL?: string | URL | null;
  /** The Origin header. */
  origin?: string | null;
  /** Certificate authorities, besides the system's. */
  ca?: Pem | null;
}
export function configure(settings: Settings): void;

/** The constructor's third argument, which the platform's does not have. */
export interface WebSocketOptions {
  headers?: Headers;
  origin?: string;
  ca?: Pem;
  cert?: Pem;
  key?: Pem;
  passphrase?: string;
  /** Whatever the certificate, for tests. */
  rejectUnauthorized?: boolean;
  servername?: string;
  /** Offered unless it is false. */
  perMessageDeflate?: boolean | DeflateOptions;
  /** Of a message received, in bytes; 100 MiB. */
  maxPayload?: number;
  /** From the request to the response, in milliseconds; 10,000. */
  handshakeTimeout?: number;
  /** http:, https: or socks5:, with credentials if there are any. */
  proxy?: string;
}

export interface MessageEventInit<T = any> extends EventInit {
  data?: T;
  lastEventId?: string;
  origin?: string;
  ports?: import('node:worker_threads').MessagePort[];
  source?: import('node:worker_threads').MessagePort | null;
}
export class MessageEvent<T = any> extends Event {
  constructor(type: string, init?: MessageEventInit<T>);
  readonly data: T;
  readonly lastEventId: string;
  readonly origin: string;
  readonly ports: ReadonlyArray<import('node:worker_threads').MessagePort>;
  readonly source: import('node:worker_threads').MessagePort | null;
}

export interface CloseEventInit extends EventInit {
  code?: number;
  reason?: string;
  wasClean?: boolean;
}
export class CloseEvent extends Event {
  constructor(type: string, init?: CloseEventInit);
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
}

export interface WebSocketEventMap {
  open: Event;
  message: MessageEvent;
  error: Event;
  close: CloseEvent;
}
type Handler<K extends keyof WebSocketEventMap> =
  ((this: WebSocket, event: WebSocketEventMap[K]) => any) | null;

/** The WebSocket object of the web platform: https://websockets.spec.whatwg.org */
export class WebSocket extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  constructor(url: string | URL, protocols?: string | Iterable<string>,
              options?: WebSocketOptions);
  readonly url: string;
  readonly readyState: 0 | 1 | 2 | 3;
  readonly bufferedAmount: number;
  readonly extensions: string;
  readonly protocol: string;
  binaryType: 'blob' | 'arraybuffer';
  onopen: Handler<'open'>;
  onmessage: Handler<'message'>;
  onerror: Handler<'error'>;
  onclose: Handler<'close'>;
  send(data: string | ArrayBuffer | NodeJS.ArrayBufferView | Blob): void;
  close(code?: number, reason?: string): void;

  addEventListener<K extends keyof WebSocketEventMap>(
    type: K, listener: (this: WebSocket, event: WebSocketEventMap[K]) => any,
    options?: boolean | ListenerOptions): void;
  removeEventListener<K extends keyof WebSocketEventMap>(
    type: K, listener: (this: WebSocket, event: WebSocketEventMap[K]) => any,
    options?: boolean | ListenerOptions): void;

  /** As those of Node's sockets. */
  ref(): this;
  unref(): this;
  /** Drops the connection at once: `close` with 1006. */
  terminate(): void;
}

/** What asked for a connection: of a server with a port of its own. */
export interface UpgradeRequest {
  readonly method: 'GET';
  readonly url: string;
  readonly httpVersion: '1.1';
  readonly headers: Record<string, string>;
  readonly rawHeaders: string[];
  readonly socket: {remoteAddress: string, remotePort: number};
}
type Request = UpgradeRequest | IncomingMessage;

export interface WebSocketServerOptions {
  /** One of these three; 0 takes a free port. */
  port?: number;
  server?: Server;
  noServer?: boolean;
  /** With `port`: an address or a name; all addresses. */
  host?: string;
  backlog?: number;
  /** With `port`: TLS. */
  cert?: Pem;
  key?: Pem;
  passphrase?: string;
  /** Other paths are answered 404. */
  path?: string;
  /** Accepted unless it is false, which it is. */
  perMessageDeflate?: boolean | DeflateOptions;
  /** Of a message received, in bytes; 16 MiB. */
  maxPayload?: number;
  /** With `port`: what all sockets may hold together, in bytes; 1 GiB. */
  maxMemory?: number;
  /** Accept pages of other origins; without it they are answered 403. */
  anyOrigin?: boolean;
  /** Which of the offered subprotocols; the first. */
  handleProtocols?(protocols: Set<string>, request: Request): string | false;
  /** Whether to accept, or an HTTP status to refuse with; false is 401. */
  verifyClient?(request: Request):
    boolean | number | Promise<boolean | number>;
}

export class WebSocketServer extends EventEmitter {
  constructor(options: WebSocketServerOptions);
  readonly clients: Set<WebSocket>;
  address(): AddressInfo | string | null;
  /** Listens no more and ends the sockets with 1001; then there is `close`. */
  close(callback?: () => void): void;
  /** Takes over what Node's http server has as `upgrade`. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer,
                callback?: (socket: WebSocket, request: IncomingMessage) => void): void;
  ref(): this;
  unref(): this;

  on(event: 'listening' | 'close', listener: () => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'connection',
     listener: (socket: WebSocket, request: Request) => void): this;
  /** Each message of each socket, without an Event: the fast way. */
  on(event: 'message', listener: (socket: WebSocket,
     data: string | ArrayBuffer, isBinary: boolean) => void): this;
  /** Lines may be added to the response. */
  on(event: 'headers',
     listener: (lines: string[], request: Request) => void): this;
}

// The part of index.d.ts for WebSocketStream and WebSocketError: experimental,
// as the text that they are from (whatwg/websockets, pull request 48).

export interface WebSocketCloseInfo {
  /** 1000, or from 3000 to 4999; when there is only a reason, 1000. */
  closeCode?: number;
  /** At most 123 bytes of UTF-8. */
  reason?: string;
}

/**
 * How a connection ended that did not end cleanly; or, given to `cancel()` or
 * `abort()` of its streams, what the peer is told.
 */
export class WebSocketError extends DOMException {
  constructor(message?: string, init?: WebSocketCloseInfo);
  readonly name: 'WebSocketError';
  /** What the peer sent, 1006 without that; null where nobody has set it. */
  readonly closeCode: number | null;
  readonly reason: string;
}

/** Besides these two: all that `WebSocket` has as its third argument. */
export interface WebSocketStreamOptions extends WebSocketOptions {
  protocols?: Iterable<string>;
  /** Aborts the opening handshake; once the connection is open, nothing. */
  signal?: AbortSignal;
}

export interface WebSocketOpenInfo {
  /**
   * Messages: strings for text, Uint8Arrays for binary. While nobody reads, the
   * peer is held back, after one message, and its goodbye is not seen either.
   * Cancelling closes the connection.
   */
  readable: ReadableStream<string | Uint8Array>;
  /**
   * Messages: binary from buffers and views, text from all else. A write is
   * over once there is room for more. Closing waits for the whole handshake;
   * aborting only begins it.
   */
  writable: WritableStream<string | ArrayBuffer | ArrayBufferView>;
  extensions: string;
  protocol: string;
}

/** A connection whose backpressure reaches TCP, in both directions. */
export class WebSocketStream {
  constructor(url: string | URL, options?: WebSocketStreamOptions);
  readonly url: string;
  /** Rejected with a WebSocketError, or what the signal was aborted with. */
  readonly opened: Promise<WebSocketOpenInfo>;
  /**
   * Fulfilled when both sides have said goodbye; else rejected as `opened`. Who
   * handles neither rejection is not told of them.
   */
  readonly closed: Promise<Required<WebSocketCloseInfo>>;
  /**
   * Throws a DOMException for a code or reason that may not be sent; otherwise
   * does nothing to a connection that is closing or closed.
   */
  close(closeInfo?: WebSocketCloseInfo): void;
}
