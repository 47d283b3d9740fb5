package sev

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/google/go-sev-guest/abi"

	"surety/base/errs"
)

// crlGUID is our name for a list of revoked certificates in a certificate table: whoever hands one
// over may as well be the machine itself, for only its signature and its dates count.
const crlGUID = "3d1ab9a4-6c8e-5f0a-9f3e-5355524554b1"

// table holds what came with a report, by GUID. The library reads such tables too, but trusts their
// offsets: a sum of two that overflows 32 bits makes it panic.
type table map[string][]byte

// entryBytes is the size of an entry in the table's header: a GUID, an offset, a length.
const entryBytes = abi.CertTableEntrySize

// parseTable reads a certificate table (AMD 56421 section 4.1.8): entries up to one of zeros, then
// what they point to. Kind Forbidden where it has too many, two of a kind, or one that points
// outside.
func parseTable(data []byte) (table, error) {
	t := table{}
	if len(data) == 0 {
		return t, nil // the host keeps no certificates
	}
	for at := 0; ; at += entryBytes {
		if len(data)-at < entryBytes {
			return nil, errs.New(errs.Forbidden, "sev.table: %d bytes end within entry %d", len(data),
				at/entryBytes)
		}
		entry := data[at : at+entryBytes]
		if !slices.ContainsFunc(entry, func(b byte) bool { return b != 0 }) {
			return t, nil
		}
		if len(t) == maxCertificates {
			return nil, errs.New(errs.Forbidden, "sev.table: more than %d certificates", maxCertificates)
		}
		guid := guidOf(entry)
		offset := uint64(binary.LittleEndian.Uint32(entry[16:]))
		length := uint64(binary.LittleEndian.Uint32(entry[20:]))
		if length == 0 || offset+length > uint64(len(data)) {
			return nil, errs.New(errs.Forbidden, "sev.table: %s is %d bytes at %d of %d", guid, length,
				offset, len(data))
		}
		if _, twice := t[guid]; twice {
			return nil, errs.New(errs.Forbidden, "sev.table: %s stands there twice", guid)
		}
		t[guid] = slices.Clone(data[offset : offset+length])
	}
}

// add puts an entry into the table; nothing is not put there.
func (t table) add(guid string, data []byte) {
	if len(data) > 0 {
		t[guid] = data
	}
}

// named is an entry of a table to write.
type named struct {
	guid string
	data []byte
}

// formatTable writes a certificate table with the entries in the order given.
func formatTable(entries ...named) []byte {
	header := make([]byte, (len(entries)+1)*entryBytes)
	var body []byte
	for i, e := range entries {
		entry := header[i*entryBytes:]
		copy(entry, guidBytes(e.guid))
		binary.LittleEndian.PutUint32(entry[16:], uint32(len(header)+len(body)))
		binary.LittleEndian.PutUint32(entry[20:], uint32(len(e.data)))
		body = append(body, e.data...)
	}
	return append(header, body...)
}

// guidOf returns the GUID that an entry begins with, as text. Its bytes stand in the order of the
// text (RFC 9562 section 4), not in Microsoft's.
func guidOf(entry []byte) string {
	digits := hex.EncodeToString(entry[:16])
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// guidBytes is guidOf backwards, of one of the constants.
func guidBytes(text string) []byte {
	raw, _ := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	return raw
}
