'use strict';
// Messages for permessage-deflate, made alike wherever this runs: on Node, and
// in a browser's page.

/** Random numbers below a limit, which a seed repeats (xorshift). */
function numbers(seed) {
  let x = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return (limit) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % limit;
  };
}

/** What messages are pieced together from, so that there is something to refer
 * back to at every distance, in a message and beyond it; and so few characters
 * that even a window without any of it saves something. */
const library = (() => {
  const random = numbers(0);
  const bytes = Uint8Array.from({length: 1 << 16}, () => random(50) * 5);
  const letters = 'etaoin shrdlu,.{}":0123456789\u00e9\u0000\u20ac';
  const text = Array.from(bytes, () => letters[random(letters.length)]);
  return {bytes, text: text.join('')};
})();

/** A place to begin, and how far to go. */
const piece = (random) => [random(65000), 4 + random(300)];

function text(random, size) {
  const pieces = ['\u{1f600}'];
  for (let left = size - 4; left > 0;) {
    const [from, length] = piece(random);
    pieces.push(library.text.slice(from, from + Math.min(length, left)));
    left -= length;
  }
  return pieces.join('');
}

function bytes(random, size) {
  const array = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const [from, length] = piece(random);
    const end = from + Math.min(length, size - at);
    array.set(library.bytes.subarray(from, end), at);
    at += end - from;
  }
  return array;
}

/** Nothing can be saved on it. */
const noise = (random, size) => Uint8Array.from({length: size},
                                                () => random(65521) >> 3);

/** `count` messages of 16 B to 128 KiB, of each order of magnitude alike. */
function* messages(seed, count) {
  const random = numbers(seed);
  const makers = [text, text, text, bytes, bytes, bytes, noise];
  for (let i = 0; i < count; i++) {
    const size = Math.round(16 * 2 ** (random(13001) / 1000));
    yield makers[random(makers.length)](random, size);
  }
}

const equal = (a, b) => typeof a === typeof b && a.length === b.length &&
    (a === b || (typeof a !== 'string' && a.every((byte, i) => byte === b[i])));

if (typeof module !== 'undefined')
  module.exports = {equal, messages, numbers};
