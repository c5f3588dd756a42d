"""Mirrors: configuration as a local dict that is kept current in the background.

updates    what changed, and readers that take their time with it
replica    messages of a watch → contents
view       the contents at one revision
keeper     contents, freshness, readers, for any kind of background
forks      what a fork may not do to them
threaded   `Mirror`, kept by a thread
tasks      `AsyncMirror`, kept by an asyncio task
"""
