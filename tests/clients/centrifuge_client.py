"""`centrifuge-python`, driven by JSON lines: python centrifuge_client.py URL [TOKEN]."""

import asyncio
import json
import sys
from dataclasses import asdict

from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    StreamPosition,
    SubscriptionEventHandler,
)


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


class Events(ClientEventHandler):
    async def on_connecting(self, ctx):
        say("connecting", code=ctx.code)

    async def on_connected(self, ctx):
        say("connected", client=ctx.client)

    async def on_disconnected(self, ctx):
        say("disconnected", code=ctx.code, reason=ctx.reason)


class SubscriptionEvents(SubscriptionEventHandler):
    def __init__(self, channel):
        self.channel = channel

    async def on_subscribed(self, ctx):
        say(
            "subscribed",
            channel=self.channel,
            recoverable=ctx.recoverable,
            positioned=ctx.positioned,
            wasRecovering=ctx.was_recovering,
            recovered=ctx.recovered,
            data=ctx.data,
        )

    async def on_unsubscribed(self, ctx):
        say("unsubscribed", channel=self.channel, code=ctx.code)

    async def on_publication(self, ctx):
        say("publication", channel=self.channel, data=ctx.pub.data, offset=ctx.pub.offset or 0)

    async def on_join(self, ctx):
        say("join", channel=self.channel, client=ctx.info.client, user=ctx.info.user)

    async def on_leave(self, ctx):
        say("leave", channel=self.channel, client=ctx.info.client, user=ctx.info.user)


class Driver:
    def __init__(self, url, token):
        self.tokens = asyncio.Queue()
        given = {"token": token, "get_token": self.get_token} if token else {}
        self.client = Client(
            url,
            events=Events(),
            proxy=None,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.5,
            **given,
        )

    async def get_token(self):
        # The test answers.
        say("token")
        return await self.tokens.get()

    async def call(self, action, wanted):
        client, channel = self.client, wanted.get("channel")
        if action == "history":
            since = wanted.get("since")
            position = StreamPosition(offset=since["offset"], epoch=since["epoch"]) if since else None
            limit, reverse = wanted.get("limit", 0), wanted.get("reverse", False)
            result = await client.history(channel, limit=limit, since=position, reverse=reverse)
            return asdict(result)
        if action == "presence":
            result = await client.presence(channel)
            return {"clients": {name: {"client": info.client, "user": info.user} for name, info in result.clients.items()}}
        if action == "presence_stats":
            result = await client.presence_stats(channel)
            return {"clients": result.num_clients, "users": result.num_users}
        if action == "publish":
            return asdict(await client.publish(channel, {}))
        return asdict(await client.rpc("method", {}))

    async def answer(self, action, wanted):
        try:
            say("answer", result=await self.call(action, wanted))
        except CentrifugeError as error:
            say("answer", error=getattr(error, "code", 0))

    async def do(self, command):
        action = command.pop("do")
        if action == "connect":
            await self.client.connect()
        elif action == "disconnect":
            await self.client.disconnect()
        elif action == "token":
            await self.tokens.put(command["token"])
        elif action == "subscribe":
            channel = command["channel"]
            subscription = self.client.new_subscription(
                channel,
                SubscriptionEvents(channel),
                data=command.get("data"),
                join_leave=command.get("joinLeave", False),
                min_resubscribe_delay=0.05,
                max_resubscribe_delay=0.5,
            )
            await subscription.subscribe()
        elif action == "unsubscribe":
            subscription = self.client.get_subscription(command["channel"])
            await subscription.unsubscribe()
            self.client.remove_subscription(subscription)
        else:
            await self.answer(action, command)

    async def run(self):
        loop = asyncio.get_running_loop()
        tasks = set()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            # Some wait for a token that a later line brings.
            task = asyncio.create_task(self.do(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


asyncio.run(Driver(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "").run())
