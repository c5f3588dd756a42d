"""The root of all errors that syncd raises on purpose.

SyncdError
├── config.ConfigError          the configuration cannot be used
├── gateway.GatewayError        etcd or the way to it (tree in gateway/errors.py)
├── store.StoreError            what was given to the store contradicts what it holds
├── cache.CacheError            the copy on disk cannot be written, or gone on with
├── serve.ApiError              what a local reader is told
├── daemon.StartError           the daemon cannot start
└── client.ClientError          what a reader's side of the local API met
"""


class SyncdError(Exception):
    """Base of every error raised by syncd; its text is meant for people."""
