package cli

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/pack"
	"surety/sys/entropy"
)

// enclaveDevice are the flags that say which device of this machine speaks.
type enclaveDevice struct {
	root, tee, tpm, tpmCertificate string
}

func (d *enclaveDevice) describe(env *Env, flags *pflag.FlagSet) {
	enclaveRootFlag(env, flags, &d.root)
	d.describeDevice(flags)
}

// describeDevice adds the flags but for --root.
func (d *enclaveDevice) describeDevice(flags *pflag.FlagSet) {
	flags.StringVar(&d.tee, "tee", "", "snp, tdx, tpm or sim (default: the best that this machine has)")
	flags.StringVar(&d.tpm, "tpm", "", "TPM device, or unix socket of swtpm (default: /dev/tpmrm0)")
	flags.StringVar(&d.tpmCertificate, "tpm-certificate", "", "certificate of the TPM's attestation key "+
		"(default: tpm/certificate.pem below --root, where enrol put one)")
}

// options say where devices of this machine are found.
func (d *enclaveDevice) options(env *Env) attest.Options {
	certificate := d.tpmCertificate
	if made := filepath.Join(d.root, "tpm", "certificate.pem"); certificate == "" && exists(made) {
		certificate = made
	}
	return attest.Options{SimDir: simulationDir(d.root), Program: env.Program, TPM: d.tpm,
		TPMCertificate: certificate}
}

// simulationDir is where the simulation's keys are.
func simulationDir(root string) string { return filepath.Join(root, "simulated") }

// attested is what attest says with -o json.
type attested struct {
	TEE       enclave.TEE       `json:"tee"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Device    string            `json:"device"`
	Nonce     string            `json:"nonce"`
	Measure   enclave.Digest    `json:"measure"`
	Evidence  string            `json:"evidence"` // base64
}

func enclaveAttestCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "attest ENCLAVE",
		Short: "Make evidence of a build on this machine, for whoever asks",
		Long: `Has this machine's device sign that it stands for the manifest of a project, a bundle or a bundle in
one file, and writes the evidence: to standard output, or to --out. The nonce is the challenge of
whoever will verify it. Without --nonce one is made up and shown: such evidence proves nothing about
when it was made.

Evidence of a simulation is marked so, and no policy for hardware takes it. Evidence made here is
for an audit: a key broker releases nothing for it. With -o json {tee, guarantee, device, nonce,
measure, evidence}, the evidence in base64.`,
		Example: `  surety enclave attest credit --nonce 8f1c...e2 > credit.evidence
  surety enclave attest credit.enclave --tee snp --nonce 8f1c...e2 --out credit.evidence`,
		Args: exactArgs("ENCLAVE"),
	}
	var d enclaveDevice
	d.describe(env, c.Flags())
	nonce := c.Flags().String("nonce", "", "challenge, 16 to 64 bytes in hexadecimal")
	out := c.Flags().String("out", "", "file to write (default: standard output)")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		challenge, err := parseNonce(*nonce)
		if err != nil {
			return usage(c, "--nonce: %v", err)
		}
		return d.attest(ctx, env, args[0], challenge, *out)
	})
}

// parseNonce reads a challenge, and makes one up where there is none.
func parseNonce(text string) ([]byte, error) {
	if text == "" {
		nonce := make([]byte, 2*enclave.MinNonce)
		entropy.System().Fill(nonce)
		return nonce, nil
	}
	nonce, err := hex.DecodeString(text)
	if err != nil || len(nonce) < enclave.MinNonce || len(nonce) > enclave.MaxNonce {
		return nil, errs.New(errs.Invalid, "%.40q is not %d to %d bytes in hexadecimal", text,
			enclave.MinNonce, enclave.MaxNonce)
	}
	return nonce, nil
}

func (d *enclaveDevice) attest(ctx context.Context, env *Env, path string, nonce []byte, out string,
) (err error) {
	files, err := locateEnclave(path)
	if err != nil {
		return err
	}
	bundle, err := pack.Open(files.bundle)
	if err != nil {
		return err
	}
	defer func() { _ = bundle.Close() }() // it was only read
	device, err := attest.OpenDevice(ctx, enclave.TEE(d.tee), d.options(env))
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }() // the evidence is made
	signed := bundle.Signed()
	evidence, err := attest.Make(ctx, device, bundle.SignedBytes(), enclave.Binding{
		Purpose: enclave.ForAudit, Nonce: nonce, Measure: signed.Measure})
	if err != nil {
		return err
	}
	encoded, err := evidence.Encode()
	if err != nil {
		return err
	}
	env.note("%s", device.Describe())
	env.note("measurement %s, nonce %x", signed.Measure, nonce)
	return writeEvidence(env, out, encoded, attested{device.TEE(), device.TEE().Guarantee(),
		device.Describe(), hex.EncodeToString(nonce), signed.Measure,
		base64.StdEncoding.EncodeToString(encoded)})
}

// writeEvidence writes to the file, or to standard output, in the form asked for.
func writeEvidence(env *Env, out string, encoded []byte, said attested) error {
	if out != "" {
		if err := os.WriteFile(out, encoded, 0o644); err != nil {
			return fileError(err, "evidence")
		}
		if !env.wantsJSON() {
			return nil
		}
	}
	return env.show(said, func(w io.Writer) error {
		_, err := w.Write(encoded)
		return err
	})
}

func enclaveEnrolCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "enrol",
		Short: "Certify the attestation key of this machine's TPM, once",
		Long: `Has the TPM prove that its attestation key and its endorsement key are in one and the same TPM, by a
secret that only that TPM can open, and signs a certificate for the attestation key. The authority
that signs is made in --authority at the first use: give its authority.pem to verifiers, by
"--tpm-root", and keep its key where TPMs are enrolled.

That the endorsement key is one of a real TPM is not for the TPM to say: name its digest, as the
machine's maker gave it to you, or the certificates of TPM makers that its own must end in. With
neither, it is shown and nothing is signed.`,
		Example: `  surety enclave enrol --authority enrolment
  surety enclave enrol --authority enrolment --endorsement 5d41...c592
  surety enclave enrol --authority enrolment --makers infineon.pem`,
		Args: noArgs,
	}
	var e enrolment
	enclaveRootFlag(env, c.Flags(), &e.root)
	c.Flags().StringVar(&e.tpm, "tpm", "", "TPM device, or unix socket of swtpm (default: /dev/tpmrm0)")
	c.Flags().StringVar(&e.authority, "authority", "", "directory of the authority (default: "+
		"tpm/authority below --root)")
	c.Flags().StringVar(&e.endorsement, "endorsement", "", "digest of the endorsement key that is meant, "+
		"64 hexadecimal digits")
	c.Flags().StringArrayVar(&e.makers, "makers", nil, "certificates of TPM makers; may be repeated")
	c.Flags().StringVar(&e.out, "out", "", "certificate to write (default: tpm/certificate.pem below "+
		"--root)")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		return e.run(ctx, env)
	})
}
