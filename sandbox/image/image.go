// Package image turns what people call an image into one file that can be measured: layers of an
// OCI image, a directory or a single program become an EROFS file system, named by the SHA-256 of
// its bytes.
//
// Think of it as three steps. A Source says where the parts are; adding it to a Store fetches the
// parts, checks every digest and size, lays the layers over each other in memory (their contents
// in an unnamed file) and writes the image once, in the order of names. Seal copies an image into
// memory that nobody can change any more, hashing it on the way: what was hashed is what runs.
// Share lets sandboxes of one image use one such copy.
//
// # Invariants
//
// The same layers, directory or program with the same options give the same bytes, on every
// machine and in every order in which their parts come.
//
// A store shows an image whole or not at all, whatever is killed at whatever time: files are made
// below tmp/, synced and renamed, and what a killed process left there is removed by the next one.
// An input that is refused leaves nothing behind.
//
// Nothing of a layer is ever created on the host: layers are laid out in memory, so a path that
// leads out of a layer has nothing to lead to. It is refused all the same, by name.
//
// # Boundaries
//
// Signatures of images are not checked: an image is what its digest says, and which digests may
// run is the caller's to say. Images are not built here. Extended attributes, file capabilities
// among them, are left out and counted: the kernel inside does not read them.
//
// # Concurrency
//
// A Store may be used by many goroutines and many processes. Two that add one image at a time
// build it once: the second waits. Locks, in order: the lock of a build, then the lock of the
// store, which nobody holds while bytes move.
//
// # Sources
//
// OCI image specification 1.1 (manifest, config, layer, image-layout); Docker image specification
// 1.2 for the archives of `docker save`; memfd_create(2) and fcntl(2) for seals; decision 0024.
package image

import (
	"time"
)

// Image is a file system in a store.
type Image struct {
	Name     string      `json:"name"`
	Digest   string      `json:"digest"` // of the EROFS file, "sha256:" and 64 hex digits
	Path     string      `json:"path"`   // of the EROFS file
	Size     int64       `json:"size"`   // of the EROFS file, in bytes
	Files    int         `json:"files"`  // in it, directories and links among them
	Source   string      `json:"source"` // where it came from, for people
	Manifest string      `json:"manifest,omitempty"`
	Layers   []LayerInfo `json:"layers,omitempty"` // the lowest first; none of a directory or program
	Config   Config      `json:"config"`
	Dropped  Dropped     `json:"dropped"`
	Added    time.Time   `json:"added"`
}

// LayerInfo says which layer went into an image.
type LayerInfo struct {
	Digest string `json:"digest,omitempty"` // as stored; empty in an archive of `docker save`
	DiffID string `json:"diff_id"`          // of its bytes, uncompressed
	Size   int64  `json:"size"`             // as stored, in bytes
}

// Config is what an image says about how to run it.
type Config struct {
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Env        []string          `json:"env,omitempty"`
	User       string            `json:"user,omitempty"` // as written: a name or number, and a group
	WorkDir    string            `json:"work_dir,omitempty"`
	Ports      []string          `json:"ports,omitempty"`   // "80/tcp", sorted
	Volumes    []string          `json:"volumes,omitempty"` // paths, sorted
	StopSignal string            `json:"stop_signal,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Dropped counts what a source had and an image has not.
type Dropped struct {
	Attributes int      `json:"attributes"` // extended ones
	Devices    int      `json:"devices"`
	Examples   []string `json:"examples,omitempty"` // the first few, "path: what"
}

// add counts one, keeping the first few by name.
func (d *Dropped) add(counter *int, path, what string) {
	*counter++
	if len(d.Examples) < maxExamples {
		d.Examples = append(d.Examples, path+": "+what)
	}
}

// merge adds what another part dropped.
func (d *Dropped) merge(other Dropped) {
	d.Attributes += other.Attributes
	d.Devices += other.Devices
	room := maxExamples - len(d.Examples)
	d.Examples = append(d.Examples, other.Examples[:min(room, len(other.Examples))]...)
}

// Kind says what a source is.
type Kind string

// The kinds of sources.
const (
	Layout    Kind = "layout"    // a directory in OCI image layout
	Archive   Kind = "archive"   // a tar file of such a directory, or of `docker save`; may be compressed
	Registry  Kind = "registry"  // a reference such as debian:12 or host:5000/name@sha256:...
	Tree      Kind = "directory" // a root file system
	Program   Kind = "binary"    // one static ELF program
	Automatic Kind = ""          // a path: what stands there says which
)

// Source says what to make an image of.
type Source struct {
	Kind    Kind
	Where   string // a path, or a registry's reference
	Tag     string // of a layout or archive with several images
	Options Options
	// Advanced is told how far the work is, from several goroutines; it may be nil.
	Advanced func(Progress)
}

// Progress says how far an Add is.
type Progress struct {
	Stage string // "fetch" or "write"
	Done  int64  // bytes
	Total int64  // bytes; 0 where it is not known
}

func (s *Source) advanced(stage string, done, total int64) {
	if s.Advanced != nil {
		s.Advanced(Progress{Stage: stage, Done: done, Total: total})
	}
}

// Options change what an image holds: with other options the same source is another image.
type Options struct {
	Devices  Devices // what becomes of device nodes; the zero value refuses them
	ZeroTime bool    // every file is of 1970: directories that differ in times alone are one image
	RootOwns bool    // every file is root's: for a directory of an ordinary user
	// Part says that a directory is no root: it is not given what the kernel inside mounts on.
	Part bool `json:",omitempty"`
}

// Devices says what becomes of device nodes.
type Devices string

// What may become of them.
const (
	RefuseDevices Devices = ""     // the source is refused
	DropDevices   Devices = "drop" // left out and counted
	KeepDevices   Devices = "keep" // kept: the kernel inside gives them its own meaning
)
