package joint

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"

	"surety/enclave"
	"surety/enclave/shares"
	"surety/lending/score/portable"
)

// tapped keeps what crosses a connection in either direction, below any TLS.
type tapped struct {
	net.Conn
	mu   sync.Mutex
	seen []byte
}

func (c *tapped) Write(b []byte) (int, error) {
	c.keep(b)
	return c.Conn.Write(b)
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.keep(b[:n])
	return n, err
}

func (c *tapped) keep(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, b...)
}

// planted is a world of amounts of nine digits, 10,000 of them, none of which is there twice.
func planted(t testing.TB, rows int) (w *world, amounts []int64) {
	t.Helper()
	w = newWorld(t)
	w.byShares()
	c := w.contract
	c.Operation.Params = []enclave.Param{{Name: "coarse", Value: 0}, {Name: "steps", Value: 2}}
	c.Target = enclave.Target{Party: "bank", Column: "outcome", Good: "0", Bad: "1"}
	c.Columns = append(sameColumns("bank", "numeric", "", "R1", "debt", "income"),
		sameColumns("shop", "numeric", "", "R2", "sales", "stock")...)
	stream := portable.NewStream(3)
	var bank, shop strings.Builder
	bank.WriteString("ID,debt,income,outcome\n")
	shop.WriteString("ID,sales,stock\n")
	for i := range rows {
		var row [4]int64
		for j := range row {
			row[j] = 100_000_000 + int64(4*i+j)*80_000 + stream.Below(80_000)
		}
		amounts = append(amounts, row[:]...)
		fmt.Fprintf(&bank, "%d,%d,%d,%d\n", i, row[0], row[1], stream.Below(2))
		fmt.Fprintf(&shop, "%d,%d,%d\n", i, row[2], row[3])
	}
	w.bankFile, w.shopFile = bank.String(), shop.String()
	return w, amounts
}

// shapes are the first eight bytes of the ways in which an amount could be seen: as text, and as a
// whole number or a float in either order of bytes.
func shapes(amounts []int64) map[[8]byte]bool {
	all := map[[8]byte]bool{}
	for _, v := range amounts {
		all[[8]byte([]byte(fmt.Sprint(v)))] = true
		for _, bits := range []uint64{uint64(v), math.Float64bits(float64(v))} {
			all[[8]byte(binary.LittleEndian.AppendUint64(nil, bits))] = true
			all[[8]byte(binary.BigEndian.AppendUint64(nil, bits))] = true
		}
	}
	return all
}

func hits(traffic []byte, wanted map[[8]byte]bool) (n int) {
	likely := make([]bool, 1<<24) // by the first three bytes: the map is asked for few
	for p := range wanted {
		likely[int(p[0])|int(p[1])<<8|int(p[2])<<16] = true
	}
	for at := 0; at+8 <= len(traffic); at++ {
		if likely[int(traffic[at])|int(traffic[at+1])<<8|int(traffic[at+2])<<16] &&
			wanted[[8]byte(traffic[at:])] {
			n++
		}
	}
	return n
}

// TestSharesShowNoAmount looks for both parties' 10,000 amounts in everything that they say to each
// other, without the TLS around it; then one is planted, which the same search must find.
func TestSharesShowNoAmount(t *testing.T) {
	w, amounts := planted(t, 2500)
	s, _ := w.signed(t)
	bank, shop := w.matched(t, s)
	left, right := net.Pipe()
	tap := &tapped{Conn: left}
	ended := make(chan error, 1)
	go func() {
		_, err := ByShares(t.Context(), right, s, shop, shares.Options{})
		_ = right.Close()
		ended <- err
	}()
	r, err := ByShares(t.Context(), tap, s, bank, shares.Options{})
	_ = left.Close()
	if other := <-ended; err != nil || other != nil {
		t.Fatal(err, other)
	}
	wanted := shapes(amounts)
	if len(amounts) != 10_000 || len(wanted) < 45_000 {
		t.Fatalf("%d amounts in %d shapes", len(amounts), len(wanted))
	}
	if n := hits(tap.seen, wanted); n != 0 {
		t.Errorf("%d amounts in %d bytes", n, len(tap.seen))
	}
	copy(tap.seen[len(tap.seen)/3:], fmt.Sprint(amounts[4321]))
	if hits(tap.seen, wanted) == 0 {
		t.Error("the search does not find an amount that is there")
	}
	t.Logf("%d bytes searched, %d rows learnt from", len(tap.seen), r.Learnt)
}
