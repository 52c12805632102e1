// What a user says about a connection, in the native half's terms.
import {readFileSync} from 'node:fs';
import {validateHeaderName, validateHeaderValue} from 'node:http';
import {rootCertificates} from 'node:tls';
import {native} from './native.mjs';

const settings = {baseURL: null, origin: null, ca: null};

/**
 * What a page has, and Node has not: the base of relative URLs, the Origin
 * header, and extra certificate authorities. `undefined` leaves a member as it
 * is, `null` resets it.
 */
export function configure({baseURL, origin, ca} = {}) {
  if (baseURL !== undefined)
    settings.baseURL = baseURL === null ? null : new URL(baseURL).href;
  if (origin !== undefined) settings.origin = origin === null ? null : `${origin}`;
  if (ca !== undefined) settings.ca = ca;
}

export const baseURL = () => settings.baseURL ?? undefined;

/** PEM: a text, a buffer, or an array of these. */
const pem = (value) => value === undefined || value === null ? undefined :
  [value].flat().map(String).join('\n');

let extra;

/** Node itself warns of a file that cannot be read, and goes on. */
function extraAuthorities() {
  const file = process.env.NODE_EXTRA_CA_CERTS;
  if (!file || extra !== undefined) return extra;
  try {
    extra = readFileSync(file, 'latin1');
  } catch {
    extra = '';
  }
  return extra;
}

/** Configurations are made once: sockets that share one resume its sessions. */
const configurations = new Map();

function tlsOf(options) {
  const key = JSON.stringify(options);
  let tls = configurations.get(key);
  if (tls === undefined) configurations.set(key, tls = native.tls(options));
  return tls;
}

/** Node's own authorities, for systems that have none. */
export const bundledTls = (options) => tlsOf({
  ...tlsOptions(options), ca: rootCertificates.join('\n'),
});

function tlsOptions({ca, cert, key, passphrase, rejectUnauthorized = true}) {
  const all = [pem(ca), pem(settings.ca), extraAuthorities()].filter(Boolean);
  return {
    ca: all.length > 0 ? all.join('\n') : undefined,
    cert: pem(cert),
    key: pem(key),
    passphrase,
    insecure: rejectUnauthorized === false || undefined,
  };
}

/** Undefined where the library's own default will do. */
export function clientTls(options) {
  const all = tlsOptions(options);
  return Object.values(all).some((value) => value !== undefined) ?
    tlsOf(all) : undefined;
}

export const serverTls = ({cert, key, passphrase}) => cert === undefined ?
  undefined : tlsOf({cert: pem(cert), key: pem(key), passphrase});

/** In a row, as they stand in the head. */
export function headerLines(headers) {
  const pairs = Symbol.iterator in Object(headers) ?
    [...headers] : Object.entries(headers ?? {});
  return pairs.flatMap(([name, value]) => [value].flat().flatMap((one) => {
    validateHeaderName(name);
    validateHeaderValue(name, one);
    return [name, `${one}`];
  }));
}

export const deflateOf = (value) => value === true ? {} :
  value ? {...value} : undefined;

export function connectOptions(url, protocols, options) {
  const {
    perMessageDeflate = true, maxPayload = 100 * 1024 * 1024,
    origin = settings.origin,
  } = options;
  if (origin) validateHeaderValue('Origin', `${origin}`);
  return {
    protocols,
    headers: headerLines(options.headers),
    origin: origin ? `${origin}` : undefined,
    proxy: options.proxy,
    serverName: options.servername,
    deflate: deflateOf(perMessageDeflate),
    maxMessage: maxPayload,
    handshakeTimeout: options.handshakeTimeout,
    tls: url.protocol === 'wss:' ? clientTls(options) : undefined,
  };
}
