// A peer connection with the server, and its signalling over HTTP in the shape of WHIP (RFC 9725).

const SDP = "application/sdp";
const FRAGMENT = "application/trickle-ice-sdpfrag";
const MEDIA_LINE = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";

export class Session extends EventTarget {
  #endpoint;
  #token;
  #location = null;
  #etag = null;
  #waiting = []; // candidates that the server has not been told
  #ready = false; // the server can be told
  #turn = Promise.resolve(); // requests about the session go one after another

  /**
   * Events: "state" whenever a state may have changed, "problem" with a message as `detail`.
   */
  constructor({ endpoint, token }) {
    super();
    this.#endpoint = endpoint;
    this.#token = token;
    this.pc = null;
  }

  /** Exchange offer and answer. Channels that `prepare(pc)` makes are part of it. */
  async connect({ serverOffers, prepare }) {
    const iceServers = await this.#iceServers();
    const pc = (this.pc = new RTCPeerConnection({ iceServers }));
    for (const name of ["connectionstatechange", "iceconnectionstatechange", "signalingstatechange"]) {
      pc.addEventListener(name, () => this.dispatchEvent(new Event("state")));
    }
    pc.addEventListener("icecandidate", ({ candidate }) => {
      this.#waiting.push(candidate?.candidate ? candidate : null);
      this.#tell();
    });
    prepare(pc);
    await (serverOffers ? this.#answer(pc) : this.#offer(pc));
    this.#ready = true;
    this.#tell();
  }

  async #offer(pc) {
    await pc.setLocalDescription();
    const response = await this.#fetch(this.#endpoint, "POST", pc.localDescription.sdp, SDP);
    await this.#begun(response);
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  }

  async #answer(pc) {
    const response = await this.#fetch(this.#endpoint, "POST");
    await this.#begun(response);
    if (response.headers.get("SDP-Type") !== "offer") throw new Error("The server makes no offers.");
    await pc.setRemoteDescription({ type: "offer", sdp: await response.text() });
    await pc.setLocalDescription();
    const taken = await this.#fetch(this.#location, "PATCH", pc.localDescription.sdp, SDP);
    if (!taken.ok) throw await refusal(taken);
  }

  async #begun(response) {
    if (response.status !== 201) throw await refusal(response);
    this.#location = new URL(response.headers.get("Location"), response.url).href;
    this.#etag = response.headers.get("ETag");
  }

  /** Look for a new path (RFC 9725 4.3.3); what is being sent goes on. */
  restart() {
    return this.#inTurn(async () => {
      const pc = this.pc;
      const before = pc.currentRemoteDescription.sdp;
      const role = /^a=setup:active/m.test(pc.currentLocalDescription.sdp) ? "passive" : "active";
      this.#ready = false;
      this.#waiting = [];
      try {
        await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
        const local = pc.localDescription.sdp;
        const body = fragment(local, (local.match(/^a=candidate:.*$/gm) ?? []).map((line) => line.trim()));
        const response = await this.#fetch(this.#location, "PATCH", body, FRAGMENT, "*");
        if (response.status !== 200) throw await refusal(response);
        const sdp = restarted(before, await response.text(), role);
        this.#etag = response.headers.get("ETag");
        await pc.setRemoteDescription({ type: "answer", sdp });
      } catch (error) {
        if (pc.signalingState === "have-local-offer") await pc.setLocalDescription({ type: "rollback" });
        throw error;
      } finally {
        this.#ready = true;
        this.#tell();
      }
    });
  }

  /** Close the connection, and tell the server, also while the page is being left. */
  close() {
    this.#ready = false;
    const told = this.#location === null ? Promise.resolve() : this.#fetch(this.#location, "DELETE");
    this.#location = null;
    told.catch(() => {}).finally(() => this.pc?.close());
  }

  /** Tell the server which candidates there are, several at once where that is possible. */
  #tell() {
    if (!this.#ready || !this.#waiting.length) return;
    this.#inTurn(async () => {
      if (!this.#ready || !this.#waiting.length) return;
      const lines = this.#waiting.splice(0).map((candidate) =>
        candidate === null ? "a=end-of-candidates" : `a=${candidate.candidate}`);
      const body = fragment(this.pc.localDescription.sdp, lines);
      const response = await this.#fetch(this.#location, "PATCH", body, FRAGMENT, this.#etag);
      // 404: the connection was there, and ended, before this came. 409, 412: ICE was restarted.
      if (!response.ok && ![404, 409, 412].includes(response.status)) throw await refusal(response);
    }).catch((error) => this.dispatchEvent(new CustomEvent("problem", { detail: error.message })));
  }

  #inTurn(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #iceServers() {
    const response = await this.#fetch(this.#endpoint, "OPTIONS");
    if (!response.ok) throw await refusal(response);
    return iceServers(response.headers.get("Link") ?? "");
  }

  async #fetch(url, method, body, type, etag) {
    const headers = {};
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    if (type) headers["Content-Type"] = type;
    if (etag) headers["If-Match"] = etag;
    try {
      return await fetch(url, { method, body, headers, keepalive: method === "DELETE" });
    } catch {
      throw new Error("The server cannot be reached.");
    }
  }
}

async function refusal(response) {
  const text = (await response.text().catch(() => "")).trim();
  return new Error(`The server answers ${response.status}${text ? `: ${text}` : ""}`);
}

/** A fragment (RFC 8840 9) with lines about candidates. */
function fragment(local, lines) {
  const credentials = ["ice-ufrag", "ice-pwd"].map((name) => attribute(local, name));
  const mid = attribute(local, "mid");
  return [...credentials, MEDIA_LINE, mid, ...lines, ""].filter((line, i, all) => line || i === all.length - 1).join("\r\n");
}

function attribute(sdp, name) {
  return sdp.match(new RegExp(`^a=${name}:.*$`, "m"))?.[0].trim() ?? "";
}

/** The answer by which the server would have restarted ICE, made of its last description. */
function restarted(before, text, role) {
  const lines = before.split(/\r?\n/).filter((line) =>
    line && !/^a=(candidate:|end-of-candidates|ice-ufrag:|ice-pwd:|setup:)/.test(line));
  const fresh = text.split(/\r?\n/).filter((line) =>
    /^a=(candidate:|end-of-candidates|ice-ufrag:|ice-pwd:)/.test(line));
  return [...lines, `a=setup:${role}`, ...fresh, ""].join("\r\n");
}

/** The servers that Link headers recommend (RFC 9725 4.6). */
function iceServers(header) {
  const servers = [];
  for (const [, url, rest] of header.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+="(?:[^"\\]|\\.)*")*)/g)) {
    const values = {};
    for (const [, name, value] of rest.matchAll(/([\w-]+)="((?:[^"\\]|\\.)*)"/g)) {
      values[name] = value.replace(/\\(.)/g, "$1");
    }
    if (values.rel !== "ice-server") continue;
    const server = { urls: url };
    if (values.username) Object.assign(server, { username: values.username, credential: values.credential });
    servers.push(server);
  }
  return servers;
}
