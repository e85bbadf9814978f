// Peer connections for tests, in a page: the vocabulary of webrtc.py, as functions of `rtcPeer`.
// Every function takes one object of parameters and gives what JSON can express.

"use strict";

var rtcPeer = (() => {
  const connections = new Map();
  const started = performance.now();

  const milliseconds = () => Math.round(performance.now() - started);

  // -------------------------------------------------------------------------------- waiting

  // Conditions that somebody waits for; looked at again whenever something has happened.
  const waiting = new Set();

  function until(condition) {
    return new Promise((resolve, reject) => {
      const look = () => {
        try {
          if (condition()) resolve();
          else return;
        } catch (error) {
          reject(error);
        }
        waiting.delete(look);
      };
      waiting.add(look);
      look();
    });
  }

  function happened() {
    for (const look of [...waiting]) look();
  }

  // -------------------------------------------------------------------------------- payload

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
    const data = new Uint8Array(size);
    for (let start = 0; start < size; start += period)
      data.set(start + period <= size ? block : block.subarray(0, size - start), start);
    return data;
  }

  // As text: one character of ASCII for each byte.
  function patternText(seed, size) {
    return new TextDecoder().decode(pattern(seed, size).map((byte) => 48 + (byte & 63)));
  }

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

  async function sha256(bytes) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // -------------------------------------------------------------------------------- connections

  class Connection {
    constructor({ ice_servers = [], relay_only = false, certificate = null }) {
      this.channels = new Map();
      this.incoming = [];
      this.candidates = [];
      this.taken = 0;
      this.gathered = false;
      this.states = [];
      this.errors = [];
      this.counters = { bytes: 0 };
      const pc = new RTCPeerConnection({
        iceServers: ice_servers,
        iceTransportPolicy: relay_only ? "relay" : "all",
        ...(certificate ? { certificates: [certificate] } : {}),
      });
      this.pc = pc;
      pc.onconnectionstatechange = () => this.log("connection", pc.connectionState);
      pc.oniceconnectionstatechange = () => this.log("ice", pc.iceConnectionState);
      pc.onicegatheringstatechange = () => this.log("gathering", pc.iceGatheringState);
      pc.onsignalingstatechange = () => this.log("signaling", pc.signalingState);
      pc.onnegotiationneeded = () => this.log("negotiation", "needed");
      pc.onicecandidateerror = ({ url, errorCode, errorText }) =>
        this.errors.push({ url, code: errorCode, text: errorText });
      pc.onicecandidate = ({ candidate }) => {
        if (candidate && candidate.candidate) this.candidates.push(candidate.toJSON());
        this.gathered = !candidate;
        happened();
      };
      pc.ondatachannel = ({ channel }) => {
        const key = `incoming-${this.incoming.length}`;
        this.incoming.push(key);
        this.add(key, channel);
      };
    }

    log(kind, state) {
      this.states.push([milliseconds(), kind, state]);
      happened();
    }

    state(kind) {
      const pc = this.pc;
      if (kind === "connection") return pc.connectionState;
      if (kind === "ice") return pc.iceConnectionState;
      if (kind === "gathering") return pc.iceGatheringState;
      if (kind === "signaling") return pc.signalingState;
      throw new Error(`no state is called ${kind}`);
    }

    add(key, channel) {
      const added = new Channel(key, channel);
      this.channels.set(key, added);
      happened();
      return added;
    }

    channel(key) {
      const found = this.channels.get(key);
      if (!found) throw new Error(`no channel ${key}, but ${[...this.channels.keys()]}`);
      return found;
    }
  }

  class Channel {
    constructor(key, channel) {
      Object.assign(this, { key, channel, messages: [], bulk: null, errors: [] });
      Object.assign(this, { opens: 0, closings: 0, closes: 0 });
      channel.binaryType = "arraybuffer";
      channel.onopen = () => this.count("opens");
      channel.onclosing = () => this.count("closings");
      channel.onclose = () => this.count("closes");
      channel.onerror = ({ error }) => {
        this.errors.push(`${error.errorDetail}: ${error.message}`);
        happened();
      };
      channel.onmessage = ({ data }) => {
        if (this.bulk) this.bulk.take(data);
        else this.record(data);
        happened();
      };
    }

    count(what) {
      this[what]++;
      happened();
    }

    record(data) {
      const isText = typeof data === "string";
      const bytes = isText ? new TextEncoder().encode(data) : new Uint8Array(data);
      const message = { kind: isText ? "text" : "binary", size: bytes.length };
      if (isText && data.length <= 1000) message.text = data;
      message.digest = sha256(bytes);
      this.messages.push(message);
    }

    describe() {
      const channel = this.channel;
      return {
        channel: this.key,
        id: channel.id,
        label: channel.label,
        protocol: channel.protocol,
        ordered: channel.ordered,
        max_retransmits: channel.maxRetransmits,
        max_packet_lifetime: channel.maxPacketLifeTime,
        negotiated: channel.negotiated,
        state: channel.readyState,
        buffered: channel.bufferedAmount,
        received: this.messages.length,
        opens: this.opens,
        closings: this.closings,
        closes: this.closes,
        errors: this.errors,
      };
    }

    // Resolves when less than the threshold waits to be sent, or never will be.
    drained(threshold) {
      const channel = this.channel;
      if (channel.bufferedAmount <= threshold || channel.readyState !== "open") return null;
      channel.bufferedAmountLowThreshold = threshold;
      return new Promise((resolve) => {
        channel.addEventListener("bufferedamountlow", resolve, { once: true });
        channel.addEventListener("close", resolve, { once: true });
      });
    }
  }

  // What arrives of a bulk transfer; see bulk_send.
  class Bulk {
    constructor() {
      Object.assign(this, { messages: 0, bytes: 0, checksum: 0, out_of_order: 0 });
      this.began = null;
    }

    take(data) {
      this.began ??= performance.now();
      const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
      const index = bytes.length >= 4 ? new DataView(bytes.buffer).getUint32(0) : -1;
      if (index !== this.messages) this.out_of_order++;
      this.messages++;
      this.bytes += bytes.length;
      this.checksum = (this.checksum + adler32(bytes)) >>> 0;
      this.seconds = (performance.now() - this.began) / 1000;
    }
  }

  const get = (name) => {
    const found = connections.get(name);
    if (!found) throw new Error(`no connection ${name}, but ${[...connections.keys()]}`);
    return found;
  };

  const userFragment = (description) => /^a=ice-ufrag:(.*)$/m.exec(description?.sdp)?.[1];

  async function describeLocally({ pc, gather = false }, description) {
    const connection = get(pc);
    // Candidates are gathered anew with new credentials only.
    if (userFragment(description) !== userFragment(connection.pc.localDescription))
      connection.gathered = false;
    await connection.pc.setLocalDescription(description);
    if (gather) await until(() => connection.gathered);
    return connection.pc.localDescription.toJSON();
  }

  // -------------------------------------------------------------------------------- vocabulary

  return {
    async open({ pc, certificate_algorithm = null, ...options }) {
      if (connections.has(pc)) throw new Error(`there is a connection ${pc} already`);
      let certificate = null;
      if (certificate_algorithm === "ecdsa")
        certificate = { name: "ECDSA", namedCurve: "P-256" };
      else if (certificate_algorithm === "rsa")
        certificate = {
          name: "RSASSA-PKCS1-v1_5",
          modulusLength: 2048,
          publicExponent: new Uint8Array([1, 0, 1]),
          hash: "SHA-256",
        };
      if (certificate) certificate = await RTCPeerConnection.generateCertificate(certificate);
      connections.set(pc, new Connection({ ...options, certificate }));
    },

    create_channel({ pc, channel, label = channel, ...options }) {
      const init = {};
      for (const [ours, theirs] of [
        ["ordered", "ordered"],
        ["max_retransmits", "maxRetransmits"],
        ["max_packet_lifetime", "maxPacketLifeTime"],
        ["protocol", "protocol"],
        ["negotiated", "negotiated"],
        ["id", "id"],
      ])
        if (options[ours] !== undefined && options[ours] !== null) init[theirs] = options[ours];
      const connection = get(pc);
      if (connection.channels.has(channel)) throw new Error(`there is a channel ${channel} already`);
      return connection.add(channel, connection.pc.createDataChannel(label, init)).describe();
    },

    async offer({ ice_restart = false, ...params }) {
      const offer = await get(params.pc).pc.createOffer({ iceRestart: ice_restart });
      return describeLocally(params, offer);
    },

    async answer(params) {
      return describeLocally(params, await get(params.pc).pc.createAnswer());
    },

    async accept({ pc, description }) {
      await get(pc).pc.setRemoteDescription(description);
    },

    async rollback({ pc }) {
      await get(pc).pc.setLocalDescription({ type: "rollback" });
    },

    restart_ice({ pc }) {
      get(pc).pc.restartIce();
    },

    descriptions({ pc }) {
      const { localDescription, remoteDescription } = get(pc).pc;
      return {
        local: localDescription?.toJSON() ?? null,
        remote: remoteDescription?.toJSON() ?? null,
      };
    },

    async next_candidates({ pc }) {
      const connection = get(pc);
      await until(() => connection.gathered || connection.taken < connection.candidates.length);
      const candidates = connection.candidates.slice(connection.taken);
      connection.taken = connection.candidates.length;
      return { candidates, complete: connection.gathered };
    },

    async add_candidate({ pc, candidate }) {
      await get(pc).pc.addIceCandidate(candidate ?? undefined);
    },

    candidate_errors({ pc }) {
      return get(pc).errors;
    },

    async wait_state({ pc, kind, states }) {
      const connection = get(pc);
      await until(() => states.includes(connection.state(kind)));
      return connection.state(kind);
    },

    states({ pc }) {
      return get(pc).states;
    },

    async incoming({ pc, count }) {
      const connection = get(pc);
      await until(() => connection.incoming.length >= count);
      return connection.incoming.map((key) => connection.channel(key).describe());
    },

    channel({ pc, channel }) {
      return get(pc).channel(channel).describe();
    },

    async wait_channel({ pc, channel, states }) {
      const found = get(pc).channel(channel);
      // An event says that a state was reached; readyState may show it a little earlier.
      const counted = { open: "opens", closing: "closings", closed: "closes" };
      await until(() => {
        const state = found.channel.readyState;
        return states.includes(state) && (!counted[state] || found[counted[state]] > 0);
      });
      return found.describe();
    },

    send_text({ pc, channel, text }) {
      get(pc).channel(channel).channel.send(text);
    },

    send_binary({ pc, channel, base64 }) {
      get(pc).channel(channel).channel.send(fromBase64(base64));
    },

    async send_pattern({ pc, channel, size, seed, count = 1, text = false }) {
      const found = get(pc).channel(channel);
      for (let index = 0; index < count; index++) {
        found.channel.send((text ? patternText : pattern)(seed + index, size));
        await found.drained(4 << 20);
      }
    },

    async drained({ pc, channel, threshold = 0 }) {
      await get(pc).channel(channel).drained(threshold);
    },

    async received({ pc, channel, count, start = 0 }) {
      const found = get(pc).channel(channel);
      await until(() => found.messages.length >= count);
      return Promise.all(
        found.messages
          .slice(start)
          .map(async ({ digest, ...message }) => ({ ...message, sha256: await digest })),
      );
    },

    bulk_receive({ pc, channel }) {
      get(pc).channel(channel).bulk = new Bulk();
    },

    async bulk_send({ pc, channel, total, size, seed, high_water = 1 << 20 }) {
      const found = get(pc).channel(channel);
      const template = pattern(seed, size);
      const began = performance.now();
      const sent = { messages: 0, bytes: 0, checksum: 0 };
      while (sent.bytes < total) {
        const message = template.subarray(0, Math.max(4, Math.min(size, total - sent.bytes)));
        new DataView(message.buffer).setUint32(0, sent.messages);
        found.channel.send(message);
        sent.messages++;
        sent.bytes += message.length;
        sent.checksum = (sent.checksum + adler32(message)) >>> 0;
        if (found.channel.bufferedAmount > high_water) await found.drained(high_water >> 1);
      }
      await found.drained(0);
      return { ...sent, seconds: (performance.now() - began) / 1000 };
    },

    async bulk_result({ pc, channel, bytes }) {
      const found = get(pc).channel(channel);
      await until(() => found.bulk.bytes >= bytes);
      const { began, ...result } = found.bulk;
      found.bulk = null;
      return result;
    },

    bulk_progress({ pc, channel }) {
      const { began, ...result } = get(pc).channel(channel).bulk;
      return result;
    },

    close_channel({ pc, channel }) {
      get(pc).channel(channel).channel.close();
    },

    close({ pc }) {
      get(pc).pc.close();
    },

    async stats({ pc }) {
      const report = await get(pc).pc.getStats();
      const all = [...report.values()];
      const connection = all.find((entry) => entry.type === "peer-connection") ?? {};
      const transport = all.find((entry) => entry.type === "transport") ?? {};
      const pair = report.get(transport.selectedCandidatePairId) ?? {};
      const end = (id) => {
        const candidate = report.get(id);
        if (!candidate) return null;
        const { candidateType, address, port, protocol, relayProtocol = null } = candidate;
        return { type: candidateType, address, port, protocol, relay_protocol: relayProtocol };
      };
      return {
        channels_opened: connection.dataChannelsOpened ?? null,
        channels_closed: connection.dataChannelsClosed ?? null,
        bytes_sent: transport.bytesSent ?? null,
        bytes_received: transport.bytesReceived ?? null,
        dtls_state: transport.dtlsState ?? null,
        dtls_role: transport.dtlsRole ?? null,
        dtls_cipher: transport.dtlsCipher ?? null,
        tls_version: transport.tlsVersion ?? null,
        ice_role: transport.iceRole ?? null,
        local: end(pair.localCandidateId),
        remote: end(pair.remoteCandidateId),
        round_trip_time: pair.currentRoundTripTime ?? null,
        max_message_size: get(pc).pc.sctp?.maxMessageSize ?? null,
      };
    },
  };
})();
