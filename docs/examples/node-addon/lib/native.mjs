// The native half: sockets and servers whose events come to one function.
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';
import {fileURLToPath} from 'node:url';

const places = [
  process.env.UVWS_NODE_ADDON,
  fileURLToPath(new URL('../uvws.node', import.meta.url)),
  fileURLToPath(new URL('../../../../build/release/node/uvws.node',
                        import.meta.url)),
];
const place = places.find((file) => file && existsSync(file));
if (!place)
  throw new Error('uvws.node is not built: ./cmake/run node builds it');

export const native = createRequire(import.meta.url)(place);

/** As src/addon.h has them. */
export const [
  OPEN, MESSAGE, ERROR, CLOSE, DRAIN, REQUEST, SERVER_ERROR, SERVER_CLOSE,
] = Array(8).keys();

/**
 * What stands between a native handle and its owner: `deliver` gets the events.
 * The native half refers to the link, weakly unless it is told to hold it; the
 * link and its owner refer to each other.
 */
export class Link {
  constructor(owner, deliver) {
    this.owner = owner;
    this.deliver = deliver;
    this.handle = null;
  }

  /** Takes what a native call returned: a handle, or a status. */
  attach(result) {
    if (typeof result === 'number') return result;
    this.handle = result;
    return 0;
  }
}

native.setup((link, event, a, b, c, d, e) => {
  link.deliver(link.owner, event, a, b, c, d, e);
});

/** What a status means, as Node's own errors have it. */
export function errorOf(status, syscall) {
  const error = new Error(`${syscall} ${native.errName(status)}: ` +
                          native.strerror(status));
  return Object.assign(error, {
    code: native.errName(status), errno: status, syscall,
  });
}

/** Statuses that mean something here. */
const named = (name) => {
  for (let status = -0x10000; status > -0x10020; status--)
    if (native.errName(status) === name) return status;
  throw new Error(name);
};
export const UVWS_ESYNTAX = named('UVWS_ESYNTAX');
export const UVWS_ESECURITY = named('UVWS_ESECURITY');
export const UVWS_ETLS = named('UVWS_ETLS');
