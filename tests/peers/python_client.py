"""Drives a HelixMCP server with the official Python SDK: browse, import, call, wait, read, export.

Arguments: protocol mode ("auto" or "legacy"), file to import, then the command to start.
Prints one JSON object; what the test asserts is in the test.
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    mode, path, command, *args = sys.argv[1:]
    server = stdio_client(StdioServerParameters(command=command, args=args))
    async with Client(server, mode=mode) as client:
        seen = {"protocol": client.protocol_version, "server": client.server_info.name}
        seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]

        browsed = await client.call_tool("artifact_browse", {"root": "data"})
        seen["browsed"] = [entry["path"] for entry in browsed.structured_content["entries"]]

        imported = await client.call_tool("artifact_import", {"root": "data", "path": path})
        reads = imported.structured_content["artifacts"][0]["artifact_id"]

        progress = []

        async def on_progress(done: float, total: float | None, message: str | None) -> None:
            progress.append(done)

        started = await client.call_tool(
            "fastq_stats", {"reads": [reads], "wait_seconds": 0}, progress_callback=on_progress
        )
        run = started.structured_content["run_id"]
        ended = await client.call_tool("run_wait", {"run_id": run, "wait_seconds": 120})
        seen["run"] = run
        seen["status"] = ended.structured_content["status"]
        seen["result"] = ended.structured_content["result"]
        seen["content"] = sorted({block.type for block in ended.content})

        outputs = {output["role"]: output["artifact_id"] for output in ended.structured_content["outputs"]}
        report = await client.read_resource("helix://artifact/" + outputs["report"])
        seen["report"] = report.contents[0].text[:200]

        exported = await client.call_tool("artifact_export", {"artifact_id": outputs["report"], "root": "out"})
        seen["exported"] = exported.structured_content["path"]

        again = await client.call_tool("fastq_stats", {"reads": [reads]})
        seen["again"] = {key: again.structured_content.get(key) for key in ("run_id", "replayed")}

        wrong = await client.call_tool("fastq_stats", {"reads": ["art_00000000000000000000000000"]})
        seen["wrong_is_error"] = wrong.is_error
    print(json.dumps(seen))


asyncio.run(main())
