// Peers of libdatachannel, by its binding node-datachannel, doing what `vocabulary.py` says.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

// The package is not beside the source: node.py installs it into the user's cache.
const load = createRequire(join(process.env.RTCSCTP_BENCHMARK_NODE, "package.json"));
const { PeerConnection } = load("node-datachannel");

const HIGH_WATER = 1 << 20;
const LOW_WATER = HIGH_WATER / 2;

const seconds = () => Number(process.hrtime.bigint()) / 1e9; // CLOCK_MONOTONIC
const sleep = (time) => new Promise((wake) => setTimeout(wake, time * 1000));

// A connection and its channel. Messages are kept until somebody wants them.
class Peer {
  constructor(name) {
    this.connection = new PeerConnection(name, { iceServers: [], disableAutoNegotiation: true });
    this.gathered = new Promise((done) =>
      this.connection.onGatheringStateChange((state) => state === "complete" && done()),
    );
    this.opened = new Promise((done) => (this.open = done));
    this.connection.onDataChannel((channel) => this.use(channel));
    this.kept = [];
    this.taker = null;
  }

  makeChannel() {
    this.use(this.connection.createDataChannel("first"));
  }

  use(channel) {
    this.channel = channel;
    channel.setBufferedAmountLowThreshold(LOW_WATER);
    channel.onMessage((message) => (this.taker ? this.taker(message) : this.kept.push(message)));
    channel.onOpen(this.open);
    if (channel.isOpen()) this.open();
  }

  // Calls `take` with each message, those that are there first, until it returns true.
  receiveUntil(take) {
    return new Promise((done) => {
      this.taker = (message) => {
        if (!take(message)) return;
        this.taker = null;
        done();
      };
      while (this.taker && this.kept.length) this.taker(this.kept.shift());
    });
  }

  waitRoom() {
    return new Promise((done) => {
      this.channel.onBufferedAmountLow(done);
      if (this.channel.bufferedAmount() <= LOW_WATER) done();
    });
  }

  async send(data, count, end = Infinity) {
    const { channel } = this;
    const step = Math.ceil(65536 / data.length); // it may overshoot by so much: asking costs
    const began = seconds();
    while (count && seconds() < end) {
      while (count && channel.bufferedAmount() < HIGH_WATER)
        for (let left = Math.min(step, count); left; left--, count--)
          channel.sendMessageBinary(data);
      if (count) await this.waitRoom();
    }
    return began;
  }

  async describe(type) {
    this.connection.setLocalDescription(type);
    await this.gathered;
    return this.connection.localDescription();
  }
}

const peers = new Map();
let watching = null;

function make(name, options) {
  if (Object.keys(options).length) throw new Error("libdatachannel has no such options");
  const peer = new Peer(name);
  peers.set(name, peer);
  return peer;
}

// A candidate may come while the other end is still about to make its ICE transport, and is refused.
function tell(connection, candidate, mid) {
  try {
    connection.addRemoteCandidate(candidate, mid);
  } catch (error) {
    if (!/without ICE transport/.test(error.message)) throw error;
    setTimeout(() => tell(connection, candidate, mid), 1);
  }
}

// Here the descriptions and candidates go across one by one, as is usual with libdatachannel. It
// often takes a second all the same: the one end may send its first DTLS packet before the other's
// ICE is ready for it, and OpenSSL repeats it after a second.
async function pair(index, options) {
  const left = make(`l${index}`, options);
  const right = make(`r${index}`, options);
  for (const [here, there] of [
    [left.connection, right.connection],
    [right.connection, left.connection],
  ]) {
    here.onLocalDescription((sdp, type) => {
      there.setRemoteDescription(sdp, type);
      if (type === "offer") there.setLocalDescription("answer");
    });
    here.onLocalCandidate((candidate, mid) => tell(there, candidate, mid));
  }
  left.makeChannel();
  const began = seconds();
  left.connection.setLocalDescription("offer");
  await left.opened;
  left.channel.sendMessage("first");
  await right.receiveUntil(() => true);
  return seconds() - began;
}

const actions = {
  async pairs({ count, options }) {
    const times = [];
    const first = peers.size / 2;
    for (let index = 0; index < count; index++) times.push(await pair(first + index, options));
    return { seconds: times };
  },

  async offer({ peer, options }) {
    const made = make(peer, options);
    made.makeChannel();
    return await made.describe("offer");
  },

  async answer({ peer, options, type, sdp }) {
    const made = make(peer, options);
    made.connection.setRemoteDescription(sdp, type);
    return await made.describe("answer");
  },

  accept({ peer, type, sdp }) {
    peers.get(peer).connection.setRemoteDescription(sdp, type);
  },

  async opened({ peer }) {
    await peers.get(peer).opened;
  },

  async send({ peer, size, count }) {
    return { began: await peers.get(peer).send(Buffer.alloc(size), count) };
  },

  async send_for({ peer, size, seconds: time }) {
    return { began: await peers.get(peer).send(Buffer.alloc(size), 1e15, seconds() + time) };
  },

  async receive({ peer, count }) {
    let [left, bytes] = [count, 0];
    await peers.get(peer).receiveUntil((message) => {
      bytes += message.length;
      return --left === 0;
    });
    return { ended: seconds(), bytes };
  },

  async receive_for({ peer, seconds: time, step }) {
    const amounts = new Array(Math.round(time / step)).fill(0);
    let began = null;
    let first;
    const begun = new Promise((done) => (first = done));
    const received = peers.get(peer).receiveUntil((message) => {
      if (began === null) {
        began = seconds();
        first();
      }
      const index = Math.floor((seconds() - began) / step);
      if (index >= amounts.length) return true;
      amounts[index] += message.length;
      return false;
    });
    await begun;
    await Promise.race([received, sleep(time)]);
    return { began, bytes: amounts };
  },

  async ping({ peer, size, count }) {
    const pinging = peers.get(peer);
    const data = Buffer.alloc(size);
    const times = [];
    let began = seconds();
    pinging.channel.sendMessageBinary(data);
    await pinging.receiveUntil(() => {
      const now = seconds();
      times.push(now - began);
      if (times.length === count) return true;
      began = seconds();
      pinging.channel.sendMessageBinary(data);
      return false;
    });
    return { seconds: times };
  },

  async echo({ peer, count }) {
    const answering = peers.get(peer);
    let left = count;
    await answering.receiveUntil((message) => {
      answering.channel.sendMessageBinary(message);
      return --left === 0;
    });
  },

  async paced({ peer, size, count, interval }) {
    const { channel } = peers.get(peer);
    const begin = seconds();
    for (let index = 0; index < count; index++) {
      await sleep(Math.max(0, begin + index * interval - seconds()));
      const data = Buffer.alloc(size);
      data.writeDoubleLE(seconds());
      channel.sendMessageBinary(data);
    }
  },

  async delays({ peer, count }) {
    const times = [];
    await peers.get(peer).receiveUntil((message) => {
      times.push(seconds() - Buffer.from(message).readDoubleLE());
      return times.length === count;
    });
    return { seconds: times };
  },

  watch() {
    const mine = (watching = { late: [] });
    const again = async () => {
      while (watching === mine) {
        const began = seconds();
        await sleep(0.001);
        mine.late.push(seconds() - began - 0.001);
      }
    };
    again();
  },

  watched() {
    const { late } = watching;
    watching = null;
    return { seconds: late };
  },

  statistics() {
    return {};
  },

  settle() {
    globalThis.gc();
  },
};

const IN_TURN = ["pairs", "offer", "answer"];

async function perform({ id, do: name, ...fields }) {
  let answer;
  try {
    answer = await actions[name](fields);
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify({ ...answer, id }) + "\n");
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (IN_TURN.includes(request.do)) await perform(request);
  else perform(request);
}
process.exit(0);
