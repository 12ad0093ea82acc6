package gateway

import (
	"context"
	"slices"
	"time"

	"staithe/internal/station"
)

// ClassState is a session class as the server has it at this moment.
type ClassState struct {
	station.Class
	Isolated bool   // its sessions are sandboxes; false for process alone
	Default  bool   // what a session gets that names none
	Why      string // why no session of it can be made now, a sentence; empty: one can
}

// Class is a session class as the API says it. Limits of 0 are none.
type Class struct {
	Name      string       `json:"name"`
	Runtime   string       `json:"runtime" doc:"crun, runc, runsc, docker, podman or process; auto: crun, else runc"`
	Base      string       `json:"base" doc:"host, or the name of an image"`
	Limits    ClassLimits  `json:"limits"`
	Disk      int64        `json:"disk" doc:"Bytes that the user's home may hold; 0: no quota"`
	Sudo      bool         `json:"sudo" doc:"Whether the person may become root inside"`
	Network   ClassNetwork `json:"network"`
	Idle      ClassIdle    `json:"idle"`
	Boundary  string       `json:"boundary" doc:"What keeps its sessions apart from everything else, in plain words"`
	Isolated  bool         `json:"isolated" doc:"false: its sessions are no sandboxes"`
	Default   bool         `json:"default" doc:"What a session gets that names no class"`
	Available bool         `json:"available" doc:"Whether sessions of it can be made now"`
	Why       string       `json:"why,omitempty" doc:"Why not, and what to do, a sentence"`
}

// ClassLimits are station.Limits; 0 is none.
type ClassLimits struct {
	CPU       float64 `json:"cpu" doc:"Cores at most"`
	CPUWeight int     `json:"cpu_weight" doc:"Share under contention, 1 to 10000; 100 is usual"`
	Memory    int64   `json:"memory" doc:"Bytes, with swap"`
	PIDs      int     `json:"pids" doc:"Processes and threads"`
	Files     int     `json:"files" doc:"Open files of a process"`
	PTYs      int     `json:"ptys" doc:"Terminals"`
	Inotify   int     `json:"inotify" doc:"inotify watches"`
	IOWeight  int     `json:"io_weight" doc:"Share of the disk under contention, 1 to 10000; 100 is usual"`
	Scratch   int64   `json:"scratch" doc:"Bytes of each of /tmp and /var/tmp"`
}

// ClassNetwork is how far a class's sessions reach.
type ClassNetwork struct {
	Mode  station.NetworkMode `json:"mode" enum:"none,internet,allow-list"`
	Allow []string            `json:"allow" doc:"Hosts, addresses and CIDRs: those of an allow-list, or further ones beside the internet"`
}

// ClassIdle is when a class's sessions go to sleep by themselves.
type ClassIdle struct {
	Freeze float64 `json:"freeze_s" doc:"Seconds without activity until it is frozen; 0: never"`
	Stop   float64 `json:"stop_s" doc:"Seconds asleep until its programs end; 0: never"`
}

func (g *Gateway) listClasses(ctx context.Context, _ caller, _ *nothing) (*output[[]Class], error) {
	out := []Class{}
	for _, s := range g.classes(ctx) {
		out = append(out, classAnswer(s))
	}
	return answer(out, nil)
}

func classAnswer(s ClassState) Class {
	l := s.Limits
	c := Class{
		Name: s.Name, Runtime: s.Runtime, Base: s.Base, Disk: s.Disk, Sudo: s.Sudo, Boundary: s.Boundary,
		Limits: ClassLimits{CPU: l.CPU, CPUWeight: l.CPUWeight, Memory: l.Memory, PIDs: l.PIDs, Files: l.Files,
			PTYs: l.PTYs, Inotify: l.Inotify, IOWeight: l.IOWeight, Scratch: l.Scratch},
		Network:  ClassNetwork{Mode: s.Network.Mode, Allow: slices.Clone(s.Network.Allow)},
		Idle:     ClassIdle{Freeze: seconds(s.Idle.Freeze), Stop: seconds(s.Idle.Stop)},
		Isolated: s.Isolated, Default: s.Default, Available: s.Why == "", Why: s.Why,
	}
	if c.Runtime == "" {
		c.Runtime = "auto"
	}
	if c.Network.Allow == nil {
		c.Network.Allow = []string{}
	}
	return c
}

func seconds(d time.Duration) float64 { return d.Seconds() }
