"""The original agent's side of the kernel-runner protocol, driven by JSON.

Reads one object from standard input: {repl_in, repl_out, steps}. A step is one of

    {"execute": {run_id, mode, text?, opts?, flush_timeout?, api?}}
    {"status": true}, {"apps": true}, {"interrupt": true}
    {"complete": text}, {"start_service": {...}}

Prints one JSON line per step: its result, or {"error": repr}.
"""

import asyncio
import json
import sys
import uuid

from ai.backend.agent.kernel import AbstractCodeRunner


class CodeRunner(AbstractCodeRunner):
    def __init__(self, repl_in, repl_out):
        super().__init__(uuid.uuid4(), uuid.uuid4(), None, client_features=frozenset({"input", "continuation"}))
        self.addresses = repl_in, repl_out

    async def get_repl_in_addr(self):
        return self.addresses[0]

    async def get_repl_out_addr(self):
        return self.addresses[1]


async def execute(runner, *, run_id, mode, text="", opts=None, flush_timeout=20.0, api=3):
    await runner.attach_output_queue(run_id)
    if mode == "batch":
        await runner.feed_batch(opts or {})
    elif mode == "query":
        await runner.feed_code(text)
    elif mode == "input":
        await runner.feed_input(text)
    return await runner.get_next_result(api_ver=api, flush_timeout=flush_timeout)


async def perform(runner, step):
    if "execute" in step:
        return await execute(runner, **step["execute"])
    if "status" in step:
        return await runner.feed_and_get_status()
    if "apps" in step:
        return await runner.feed_service_apps()
    if "interrupt" in step:
        return await runner.feed_interrupt()
    if "complete" in step:
        return json.loads(json.dumps(await runner.feed_and_get_completion(step["complete"], {}), default=vars))
    return await runner.feed_start_service(step["start_service"])


async def main():
    request = json.loads(sys.stdin.readline())
    runner = await CodeRunner.new(request["repl_in"], request["repl_out"])
    for step in request["steps"]:
        try:
            result = await asyncio.wait_for(perform(runner, step), 25)
        except Exception as error:
            result = {"error": repr(error)}
        print(json.dumps(result, default=str), flush=True)
    await runner.close()


asyncio.run(main())
