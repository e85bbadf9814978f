// A peer on libdatachannel 0.24, by its binding node-datachannel: see node_peer.mjs.
//
// What it does not do, as found by running it:
//
// - Of a channel that the other end opened it tells label, protocol and id, not the type: null.
// - A channel that is closed here is closed at once, also before its stream has been reset; then
//   nothing can be asked about it, and what is described was read before. No state "closing".
// - No ICE restart: asking for one is an error here.
// - It takes no end of candidates; `add_candidate` with null does nothing.
// - It gives no answer to `rollback`, `restart_ice` and `candidate_errors`.

import { Channel, Connection, happened, load, serve } from "./node_peer.mjs";

const { PeerConnection, initLogger } = load("node-datachannel");

if (process.env.RTCSCTP_INTEROP_LOG)
  initLogger(process.env.RTCSCTP_INTEROP_LOG, (level, text) => console.error(level, text));

class LibdatachannelChannel extends Channel {
  constructor(key, channel, options = {}) {
    super(key);
    Object.assign(this, { channel, options, known: {}, ended: false });
    this.look();
    channel.onOpen(() => {
      this.look();
      this.count("opens");
    });
    channel.onClosed(() => {
      this.ended = true;
      this.count("closes");
    });
    channel.onError((error) => this.fail(error));
    channel.onBufferedAmountLow(happened);
    channel.onMessage((message) => this.take(message));
  }

  look() {
    const { channel } = this;
    const id = channel.getId();
    this.known = {
      id: id < 0 ? null : id,
      label: channel.getLabel(),
      protocol: channel.getProtocol(),
    };
  }

  get state() {
    if (this.ended) return "closed";
    return this.channel.isOpen() ? "open" : this.closed ? "closing" : "connecting";
  }

  get buffered() {
    return this.channel.bufferedAmount();
  }

  describeItself() {
    const { ordered = null, max_retransmits = null, max_packet_lifetime = null } = this.options;
    const { negotiated = false } = this.options;
    return { ...this.known, ordered, max_retransmits, max_packet_lifetime, negotiated };
  }

  send(message) {
    if (typeof message === "string") this.channel.sendMessage(message);
    else this.channel.sendMessageBinary(message);
  }

  close() {
    this.closed = true;
    this.channel.close();
  }

  setThreshold(threshold) {
    this.channel.setBufferedAmountLowThreshold(threshold);
  }
}

class LibdatachannelConnection extends Connection {
  constructor({ ice_servers = [], relay_only = false }) {
    super();
    const iceServers = ice_servers.flatMap(({ urls, username, credential }) =>
      [urls].flat().map((url) => {
        if (!url.startsWith("turn")) return url;
        const [, kind, hostname, port] = /^(turns?):([^:?]*):(\d+)/.exec(url);
        const overTcp = url.endsWith("transport=tcp") ? "TurnTcp" : "TurnUdp";
        const relayType = kind === "turns" ? "TurnTls" : overTcp;
        return { hostname, port: Number(port), username, password: credential, relayType };
      }),
    );
    const pc = new PeerConnection("peer", {
      iceServers,
      iceTransportPolicy: relay_only ? "relay" : "all",
      disableAutoNegotiation: true,
    });
    this.pc = pc;
    pc.onStateChange((state) => this.log("connection", state));
    pc.onIceStateChange((state) => this.log("ice", state));
    pc.onSignalingStateChange((state) => this.log("signaling", state));
    pc.onGatheringStateChange((state) => {
      this.log("gathering", state);
      if (state === "complete") this.gather(null);
    });
    pc.onLocalCandidate((candidate, mid) =>
      this.gather({ candidate: candidate.replace(/^a=/, ""), sdpMid: mid, sdpMLineIndex: 0 }),
    );
    pc.onDataChannel((channel) =>
      this.appeared((key) => new LibdatachannelChannel(key, channel)),
    );
  }

  state(kind) {
    if (kind === "connection") return this.pc.state();
    if (kind === "ice") return this.pc.iceState();
    if (kind === "gathering") return this.pc.gatheringState();
    if (kind === "signaling") return this.pc.signalingState();
    throw new Error(`no state is called ${kind}`);
  }

  createChannel(key, label, options) {
    const init = {};
    for (const [ours, theirs] of [
      ["max_retransmits", "maxRetransmits"],
      ["max_packet_lifetime", "maxPacketLifeTime"],
      ["protocol", "protocol"],
      ["negotiated", "negotiated"],
      ["id", "id"],
    ])
      if (options[ours] !== undefined && options[ours] !== null) init[theirs] = options[ours];
    if (options.ordered === false) init.unordered = true;
    const channel = this.pc.createDataChannel(label, init);
    return new LibdatachannelChannel(key, channel, { ordered: true, ...options });
  }

  async describe(type, gather) {
    this.pc.setLocalDescription(type);
    if (gather) await this.untilGathered();
    return this.pc.localDescription();
  }

  offer({ ice_restart = false, gather = false }) {
    if (ice_restart) throw new Error("libdatachannel cannot restart ICE");
    return this.describe("offer", gather);
  }

  answer({ gather = false }) {
    return this.describe("answer", gather);
  }

  accept({ type, sdp }) {
    this.pc.setRemoteDescription(sdp, type);
  }

  addCandidate(candidate) {
    if (candidate?.candidate)
      this.pc.addRemoteCandidate(candidate.candidate, candidate.sdpMid ?? "0");
  }

  descriptions() {
    return { local: this.pc.localDescription(), remote: this.pc.remoteDescription() };
  }

  stats() {
    const pair = this.pc.getSelectedCandidatePair();
    const side = (found) => found && { type: found.type, address: found.address };
    return {
      bytes_sent: this.pc.bytesSent(),
      bytes_received: this.pc.bytesReceived(),
      max_message_size: this.pc.maxMessageSize(),
      round_trip_time: this.pc.rtt() / 1000,
      local: pair && side(pair.local),
      remote: pair && side(pair.remote),
    };
  }

  close() {
    this.pc.close();
  }
}

await serve("libdatachannel", (options) => new LibdatachannelConnection(options));
