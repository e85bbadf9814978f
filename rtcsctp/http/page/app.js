// The page: what is clicked, and what is shown.

import { Session } from "./session.js";
import { download, list, measureDown, measureUp, upload } from "./transfers.js";

const $ = (selector) => document.querySelector(selector);
const MAX_LINES = 1000;
const KINDS = {
  "reliable": {},
  "reliable-unordered": { ordered: false },
  "retransmits": { limit: "maxRetransmits" },
  "retransmits-unordered": { limit: "maxRetransmits", ordered: false },
  "lifetime": { limit: "maxPacketLifeTime" },
  "lifetime-unordered": { limit: "maxPacketLifeTime", ordered: false },
};
const HINTS = { maxRetransmits: "(times)", maxPacketLifeTime: "(milliseconds)" };

let session = null;
let chosen = null; // the channel that messages are sent on
let connected = false;

// ------------------------------------------------------------------------------------- connection

$("#connection").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  problem("");
  $("#connect").disabled = true;
  const mine = (session = new Session({
    endpoint: new URL(".", location.href).href,
    token: form.token.value.trim(),
  }));
  mine.addEventListener("state", () => mine === session && showState());
  mine.addEventListener("problem", ({ detail }) => problem(detail));
  badge("connecting", "connecting");
  try {
    await mine.connect({
      serverOffers: form.offerer.value === "server",
      prepare: (pc) => openChannel(pc, "chat", { protocol: "chat" }),
    });
    $("#disconnect").disabled = false;
  } catch (error) {
    if (mine !== session) return;
    problem(error.message);
    disconnect();
    badge("failed", "failed");
  }
});

$("#disconnect").addEventListener("click", disconnect);
$("#restart").addEventListener("click", async () => {
  try {
    await session.restart();
    note("ICE was restarted");
  } catch (error) {
    problem(error.message);
  }
});
addEventListener("pagehide", () => session?.close());
addEventListener("beforeunload", () => session?.close());

function disconnect() {
  session?.close();
  session = null;
  showState();
}

function showState() {
  const pc = session?.pc;
  const state = pc?.connectionState ?? "new";
  const was = connected;
  connected = state === "connected" || (was && state === "disconnected");
  badge(state, state === "new" ? "not connected" : state);
  $("#connect").disabled = pc !== undefined && pc !== null && !["failed", "closed"].includes(state);
  $("#disconnect").disabled = !session;
  for (const element of document.querySelectorAll(
    "#restart, #opener button, #sender button, #sender [name=text], #files, #refresh, #measure button",
  )) element.disabled = !connected;
  if (connected && !was) { note("connected"); showFiles(); }
  if (!connected && was) note(`the connection is ${state === "new" ? "closed" : state}`);
  if (state === "failed") { problem("There is no path to the server, or none any more."); session?.close(); }
}

function badge(state, text) {
  $("#state").dataset.state = state;
  $("#state").textContent = text;
}

function problem(text) {
  $("#problem").textContent = text;
  $("#problem").hidden = !text;
}

// --------------------------------------------------------------------------------------- channels

$("#opener").kind.addEventListener("change", ({ target }) => {
  const { limit } = KINDS[target.value];
  $("#opener").limit.disabled = !limit;
  $("#limit-hint").textContent = HINTS[limit] ?? "(none)";
});

$("#opener").addEventListener("submit", (event) => {
  event.preventDefault();
  const { label, protocol, kind, limit } = event.target;
  const options = { protocol: protocol.value, ordered: KINDS[kind.value].ordered ?? true };
  if (KINDS[kind.value].limit) options[KINDS[kind.value].limit] = Number(limit.value);
  try {
    openChannel(session.pc, label.value, options);
  } catch (error) {
    problem(error.message);
  }
});

function openChannel(pc, label, options) {
  const channel = pc.createDataChannel(label, options);
  channel.binaryType = "arraybuffer";
  const item = document.createElement("li");
  const choose = button(`${label} (${options.protocol})`, () => choose_(channel));
  const close = button("×", () => channel.close());
  close.setAttribute("aria-label", `Close channel ${label}`);
  item.append(choose, close);
  channel.addEventListener("open", () => note(`channel “${label}” is open: ${describe(channel)}`));
  channel.addEventListener("message", ({ data }) => line("in", label, data));
  channel.addEventListener("error", ({ error }) => note(`channel “${label}”: ${error?.message ?? "error"}`));
  channel.addEventListener("close", () => {
    note(`channel “${label}” is closed`);
    item.remove();
    if (chosen === channel) choose_(null);
  });
  channel.chip = choose;
  $("#channels").append(item);
  choose_(channel);
}

function choose_(channel) {
  chosen?.chip.setAttribute("aria-pressed", "false");
  chosen = channel;
  chosen?.chip.setAttribute("aria-pressed", "true");
}

function describe(channel) {
  const limits = [
    channel.ordered ? "ordered" : "unordered",
    channel.maxRetransmits === null ? "" : `at most ${channel.maxRetransmits} retransmissions`,
    channel.maxPacketLifeTime === null ? "" : `at most ${channel.maxPacketLifeTime} ms`,
  ].filter(Boolean);
  return `id ${channel.id}, ${limits.join(", ")}`;
}

$("#sender").addEventListener("submit", (event) => {
  event.preventDefault();
  const { text, binary } = event.target;
  if (chosen?.readyState !== "open") return note("choose or open a channel first");
  const message = binary.checked ? new TextEncoder().encode(text.value) : text.value;
  try {
    chosen.send(message);
    line("out", chosen.label, message);
    text.value = "";
  } catch (error) {
    problem(error.message);
  }
});

function note(text) { line("note", "", text); }

function line(kind, label, content) {
  const log = $("#log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const row = document.createElement("p");
  row.className = kind;
  if (label) {
    const name = document.createElement("b");
    name.textContent = `${label}: `;
    row.append(name);
  }
  row.append(typeof content === "string" ? content : `${content.byteLength} bytes: ${hex(content)}`);
  log.append(row);
  while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function hex(data) {
  const bytes = new Uint8Array(data.buffer ?? data).subarray(0, 16);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function button(text, click) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", click);
  return element;
}

// ------------------------------------------------------------------------------------------ files

$("#files").addEventListener("change", ({ target }) => {
  sendFiles([...target.files]);
  target.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  $("#drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("#drop").classList.toggle("over", connected);
  });
}
$("#drop").addEventListener("dragleave", () => $("#drop").classList.remove("over"));
$("#drop").addEventListener("drop", (event) => {
  event.preventDefault();
  $("#drop").classList.remove("over");
  if (connected) sendFiles([...event.dataTransfer.files]);
});
$("#refresh").addEventListener("click", showFiles);

async function sendFiles(files) {
  for (const file of files) {
    await transfer($("#transfers"), `↑ ${file.name}`, file.size, (progress) =>
      upload(session.pc, file, progress));
  }
  showFiles();
}

async function fetchFile({ name, size }) {
  await transfer($("#transfers"), `↓ ${name}`, size, async (progress) => {
    const { blob, sha256 } = await download(session.pc, name, progress);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    return sha256;
  });
}

async function showFiles() {
  const rows = [];
  try {
    for (const file of await list(session.pc)) {
      const row = document.createElement("li");
      const get = button("Fetch", () => fetchFile(file));
      get.setAttribute("aria-label", `Fetch ${file.name}`);
      row.append(`${file.name}, ${size(file.size)}`, get);
      rows.push(row);
    }
    if (!rows.length) rows.push(hint("There are none."));
  } catch (error) {
    rows.push(hint(error.message));
  }
  $("#remote").replaceChildren(...rows);
}

function hint(text) {
  const row = document.createElement("li");
  row.className = "hint";
  row.textContent = text;
  return row;
}

/** Show how far it is while `work(progress)` goes on; it gives a checksum. */
async function transfer(where, title, total, work) {
  const row = document.createElement("li");
  const text = document.createElement("p");
  const bar = document.createElement("progress");
  bar.max = total || 1;
  bar.value = 0;
  bar.setAttribute("aria-label", title);
  text.textContent = title;
  row.append(text, bar);
  where.prepend(row);
  const began = performance.now();
  let drawn = 0;
  try {
    const sha256 = await work((done) => {
      const now = performance.now();
      if (now - drawn < 50 && done < total) return;
      drawn = now;
      bar.value = done;
      text.textContent = `${title}: ${size(done)} of ${size(total)}, ${rate(done, now - began)}`;
    });
    bar.value = bar.max;
    row.className = "done";
    const took = performance.now() - began;
    text.textContent = `${title}: ${size(total)} in ${(took / 1000).toFixed(2)} s (${rate(total, took)}), sha256 ${sha256.slice(0, 16)}… the same at both ends`;
  } catch (error) {
    row.className = "failed";
    text.textContent = `${title}: ${error.message}`;
  }
}

// ------------------------------------------------------------------------------------- throughput

for (const [name, work, title] of [["up", measureUp, "↑ to a sink"], ["down", measureDown, "↓ from a source"]]) {
  $("#measure")[name].addEventListener("click", () => {
    const total = Number($("#measure").amount.value);
    transfer($("#measurements"), title, total, (progress) => work(session.pc, total, progress));
  });
}
$("#measure").addEventListener("submit", (event) => event.preventDefault());

// ------------------------------------------------------------------------------------- statistics

let last = null;

async function showStatistics() {
  const pc = session?.pc;
  if (!pc) return show({});
  const report = await pc.getStats().catch(() => null);
  if (!report || pc !== session?.pc) return;
  const all = [...report.values()];
  const transport = all.find((s) => s.type === "transport");
  const pairs = all.filter((s) => s.type === "candidate-pair");
  // Firefox says "selected" of the pair, Chromium names it in the transport.
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? pairs.find((s) => s.selected) ?? pairs.find((s) => s.nominated && s.state === "succeeded");
  const channels = all.filter((s) => s.type === "data-channel");
  const sum = (name) => channels.reduce((total, s) => total + (s[name] ?? 0), 0);
  const now = { time: performance.now(), sent: sum("bytesSent"), received: sum("bytesReceived") };
  const before = last?.pc === pc ? last : null;
  last = { ...now, pc };
  show({
    connection: pc.connectionState,
    ice: pc.iceConnectionState,
    dtls: transport?.dtlsState ?? pc.sctp?.transport?.state,
    sctp: pc.sctp?.state,
    pair: pair && `${where(report.get(pair.localCandidateId))} → ${where(report.get(pair.remoteCandidateId))}`,
    rtt: pair?.currentRoundTripTime === undefined ? null : `${(pair.currentRoundTripTime * 1000).toFixed(1)} ms`,
    channels: String(channels.filter((s) => s.state === "open").length),
    up: before && rate(Math.max(0, now.sent - before.sent), now.time - before.time),
    down: before && rate(Math.max(0, now.received - before.received), now.time - before.time),
    total: `${size(now.sent)}, ${size(now.received)}`,
    buffered: chosen ? `${size(chosen.bufferedAmount)} on “${chosen.label}”` : null,
  });
}

function show(values) {
  for (const element of document.querySelectorAll("[data-stat]")) {
    element.textContent = values[element.dataset.stat] ?? "–";
  }
}

function where(candidate) {
  if (!candidate) return "?";
  const { address, ip, port, candidateType } = candidate;
  return `${address || ip || "(hidden)"}:${port} (${candidateType})`;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Math.max(0, bytes), unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
  return `${unit && value < 99.95 ? value.toPrecision(3) : Math.round(value)} ${units[unit]}`;
}

function rate(bytes, milliseconds) {
  return milliseconds > 0 ? `${size((bytes / milliseconds) * 1000)}/s` : "–";
}

setInterval(showStatistics, 1000);

// A link may bring the token with it; what follows the # is never sent to a server.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  $("#connection").token.value = token;
  history.replaceState(null, "", location.pathname);
}
