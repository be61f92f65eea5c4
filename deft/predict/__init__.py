"""A finished run on new photographs: masks, seeds, shards, and archives for VOC's test server."""
