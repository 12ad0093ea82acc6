package main

import (
	"context"
	"log/slog"

	"staithe/internal/egress"
)

// openNetwork is the network of sessions, and why none can be made on this
// machine: then a class whose network is auto has none, and one that asks for it
// by name cannot be had.
func openNetwork(ctx context.Context, data, path string, log *slog.Logger) (network *egress.Egress, none, err error) {
	program, err := installEgress(data)
	if err != nil {
		return nil, nil, err
	}
	if none = egress.Probe(ctx, program); none != nil {
		log.Warn("sessions of classes whose network is auto have none", "err", none)
	}
	network, err = egress.New(egress.Options{Data: data, Binary: program, Log: log, Path: egress.Path(path)})
	return network, none, err
}
