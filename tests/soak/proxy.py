"""A proxy that goes wrong on command: proxy.py <listen> <upstream>, one mode per line on stdin.

pass | refuse | silent | cut <bytes> | delay <ms> | drip <ms> | garbage <n>. The name of the mode is printed when it is in
force. What is connected is cut at every change, but for `silent`, which freezes it.
"""
import asyncio
import sys

GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\xff\xfe garbage",
    b":0\r\n:0\r\n+OK\r\n",
    b":0\r\n:0\r\n*2\r\n$5\r\nadmit\r\n$8\r\nadmitted\r\n",
    b"*99999999999\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
]


class Proxy:
    def __init__(self, port, upstream):
        self.port, self.upstream = port, upstream
        self.mode, self.value = "pass", 0
        self.listener = None
        self.open = set()
        self.thaw = asyncio.Event()
        self.thaw.set()

    async def set(self, mode, value):
        self.mode, self.value = mode, value
        self.thaw.clear() if mode == "silent" else self.thaw.set()
        if mode == "refuse" and self.listener:
            self.listener.close()
            self.listener = None
        if mode != "silent":
            for writer in list(self.open):
                writer.transport.abort()
        if mode != "refuse" and not self.listener:
            self.listener = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=512)

    async def serve(self, reader, writer):
        self.open.add(writer)
        mode, value = self.mode, self.value
        try:
            if mode == "silent":
                await self.thaw.wait()
            elif mode == "garbage":
                while await reader.read(65536):
                    writer.write(GARBAGE[value % len(GARBAGE)])
            else:
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
                self.open.add(up_writer)
                try:
                    await asyncio.gather(self.pump(reader, up_writer, "pass", 0), self.pump(up_reader, writer, mode, value))
                finally:
                    self.open.discard(up_writer)
                    up_writer.transport.abort()
        except OSError:
            pass
        finally:
            self.open.discard(writer)
            writer.transport.abort()

    async def pump(self, reader, writer, mode, value):
        try:
            while data := await reader.read(65536):
                if not self.thaw.is_set():
                    await self.thaw.wait()
                    break
                if mode == "cut":
                    writer.write(data[:value])
                    await asyncio.sleep(0.005)
                    break
                if mode == "delay":
                    await asyncio.sleep(value / 1000)
                if mode == "drip":
                    for byte in data:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        await asyncio.sleep(value / 1000)
                else:
                    writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()


async def main():
    proxy = Proxy(int(sys.argv[1]), int(sys.argv[2]))
    await proxy.set("pass", 0)
    print("pass", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().split():
        await proxy.set(line[0], int(line[1]) if len(line) > 1 else 0)
        print(line[0], flush=True)


asyncio.run(main())
