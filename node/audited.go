package node

import (
	"context"
	"encoding/json"
	"strconv"

	"surety/api/event"
	evidencev1 "surety/api/evidence/v1"
	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence/tlog"
)

const (
	// headsAtOnce is how many anchored heads are read at once: more than a minute's.
	headsAtOnce = 64

	// headsBack is how far before a decision its trail's head is first looked for, in log records;
	// it grows eightfold until one is found.
	headsBack = 4_096
)

// audit returns under which sandbox a decision's scores were computed, nil for any other record.
func (s *evidenceService) audit(ctx context.Context, leaf *tlog.LeafAt, payload []byte) (
	*evidencev1.AuditHead, error) {
	if leaf.Record.Source != sourceLending || leaf.Record.Kind != event.ApplicationDecided {
		return nil, nil
	}
	e, err := event.Decode(payload)
	if err != nil || e.Facts[event.FactScorer] == "" {
		return nil, err
	}
	told := &evidencev1.AuditHead{Sandbox: e.Facts[event.FactScorer]}
	told.DecidedSeq, err = strconv.ParseUint(e.Facts[event.FactScorerSeq], 10, 64)
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "audit record of decision %s", e.ID)
	}
	return told, s.findHead(ctx, leaf.Index, told)
}

// findHead fills in the head of the decision's trail that the log holds: the first that was
// anchored after the decision, and where none was yet, the last before it that covers the audit
// record which the decision names.
func (s *evidenceService) findHead(ctx context.Context, decision uint64, told *evidencev1.AuditHead,
) error {
	subject := sandboxSubject(told.Sandbox)
	found, err := s.headFrom(ctx, subject, decision, told)
	for back := uint64(headsBack); err == nil && !found; back *= 8 {
		first := decision - min(back, decision)
		if found, err = s.headFrom(ctx, subject, first, told); first == 0 {
			break
		}
	}
	return err
}

// headFrom fills in the first head of a trail that the log holds from the index first on and that
// covers the audit record of a decision.
func (s *evidenceService) headFrom(ctx context.Context, subject ident.ID, first uint64,
	told *evidencev1.AuditHead) (bool, error) {
	for {
		leaves, err := s.log.Lookup(ctx, subject, first, headsAtOnce)
		if err != nil {
			return false, err
		}
		for i := range leaves {
			if leaves[i].Record.Source != sourceSandbox || leaves[i].Record.Kind != kindHead {
				continue
			}
			payload, err := s.log.Payload(ctx, leaves[i])
			if err != nil {
				return false, err
			}
			var head auditHead
			if err := json.Unmarshal(payload, &head); err != nil {
				return false, errs.As(errs.Corrupt, err, "audit head at %d", leaves[i].Index)
			}
			tellHead(told, &head)
			if head.Seq >= told.DecidedSeq {
				told.Anchored, told.Index = true, leaves[i].Index
				return true, nil
			}
		}
		if len(leaves) < headsAtOnce {
			return false, nil
		}
		first = leaves[len(leaves)-1].Index + 1
	}
}

// tellHead tells what a head says. Of one that does not cover the decision, what the sandbox runs
// is as true.
func tellHead(told *evidencev1.AuditHead, head *auditHead) {
	told.Class, told.Image, told.Policy = head.Class, head.Image, head.Policy
	told.PolicyDigest, told.Mode = head.PolicyDigest, head.Mode
	told.Seq, told.Head = head.Seq, head.Head.Head
	told.Refused, told.WouldRefuse = head.Refused, head.WouldRefuse
}

// auditSummary says how far an anchored trail had come.
func auditSummary(payload []byte) string {
	var head auditHead
	if json.Unmarshal(payload, &head) != nil {
		return ""
	}
	text := "sandbox " + head.Sandbox + ", audit record " + strconv.FormatUint(head.Seq, 10) +
		", refused " + strconv.FormatUint(head.Refused, 10)
	if head.Ended {
		text += ", ended"
	}
	return text
}
