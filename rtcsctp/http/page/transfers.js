// Files and measurements: what goes over channels of the protocols "file", "sink" and "source".

import { Sha256 } from "./sha256.js";

const FULL = 1 << 20; // bytes that are queued at most
const LOW = 1 << 18;
const READ = 1 << 20; // bytes of a file that are read in one go

/** A channel of its own for one exchange of requests and answers. */
class Exchange {
  #queue = [];
  #wake = () => {};
  #ended = false;

  constructor(pc, label, protocol) {
    this.channel = pc.createDataChannel(label, { protocol });
    this.channel.binaryType = "arraybuffer";
    this.channel.bufferedAmountLowThreshold = LOW;
    this.chunk = Math.min(65536, pc.sctp?.maxMessageSize || 16384);
    this.channel.addEventListener("message", ({ data }) => {
      this.#queue.push(data);
      this.#wake();
    });
    for (const name of ["open", "close", "bufferedamountlow"]) {
      this.channel.addEventListener(name, () => this.#wake());
    }
    this.channel.addEventListener("close", () => { this.#ended = true; this.#wake(); });
    pc.addEventListener("connectionstatechange", () => {
      if (["failed", "closed"].includes(pc.connectionState)) { this.#ended = true; this.#wake(); }
    });
  }

  async #until(condition) {
    while (!condition()) {
      if (this.#ended || ["closing", "closed"].includes(this.channel.readyState)) {
        throw new Error("The channel was closed.");
      }
      await new Promise((resolve) => { this.#wake = resolve; });
    }
  }

  get hasAnswer() { return this.#queue.length > 0; }

  async send(message) {
    await this.#until(() => this.channel.readyState === "open" && this.channel.bufferedAmount <= FULL);
    this.channel.send(message);
  }

  async receive() {
    await this.#until(() => this.#queue.length);
    return this.#queue.shift();
  }

  /** A JSON object; one that says why not is thrown. */
  async receiveObject() {
    const message = await this.receive();
    if (typeof message !== "string") throw new Error("The server sent bytes where text was due.");
    const value = JSON.parse(message);
    if (value.ok === false || value.error) throw new Error(value.error ?? "refused");
    return value;
  }

  close() { this.channel.close(); }
}

async function exchange(pc, label, protocol, work) {
  const one = new Exchange(pc, label, protocol);
  try {
    return await work(one);
  } finally {
    one.close();
  }
}

function compare(ours, theirs) {
  if (ours !== theirs) throw new Error(`The checksums differ: ${ours} here, ${theirs} there.`);
  return ours;
}

/** Send a file; `progress(bytes)` is called again and again. Gives the checksum. */
export function upload(pc, file, progress) {
  return exchange(pc, file.name, "file", async (one) => {
    const digest = new Sha256();
    await one.send(JSON.stringify({ name: file.name, size: file.size }));
    for (let at = 0; at < file.size && !one.hasAnswer; at += READ) {
      const piece = new Uint8Array(await file.slice(at, at + READ).arrayBuffer());
      digest.update(piece);
      for (let start = 0; start < piece.length && !one.hasAnswer; start += one.chunk) {
        await one.send(piece.subarray(start, start + one.chunk));
        progress(Math.min(file.size, at + start + one.chunk) - one.channel.bufferedAmount);
      }
    }
    const answer = await one.receiveObject();
    progress(file.size);
    return compare(digest.hex(), answer.sha256);
  });
}

/** Fetch a file; gives it as a Blob, and its checksum. */
export function download(pc, name, progress) {
  return exchange(pc, name, "file", async (one) => {
    await one.send(JSON.stringify({ get: name }));
    const { size } = await one.receiveObject();
    const digest = new Sha256();
    const parts = [];
    for (let done = 0; done < size;) {
      const part = await one.receive();
      if (typeof part === "string") throw new Error(JSON.parse(part).error ?? "cut short");
      digest.update(part);
      parts.push(part);
      progress((done += part.byteLength), size);
    }
    const { sha256 } = await one.receiveObject();
    return { blob: new Blob(parts), sha256: compare(digest.hex(), sha256) };
  });
}

/** The files that the server has. */
export function list(pc) {
  return exchange(pc, "list", "file", async (one) => {
    await one.send(JSON.stringify({ list: true }));
    return (await one.receiveObject()).files;
  });
}

/** Send so many made-up bytes to a sink. */
export function measureUp(pc, total, progress) {
  return exchange(pc, "measure", "sink", async (one) => {
    const digest = new Sha256();
    const piece = new Uint8Array(one.chunk).map((_, i) => (i * 31 + (i >> 8)) & 255);
    for (let done = 0; done < total;) {
      piece[0] = (piece[0] + 1) & 255;
      const part = piece.subarray(0, Math.min(piece.length, total - done));
      digest.update(part);
      await one.send(part);
      progress((done += part.length) - one.channel.bufferedAmount);
    }
    await one.send("report");
    const report = await one.receiveObject();
    progress(total);
    return compare(digest.hex(), report.sha256);
  });
}

/** Receive so many made-up bytes from a source. */
export function measureDown(pc, total, progress) {
  return exchange(pc, "measure", "source", async (one) => {
    const digest = new Sha256();
    await one.send(JSON.stringify({ bytes: total, size: 16384 }));
    for (let done = 0; done < total;) {
      const part = await one.receive();
      if (typeof part === "string") throw new Error(JSON.parse(part).error ?? "cut short");
      digest.update(part);
      progress((done += part.byteLength));
    }
    return compare(digest.hex(), (await one.receiveObject()).sha256);
  });
}
