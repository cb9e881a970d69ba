#!/bin/bash
# pgx and lib/pq, from a module of its own.
. "$LIB/lib.sh"
cd "$LIB/go"
GOFLAGS=-mod=mod go run . pgx
GOFLAGS=-mod=mod go run . pq
