"""A page for browsers, and a server that sends back what the page sends.

    python -m rtcsctp.examples.echo        (needs the extra: pip install 'rtcsctp[http]')

and open the address that it prints. Browsers, too, only need one request to get a connection: they
POST an offer, and the answer comes back.
"""

from __future__ import annotations

from functools import partial

import trio

import rtcsctp
from rtcsctp.http import PageApplication, WhipApplication, serve_http

PAGE = b"""<!doctype html><meta charset="utf-8"><title>Echo</title>
<form id="form"><input id="line" autofocus disabled placeholder="connecting"></form>
<pre id="log"></pre><script src="app.js"></script>
"""

SCRIPT = b"""
const line = document.getElementById("line"), log = document.getElementById("log");
async function connect() {
  const pc = new RTCPeerConnection();
  const channel = pc.createDataChannel("echo");
  channel.onopen = () => { line.disabled = false; line.placeholder = "say something"; };
  channel.onmessage = (event) => { log.textContent += event.data + "\\n"; };
  channel.onclose = () => { line.disabled = true; line.placeholder = "closed"; };
  document.getElementById("form").onsubmit = (event) => {
    event.preventDefault();
    channel.send(line.value);
    line.value = "";
  };
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete")
    await new Promise((done) => { pc.onicegatheringstatechange = done; });
  const headers = { "Content-Type": "application/sdp" };
  const answer = await fetch(".", { method: "POST", headers, body: pc.localDescription.sdp });
  if (!answer.ok) throw new Error(await answer.text());
  await pc.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}
connect().catch((error) => { log.textContent += error + "\\n"; });
"""


async def echo_channel(channel: rtcsctp.DataChannel) -> None:
    """Send back what comes; text as text, bytes as bytes."""
    async with channel:
        async for message in channel:
            await channel.send(message)


async def echo(peer: rtcsctp.PeerConnection) -> None:
    """Serve one browser: each of its channels in a task of its own."""
    async with trio.open_nursery() as nursery:
        async for channel in peer.incoming:
            nursery.start_soon(echo_channel, channel)


async def serve(
    port: int = 8080,
    config: rtcsctp.PeerConfig | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the page and its peers until cancelled; ``nursery.start`` gives the URL."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(rtcsctp.serve, echo, config)
        page = PageApplication({"index.html": PAGE, "app.js": SCRIPT})
        app = WhipApplication(server, otherwise=page)
        host, port = await nursery.start(partial(serve_http, app, "127.0.0.1", port))
        task_status.started(f"http://{host}:{port}/")
        print(f"open http://{host}:{port}/ in a browser")


if __name__ == "__main__":
    trio.run(partial(serve, config=rtcsctp.PeerConfig(include_loopback=True)))
