"""Makes the operator of the fixtures a member of its project, by the manager's own API: since 26 a row in a table is not enough."""

import asyncio

from ai.backend.client.session import AsyncSession

PROJECT = "a6c3f2b4-51f0-4c3b-9d1e-6f3d4a0c7b01"
OPERATOR = "a6c3f2b4-51f0-4c3b-9d1e-6f3d4a0c7b02"


async def main():
    async with AsyncSession() as api:
        answer = await api.Admin._query(
            "mutation($id: UUID!, $props: ModifyGroupInput!) { modify_group(gid: $id, props: $props) { ok msg } }",
            {"id": PROJECT, "props": {"user_update_mode": "add", "user_uuids": [OPERATOR]}},
        )
    if not answer["modify_group"]["ok"]:
        raise SystemExit(answer["modify_group"]["msg"])


asyncio.run(main())
