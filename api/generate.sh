#!/bin/sh
# Writes the Go code of the schemas in api/. It needs protoc (Debian: protobuf-compiler) and the two
# generators, which tools/go.mod pins.
set -eu
cd "$(dirname "$0")/.."
protoc -I . \
	--go_out=. --go_opt=module=surety \
	--connect-go_out=. --connect-go_opt=module=surety \
	api/*/v1/*.proto
