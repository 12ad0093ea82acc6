package main

import (
	"log/slog"

	"staithe/internal/config"
	"staithe/internal/station"
)

// classes makes of the settings what sessions may name, and checks it. wayOut
// says whether sandboxes can have a network on this machine; a class whose
// network is auto has none where they cannot.
func classes(cfg config.Config, wayOut bool) ([]station.Class, error) {
	var out []station.Class
	for _, c := range cfg.Classes {
		class := station.Class{
			Name: c.Name, Runtime: c.Runtime, Base: c.Base, Disk: c.Disk, Sudo: c.Sudo,
			Limits: station.Limits{
				CPU: c.CPU, CPUWeight: c.CPUWeight, Memory: c.Memory, PIDs: c.PIDs, Files: c.Files,
				PTYs: c.PTYs, Inotify: c.Inotify, IOWeight: c.IOWeight, Scratch: c.Scratch,
			},
			Network: station.NetworkPolicy{Mode: networkMode(c.Network, wayOut), Allow: c.Allow},
			Idle:    station.IdleRule{Freeze: c.IdleFreeze, Stop: c.IdleStop},
		}
		if class.Runtime == "" {
			class.Runtime = engine(cfg)
		}
		checked := class
		if c.Network == config.NetworkAuto { // also where it is none today
			checked.Network.Mode = station.NetworkInternet
		}
		if err := checked.Check(); err != nil {
			return nil, err
		}
		out = append(out, class)
	}
	return out, nil
}

func networkMode(setting string, wayOut bool) station.NetworkMode {
	switch {
	case setting != config.NetworkAuto:
		return station.NetworkMode(setting)
	case wayOut:
		return station.NetworkInternet
	}
	return station.NetworkNone
}

// warnUnisolated says in the log which classes are no sandbox. None ever is by
// itself: a class or --runtime has to name process.
func warnUnisolated(log *slog.Logger, classes []station.Class) {
	for _, c := range classes {
		if c.Runtime == runtimeProcess {
			log.Warn("no isolation: sessions of this class are plain processes of this machine, which no limit and no network policy holds; "+
				"use it to develop staithe, never for code or people you do not trust", "class", c.Name, "runtime", c.Runtime)
		}
	}
}

// runtimeProcess is the runtime that isolates nothing.
const runtimeProcess = "process"
