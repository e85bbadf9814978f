// What peers for Node.js share: the vocabulary of webrtc.py, in lines of JSON on stdin and stdout.
//
// A peer derives its own Connection and Channel from the classes below, and calls serve().

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

// The packages are not beside the source: stacks.py installs them into a folder of their own.
export const load = createRequire(join(process.env.RTCSCTP_INTEROP_NODE, "package.json"));

// ---------------------------------------------------------------------------------- waiting

// Conditions that somebody waits for; looked at again whenever something has happened.
const waiting = new Set();

export function until(condition) {
  return new Promise((resolve, reject) => {
    const look = () => {
      try {
        if (!condition()) return;
        resolve();
      } catch (error) {
        reject(error);
      }
      waiting.delete(look);
    };
    waiting.add(look);
    look();
  });
}

export function happened() {
  for (const look of [...waiting]) look();
}

// ---------------------------------------------------------------------------------- payload

// The same bytes as pattern() in usrsctp.py.
function pattern(seed, size) {
  const period = Math.min(size, 4093);
  const words = new Uint32Array(Math.ceil(period / 4));
  let x = seed >>> 0 || 0x9e3779b9;
  for (let index = 0; index < words.length; index++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[index] = x;
  }
  const block = new Uint8Array(words.buffer, 0, period);
  const data = Buffer.alloc(size);
  for (let start = 0; start < size; start += period)
    data.set(start + period <= size ? block : block.subarray(0, size - start), start);
  return data;
}

// As text: one character of ASCII for each byte.
const patternText = (seed, size) =>
  pattern(seed, size)
    .map((byte) => 48 + (byte & 63))
    .toString("latin1");

// Adler-32 as zlib computes it. 3800 is how many bytes keep the sums below 2 ** 31.
function adler32(bytes) {
  let a = 1;
  let b = 0;
  for (let index = 0; index < bytes.length; ) {
    const end = Math.min(index + 3800, bytes.length);
    for (; index < end; index++) {
      a += bytes[index];
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

const bytesOf = (message) =>
  message instanceof ArrayBuffer || typeof message === "string" ? Buffer.from(message) : message;

function record(message) {
  const bytes = bytesOf(message);
  const isText = typeof message === "string";
  const told = { kind: isText ? "text" : "binary", size: bytes.length };
  told.sha256 = createHash("sha256").update(bytes).digest("hex");
  if (isText && message.length <= 1000) told.text = message;
  return told;
}

// Counts and sums the messages of a bulk transfer, at either end; see payload.py.
class Bulk {
  constructor() {
    Object.assign(this, { messages: 0, bytes: 0, checksum: 0, out_of_order: 0, seconds: 0 });
  }

  take(message) {
    this.began ??= performance.now();
    const bytes = bytesOf(message);
    const number = bytes.length >= 4 ? Buffer.from(bytes.subarray(0, 4)).readUInt32BE() : -1;
    if (number !== this.messages) this.out_of_order++;
    this.messages++;
    this.bytes += bytes.length;
    this.checksum = (this.checksum + adler32(bytes)) >>> 0;
    this.seconds = (performance.now() - this.began) / 1000;
  }

  result() {
    const { began, ...result } = this;
    return result;
  }
}

// ---------------------------------------------------------------------------------- what derives

// A channel and what came from it. A peer defines the getters state and buffered, describeItself(),
// send(), close() and setThreshold(), and calls take(), count() and fail().
export class Channel {
  constructor(key) {
    Object.assign(this, { key, messages: [], bulk: null, errors: [] });
    Object.assign(this, { opens: 0, closings: 0, closes: 0 });
  }

  take(message) {
    if (this.bulk) this.bulk.take(message);
    else this.messages.push(record(message));
    happened();
  }

  count(what) {
    this[what]++;
    happened();
  }

  fail(error) {
    this.errors.push(String(error?.message ?? error));
    happened();
  }

  describe() {
    return {
      channel: this.key,
      ...this.describeItself(),
      state: this.state,
      buffered: this.buffered,
      received: this.messages.length,
      opens: this.opens,
      closings: this.closings,
      closes: this.closes,
      errors: this.errors,
    };
  }

  // Resolves when no more than the threshold waits to be sent, or never will be.
  async drained(threshold) {
    if (this.state !== "open" || this.buffered <= threshold) return;
    this.setThreshold(threshold);
    await until(() => this.state !== "open" || this.buffered <= threshold);
  }
}

// A connection with its channels. A peer defines state(kind), offer(), answer(), accept(),
// addCandidate(), descriptions(), createChannel(), stats() and close(), and calls log(), gather()
// and appeared().
export class Connection {
  constructor() {
    Object.assign(this, { channels: new Map(), incoming: [], states: [] });
    Object.assign(this, { candidates: [], taken: 0, gathered: false });
  }

  log(kind, state) {
    this.states.push([Math.round(performance.now()), kind, state]);
    happened();
  }

  // A candidate, or null after the last one.
  gather(candidate) {
    if (candidate) this.candidates.push(candidate);
    else this.gathered = true;
    happened();
  }

  async untilGathered() {
    await until(() => this.gathered);
  }

  add(channel) {
    this.channels.set(channel.key, channel);
    happened();
    return channel;
  }

  appeared(makeChannel) {
    const key = `incoming-${this.incoming.length}`;
    this.incoming.push(key);
    this.add(makeChannel(key));
  }

  channel(key) {
    const found = this.channels.get(key);
    if (!found) throw new Error(`no channel ${key}, but ${[...this.channels.keys()]}`);
    return found;
  }
}

// ---------------------------------------------------------------------------------- vocabulary

function vocabulary(makeConnection) {
  const connections = new Map();

  const get = (name) => {
    const found = connections.get(name);
    if (!found) throw new Error(`no connection ${name}, but ${[...connections.keys()]}`);
    return found;
  };

  return {
    async open({ pc, ...options }) {
      if (connections.has(pc)) throw new Error(`there is a connection ${pc} already`);
      connections.set(pc, await makeConnection(options));
    },

    close: ({ pc }) => get(pc).close(),
    offer: ({ pc, ...options }) => get(pc).offer(options),
    answer: ({ pc, ...options }) => get(pc).answer(options),
    accept: ({ pc, description }) => get(pc).accept(description),
    add_candidate: ({ pc, candidate }) => get(pc).addCandidate(candidate),
    descriptions: ({ pc }) => get(pc).descriptions(),
    stats: ({ pc }) => get(pc).stats(),
    states: ({ pc }) => get(pc).states,

    async next_candidates({ pc }) {
      const connection = get(pc);
      await until(() => connection.gathered || connection.taken < connection.candidates.length);
      const candidates = connection.candidates.slice(connection.taken);
      connection.taken = connection.candidates.length;
      return { candidates, complete: connection.gathered };
    },

    async wait_state({ pc, kind, states }) {
      const connection = get(pc);
      await until(() => states.includes(connection.state(kind)));
      return connection.state(kind);
    },

    async create_channel({ pc, channel, label = channel, ...options }) {
      const connection = get(pc);
      if (connection.channels.has(channel))
        throw new Error(`there is a channel ${channel} already`);
      return connection.add(connection.createChannel(channel, label, options)).describe();
    },

    async incoming({ pc, count }) {
      const connection = get(pc);
      await until(() => connection.incoming.length >= count);
      return connection.incoming.map((key) => connection.channel(key).describe());
    },

    channel: ({ pc, channel }) => get(pc).channel(channel).describe(),

    async wait_channel({ pc, channel, states }) {
      const found = get(pc).channel(channel);
      // The state, and the event that tells it.
      const told = { open: "opens", closed: "closes" };
      await until(
        () => states.includes(found.state) && (!told[found.state] || found[told[found.state]] > 0),
      );
      return found.describe();
    },

    close_channel: ({ pc, channel }) => get(pc).channel(channel).close(),

    send_text: ({ pc, channel, text }) => get(pc).channel(channel).send(text),

    send_binary: ({ pc, channel, base64 }) =>
      get(pc).channel(channel).send(Buffer.from(base64, "base64")),

    async send_pattern({ pc, channel, size, seed, count = 1, text = false }) {
      const found = get(pc).channel(channel);
      for (let index = 0; index < count; index++) {
        found.send((text ? patternText : pattern)(seed + index, size));
        await found.drained(4 << 20);
      }
    },

    drained: ({ pc, channel, threshold = 0 }) => get(pc).channel(channel).drained(threshold),

    async received({ pc, channel, count, start = 0 }) {
      const found = get(pc).channel(channel);
      await until(() => found.messages.length >= count);
      return found.messages.slice(start);
    },

    bulk_receive({ pc, channel }) {
      get(pc).channel(channel).bulk = new Bulk();
    },

    async bulk_send({ pc, channel, total, size, seed, high_water = 1 << 20 }) {
      const found = get(pc).channel(channel);
      const template = pattern(seed, size);
      const sent = new Bulk();
      while (sent.bytes < total) {
        const length = Math.max(4, Math.min(size, total - sent.bytes));
        const message = Buffer.from(template.subarray(0, length));
        message.writeUInt32BE(sent.messages);
        found.send(message);
        sent.take(message);
        if (found.buffered > high_water) await found.drained(high_water >> 1);
      }
      await found.drained(0);
      return sent.result();
    },

    async bulk_result({ pc, channel, bytes }) {
      const found = get(pc).channel(channel);
      await until(() => found.bulk.bytes >= bytes);
      const result = found.bulk.result();
      found.bulk = null;
      return result;
    },

    bulk_progress: ({ pc, channel }) => get(pc).channel(channel).bulk?.result() ?? null,
  };
}

const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// Answers requests until stdin ends. `makeConnection` gets the options of "open".
export async function serve(name, makeConnection) {
  const methods = vocabulary(makeConnection);

  async function answer({ id, method, params }) {
    try {
      if (!Object.hasOwn(methods, method)) throw new Error(`${name} cannot ${method}`);
      write({ id, result: (await methods[method](params)) ?? null });
    } catch (error) {
      write({ id, error: { message: String(error?.stack ?? error) } });
    }
  }

  write({ method: "ready", params: {} });
  for await (const line of createInterface({ input: process.stdin })) answer(JSON.parse(line));
  process.exit(0);
}
