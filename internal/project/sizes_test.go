package project_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/thorough"
)

// signers are the places where keys can live, each with what a program that opens
// them adds to package keys. A new one is added here, and its size is logged.
var signers = []struct {
	scheme  string // the first is the one that package keys itself has
	module  string // folder of the module whose part the program is; the root's if empty
	name    string // of the package below keys; its imports beside it
	imports []string
	opener  string // an expression of type keys.Opener
	tags    string // that the package is built with, if any
}{
	{scheme: "file", opener: `keys.FileOpener(nil)`},
	{scheme: "file", name: "passphrase", opener: `keys.FileOpener(passphrase.Terminal())`},
	{scheme: "sshagent", name: "sshagent", opener: `sshagent.Opener(sshagent.Config{})`},
	{scheme: "pkcs11", module: "keys/pkcs11", name: "pkcs11", opener: `pkcs11.Opener(pkcs11.Config{})`, tags: "pkcs11"},
	{
		scheme: "awskms", module: "keys/awskms", name: "awskms", imports: []string{"github.com/aws/aws-sdk-go-v2/config"},
		opener: `func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
			found, err := config.LoadDefaultConfig(ctx)
			if err != nil {
				return nil, err
			}
			client, err := awskms.New(awskms.Config{AWS: found})
			if err != nil {
				return nil, err
			}
			return client.Open(ctx, place, public)
		}`,
	},
	{
		scheme: "gcpkms", module: "keys/gcpkms", name: "gcpkms", imports: []string{"cloud.google.com/go/kms/apiv1"},
		opener: `func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
			found, err := kms.NewKeyManagementClient(ctx)
			if err != nil {
				return nil, err
			}
			client, err := gcpkms.New(gcpkms.Config{KMS: found})
			if err != nil {
				return nil, err
			}
			return client.Open(ctx, place, public)
		}`,
	},
}

const (
	// maxKeysSize bounds the program that uses keys alone, in bytes: what Go's
	// own packages take, and some room. A cloud SDK takes more than that by itself.
	maxKeysSize = 8 << 20

	// programDir, below a module's folder, has no files but those of an overlay.
	programDir = "internal/program"
)

// keysModules are all modules that the program that uses keys alone may link.
var keysModules = []string{
	module,
	"github.com/secure-systems-lab/go-securesystemslib",
	"golang.org/x/crypto",
}

// A program that uses keys alone stays small enough to be read, whatever other
// places keys can live in.
func TestSizes(t *testing.T) {
	t.Logf("%-12s %9s %8s", "signer", "bytes", "modules")
	for i, s := range signers {
		if i > 0 && !thorough.Long() {
			break // it is only logged
		}
		name := s.name
		if name == "" {
			name = "keys alone"
		}
		if s.tags == "pkcs11" && !hasCompiler(t) {
			t.Logf("%-12s there is no C compiler", name)
			continue
		}
		size, modules := measure(t, s.module, program(s.scheme, s.name, s.opener, s.imports), s.tags)
		t.Logf("%-12s %9d %8d", name, size, len(modules))
		if i == 0 {
			require.Equal(t, keysModules, modules)
			require.Less(t, size, int64(maxKeysSize))
		}
	}
}

// program is the source of one that opens a signer by URI and signs with it.
func program(scheme, name, opener string, imports []string) string {
	imports = append([]string{"context", "os", module + "/keys"}, imports...)
	if name != "" {
		imports = append(imports, module+"/keys/"+name)
	}
	var quoted strings.Builder
	for _, path := range imports {
		fmt.Fprintf(&quoted, "\t%q\n", path)
	}
	return fmt.Sprintf(`package main

import (
%s)

func main() {
	ctx := context.Background()
	s, err := keys.Resolver{%q: %s}.Open(ctx, os.Args[1], nil)
	if err != nil {
		panic(err)
	}
	signature, err := s.Sign(ctx, []byte(os.Args[2]))
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(signature)
}
`, &quoted, scheme, opener)
}

// measure builds a program as part of the module in a folder, and returns the size of the
// binary and the modules that are linked into it.
func measure(t *testing.T, folder, source, tags string) (size int64, modules []string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join(top, filepath.FromSlash(folder)))
	require.NoError(t, err)
	dir := t.TempDir()
	file, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, programDir, "main.go"): file}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))

	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+programDir)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if tags != "" {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		return string(out)
	}
	run("build", "-overlay", overlay, "-tags", tags, "-o", binary)
	info, err := os.Stat(binary)
	require.NoError(t, err)
	modules = strings.Fields(run("list", "-overlay", overlay, "-tags", tags, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"))
	slices.Sort(modules)
	return info.Size(), slices.Compact(modules)
}

func hasCompiler(t *testing.T) bool {
	t.Helper()
	compiler, err := exec.Command("go", "env", "CC").Output()
	require.NoError(t, err)
	_, err = exec.LookPath(strings.TrimSpace(string(compiler)))
	return err == nil
}
