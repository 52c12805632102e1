'use strict';
// Our programs, as the scripts of this directory that run on Node see them; all
// is over TLS when UVWS_TLS is a directory that cmake/ca has made.
const assert = require('assert');
const {spawn} = require('child_process');
const fs = require('fs');
const path = require('path');
const readline = require('readline');

const children = new Set();

process.on('exit', () => {
  for (const child of children) child.destroy();
});

const directory = process.env.UVWS_TLS;
const scheme = directory ? 'wss' : 'ws';
const tls = {server: {}, client: {}}; // options of Node's peers
const own = {}; // arguments of our programs
if (directory) {
  const [ca, cert, key] = ['ca.crt', 'localhost.crt', 'localhost.key']
      .map((file) => path.join(directory, file));
  own.ECHO_SERVER = own.CHAT_SERVER = ['--cert', cert, '--key', key];
  own.ECHO_CLIENT = ['--ca', ca];
  const both = {ALPNProtocols: ['http/1.1']};
  if (process.env.UVWS_TLS_VERSION) // the only one they speak
    both.minVersion = both.maxVersion = `TLSv${process.env.UVWS_TLS_VERSION}`;
  tls.client = {...both, ca: fs.readFileSync(ca)};
  tls.server = {...both, cert: fs.readFileSync(cert),
                key: fs.readFileSync(key)};
}

/** A child that does not outlive us; nor do its own, when it is detached. */
function start(command, args, options) {
  const child = spawn(command, args, options);
  child.destroy = () => {
    if (!options.detached) return child.kill('SIGKILL');
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error; // gone, not yet told
    }
  };
  if (child.pid) children.add(child);
  child.exited = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      children.delete(child);
      resolve(signal || code);
    });
  });
  return child;
}

/** One of the programs that CMake names in the environment. */
class Program {
  constructor(name, ...args) {
    const launcher = name === 'LWS' ? '' : process.env.LAUNCHER || '';
    const [command, ...rest] =
        [...launcher.split(' ').filter(Boolean), process.env[name],
         ...own[name] || [], ...args];
    this.child = start(command, rest, {stdio: ['ignore', 'pipe', 'inherit']});
    this.lines = [];
    this.changed = [];
    const change = () => this.changed.splice(0).forEach((wake) => wake());
    readline.createInterface({input: this.child.stdout})
        .on('line', (line) => { this.lines.push(line); change(); })
        .on('close', () => { this.ended = true; change(); });
  }

  /** The nth line, printed already or yet to come, that begins so. */
  async line(start, nth = 0) {
    for (;;) {
      const found = this.lines.filter((line) => line.startsWith(start))[nth];
      if (found !== undefined) return found;
      if (this.ended) throw new Error(`${start}? ${this.lines.join('\n')}`);
      await new Promise((resolve) => this.changed.push(resolve));
    }
  }

  async url() {
    return (await this.line('listening')).match(/wss?:.*\d/)[0];
  }

  /** What the socket of that number saw, up to its end, is `expected`: strings
   * and regular expressions. */
  async saw(number, expected) {
    const prefix = `${number} `;
    await this.line(`${prefix}close `);
    const lines = this.lines.filter((line) => line.startsWith(prefix))
        .map((line) => line.slice(prefix.length));
    const matches = lines.length === expected.length &&
        expected.every((e, i) => e instanceof RegExp ? e.test(lines[i])
                                                     : e === lines[i]);
    if (!matches) assert.deepStrictEqual(lines, expected);
  }

  /** It ends by itself, or at a signal, without a complaint: sanitizers' and
   * valgrind's would change the status. */
  async end(signal) {
    if (signal) this.child.kill(signal);
    assert.strictEqual(await this.child.exited, 0);
  }
}

/** Runs [name, function] pairs in turn, within a limit for all of them. */
async function run(cases) {
  let current;
  const failed = (error) => {
    console.error(`${current}: ${error && error.stack || error}`);
    process.exit(1);
  };
  setTimeout(() => failed('no end'), 500000).unref();
  process.on('unhandledRejection', failed).on('uncaughtException', failed);
  for (const [name, body] of cases) {
    current = name;
    await body();
    console.log(`ok ${name}`);
  }
  process.exit(0);
}

function skip(why) {
  console.log(`skipped: ${why}`);
  process.exit(77);
}

module.exports = {Program, run, scheme, skip, start, tls};
