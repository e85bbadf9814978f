// A peer on werift 0.24: see node_peer.mjs.
//
// What it does not do, as found by running it:
//
// - It gathers before it gives a description, so all candidates are in there.
// - It announces labels and protocols with their lengths in UTF-16 units, so those that are not
//   ASCII arrive cut off, and unordered channels with a limit as ordered ones.
// - For an empty message it sends nothing, yet counts it: on an ordered channel, the other end then
//   waits for it for ever, and delivers nothing more.
// - Closing a connection closes its sockets, then tries to abort the association: the other end is
//   told nothing, and finds out by silence.
// - It gives no answer to `rollback`, `restart_ice` and `candidate_errors`.

import { Channel, Connection, happened, load, serve } from "./node_peer.mjs";

const { RTCPeerConnection } = load("werift");

class WeriftChannel extends Channel {
  constructor(key, channel) {
    super(key);
    this.channel = channel;
    // A negotiated channel may be open as soon as it is made.
    this.opens = Number(channel.readyState === "open");
    channel.stateChange.subscribe((state) => {
      const counted = { open: "opens", closing: "closings", closed: "closes" };
      if (counted[state]) this.count(counted[state]);
    });
    channel.error.subscribe((error) => this.fail(error));
    channel.bufferedAmountLow.subscribe(happened);
    channel.onMessage.subscribe((message) => this.take(message));
  }

  get state() {
    return this.channel.readyState;
  }

  get buffered() {
    return this.channel.bufferedAmount;
  }

  describeItself() {
    const { channel } = this;
    return {
      id: channel.id ?? null,
      label: channel.label,
      protocol: channel.protocol,
      ordered: channel.ordered,
      max_retransmits: channel.maxRetransmits,
      max_packet_lifetime: channel.maxPacketLifeTime,
      negotiated: channel.negotiated,
    };
  }

  send(message) {
    this.channel.send(message);
  }

  close() {
    this.channel.close();
  }

  setThreshold(threshold) {
    this.channel.bufferedAmountLowThreshold = threshold;
  }
}

class WeriftConnection extends Connection {
  constructor({ ice_servers = [], relay_only = false }) {
    super();
    const pc = new RTCPeerConnection({
      iceServers: ice_servers,
      iceTransportPolicy: relay_only ? "relay" : "all",
    });
    this.pc = pc;
    this.asksStun = ice_servers
      .flatMap(({ urls }) => urls)
      .some((url) => url.startsWith("stun"));
    pc.connectionStateChange.subscribe((state) => this.log("connection", state));
    pc.iceConnectionStateChange.subscribe((state) => this.log("ice", state));
    pc.signalingStateChange.subscribe((state) => this.log("signaling", state));
    pc.iceGatheringStateChange.subscribe((state) => {
      this.log("gathering", state);
      if (state === "complete") this.gather(null);
    });
    pc.onIceCandidate.subscribe((candidate) => {
      if (candidate?.candidate) this.gather(candidate.toJSON?.() ?? { ...candidate });
    });
    pc.onDataChannel.subscribe((channel) =>
      this.appeared((key) => new WeriftChannel(key, channel)),
    );
  }

  state(kind) {
    if (kind === "connection") return this.pc.connectionState;
    if (kind === "ice") return this.pc.iceConnectionState;
    if (kind === "gathering") return this.pc.iceGatheringState;
    if (kind === "signaling") return this.pc.signalingState;
    throw new Error(`no state is called ${kind}`);
  }

  createChannel(key, label, options) {
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
    return new WeriftChannel(key, this.pc.createDataChannel(label, init));
  }

  async describe(description, gather) {
    // Without a STUN server it asks one of Google's, and waits for an answer for five seconds.
    if (!this.asksStun)
      for (const { connection } of this.pc.iceTransports) connection.stunServer = null;
    await this.pc.setLocalDescription(description);
    if (gather) await this.untilGathered();
    return this.descriptions().local;
  }

  async offer({ ice_restart = false, gather = false }) {
    return this.describe(await this.pc.createOffer({ iceRestart: ice_restart }), gather);
  }

  async answer({ gather = false }) {
    return this.describe(await this.pc.createAnswer(), gather);
  }

  async accept(description) {
    await this.pc.setRemoteDescription(description);
  }

  async addCandidate(candidate) {
    await this.pc.addIceCandidate(candidate);
  }

  descriptions() {
    const plain = (found) => found && { type: found.type, sdp: found.sdp };
    return { local: plain(this.pc.localDescription), remote: plain(this.pc.remoteDescription) };
  }

  stats() {
    return { max_message_size: this.pc.sctp?.maxMessageSize ?? null };
  }

  async close() {
    await this.pc.close();
  }
}

await serve("werift", (options) => new WeriftConnection(options));
