package evidence

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/base/ident"
)

// Statement is what the log signs about a bundle: which records it holds, and what was asked for.
// A Merkle tree shows that a record is in the log; it cannot show that none was left out. With the
// statement, whoever takes a record from a bundle is found out, and a log that leaves one out has
// signed a claim that anybody with a copy of the log can refute.
//
// Its text is a note of its own form, whose first line no checkpoint of any log begins with unless
// that log is named so:
//
//	<origin>/statement
//	1
//	<tree size>
//	<"range" first end | "ids" id...>
//	<number of records>
//	<base64 of the SHA-256 over their indexes, 8 bytes each, big-endian>
type Statement struct {
	Origin string
	Size   uint64     // of the tree the bundle's proofs lead to
	IDs    []ident.ID // the records that name any of these; empty where a range was asked for
	First  uint64     // the records from First
	End    uint64     // up to but not including End; First <= End <= Size
	Count  uint64     // records in the bundle
	Digest Hash       // of their indexes, as DigestIndexes gives it
}

const (
	statementSuffix  = "/statement"
	statementVersion = "1"
)

// DigestIndexes returns the hash over indexes that a statement commits to.
func DigestIndexes(indexes []uint64) Hash {
	message := make([]byte, 0, 8*len(indexes))
	for _, index := range indexes {
		message = binary.BigEndian.AppendUint64(message, index)
	}
	return sha256.Sum256(message)
}

// Text returns what is signed. Kind TooLarge where there are more ids than MaxStatementIDs.
func (s *Statement) Text() (string, error) {
	if len(s.IDs) > MaxStatementIDs {
		return "", errs.New(errs.TooLarge, "evidence.statement: %d ids, the limit is %d",
			len(s.IDs), MaxStatementIDs)
	}
	var b strings.Builder
	b.WriteString(s.Origin + statementSuffix + "\n" + statementVersion + "\n")
	b.WriteString(strconv.FormatUint(s.Size, 10) + "\n")
	if len(s.IDs) == 0 {
		b.WriteString("range " + strconv.FormatUint(s.First, 10) + " " +
			strconv.FormatUint(s.End, 10))
	} else {
		b.WriteString("ids")
		for _, id := range s.IDs {
			b.WriteString(" " + id.String())
		}
	}
	b.WriteString("\n" + strconv.FormatUint(s.Count, 10) + "\n")
	b.WriteString(base64.StdEncoding.EncodeToString(s.Digest[:]) + "\n")
	return b.String(), nil
}

// OpenStatement returns the statement in a signed note; the errors are those of OpenCheckpoint.
func OpenStatement(signed string, key Key) (Statement, error) {
	text, err := openNote(signed, key)
	if err != nil {
		return Statement{}, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 7 || lines[0] != key.Origin()+statementSuffix || lines[1] != statementVersion {
		return Statement{}, errs.New(errs.Corrupt, "not a statement of log %q, version %s",
			key.Origin(), statementVersion)
	}
	s := Statement{Origin: key.Origin()}
	if s.Size, err = parseSize(lines[2]); err != nil {
		return Statement{}, err
	}
	if err := s.parseScope(strings.Split(lines[3], " ")); err != nil {
		return Statement{}, err
	}
	if s.Count, err = parseSize(lines[4]); err != nil {
		return Statement{}, err
	}
	if err := s.Digest.UnmarshalText([]byte(lines[5])); err != nil {
		return Statement{}, errs.As(errs.Corrupt, err, "digest of indexes")
	}
	return s, nil
}

func (s *Statement) parseScope(words []string) (err error) {
	if words[0] == "range" && len(words) == 3 {
		if s.First, err = parseSize(words[1]); err != nil {
			return err
		}
		if s.End, err = parseSize(words[2]); err != nil {
			return err
		}
		if s.First > s.End || s.End > s.Size {
			return errs.New(errs.Corrupt, "range %d to %d of a tree of %d", s.First, s.End, s.Size)
		}
		return nil
	}
	if words[0] != "ids" || len(words) < 2 || len(words)-1 > MaxStatementIDs {
		return errs.New(errs.Corrupt, "neither a range nor ids")
	}
	for _, word := range words[1:] {
		id, err := ident.Parse(word)
		if err != nil || id.IsZero() || id.String() != word {
			return errs.New(errs.Corrupt, "id %d is not in its one form", len(s.IDs)+1)
		}
		s.IDs = append(s.IDs, id)
	}
	return nil
}

// covers reports whether the statement's scope takes in the record at the index.
func (s *Statement) covers(index uint64, r *Record) bool {
	if len(s.IDs) == 0 {
		return s.First <= index && index < s.End
	}
	for _, id := range s.IDs {
		if r.Names(id) {
			return true
		}
	}
	return false
}
