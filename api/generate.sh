#!/bin/sh
# Writes the Go code of the schemas in api/, and the descriptor set with their comments from which
# the OpenAPI document is made. It needs protoc (Debian: protobuf-compiler) and the two generators
# that tools/go.mod pins, both on PATH.
set -eu
cd "$(dirname "$0")/.."
protoc -I . \
	--go_out=. --go_opt=module=surety \
	--connect-go_out=. --connect-go_opt=module=surety \
	--descriptor_set_out=api/openapi/schemas.binpb --include_source_info --include_imports \
	api/*/v1/*.proto
# A test compares these, so that a schema cannot change without its code.
find api -name '*.proto' -o -name '*.pb.go' -o -name '*.connect.go' -o -name '*.binpb' |
	LC_ALL=C sort | xargs sha256sum >api/generated.sha256
