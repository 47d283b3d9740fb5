package cli

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/pack"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// enclaveJointCommand is the group of scoring over columns that two parties do not show each other.
func enclaveJointCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "joint",
		Short: "Score jointly on columns that two parties do not show each other",
		Long: `Two parties, each with columns about customers and a key broker of its own, agree on a contract: who
brings what, what is computed by which program, who is told what of it, how often, and until when.
Both sign it. They find the customers they share without showing the others, seal their columns, and
admit the one enclave that works under the contract: what leaves it is sealed to whom the contract
says, with a receipt that anybody can check.

Every result says what it rests on: hardware, or simulated where a machine has none. The way without
any enclave is "math". docs/reference/enclave-joint.md has the files and what is not protected.`,
		Example: `  surety enclave joint init bank --name bank
  surety enclave joint propose terms.json --party bank/party.json --party shop/party.json
  surety enclave joint sign bank contract.cbor
  surety enclave joint match bank contract.cbor --table bank.csv --id ID --listen 127.0.0.1:9000
  surety enclave joint run contract.cbor joint.bundle --broker bank-broker=http://127.0.0.1:9001 \
    --broker shop-broker=http://127.0.0.1:9002 --out answer`,
	}, jointInit(env), jointSample(env), jointPropose(env), jointSign(env), jointShow(env),
		jointMatch(env), jointSeal(env), jointBuild(env), jointAdmit(env), jointWithdraw(env),
		jointRun(env), jointMath(env), jointOpen(env), jointVerify(env), jointCompare(env),
		jointRoot(env))
}

// The files of a party's directory.
const (
	jointPartyFile   = "party.json"
	jointSignFile    = "sign.pem"
	jointOpenFile    = "open.pem"
	jointBrokerDir   = "broker"
	jointMatchesFile = "matches"
	jointSealedFile  = "columns.sealed"
	jointLayerFile   = "columns.json"
	jointKeyFile     = "columns.key"
)

// jointParty is a party's directory.
type jointParty struct {
	dir  string
	name string
	sign ed25519.PrivateKey
	open *ecdh.PrivateKey
}

func (p *jointParty) path(name string) string { return filepath.Join(p.dir, name) }

// openParty reads a party's name and keys.
func openParty(dir string) (*jointParty, error) {
	p := &jointParty{dir: dir}
	var public enclave.Party
	if err := readJSON(p.path(jointPartyFile), &public); err != nil {
		return nil, err
	}
	p.name = public.Name
	var err error
	if p.sign, err = pack.LoadKey(p.path(jointSignFile)); err != nil {
		return nil, err
	}
	p.open, err = readOpenKey(p.path(jointOpenFile))
	return p, err
}

// readOpenKey reads an X25519 private key: PKCS #8, PEM.
func readOpenKey(path string) (*ecdh.PrivateKey, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(err, "key")
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errs.New(errs.Corrupt, "key %s: it is no PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errs.New(errs.Corrupt, "key %s: it is no PKCS #8", path)
	}
	key, ok := parsed.(*ecdh.PrivateKey)
	if !ok || key.Curve() != ecdh.X25519() {
		return nil, errs.New(errs.Corrupt, "key %s: it is no X25519 key", path)
	}
	return key, nil
}

func writeOpenKey(path string) (*ecdh.PrivateKey, error) {
	var seed [32]byte
	entropy.System().Fill(seed[:])
	key, err := ecdh.X25519().NewPrivateKey(seed[:])
	clear(seed[:])
	if err != nil {
		return nil, errs.As(errs.Internal, err, "key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "key")
	}
	return key, writeNew(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeNew writes a file of this user's alone, which must not be there.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if os.IsExist(err) {
		return errs.New(errs.Exists, "%s is there already", path)
	}
	if err != nil {
		return fileError(err, "file")
	}
	_, err = f.Write(content)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return fileErrorOrNil(err, "file")
}

func fileErrorOrNil(err error, what string) error {
	if err == nil {
		return nil
	}
	return fileError(err, what)
}

// readJSON reads a file of one JSON value, without unknown fields.
func readJSON(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return fileError(err, "file")
	}
	defer func() { _ = f.Close() }() // it was only read
	decoder := json.NewDecoder(io.LimitReader(f, enclave.MaxSignedContract))
	decoder.DisallowUnknownFields()
	return errs.As(errs.Invalid, decoder.Decode(into), "file %s", path)
}

func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return errs.As(errs.Internal, err, "file %s", path)
	}
	return writeNew(path, append(content, '\n'))
}

// readContract reads a contract that all have signed and that is in force.
func readContract(path string) (enclave.SignedContract, []byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return enclave.SignedContract{}, nil, fileError(err, "contract")
	}
	s, err := enclave.OpenContract(content, wallclock.System().Now())
	return s, content, err
}

// namedPaths reads NAME=PATH.
func namedPaths(c *cobra.Command, flag string, texts []string) (map[string]string, error) {
	named := map[string]string{}
	for _, text := range texts {
		name, path, found := strings.Cut(text, "=")
		if !found || path == "" || !enclave.ValidName(name) || named[name] != "" {
			return nil, usage(c, "--%s: %q is not NAME=PATH, or there twice", flag, text)
		}
		named[name] = path
	}
	return named, nil
}
