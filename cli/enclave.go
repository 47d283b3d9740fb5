package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// enclaveCommand is the group that packs programs, proves what runs, and releases secrets to it.
func enclaveCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "enclave",
		Short: "Pack, measure, encrypt, attest and run programs whose data nobody else may read",
		Long: `An enclave is a program with everything that decides how it behaves, measured: its files, its
command, its policy, and the ciphertext of its secrets. To run, it shows evidence of what it is to
whoever keeps its keys, and only then are its secrets opened, in memory.

On a machine without AMD SEV-SNP, Intel TDX or a TPM the evidence is simulated: it is marked so in
every token, log and answer, and no policy for hardware takes it.`,
		Example: `  surety enclave new credit --command /bin/score && surety enclave add credit ./score
  surety enclave build credit
  surety enclave run credit`,
	},
		enclaveNewCommand(env), enclaveAddCommand(env), enclaveBuildCommand(env),
		enclaveInspectCommand(env), enclaveDiffCommand(env), enclavePackageCommand(env),
		enclaveRunCommand(env), enclaveStartCommand(env), enclaveExecCommand(env),
		enclaveStopCommand(env), enclaveListCommand(env), enclaveStatusCommand(env),
		enclaveLogsCommand(env), enclaveConnectCommand(env),
		enclaveReleaseCommand(env), enclaveBrokerCommand(env),
		enclaveAttestCommand(env), enclaveVerifyCommand(env), enclaveEnrolCommand(env),
		enclaveDoctorCommand(env), enclaveJointCommand(env),
	)
}

// enclaveRootFlag adds --root.
func enclaveRootFlag(env *Env, flags *pflag.FlagSet, into *string) {
	flags.StringVar(into, "root", defaultRoot(env, "SURETY_ENCLAVE_ROOT", "enclave"),
		"directory of running enclaves, sealed states, the local "+
			"broker and the simulation's keys (SURETY_ENCLAVE_ROOT)")
}
