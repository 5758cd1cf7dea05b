"""Apps of a session, which users reach through the original's app proxy: `scripts/manager-stack up --app-proxy`."""

import json
import socket
import tempfile
from pathlib import Path

import aiohttp
from ai.backend.client.exceptions import BackendAPIError

from manager import until

# Answers every request with a word and its path.
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{word} " + self.path.encode())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", {port}), Handler)
"""
# What the runtime starts for the app `jupyter` is the module `notebook`: in the work folder this one is found first.
NOTEBOOK = SERVER.format(word="notebook", port='[int(one[7:]) for one in sys.argv if one.startswith("--port=")][0]')


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def page(manager, name, app, protocol="http"):
    """As a browser: asks the manager for the app, follows the app proxy to the worker, and reads a page there."""
    started = await manager.post(f"/session/{name}/start-service", {"app": app})
    session_id = (await manager.row(name))["id"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        place = f"{started['wsproxy_addr']}/v2/proxy/{started['token']}/{session_id}/add"
        async with browser.get(place, params={"app": app, "protocol": protocol}) as answer:
            opened = await answer.json()
        async with browser.get(opened["url"], headers={"Accept": "application/json"}) as answer:
            circuit = await answer.json()
        # The answer sets the cookie that lets this browser, and no other, in at the port that it names.
        async with browser.get(circuit["redirect_url"], allow_redirects=False) as answer:
            port = answer.headers["Location"].rstrip("/")
        async with browser.get(f"{port}/some/page") as answer:
            return answer.status, await answer.text()


async def host_address(manager, name, app):
    """Where the app proxy finds the app: what the agent told the manager of its kernel."""
    query = "SELECT kernel_host, service_ports FROM kernels WHERE session_id = $1"
    kernel = await manager.database.fetchrow(query, (await manager.row(name))["id"])
    (port,) = [service["host_ports"][0] for service in json.loads(kernel["service_ports"]) if service["name"] == app]
    return f"http://{kernel['kernel_host']}:{port}/"


async def services(manager):
    """What the kernel starts and what the user's code opens answer; what the kernel cannot start is refused with the reason."""
    port = str(free_port())
    name, session = await manager.open_session(preopen_ports=[int(port)])
    await manager.session_in(name, "RUNNING")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "notebook.py").write_text(NOTEBOOK + "server.serve_forever()\n")
        await session.upload([Path(folder) / "notebook.py"], basedir=folder)
    assert await page(manager, name, "jupyter") == (200, "notebook /some/page")

    await manager.run(session, SERVER.format(word="mine", port=port) + "import threading\nthreading.Thread(target=server.serve_forever).start()")
    assert await page(manager, name, port, "preopen") == (200, "mine /some/page")

    try:
        await manager.post(f"/session/{name}/start-service", {"app": "tensorboard"})
        raise AssertionError("an app without its program started")
    except BackendAPIError as error:
        assert error.status == 500 and "did not start properly" in str(error), error

    await manager.post(f"/session/{name}/shutdown-service", {"service_name": "jupyter"})
    address = await host_address(manager, name, "jupyter")

    async def look():
        try:
            async with aiohttp.request("GET", address) as answer:
                return None, await answer.text()
        except aiohttp.ClientError as error:
            return error, None

    await until("the end of the app", look)
    await manager.end(name, session)
