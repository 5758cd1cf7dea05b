import type { HostedAgent } from '../../../src/agent/hosted-agent.js';
import { CpuPlugin, MemoryPlugin } from '../../../src/resources/index.js';
import type { KernelId } from '../../../src/core/ids.js';
import { DEADLINE_MS } from '../../support/faulty-backend.js';
import { freePort } from '../../support/free-port.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { ProcessBackendHarness } from '../../support/process-backend.js';
import { bundleRunner } from '../runner/runner-process.js';
import { AgentBench, NEVER } from './agent-bench.js';

/** Answers every request with the text. */
const server = (port: string, text: string) => `
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"${text}")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", ${port}), Handler)
`;
/** In the work folder it is found before the module that an image would have, and takes the same options. */
const NOTEBOOK = `${server('[int(one[7:]) for one in sys.argv if one.startswith("--port=")][0]', 'notebook')}server.serve_forever()\n`;

let bundle: Awaited<ReturnType<typeof bundleRunner>>;
let harness: ProcessBackendHarness;
let bench: AgentBench;
let agent: HostedAgent;
beforeAll(async () => {
  bundle = await bundleRunner();
  harness = await ProcessBackendHarness.make({ runnerPath: bundle.path });
  // Kernels are pinned to cores, so they must be real ones; several share one where there are few.
  const resources = { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] };
  bench = await AgentBench.start(await harness.open(), { resources });
  ({ agent } = bench);
}, 90_000);
afterEach(async () => {
  await agent.reset(NEVER);
  expect(agent.examine()).toEqual([]);
});
afterAll(async () => {
  await bench.stop();
  await bench.remove();
  await harness[Symbol.asyncDispose]();
  await bundle.remove();
}, 90_000);

/** A kernel and the host port of each of its services, as a manager is told. */
async function kernel(preopenPorts: readonly number[]) {
  const made = kernelRequest({ config: { preopenPorts } });
  const [created] = await agent.createKernels([made], NEVER);
  const hostPorts = new Map(created?.servicePorts.map(({ name, hostPorts: [port] }) => [name, port]));
  return { kernelId: made.kernelId, portOf: (name: string) => hostPorts.get(name) ?? null };
}

const textAt = async (port: number | null): Promise<string> =>
  (await fetch(`http://127.0.0.1:${String(port)}/`)).text();

const run = (kernelId: KernelId, code: string) =>
  agent.execute(
    kernelId,
    { runId: null, mode: 'query', code, opts: {}, flushTimeoutMs: DEADLINE_MS, apiVersion: 3 },
    NEVER,
  );

test('without a network of its own: services of two kernels that their image puts at one port are at two', async () => {
  const kernels = [await kernel([]), await kernel([])];
  for (const { kernelId, portOf } of kernels) {
    await agent.uploadFile(kernelId, 'notebook.py', Buffer.from(NOTEBOOK));
    expect(await agent.startService(kernelId, 'jupyter', {}, NEVER)).toEqual({ status: 'started' });
    expect(await textAt(portOf('jupyter'))).toBe('notebook');
  }
  expect(new Set(kernels.map(({ portOf }) => portOf('jupyter'))).size).toBe(2);
});

test('without a network of its own: what the user’s code opens is where the user said, for one kernel', async () => {
  const port = await freePort();
  const { kernelId, portOf } = await kernel([port]);
  expect(portOf(String(port))).toBe(port);
  await run(
    kernelId,
    `${server(String(port), 'mine')}import threading\nthreading.Thread(target=server.serve_forever, daemon=True).start()`,
  );
  expect(await agent.startService(kernelId, String(port), {}, NEVER)).toEqual({ status: 'started' });
  expect(await textAt(port)).toBe('mine');
  await expect(kernel([port])).rejects.toMatchObject({
    message: expect.stringContaining(String(port)) as unknown,
  });
});
