package sandbox

import "strings"

// renameExchange is the flag of a rename that swaps two names (RENAME_EXCHANGE).
const renameExchange = 2

const (
	capNetRaw    = 13 // CAP_NET_RAW, which a raw or packet socket takes
	noCapability = -1 // what a KindModule takes: no list holds it
)

// needs is what an act asks of the paths of its record; 0 where the path is not judged.
type needs struct{ path, path2 Access }

// needsOf returns what a recorded act on files asked for. A record that says its Access is taken
// at its word, for each of its paths; for the others the kind says it.
func needsOf(r *Record) needs {
	access := r.Access
	otherwise := func(usual Access) Access {
		if access != 0 {
			return access
		}
		return usual
	}
	switch r.Kind {
	case KindOpen:
		return needs{path: otherwise(Read)}
	case KindUnlink:
		return needs{path: otherwise(Unlink)}
	case KindRename:
		return needs{path: otherwise(Rename | Unlink), path2: otherwise(Rename | Unlink)}
	case KindLink:
		if access == Create { // a symbolic link: Path is what it says, and names nothing yet
			return needs{path2: Create}
		}
		return needs{path: otherwise(Link), path2: otherwise(Link)}
	case KindMake:
		return needs{path: otherwise(Create)}
	case KindAttr:
		return needs{path: otherwise(Attr)}
	case KindMapExec:
		return needs{path: Exec}
	}
	return needs{}
}

// netActOf returns the act of a record on the network, 0 for other kinds.
func netActOf(kind Kind) NetAct {
	switch kind {
	case KindConnect:
		return Connect
	case KindBind:
		return Bind
	case KindSend:
		return Send
	}
	return 0
}

// Retry decides again on a recorded act, as `policy test` does: what the policy would say now. An
// act that no policy judges (KindExit, KindListen and the like, or one whose record lacks what it
// was about) is Unjudged.
func (c *Compiled) Retry(r *Record) Decision {
	switch r.Kind {
	case KindExec:
		return c.Exec(r.Path, r.Digest)
	case KindClone:
		if r.Flags&cloneThread == 0 {
			return c.Clone(int(r.Mode))
		}
	case KindPtrace:
		return c.Ptrace()
	case KindSetID:
		return c.SetID()
	case KindCapability:
		return c.Capability(int(r.Flags))
	case KindMount:
		return c.Mount()
	case KindOpen, KindUnlink, KindRename, KindLink, KindMake, KindAttr, KindMapExec:
		return c.retryFile(r)
	case KindConnect, KindBind, KindSend:
		return c.retryNet(r)
	case KindSocket:
		if r.Proto == RawIP {
			return c.Capability(capNetRaw)
		}
	case KindModule:
		return c.Capability(noCapability)
	case KindName:
		return c.NameLookup(r.Path)
	}
	return Decision{Verdict: Unjudged, Rule: NoRule}
}

func (c *Compiled) retryFile(r *Record) Decision {
	asked := needsOf(r)
	switch {
	case r.Kind == KindMapExec && r.Path == "":
		return c.ExecMemory()
	case r.Kind == KindRename && r.Flags&renameExchange != 0:
		d := c.Move(r.Path, r.Path2, asked.path)
		if !d.refuses() {
			d = c.Move(r.Path2, r.Path, asked.path)
		}
		return d
	case asked.path != 0 && asked.path2 != 0:
		return c.Move(r.Path, r.Path2, asked.path)
	case asked.path2 != 0:
		return c.fileAt(r.Path2, asked.path2)
	}
	return c.fileAt(r.Path, asked.path)
}

func (c *Compiled) retryNet(r *Record) Decision {
	act := netActOf(r.Kind)
	switch {
	case r.Addr.IsValid():
		return c.Net(act, r.Proto, r.Addr, r.Text)
	case strings.HasPrefix(r.Path, "/"), strings.HasPrefix(r.Path, "@"):
		return c.Unix(act, r.Path)
	}
	return Decision{Verdict: Unjudged, Rule: NoRule}
}
