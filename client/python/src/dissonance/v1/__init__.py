"""The public API's messages and stubs, as protoc makes them of its protos."""
