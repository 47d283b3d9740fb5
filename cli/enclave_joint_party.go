package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/enclave/psi"
	"surety/lending/joint"
	"surety/sys/entropy"
)

// jointTable reads a party's customers, as far as the contract names their columns.
func jointTable(path, id string, s enclave.SignedContract, party string) (*joint.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err, "table")
	}
	defer func() { _ = f.Close() }() // it was only read
	return joint.ReadTable(bufio.NewReaderSize(f, 256<<10), id, s.Contract, party)
}

// jointRole opens a party's directory and the contract that it is a party of.
func jointRole(dir, contract string) (*jointParty, enclave.SignedContract, error) {
	p, err := openParty(dir)
	if err != nil {
		return nil, enclave.SignedContract{}, err
	}
	s, _, err := readContract(contract)
	if err != nil {
		return nil, s, err
	}
	if s.Contract.Party(p.name) == nil {
		return nil, s, errs.New(errs.Forbidden, "%q is no party of contract %q", p.name, s.Contract.Name)
	}
	return p, s, nil
}

func jointMatch(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "match DIR CONTRACT",
		Short: "Find the customers that both parties have, without showing the others",
		Long: `Private set intersection with the other party, which runs the same command: one listens,
the other connects. Both show the keys that sign the contract; nobody else can be at either end.
What comes of it is DIR/matches: this party's rows that the other has too, each with a token that
only the two know. The other party learns the same of its own rows, and how many this one has.
With -o json {session, rows, peer, matches, guarantee}.`,
		Example: `  surety enclave joint match bank contract.cbor --table bank.csv --id ID --listen 127.0.0.1:9000
  surety enclave joint match shop contract.cbor --table shop.csv --id ID --connect 127.0.0.1:9000`,
		Args: exactArgs("DIR", "CONTRACT"),
	}
	var table, id, listen, connect string
	wait := jointWait
	flags := c.Flags()
	flags.StringVar(&table, "table", "", "file with the party's customers: CSV with a header")
	flags.StringVar(&id, "id", "ID", "column by which customers are matched")
	flags.StringVar(&listen, "listen", "", "ADDRESS:PORT to wait for the other party at")
	flags.StringVar(&connect, "connect", "", "ADDRESS:PORT of the other party")
	flags.DurationVar(&wait, "wait", wait, "how long to wait for the other party")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		if table == "" || (listen == "") == (connect == "") {
			return usage(c, "--table, and one of --listen and --connect, are needed")
		}
		p, s, err := jointRole(args[0], args[1])
		if err != nil {
			return err
		}
		rows, err := jointTable(table, id, s, p.name)
		if err != nil {
			return err
		}
		// Whoever is at the other end: joint.Secure sees who.
		conn, err := (&mathFlags{listen: listen, connect: connect, wait: wait}).meet(ctx, env)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // both have what they came for, or nothing
		secure, err := joint.Secure(ctx, conn, s, p.sign)
		if err != nil {
			return err
		}
		m, err := joint.Match(ctx, secure, s, p.name, rows.IDs)
		if err != nil {
			return err
		}
		return keepMatches(env, p, m, len(rows.IDs))
	})
}

// keepMatches writes what was found, in the place of what an earlier matching found.
func keepMatches(env *Env, p *jointParty, m *joint.Matches, rows int) error {
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		return err
	}
	if err := replaceFile(p.path(jointMatchesFile), b.Bytes()); err != nil {
		return err
	}
	said := struct {
		Session   string            `json:"session"`
		Rows      int               `json:"rows"`
		Peer      int               `json:"peer"`
		Matches   int               `json:"matches"`
		Guarantee enclave.Guarantee `json:"guarantee"`
	}{hexDigits(m.Session[:]), rows, m.Peer, len(m.Rows), enclave.Math}
	return env.show(said, func(w io.Writer) error {
		return writePairs(w, pair{"rows here", rows}, pair{"rows there", m.Peer}, pair{"in both", len(m.Rows)},
			pair{"session", said.Session}, pair{"guarantee", said.Guarantee})
	})
}

func jointSeal(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "seal DIR CONTRACT",
		Short: "Seal the contract's columns of the matched customers",
		Long: `Writes DIR/columns.sealed and DIR/columns.json, which the other party or an operator may
have, and DIR/columns.key, which stays. Ids and columns that the contract does not name are not
in them. What was sealed before is replaced, under a new key. With -o json what columns.json
holds.`,
		Example: `  surety enclave joint seal bank contract.cbor --table bank.csv --id ID`,
		Args:    exactArgs("DIR", "CONTRACT"),
	}
	var table, id, model string
	c.Flags().StringVar(&table, "table", "", "file with the party's customers: CSV with a header")
	c.Flags().StringVar(&id, "id", "ID", "column by which customers were matched")
	c.Flags().StringVar(&model, "model", "", "model file, where the contract says that this party "+
		"brings it")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		if table == "" {
			return usage(c, "--table is missing")
		}
		p, s, err := jointRole(args[0], args[1])
		if err != nil {
			return err
		}
		data, err := jointData(p.dir, table, id, s, p.name)
		if err != nil {
			return err
		}
		if model != "" {
			if data.Model, err = os.ReadFile(model); err != nil {
				return fileError(err, "model")
			}
		}
		said, err := sealJoint(ctx, p, s, data)
		if err != nil {
			return err
		}
		return env.show(said, func(w io.Writer) error {
			return writePairs(w, pair{"rows", said.Rows}, pair{"bytes", said.Bytes}, pair{"root", said.Root},
				pair{"sealed", p.path(jointSealedFile)})
		})
	})
}

// jointData is the matched part of a party's table.
func jointData(dir, table, id string, s enclave.SignedContract, party string) (*joint.Data, error) {
	rows, err := jointTable(table, id, s, party)
	if err != nil {
		return nil, err
	}
	m, err := readMatches(dir)
	if err != nil {
		return nil, err
	}
	return joint.Prepare(s, party, rows, m)
}

func readMatches(dir string) (*joint.Matches, error) {
	f, err := os.Open(filepath.Join(dir, jointMatchesFile))
	if err != nil {
		return nil, fileError(err, "matches")
	}
	defer func() { _ = f.Close() }() // it was only read
	return joint.ReadMatches(f)
}

func sealJoint(ctx context.Context, p *jointParty, s enclave.SignedContract, data *joint.Data,
) (*jointLayer, error) {
	files, err := data.Files()
	if err != nil {
		return nil, err
	}
	plain, err := os.MkdirTemp(p.dir, ".columns-")
	if err != nil {
		return nil, fileError(err, "seal")
	}
	defer func() { _ = os.RemoveAll(plain) }() // of the party's own directory
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(plain, name), content, 0o600); err != nil {
			return nil, fileError(err, "seal")
		}
	}
	if err := openModes(plain); err != nil {
		return nil, err
	}
	for _, name := range []string{jointSealedFile, jointLayerFile, jointKeyFile} {
		if err := os.Remove(p.path(name)); err != nil && !os.IsNotExist(err) {
			return nil, fileError(err, "seal")
		}
	}
	fill := func(b []byte) error { entropy.System().Fill(b); return nil }
	key, err := pack.NewLayerKey(p.path(jointKeyFile), fill)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	sealed, err := pack.SealDir(ctx, plain, p.path(jointSealedFile), key)
	if err != nil {
		return nil, err
	}
	l := &jointLayer{Party: p.name, Contract: s.Digest, ID: sealed.ID, Bytes: sealed.Bytes,
		Root: sealed.Root, Rows: len(data.Tokens)}
	return l, writeJSON(p.path(jointLayerFile), l)
}

func jointOpen(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "open DIR CONTRACT ANSWER WHAT",
		Short: "Open what a run told this party",
		Long: `ANSWER is the directory that "run" wrote; WHAT is scores, reasons, metrics or model.
Nobody but the party can open it. Scores and reasons are written with the ids of --table in place
of tokens, where it is given.`,
		Example: `  surety enclave joint open bank contract.cbor answer metrics
  surety enclave joint open bank contract.cbor answer scores --table bank.csv --id ID`,
		Args: exactArgs("DIR", "CONTRACT", "ANSWER", "WHAT"),
	}
	var table, id string
	c.Flags().StringVar(&table, "table", "", "file with the party's customers, to name them")
	c.Flags().StringVar(&id, "id", "ID", "column by which customers were matched")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		p, s, err := jointRole(args[0], args[1])
		if err != nil {
			return err
		}
		content, r, err := openAnswer(p, s, args[2], args[3])
		if err != nil {
			return err
		}
		env.note("guarantee: %s (run %s)", r.Guarantee, r.Run)
		if table != "" {
			if content, err = nameRows(p, s, table, id, content); err != nil {
				return err
			}
		}
		_, err = env.Stdout.Write(content)
		return err
	})
}

// openAnswer opens one output, and compares it with the receipt beside it, which it returns.
func openAnswer(p *jointParty, s enclave.SignedContract, answer, what string) ([]byte, *enclave.Receipt,
	error) {
	receipt, err := os.ReadFile(filepath.Join(answer, jointReceiptFile))
	if err != nil {
		return nil, nil, fileError(err, "receipt")
	}
	r, _, _, err := enclave.OpenReceipt(receipt)
	if err == nil {
		err = s.Fits(r)
	}
	if err != nil {
		return nil, nil, err
	}
	content, err := openOutput(p, s, r, answer, what)
	return content, r, err
}

func openOutput(p *jointParty, s enclave.SignedContract, r *enclave.Receipt, answer, what string,
) ([]byte, error) {
	for _, o := range r.Outputs {
		if o.To != p.name || o.What != what {
			continue
		}
		sealed, err := os.ReadFile(filepath.Join(answer, jointOutputFile(o.To, o.What)))
		if err != nil {
			return nil, fileError(err, "answer")
		}
		if (&joint.Sealed{Content: sealed}).Digest() != o.SHA256 {
			return nil, errs.New(errs.Corrupt, "the %s are not those that the receipt names", what)
		}
		return joint.Open(p.open, s.Digest, r.Session, enclave.Output{To: o.To, What: o.What}, sealed)
	}
	return nil, errs.New(errs.NotFound, "the contract does not tell %q the %.40q", p.name, what)
}

// nameRows puts ids in the place of tokens.
func nameRows(p *jointParty, s enclave.SignedContract, table, id string, content []byte) ([]byte,
	error) {
	rows, err := jointTable(table, id, s, p.name)
	if err != nil {
		return nil, err
	}
	m, err := readMatches(p.dir)
	if err != nil {
		return nil, err
	}
	of := make(map[psi.Token]int, len(m.Rows))
	for _, match := range m.Rows {
		of[match.Token] = match.Row
	}
	var b bytes.Buffer
	for i, line := range strings.SplitAfter(string(content), "\n") {
		first, rest, found := strings.Cut(line, ",")
		if i == 0 || !found {
			b.WriteString(strings.Replace(line, enclave.TokenColumn, id, 1))
			continue
		}
		raw, err := hex.DecodeString(first)
		if err != nil || len(raw) != len(psi.Token{}) {
			return nil, errs.New(errs.Invalid, "line %d names no customer", i+1)
		}
		row, known := of[psi.Token(raw)]
		if !known || row >= len(rows.IDs) {
			return nil, errs.New(errs.NotFound, "line %d is of a customer that is not among the matches", i+1)
		}
		fmt.Fprintf(&b, "%s,%s", rows.IDs[row], rest)
	}
	return b.Bytes(), nil
}

// layerKeyOf reads the key of a party's columns.
func layerKeyOf(p *jointParty) (layer.Key, error) {
	key, err := pack.LoadLayerKey(p.path(jointKeyFile))
	if errs.Is(err, errs.NotFound) {
		err = errors.Join(errs.New(errs.NotFound, "seal the columns first"), err)
	}
	return key, err
}
