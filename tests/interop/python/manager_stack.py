"""The checks of scripts/manager-stack.d/drive.py, one for each JSON line; the first line is the environment to run in."""

import asyncio
import json
import os
import sys
from pathlib import Path

os.environ.update(json.loads(sys.stdin.readline()))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts" / "manager-stack.d"))

from drive import Driver


async def main():
    async with Driver() as driver:
        while line := await asyncio.to_thread(sys.stdin.readline):
            name = json.loads(line)["check"]
            print(json.dumps({"check": name, "failure": await driver.check(name)}), flush=True)


asyncio.run(main())
